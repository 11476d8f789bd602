package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Host does what containers' cgroups and processes need, in this process. It must run in the host's pid namespace and
// see the host's cgroups. Before every write it makes sure that its target belongs to the container. It is safe for
// concurrent use.
type Host struct {
	docker Inspector
	log    func(string)
	root   string // of the cgroup file system
	proc   string
	v2     bool
	exe    string // that runs ForkProbeMain for RoleForkProbe

	mu   sync.Mutex
	pids map[string]int       // container → its PID 1 when last asked
	dirs map[[2]string]string // container, controller → directory: the same after a restart
	keep keeper
	net  netChild

	loops crashLoops
}

// NewHost makes a Host. log is told of what goes wrong in the background; it may be nil.
func NewHost(docker Inspector, log func(string)) *Host {
	if log == nil {
		log = func(string) {}
	}
	h := &Host{
		docker: docker, log: log, root: cgroupRoot, proc: "/proc", v2: cgroup2(cgroupRoot), exe: "/proc/self/exe",
		pids: map[string]int{}, dirs: map[[2]string]string{},
	}
	h.keep.log = log
	h.net.exe, h.net.log = h.exe, log
	return h
}

// Ops are the host's operations: cgroup.*, proc.* and net.*.
func (h *Host) Ops() Handler {
	return mergeOps(h.net.ops(), Handler{
		OpCgroupRead:    op(h.cgroupRead),
		OpCgroupHold:    op(h.cgroupHold),
		OpCgroupRelease: op(h.cgroupRelease),
		OpSignal:        op(h.signal),
		OpForkProbe:     op(h.forkProbe),
		OpAlive:         op(h.alive),
		OpDescriptors:   op(h.descriptors),

		OpCrashLoop:      op(h.crashLoop),
		OpCrashLoopEnd:   op(h.crashLoopEnd),
		OpCrashLoopState: op(h.crashLoopState),
	})
}

// OnRewrite sets who is told when a held file had to be written again. It must not wait for long.
func (h *Host) OnRewrite(f func(Rewritten)) {
	h.keep.mu.Lock()
	defer h.keep.mu.Unlock()
	h.keep.onRewrite = f
}

// OnNet sets who is told of the events of the networks' process. It must not wait for long.
func (h *Host) OnNet(f func(event string, data json.RawMessage)) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.emit = f
}

// Close ends every crash loop, and every hold, held values stay as they are; and the networks' process, with all its rules
// and connections.
func (h *Host) Close() {
	h.loops.close()
	h.keep.close()
	h.net.close()
}

func cgroup2(root string) bool {
	var st unix.Statfs_t
	return unix.Statfs(root, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

var fullID = regexp.MustCompile(`[0-9a-f]{64}`)

// cgroupsOf reads which cgroup a process is in: controller → path from the hierarchy's root. Version 2 has the
// controller "".
func (h *Host) cgroupsOf(pid string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(h.proc, pid, "cgroup"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			out[c] = f[2]
		}
	}
	return out, nil
}

// owns reports whether one of the cgroups carries the container's id.
func owns(cgroups map[string]string, id string) bool {
	for _, path := range cgroups {
		if strings.Contains(path, id) {
			return true
		}
	}
	return false
}

// initOf finds the cgroups of a container's PID 1. A pid that was asked for earlier is good as long as the process
// behind it carries the container's id.
func (h *Host) initOf(ctx context.Context, id string) (map[string]string, error) {
	if len(id) != 64 || !fullID.MatchString(id) {
		return nil, fmt.Errorf("%q is not a full container id", id)
	}
	h.mu.Lock()
	pid := h.pids[id]
	h.mu.Unlock()
	if pid > 0 {
		if cgroups, err := h.cgroupsOf(strconv.Itoa(pid)); err == nil && owns(cgroups, id) {
			return cgroups, nil
		}
	}
	got, err := h.docker.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%w %s", ErrGone, short(id))
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", short(id), err)
	}
	if got.State == nil || got.State.Pid <= 0 {
		return nil, fmt.Errorf("%s: %w", short(id), ErrNotRunning)
	}
	cgroups, err := h.cgroupsOf(strconv.Itoa(got.State.Pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("%s: %w", short(id), ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("read cgroups of container %s: %w", short(id), err)
	}
	if !owns(cgroups, id) {
		return nil, fmt.Errorf("process %d of container %s is in no cgroup of that container; nothing was touched", got.State.Pid, short(id))
	}
	h.mu.Lock()
	h.pids[id] = got.State.Pid
	h.mu.Unlock()
	return cgroups, nil
}

// dir is the directory of a container's cgroup for a controller. Of a container that does not run it is the one that
// it will have, with ErrNotRunning; "" where that is not known.
func (h *Host) dir(ctx context.Context, id, controller string) (string, error) {
	key := [2]string{id, controller}
	cgroups, err := h.initOf(ctx, id)
	if errors.Is(err, ErrNotRunning) {
		h.mu.Lock()
		known := h.dirs[key]
		h.mu.Unlock()
		if known == "" {
			known = h.guess(id, controller)
		}
		return known, err
	}
	if err != nil {
		return "", err
	}
	path, ok := h.pathOf(cgroups, controller)
	if !ok {
		return "", fmt.Errorf("container %s has no cgroup for controller %q; this host has none", short(id), controller)
	}
	if !strings.Contains(path, id) {
		return "", fmt.Errorf("cgroup %s of container %s does not carry its id; nothing was touched", path, short(id))
	}
	dir := h.hierarchy(controller, cutAfter(path, id))
	h.mu.Lock()
	h.dirs[key] = dir
	h.mu.Unlock()
	return dir, nil
}

func (h *Host) pathOf(cgroups map[string]string, controller string) (string, bool) {
	if h.v2 {
		controller = ""
	}
	path, ok := cgroups[controller]
	return path, ok
}

func (h *Host) hierarchy(controller, path string) string {
	if h.v2 {
		return filepath.Join(h.root, path)
	}
	return filepath.Join(h.root, controller, path)
}

// cutAfter drops what a container has made below its own cgroup: "/docker/<id>/init.scope".
func cutAfter(path, id string) string {
	i := strings.Index(path, id) + len(id)
	if rest := strings.IndexByte(path[i:], '/'); rest >= 0 {
		return path[:i+rest]
	}
	return path
}

// guess is where the engine will put a container's cgroup: beside this process' own. Empty where this process is in
// no container.
func (h *Host) guess(id, controller string) string {
	own, err := h.cgroupsOf("self")
	if err != nil {
		return ""
	}
	path, ok := h.pathOf(own, controller)
	mine := fullID.FindString(path)
	if !ok || mine == "" {
		return ""
	}
	return h.hierarchy(controller, strings.Replace(cutAfter(path, mine), mine, id, 1))
}

func readValue(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b, []byte("\n"))), nil
}

// writeValue writes a cgroup file and never creates one.
func writeValue(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// BootTime reads the boot-time clock of the host, in ns.
func BootTime() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read boot-time clock: %w", err)
	}
	return ts.Nano(), nil
}
