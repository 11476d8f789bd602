package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signal sends a signal to a process after it has made sure that it belongs to the container.
func (h *Host) signal(ctx context.Context, s Signal) (any, error) {
	sig, err := signalNumber(s.Signal)
	if err != nil {
		return nil, err
	}
	fd, err := h.open(ctx, s.Container, s.PID)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // a pidfd has nothing to lose
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return nil, fmt.Errorf("send %s to process %d of %s: %w", s.Signal, s.PID, short(s.Container), err)
	}
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

// errEnded says that a process is not there any more.
var errEnded = errors.New("the process has ended")

// open makes a pidfd of a container's process, which keeps the pid from meaning another process from here on. The error
// wraps errEnded where the process is not there any more.
func (h *Host) open(ctx context.Context, container string, pid int) (int, error) {
	if len(container) != 64 || !fullID.MatchString(container) {
		return -1, fmt.Errorf("%q is not a full container id", container)
	}
	if pid <= 1 {
		return -1, fmt.Errorf("%d is not the pid of a container's process; nothing was touched", pid)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		err = fmt.Errorf("%w: %w", errEnded, err)
	}
	if err != nil {
		return -1, fmt.Errorf("find process %d of %s: %w", pid, short(container), err)
	}
	cgroups, err := h.cgroupsOf(strconv.Itoa(pid))
	if err == nil && owns(cgroups, container) {
		return fd, nil
	}
	ended, perr := awaitEnd(ctx, fd, 0) // a zombie is in no cgroup any more
	_ = unix.Close(fd)                  // a pidfd has nothing to lose
	switch {
	case ended:
		return -1, fmt.Errorf("process %d of %s: %w", pid, short(container), errEnded)
	case err != nil || perr != nil:
		return -1, fmt.Errorf("read cgroups of process %d: %w", pid, errors.Join(err, perr))
	}
	return -1, fmt.Errorf("process %d is not in the cgroup of container %s; nothing was touched", pid, short(container))
}

// signalNumber reads "SIGKILL", "KILL", "kill" or "9".
func signalNumber(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	if n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is not a signal (write one as in \"SIGKILL\")", name)
}

func (h *Host) alive(_ context.Context, a Alive) (any, error) {
	if a.PID <= 0 {
		return nil, fmt.Errorf("%d is not a pid", a.PID)
	}
	b, err := os.ReadFile(filepath.Join(h.proc, strconv.Itoa(a.PID), "stat"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return AliveResult{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state of process %d: %w", a.PID, err)
	}
	// "pid (name) state …": the name may hold anything, parentheses too.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || len(b) < i+3 {
		return nil, fmt.Errorf("read state of process %d: %q", a.PID, b)
	}
	state := b[i+2]
	return AliveResult{Alive: state != 'Z' && state != 'X' && state != 'x'}, nil
}
