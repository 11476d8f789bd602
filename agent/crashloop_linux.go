package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"
)

const (
	slice = 20 * time.Millisecond // between two looks at what a loop waits for
	quick = 5 * time.Millisecond  // the same, where a look is a read of one small file
	sure  = time.Second           // after which the engine is asked, whatever that file says
)

// crashLoops are the loops of a host, those that have ended included. The zero value has none.
type crashLoops struct {
	mu  sync.Mutex
	all map[string]*crashLoop
}

// crashLoop kills PID 1 of a container each time that it has been started.
type crashLoop struct {
	CrashLoop
	h    *Host
	sig  syscall.Signal
	dir  string // of the container's cgroup; "" where it is not known
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	state CrashLoopState
}

// begin starts a loop in place of one of the same id.
func (c *crashLoops) begin(ctx context.Context, l *crashLoop) {
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx)) // a loop outlives the call that asked for it
	l.done, l.state.Active = make(chan struct{}), true
	c.mu.Lock()
	if c.all == nil {
		c.all = map[string]*crashLoop{}
	}
	old := c.all[l.ID]
	c.all[l.ID] = l
	c.mu.Unlock()
	if old != nil {
		old.end()
	}
	go l.run(ctx)
}

func (c *crashLoops) find(id string) *crashLoop {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[id]
}

func (c *crashLoops) end(id string) {
	if l := c.find(id); l != nil {
		l.end()
	}
}

func (c *crashLoops) close() {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.all))
	c.mu.Unlock()
	for _, l := range all {
		l.end()
	}
}

// end returns when the loop sends no signal any more.
func (l *crashLoop) end() {
	l.stop()
	<-l.done
}

func (l *crashLoop) change(f func(*CrashLoopState)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.state)
}

// run kills until it has killed as often as it should, the container is gone, or ctx ends.
func (l *crashLoop) run(ctx context.Context) {
	defer close(l.done)
	err := l.loop(ctx)
	l.change(func(s *CrashLoopState) {
		if s.Active = false; err != nil && ctx.Err() == nil {
			s.Error = err.Error()
			l.h.log(fmt.Sprintf("crash loop of %s: %v", short(l.Container), err))
		}
	})
}

func (l *crashLoop) loop(ctx context.Context) error {
	last, killed, kills := 0, false, 0
	for {
		pid, started, err := l.next(ctx, last)
		if err != nil {
			return err
		}
		if killed { // a start after an end of another cause is not the loop's to count
			l.change(func(s *CrashLoopState) { s.Starts++ })
		}
		if l.Count > 0 && kills >= l.Count {
			return nil
		}
		if killed, err = l.kill(ctx, pid, started); err != nil {
			return err
		}
		if last = pid; killed {
			kills++
		}
	}
}

// next waits for a process of the container that is not the last one: PID 1 of a container that runs, as the engine says.
// One that the engine has not called running yet must live: a start that fails ends the policy.
func (l *crashLoop) next(ctx context.Context, last int) (pid int, started time.Time, err error) {
	var asked time.Time
	for {
		wait := quick
		if time.Since(asked) > sure || populated(l.dir) {
			wait, asked = slice, time.Now()
			s, err := l.inspect(ctx)
			if err != nil {
				return 0, started, err
			}
			if s.Running && !s.Restarting && s.Pid > 0 && s.Pid != last {
				started, err = time.Parse(time.RFC3339Nano, s.StartedAt)
				return s.Pid, started, err
			}
		}
		if err := pause(ctx, wait); err != nil {
			return 0, started, err
		}
	}
}

// inspect asks the engine for the container's state; the error is that it is gone. An engine that does not answer may do
// so the next time: until then nothing runs.
func (l *crashLoop) inspect(ctx context.Context) (container.State, error) {
	got, err := l.h.docker.ContainerInspect(ctx, l.Container)
	if errdefs.IsNotFound(err) {
		return container.State{}, fmt.Errorf("%w %s", ErrGone, short(l.Container))
	}
	var state container.State
	var trouble string
	switch {
	case err != nil:
		trouble = err.Error()
	case got.ContainerJSONBase != nil && got.State != nil:
		state = *got.State
	}
	if ctx.Err() == nil {
		l.change(func(s *CrashLoopState) { s.Error = trouble })
	}
	return state, nil
}

// populated reports whether there may be processes in a cgroup.
func populated(dir string) bool {
	if dir == "" {
		return true
	}
	procs, err := readValue(filepath.Join(dir, "cgroup.procs"))
	return err == nil && procs != ""
}

// kill waits until the process has run for the loop's uptime, sends it the signal, and waits for its end. killed is false
// where it ended before.
func (l *crashLoop) kill(ctx context.Context, pid int, started time.Time) (killed bool, err error) {
	fd, err := l.h.open(ctx, l.Container, pid)
	if errors.Is(err, errEnded) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd) //nolint:errcheck // a pidfd has nothing to lose
	// The clocks of the engine and of this process are the same host's; a jump of it makes no wait longer than the uptime.
	left := min(max(l.Uptime-time.Since(started), 0), l.Uptime)
	if ended, err := awaitEnd(ctx, fd, left); ended || err != nil {
		return false, err
	}
	if thawed, err := l.thawed(ctx, pid, fd); !thawed || err != nil {
		return false, err
	}
	l.change(func(s *CrashLoopState) { s.Ending = pid })
	if err := unix.PidfdSendSignal(fd, l.sig, nil, 0); err != nil {
		l.change(func(s *CrashLoopState) { s.Ending = 0 })
		if errors.Is(err, unix.ESRCH) {
			return false, nil
		}
		return false, fmt.Errorf("send %s to process %d: %w", l.Signal, pid, err)
	}
	if _, err := awaitEnd(ctx, fd, forever); err != nil {
		return false, err
	}
	l.change(func(s *CrashLoopState) { s.Ending, s.Kills = 0, s.Kills+1 })
	return true, nil
}

// thawed waits while the container is paused. It is false if another process runs by then.
func (l *crashLoop) thawed(ctx context.Context, pid, fd int) (bool, error) {
	for {
		s, err := l.inspect(ctx)
		if err != nil || (s.Pid == pid && !s.Paused) || (s.Pid != pid && s.Pid != 0) {
			return s.Pid == pid, err
		}
		if ended, err := awaitEnd(ctx, fd, slice); ended || err != nil {
			return false, err
		}
	}
}

// forever is longer than any loop lives.
const forever = 1 << 62

// awaitEnd waits, for a time, until the process of a pidfd has ended.
func awaitEnd(ctx context.Context, fd int, most time.Duration) (bool, error) {
	for end := time.Now().Add(most); ; {
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
		left := min(time.Until(end), slice)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
		n, err := unix.Poll(fds, max(int((left+time.Millisecond-1).Milliseconds()), 0))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("wait for a process: %w", err)
		}
		if n > 0 || left <= 0 {
			return n > 0, nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func (h *Host) crashLoop(ctx context.Context, c CrashLoop) (any, error) {
	sig, err := signalNumber(c.Signal)
	if err != nil {
		return nil, err
	}
	if c.ID == "" || c.Uptime < 0 || c.Count < 0 {
		return nil, fmt.Errorf("crash loop %q: it needs an id, and an uptime and a count that are not negative", c.ID)
	}
	dir, err := h.dir(ctx, c.Container, "pids")
	if err != nil && !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	h.loops.begin(ctx, &crashLoop{CrashLoop: c, h: h, sig: sig, dir: dir})
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

func (h *Host) crashLoopEnd(_ context.Context, c CrashLoopID) (any, error) {
	h.loops.end(c.ID)
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

func (h *Host) crashLoopState(ctx context.Context, c CrashLoopID) (any, error) {
	l := h.loops.find(c.ID)
	if l == nil {
		return CrashLoopState{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Ending != 0 && !l.state.Active { // nobody waits for it any more
		got, err := h.alive(ctx, Alive{PID: l.state.Ending})
		if err != nil {
			return nil, err
		}
		if a, ok := got.(AliveResult); ok && !a.Alive {
			l.state.Ending, l.state.Kills = 0, l.state.Kills+1
		}
	}
	return l.state, nil
}
