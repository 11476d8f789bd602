package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Probe finds out what this process can do to the containers of its host, by trying on its own cgroup, within a few
// milliseconds. It changes nothing: each value is written back as it was read.
func Probe(ctx context.Context) Facts { return NewHost(nil, nil).facts(ctx) }

func (h *Host) facts(ctx context.Context) Facts {
	f := Facts{CgroupVersion: 1, Arch: runtime.GOARCH, Has: []string{"agent"}, Missing: map[string]string{}}
	if h.v2 {
		f.CgroupVersion = 2
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	for _, t := range []struct {
		capability string
		try        func() error
	}{
		{"cgroup-cpu", func() error { return h.tryWrite("cpu", "cpu.cfs_quota_us", "cpu.max") }},
		{"cgroup-memory", func() error { return h.tryWrite("memory", "memory.limit_in_bytes", "memory.max") }},
		{"cgroup-pids", func() error { return h.tryWrite("pids", "pids.max", "pids.max") }},
		{"cgroup-freezer", func() error { return h.tryRead("freezer", "freezer.state", "cgroup.freeze") }},
		{"signal", trySignal},
	} {
		err := ctx.Err()
		if err == nil {
			err = t.try()
		}
		if err != nil {
			f.Missing[t.capability] = err.Error()
			continue
		}
		f.Has = append(f.Has, t.capability)
	}
	return f
}

// ownDir is this process' cgroup for a controller; root where that is the root, which has no limits to try.
func (h *Host) ownDir(controller string) (dir string, root bool, err error) {
	own, err := h.cgroupsOf("self")
	if err != nil {
		return "", false, fmt.Errorf("read own cgroups: %w", err)
	}
	path, ok := h.pathOf(own, controller)
	if !ok {
		return "", false, fmt.Errorf("the kernel has no %s controller; boot a kernel that has it", controller)
	}
	dir = h.hierarchy(controller, path)
	if _, err := os.Stat(dir); err != nil {
		return "", false, fmt.Errorf("the %s controller is not mounted at %s; mount it, or start the agent with the host's %s",
			controller, h.root, cgroupRoot)
	}
	return dir, filepath.Clean(path) == "/", nil
}

func (h *Host) tryWrite(controller, v1, v2 string) error {
	dir, root, err := h.ownDir(controller)
	if err != nil {
		return err
	}
	if root {
		if err := unix.Access(dir, unix.W_OK); err != nil {
			return fmt.Errorf("%s is not writable (%w); run as root with the cgroup file system mounted read-write", dir, err)
		}
		return nil
	}
	path := filepath.Join(dir, h.pick(v1, v2))
	v, err := readValue(path)
	if err != nil {
		return fmt.Errorf("the %s controller is not enabled for containers (%w); enable it in cgroup.subtree_control", controller, err)
	}
	if err := writeValue(path, v); err != nil {
		return fmt.Errorf("%s is not writable (%w); the engine must allow the agent a writable %s", path, err, cgroupRoot)
	}
	return nil
}

func (h *Host) tryRead(controller, v1, v2 string) error {
	dir, root, err := h.ownDir(controller)
	if err != nil || root {
		return err
	}
	if _, err := readValue(filepath.Join(dir, h.pick(v1, v2))); err != nil {
		return fmt.Errorf("the %s cannot be read: %w", controller, err)
	}
	return nil
}

func (h *Host) pick(v1, v2 string) string {
	if h.v2 {
		return v2
	}
	return v1
}

func trySignal() error {
	if err := unix.Kill(1, 0); err != nil {
		return fmt.Errorf("may not signal process 1 of the host (%w); the agent needs capability KILL and the host's user namespace", err)
	}
	return nil
}
