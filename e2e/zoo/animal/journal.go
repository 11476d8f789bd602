package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// journal is a file of lines, each on disk before append returns.
type journal struct{ file *os.File }

// openJournal reads what is there, without a last line that is not whole, and opens the file for more.
func openJournal(path string) (*journal, []string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, fmt.Errorf("make folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	raw, err := os.ReadFile(path)
	whole := raw[:bytes.LastIndexByte(raw, '\n')+1]
	if err = errors.Join(err, f.Truncate(int64(len(whole)))); err == nil {
		_, err = f.Seek(int64(len(whole)), 0)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read journal: %w", err), f.Close())
	}
	var lines []string
	if len(whole) > 0 {
		lines = strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n")
	}
	return &journal{f}, lines, nil
}

// append writes one line and waits until the disk has it.
func (j *journal) append(line string) error {
	if _, err := j.file.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}
