package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var cgroupName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)*$`)

func (f CgroupFile) validate() error {
	if !cgroupName.MatchString(f.Controller) || strings.Contains(f.Controller, ".") {
		return fmt.Errorf("%q is not a controller", f.Controller)
	}
	if !cgroupName.MatchString(f.File) || !strings.Contains(f.File, ".") {
		return fmt.Errorf("%q is not a cgroup file", f.File)
	}
	return nil
}

func (h *Host) cgroupRead(ctx context.Context, f CgroupFile) (any, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	dir, err := h.dir(ctx, f.Container, f.Controller)
	if err != nil {
		return nil, err
	}
	v, err := readValue(filepath.Join(dir, f.File))
	if absent(err) {
		return nil, h.why(f, dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", f.File, short(f.Container), err)
	}
	return CgroupValue{Value: v}, nil
}

// why tells a cgroup that has just vanished from a file that this kernel does not have.
func (h *Host) why(f CgroupFile, dir string, err error) error {
	if _, derr := readValue(filepath.Join(dir, "cgroup.procs")); derr != nil {
		return fmt.Errorf("%s: %w", short(f.Container), ErrNotRunning)
	}
	return fmt.Errorf("find %s of %s: %w: this kernel or cgroup version does not have it", f.File, short(f.Container), err)
}

func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

func (h *Host) cgroupHold(ctx context.Context, f CgroupFile) (any, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	if f.Value == "" {
		return nil, fmt.Errorf("hold %s: no value is given", f.File)
	}
	dir, err := h.dir(ctx, f.Container, f.Controller)
	if err != nil && (!errors.Is(err, ErrNotRunning) || dir == "") {
		return nil, err
	}
	if err := h.keep.hold(f, dir); err != nil {
		if absent(err) {
			return nil, h.why(f, dir, err)
		}
		return nil, explain(f, dir, err)
	}
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

func (h *Host) cgroupRelease(ctx context.Context, f CgroupFile) (any, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	h.keep.release(f)
	dir, err := h.dir(ctx, f.Container, f.Controller)
	if errors.Is(err, ErrNotRunning) || errors.Is(err, ErrGone) {
		return nil, nil //nolint:nilnil // nothing is left to write to
	}
	if err != nil {
		return nil, err
	}
	if f.Value == "" {
		return nil, fmt.Errorf("release %s: no value is given to go back to", f.File)
	}
	err = writeValue(filepath.Join(dir, f.File), f.Value)
	if absent(err) {
		if err = h.why(f, dir, err); errors.Is(err, ErrNotRunning) {
			return nil, nil //nolint:nilnil // it stopped meanwhile
		}
		return nil, err
	}
	if err != nil {
		return nil, explain(f, dir, err)
	}
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

// explain adds to a refused write what the kernel does not say: its name for the error, the value now, and for memory
// how much is in use.
func explain(f CgroupFile, dir string, err error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "write %q to %s of %s", f.Value, f.File, short(f.Container))
	var errno syscall.Errno
	if errors.As(err, &errno) {
		fmt.Fprintf(&b, ": %s", unix.ErrnoName(errno))
	}
	if now, rerr := readValue(filepath.Join(dir, f.File)); rerr == nil {
		fmt.Fprintf(&b, " (it is %q", now)
		for _, usage := range []string{"memory.usage_in_bytes", "memory.current"} {
			if v, uerr := readValue(filepath.Join(dir, usage)); uerr == nil && strings.HasPrefix(f.File, "memory.") {
				fmt.Fprintf(&b, ", %s is %s", usage, v)
				if errors.Is(err, unix.EBUSY) {
					b.WriteString(": the limit is below what is in use and cannot be reclaimed")
				}
			}
		}
		b.WriteString(")")
	}
	return fmt.Errorf("%s: %w", b.String(), err)
}
