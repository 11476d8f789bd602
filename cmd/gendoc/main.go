// Command gendoc writes the reference pages under docs/reference from the types, the catalogue and the commands.
//
// Usage: gendoc [-dir docs/reference]. It writes only files whose content changes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/internal/cli"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

// page is one generated file.
type page struct {
	name string
	make func() ([]byte, error)
}

// pages lists everything that is generated. A page of another package is one line here.
func pages() []page {
	kinds := catalogue.All()
	options := drivers.Options()
	return []page{
		{"scenario.md", plain(scenarios.Reference(options))},
		{"faults.md", plain(scenarios.FaultReference(kinds))},
		{"cli.md", plain(cli.Reference())},
		{"scenario.schema.json", plain(scenarios.JSONSchema(kinds, options))},
	}
}

func plain(text []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return text, nil }
}

func main() {
	dir := flag.String("dir", "docs/reference", "folder to write into")
	flag.Parse()
	if err := write(*dir, pages()); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}

func write(dir string, all []page) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range all {
		text, err := p.make()
		if err != nil {
			return fmt.Errorf("make %s: %w", p.name, err)
		}
		file := filepath.Join(dir, p.name)
		old, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if bytes.Equal(old, text) {
			continue
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
