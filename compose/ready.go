package compose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// ErrNotReady says that the environment did not become ready.
var ErrNotReady = errors.New("environment is not ready")

// NotReadyError names the service that did not become ready, and what it said. It wraps ErrNotReady and the cause.
type NotReadyError struct {
	Service   string
	Container string // name
	State     string // "exited with code 1", "unhealthy", "running, health starting", "restarting (3 restarts)"
	LogTail   []string
	HealthLog []string // output of the last health checks, oldest first
	Hint      string   // what to do; may be empty
	Err       error    // the cause; may be nil
}

// Error is several lines: service and state, the health checks' output, the last log lines.
func (e *NotReadyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: service %s is %s", ErrNotReady, e.Service, e.State)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), ErrNotReady.Error()+": "))
	}
	for _, l := range e.HealthLog {
		b.WriteString("\n  health: " + l)
	}
	for _, l := range e.LogTail {
		b.WriteString("\n  log: " + l)
	}
	if len(e.LogTail) == 0 && e.State != stateRefused {
		b.WriteString("\n  it has logged nothing")
	}
	return b.String()
}

// Unwrap gives ErrNotReady and the cause.
func (e *NotReadyError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrNotReady}
	}
	return []error{ErrNotReady, e.Err}
}

// stateRefused is the state of a container that the engine could make and not start: no program of that name, a limit that
// it may not set, a port that somebody has.
const stateRefused = "refused by the engine"

// settleTime is how long a service without a healthcheck must run without a restart to count as ready: the engine says
// "running" of a process that dies at once.
const settleTime = time.Second

// look is one container as readiness sees it.
type look struct {
	Container
	oneShot bool
	inspect container.InspectResponse
}

// verdict of one container: ready, or why not yet; dead means that it never will be.
func (l look) verdict(since time.Duration) (ready bool, state, hint string, dead bool) {
	s := l.inspect.State
	restarts := l.inspect.HostConfig.RestartPolicy.Name
	mayRestart := restarts != "" && restarts != container.RestartPolicyDisabled
	switch {
	case s.Restarting:
		return false, fmt.Sprintf("restarting (%d restarts, last exit code %d)", l.inspect.RestartCount, s.ExitCode), "", false
	case s.Paused:
		return false, "paused", "", false
	case s.Running:
		return l.running(since)
	case s.Status == container.StateCreated && s.Error != "":
		return false, stateRefused, "", true
	case s.Status == container.StateCreated:
		return false, "created, not started", "", false
	case l.oneShot && s.ExitCode == 0:
		return true, "", "", false
	case s.ExitCode == 0:
		hint := "where it is meant to end, label it " + LabelOneShot + ": \"true\""
		return false, "exited with code 0", hint, !mayRestart
	}
	return false, fmt.Sprintf("exited with code %d%s", s.ExitCode, oom(s)), "", !mayRestart
}

func (l look) running(since time.Duration) (ready bool, state, hint string, dead bool) {
	h := l.inspect.State.Health
	switch {
	case l.oneShot:
		return false, "running, not yet ended", "", false
	case h != nil && h.Status == container.Healthy:
		return true, "", "", false
	case h != nil && h.Status == container.Unhealthy:
		return false, fmt.Sprintf("unhealthy (%d checks failed in a row)", h.FailingStreak), "", false
	case h != nil && h.Status != container.NoHealthcheck:
		return false, "running, health " + h.Status, "", false
	case since < settleTime && l.inspect.RestartCount > 0:
		return false, fmt.Sprintf("crashing again and again (%d restarts)", l.inspect.RestartCount), "", false
	case since < settleTime:
		return false, "running for less than " + settleTime.String(), "", false
	}
	return true, "", "", false
}

func oom(s *container.State) string {
	if s.OOMKilled {
		return ", killed for lack of memory"
	}
	return ""
}

// WaitReady waits until every started service is ready: running, healthy where it has a healthcheck, exited with 0 where
// it is a one-shot. Where one will never be, or when ctx ends first, the error is a *NotReadyError that names it.
func (e *Environment) WaitReady(ctx context.Context) error { return e.waitReady(ctx, nil) }

// waitReady tells progress whom it waits for, each time that this changes.
func (e *Environment) waitReady(ctx context.Context, progress func(Event)) error {
	services, err := e.Services(ctx)
	if err != nil {
		return err
	}
	w := waiter{env: e, services: services, since: map[string]time.Time{}, started: map[string]string{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends wake
	wake := e.wakeups(ctx)
	for {
		err := w.check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil { // what the check before this one has found is why
			return e.explain(ctx, w.finding, err)
		}
		w.finding = w.worst
		if w.dead {
			return e.explain(ctx, w.worst, err)
		}
		w.tell(progress, err)
		t := time.NewTimer(250 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// wakeups gives a signal at each event of the project, so that a wait ends at once and not at the next tick.
func (e *Environment) wakeups(ctx context.Context) <-chan struct{} {
	wake := make(chan struct{}, 1)
	go func() {
		// Without events the wait ticks.
		_ = e.Events(ctx, func(Event) {
			select {
			case wake <- struct{}{}:
			default:
			}
		})
	}()
	return wake
}

// waiter is the state of one wait. Times are of this machine's monotonic clock.
type waiter struct {
	env      *Environment
	services []Service
	since    map[string]time.Time // container → first seen running with this StartedAt
	started  map[string]string
	worst    *look // the container that the running check fails at
	finding  *look // that of the last check that was not cut off
	dead     bool
	told     string
}

// tell says whom the wait is for, where that is not what it said last.
func (w *waiter) tell(progress func(Event), err error) {
	var nr *NotReadyError
	if progress == nil || !errors.As(err, &nr) {
		return
	}
	if text := "waiting for " + nr.Service + ": " + nr.State; text != w.told {
		w.told = text
		progress(Event{Time: time.Now().UnixNano(), Service: nr.Service, Action: "Waiting", Detail: text})
	}
}

// check looks at every container once; its error is the first that is not ready, dead ones first.
func (w *waiter) check(ctx context.Context) error {
	w.worst = nil
	list, err := w.env.Containers(ctx)
	if err != nil {
		return err
	}
	var first error
	for _, s := range w.services {
		if w.env.isHeld(s.Name) {
			continue
		}
		have := 0
		for _, c := range list {
			if c.Service != s.Name {
				continue
			}
			have++
			notReady, dead := w.one(ctx, s, c)
			if dead {
				w.dead = true
				return notReady
			}
			if first == nil {
				first = notReady
			}
		}
		if have < s.Replicas && first == nil {
			first = &NotReadyError{Service: s.Name, State: fmt.Sprintf("there with %d of %d containers", have, s.Replicas)}
		}
	}
	return first
}

// one judges one container; nil is ready.
func (w *waiter) one(ctx context.Context, s Service, c Container) (error, bool) { //nolint:revive // the error is a finding, not a failure
	i, err := w.env.engine.docker.ContainerInspect(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", c.Name, err), false
	}
	if w.started[c.ID] != i.State.StartedAt {
		w.started[c.ID], w.since[c.ID] = i.State.StartedAt, time.Now()
	}
	l := look{Container: c, oneShot: s.OneShot, inspect: i}
	ready, state, hint, dead := l.verdict(time.Since(w.since[c.ID]))
	if ready {
		return nil, false
	}
	if w.worst == nil || dead {
		w.worst = &l
	}
	return &NotReadyError{Service: s.Name, Container: c.Name, State: state, Hint: hint}, dead
}

// explain adds what the service said. It works after ctx has ended.
func (e *Environment) explain(ctx context.Context, at *look, err error) error {
	cause := context.Cause(ctx)
	quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var nr *NotReadyError
	if !errors.As(err, &nr) {
		nr = &NotReadyError{Service: "(not known)", State: "not looked at yet", Err: err}
		if at != nil {
			_, nr.State, nr.Hint, _ = at.verdict(0)
			nr.Service, nr.Container = at.Service, at.Name
		}
	}
	if cause != nil {
		nr.Err = cause
	}
	if at == nil {
		return nr
	}
	nr.LogTail = e.tail(quick, at.ID, 20)
	if h := at.inspect.State.Health; h != nil {
		for _, r := range h.Log[max(0, len(h.Log)-3):] {
			nr.HealthLog = append(nr.HealthLog, fmt.Sprintf("exit %d: %s", r.ExitCode, oneLine(r.Output)))
		}
	}
	return nr
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// culprit finds which container made the SDK's up fail, and turns its error into a *NotReadyError where there is one.
func (e *Environment) culprit(ctx context.Context, upErr error) error {
	quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	services, err := e.Services(quick)
	if err != nil {
		return upErr
	}
	list, err := e.Containers(quick)
	if err != nil {
		return upErr
	}
	var waiting *look
	for _, c := range list {
		i, err := e.engine.docker.ContainerInspect(quick, c.ID)
		if err != nil {
			continue
		}
		n := slices.IndexFunc(services, func(s Service) bool { return s.Name == c.Service })
		l := look{Container: c, oneShot: n >= 0 && services[n].OneShot, inspect: i}
		ready, state, hint, _ := l.verdict(settleTime)
		if ready || (i.State.Status == container.StateCreated && state != stateRefused) {
			continue
		}
		if bad := !i.State.Running || (i.State.Health != nil && i.State.Health.Status == container.Unhealthy); bad {
			return e.explain(quick, &l, &NotReadyError{Service: c.Service, Container: c.Name, State: state, Hint: hint, Err: upErr})
		}
		waiting = &l
	}
	if waiting != nil && ctx.Err() != nil {
		_, state, hint, _ := waiting.verdict(settleTime)
		return e.explain(quick, waiting, &NotReadyError{Service: waiting.Service, Container: waiting.Name, State: state, Hint: hint, Err: upErr})
	}
	return upErr
}
