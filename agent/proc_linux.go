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

// signal sends a signal to a process after it has made sure that it belongs to the container. A pidfd keeps the pid
// from meaning another process in between.
func (h *Host) signal(_ context.Context, s Signal) (any, error) {
	sig, err := signalNumber(s.Signal)
	if err != nil {
		return nil, err
	}
	if len(s.Container) != 64 || !fullID.MatchString(s.Container) {
		return nil, fmt.Errorf("%q is not a full container id", s.Container)
	}
	if s.PID <= 1 {
		return nil, fmt.Errorf("%d is not the pid of a container's process; nothing was touched", s.PID)
	}
	fd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return nil, fmt.Errorf("find process %d of %s: %w", s.PID, short(s.Container), err)
	}
	defer unix.Close(fd) //nolint:errcheck // a pidfd has nothing to lose
	cgroups, err := h.cgroupsOf(strconv.Itoa(s.PID))
	if err != nil {
		return nil, fmt.Errorf("read cgroups of process %d: %w", s.PID, err)
	}
	if !owns(cgroups, s.Container) {
		return nil, fmt.Errorf("process %d is not in the cgroup of container %s; nothing was touched", s.PID, short(s.Container))
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return nil, fmt.Errorf("send %s to process %d of %s: %w", s.Signal, s.PID, short(s.Container), err)
	}
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
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
