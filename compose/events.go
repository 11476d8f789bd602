package compose

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Event is something that happened to a container of the environment, or, in a progress callback, a step of ours.
type Event struct {
	Time      int64  `json:"time"`                // ns since the epoch: the engine's wall clock; of progress this machine's
	Service   string `json:"service,omitempty"`   // "" in progress that is about a network, volume or image
	Number    int    `json:"number,omitempty"`    // replica, from 1; 0 in progress
	Container string `json:"container,omitempty"` // full id
	Name      string `json:"name,omitempty"`
	// Action is the engine's name: "create", "start", "die", "oom", "kill", "stop", "pause", "unpause", "restart",
	// "health_status", "destroy"; in progress the state reached: "Creating", "Started", "Pulling".
	Action   string `json:"action"`
	ExitCode int    `json:"exit_code,omitempty"` // of die
	Signal   string `json:"signal,omitempty"`    // of kill: the number
	Health   string `json:"health,omitempty"`    // of health_status: "healthy", "unhealthy"
	Detail   string `json:"detail,omitempty"`    // for people
}

// Events reports what happens to the project's containers from now on, one call at a time and in order, until ctx ends
// (then it returns nil). A broken stream is resumed where it broke; an engine that stays away for 30 s is an error.
func (e *Environment) Events(ctx context.Context, f func(Event)) error {
	return e.EventsSince(ctx, time.Time{}, f)
}

// EventsSince is Events from an instant of the engine's wall clock; the zero time is now.
func (e *Environment) EventsSince(ctx context.Context, since time.Time, f func(Event)) error {
	s := eventStream{env: e, since: since, f: f, seen: map[string]bool{}}
	var brokeAt time.Time
	for {
		got, err := s.read(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller ended it
		}
		if got || brokeAt.IsZero() {
			brokeAt = time.Now()
		}
		if time.Since(brokeAt) > 30*time.Second {
			return fmt.Errorf("follow events of project %s: %w", e.name, err)
		}
		if !wait(ctx, 200*time.Millisecond) {
			return nil
		}
	}
}

// eventStream remembers where a stream of events broke.
type eventStream struct {
	env   *Environment
	since time.Time
	f     func(Event)
	seen  map[string]bool // events at the instant since, which the engine repeats
}

// read follows one stream until it breaks; got tells whether it brought anything.
func (s *eventStream) read(ctx context.Context) (got bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("label", api.ProjectLabel+"="+s.env.name))}
	if !s.since.IsZero() {
		opts.Since = fmt.Sprintf("%d.%09d", s.since.Unix(), s.since.Nanosecond())
	}
	messages, errs := s.env.engine.docker.Events(ctx, opts)
	for {
		select {
		case m := <-messages:
			got = true
			s.take(m)
		case err := <-errs:
			return got, err
		}
	}
}

func (s *eventStream) take(m events.Message) {
	key := fmt.Sprint(m.TimeNano, m.Actor.ID, m.Action)
	at := time.Unix(0, m.TimeNano)
	if s.seen[key] {
		return
	}
	if at.After(s.since) {
		s.since, s.seen = at, map[string]bool{}
	}
	s.seen[key] = true
	if ev, ok := convert(m); ok && (s.env.attached || m.Actor.Attributes[LabelRun] == s.env.run.Run) {
		s.f(ev)
	}
}

// convert drops what our own observation causes (exec, attach, top) and events of containers that are no service.
func convert(m events.Message) (Event, bool) {
	a := m.Actor.Attributes
	action, rest, _ := strings.Cut(string(m.Action), ": ")
	if a[api.ServiceLabel] == "" || a[api.OneoffLabel] == "True" || strings.HasPrefix(action, "exec_") || action == "attach" || action == "top" {
		return Event{}, false
	}
	ev := Event{Time: m.TimeNano, Service: a[api.ServiceLabel], Container: m.Actor.ID, Name: a["name"], Action: action, Signal: a["signal"]}
	ev.Number, _ = strconv.Atoi(a[api.ContainerNumberLabel])
	switch action {
	case "die":
		ev.ExitCode, _ = strconv.Atoi(a["exitCode"])
		ev.Detail = "exit code " + a["exitCode"]
	case "health_status":
		ev.Health, ev.Detail = rest, rest
	case "kill":
		ev.Detail = "signal " + ev.Signal
	}
	return ev, true
}

// wait waits and reports whether ctx still runs.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// progressBus turns the SDK's progress into Events. A nil callback is fine.
type progressBus struct{ to func(Event) }

// Start implements api.EventProcessor.
func (b *progressBus) Start(context.Context, string) {}

// Done implements api.EventProcessor.
func (b *progressBus) Done(string, bool) {}

// On implements api.EventProcessor.
func (b *progressBus) On(list ...api.Resource) {
	if b.to == nil {
		return
	}
	for _, r := range list {
		detail := r.Details
		if r.Text != "" && detail != "" {
			detail = ": " + detail
		}
		b.to(Event{Time: time.Now().UnixNano(), Name: r.ID, Action: r.Text, Detail: strings.TrimPrefix(r.Text+detail, ": ")})
	}
}
