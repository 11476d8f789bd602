package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// descriptors counts the descriptors that the processes of a container hold. A process that ends meanwhile counts as far as
// it was seen.
func (h *Host) descriptors(ctx context.Context, d Descriptors) (any, error) {
	dir, err := h.dir(ctx, d.Container, "pids")
	if err != nil {
		return nil, err
	}
	var out DescriptorsResult
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error { // with what the container has made below it
		if err != nil || entry.Name() != "cgroup.procs" {
			return ended(err)
		}
		procs, err := readValue(path)
		if err != nil {
			return ended(err)
		}
		for pid := range strings.FieldsSeq(procs) {
			if err := h.openFiles(pid, &out); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count descriptors of container %s: %w", short(d.Container), err)
	}
	return out, nil
}

// openFiles adds the descriptors of one process.
func (h *Host) openFiles(pid string, to *DescriptorsResult) error {
	dir := filepath.Join(h.proc, pid, "fd")
	list, err := os.ReadDir(dir)
	if err != nil {
		return ended(err)
	}
	to.Processes++
	for _, one := range list {
		target, err := os.Readlink(filepath.Join(dir, one.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		to.Open++
		if strings.HasPrefix(target, "socket:") {
			to.Sockets++
		}
	}
	return nil
}

// ended is err, but for that of a process or a cgroup that has gone.
func ended(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
