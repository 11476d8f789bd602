package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const maxForks = 10000

// forkProbe runs this executable again as RoleForkProbe, which starts the children.
func (h *Host) forkProbe(ctx context.Context, p ForkProbe) (any, error) {
	if p.Most < 1 || p.Most > maxForks {
		return nil, fmt.Errorf("most is %d, must be from 1 to %d", p.Most, maxForks)
	}
	dir, err := h.dir(ctx, p.Container, "pids")
	if err != nil {
		return nil, err
	}
	if frozen, err := readValue(filepath.Join(dir, "cgroup.freeze")); err == nil && frozen == "1" {
		return nil, fmt.Errorf("container %s is paused: nothing can fork in it", short(p.Container))
	}
	// The death signal goes by the thread that forks, so it must stay until the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, h.exe, RoleForkProbe, filepath.Join(dir, "cgroup.procs"), strconv.Itoa(p.Most))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("probe forks in %s: %w: %s", short(p.Container), err, oneLine(stderr.String()))
	}
	var r ForkResult
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("probe forks in %s: %w", short(p.Container), err)
	}
	return r, nil
}

// ForkProbeMain is the role of the hidden command RoleForkProbe: args are the cgroup.procs file to enter and the
// number of children to start at the most. It prints a ForkResult as JSON and returns the exit code.
//
// The Go runtime must not be in a cgroup that refuses threads, so one child without a runtime enters the cgroup: it
// runs nothing but raw system calls, starts the others, kills and reaps them, and only then tells what it saw. Each
// process dies with its parent.
func ForkProbeMain(args []string) int {
	r, err := forkProbeMain(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

func forkProbeMain(args []string) (ForkResult, error) {
	if len(args) != 2 || !strings.HasSuffix(args[0], "/cgroup.procs") {
		return ForkResult{}, fmt.Errorf("usage: %s CGROUP.PROCS MOST", RoleForkProbe)
	}
	most, err := strconv.Atoi(args[1])
	if err != nil || most < 1 || most > maxForks {
		return ForkResult{}, fmt.Errorf("%q is not a number of children from 1 to %d", args[1], maxForks)
	}
	procs, err := os.OpenFile(args[0], os.O_WRONLY, 0)
	if err != nil {
		return ForkResult{}, fmt.Errorf("open cgroup: %w", err)
	}
	defer procs.Close() //nolint:errcheck // nothing is buffered
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return ForkResult{}, fmt.Errorf("make pipe: %w", err)
	}
	w := &probeWork{procs: procs.Fd(), out: uintptr(pipe[1]), zero: '0', most: uintptr(most), parent: uintptr(os.Getpid())}

	runtime.LockOSThread() // for good: the child dies with this thread
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	// The child must never run a signal handler of the Go runtime.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return ForkResult{}, fmt.Errorf("block signals: %w", err)
	}
	pid, errno := probeFork(w)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return ForkResult{}, fmt.Errorf("unblock signals: %w", err)
	}
	if errno != 0 {
		return ForkResult{}, fmt.Errorf("fork: %w", errno)
	}
	if err := unix.Close(pipe[1]); err != nil {
		return ForkResult{}, fmt.Errorf("close pipe: %w", err)
	}
	return w.result(int(pid), pipe[0])
}

// result reads what the child wrote and reaps it.
func (w *probeWork) result(pid, fd int) (ForkResult, error) {
	var got probeResult
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&got)), unsafe.Sizeof(got)) //nolint:gosec // the bytes that the child wrote from the same type
	n, rerr := unix.Read(fd, buf)
	for rerr == unix.EINTR {
		n, rerr = unix.Read(fd, buf)
	}
	var status unix.WaitStatus
	_, werr := unix.Wait4(pid, &status, 0, nil)
	for werr == unix.EINTR {
		_, werr = unix.Wait4(pid, &status, 0, nil)
	}
	switch {
	case rerr != nil || n != len(buf):
		return ForkResult{}, fmt.Errorf("the probe process died (%v, wait status %#x)", rerr, uint32(status)) //nolint:errorlint // nil where it died before it wrote
	case got.enter != 0:
		return ForkResult{}, fmt.Errorf("enter cgroup: %w", syscall.Errno(got.enter))
	case got.refusal != 0 && syscall.Errno(got.refusal) != unix.EAGAIN:
		return ForkResult{}, fmt.Errorf("fork child %d: %w", got.forked+1, syscall.Errno(got.refusal))
	}
	return ForkResult{Refused: got.refusal != 0, Forked: int(got.forked)}, nil
}

type probeWork struct {
	procs, out, most, parent uintptr
	zero                     byte
	got                      probeResult
	pids                     [maxForks]uintptr
}

type probeResult struct {
	enter   uintptr // errno of entering the cgroup
	refusal uintptr // errno of the fork that was refused
	forked  uintptr
}

// probeFork starts the child that probes. Everything from here on in the child is without stack growth, allocation
// and locks: other threads of this process, and so whoever holds a lock, do not exist there.
//
//go:noinline
//go:nosplit
//go:norace
func probeFork(w *probeWork) (uintptr, syscall.Errno) {
	pid, errno := probeClone()
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	probeChild(w)
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

//go:nosplit
//go:norace
func probeClone() (uintptr, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return pid, errno
}

//go:nosplit
//go:norace
func probeChild(w *probeWork) {
	probeBind(w.parent)
	self, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	// "0" is whoever writes it.
	if _, _, errno := syscall.RawSyscall(unix.SYS_WRITE, w.procs, uintptr(unsafe.Pointer(&w.zero)), 1); errno != 0 { //nolint:gosec // as syscall.RawSyscall documents it
		w.got.enter = uintptr(errno)
		w.most = 0
	}
	for w.got.forked < w.most {
		pid, errno := probeClone()
		if errno != 0 {
			w.got.refusal = uintptr(errno)
			break
		}
		if pid == 0 {
			probeBind(self)
			for {
				_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		w.pids[w.got.forked] = pid
		w.got.forked++
	}
	for i := uintptr(0); i < w.got.forked; i++ {
		_, _, _ = syscall.RawSyscall(unix.SYS_KILL, w.pids[i], uintptr(unix.SIGKILL), 0)
	}
	for i := uintptr(0); i < w.got.forked; i++ {
		_, _, _ = syscall.RawSyscall6(unix.SYS_WAIT4, w.pids[i], 0, 0, 0, 0, 0)
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, w.out, uintptr(unsafe.Pointer(&w.got)), unsafe.Sizeof(w.got)) //nolint:gosec // as syscall.RawSyscall documents it
}

// probeBind makes this process die with its parent, also if that is dead already.
//
//go:nosplit
//go:norace
func probeBind(parent uintptr) {
	_, _, _ = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	if now, _, _ := syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); now != parent {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
}
