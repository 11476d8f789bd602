package runner

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
)

// Observation is what was seen of a running project. Both lists are sorted.
type Observation struct {
	Services    []compose.Service  // as their containers tell
	Connections []agent.Connection // Count is the most that were open at once
}

// sampleEvery is how often the open connections are listed.
const sampleEvery = 100 * time.Millisecond

// Observe lists the TCP connections that are open between the containers of a running project, at any of the samples taken
// within the window. It starts an agent beside the project for that long, which routes nothing and leaves nothing. say
// is told, in one line each, what takes time. Errors: compose.ErrNotReady where the project has no container,
// agent.ErrBusy where a run works on it, agent.ErrRefused where the engine allows no agent.
func Observe(ctx context.Context, project string, window time.Duration, say func(string)) (o Observation, err error) {
	eng, err := compose.Connect(ctx)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	env, err := eng.Attach(ctx, project)
	if err != nil {
		return o, err
	}
	if o.Services, err = env.Services(ctx); err != nil {
		return o, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, run, err := observer(ctx, eng, project, say, cancel)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, endObserver(context.WithoutCancel(ctx), eng, s, run)) }()
	say(fmt.Sprintf("watching the connections of %s for %s", project, window))
	o.Connections, err = sample(ctx, window, func() (list []agent.Connection, err error) {
		err = s.Call(ctx, agent.OpNetConns, nil, &list)
		return list, err
	})
	return o, err
}

// observer starts an agent that may look at the project's networks. It carries the label of a run that has nothing else,
// and none that says that a run is attached: heal would thaw the project for that.
func observer(ctx context.Context, eng *compose.Engine, project string, say func(string), lost context.CancelCauseFunc) (*session, string, error) {
	image, err := EnsureImage(ctx, eng.Docker(), say)
	if err != nil {
		return nil, "", fmt.Errorf("prepare the image of the agent: %w", err)
	}
	raw := make([]byte, 4)
	_, _ = rand.Read(raw) // crypto/rand never fails on the supported systems
	run := hex.EncodeToString(raw)
	sweep := func() error { // whatever an interrupted start has left
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardownBudget)
		defer cancel()
		return compose.RemoveRun(ctx, eng.Docker(), run)
	}
	conn, _, err := agent.StartAgent(ctx, eng.Docker(), agent.AgentOptions{
		Image: image.Ref, Name: AgentName(project), Run: run, Project: project, Lease: leaseTime, OnEvent: func(agent.Event) {},
	})
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("start the agent: %w", err), sweep())
	}
	s, err := newSession(ctx, conn, agent.Hello{Run: run, Project: project, Attached: true}, func(err error) { lost(err) })
	if err != nil {
		return nil, "", errors.Join(err, conn.Close(), sweep())
	}
	if err := s.Call(ctx, agent.OpNetStart, agent.NetStart{Run: run, Project: project, Attached: true}, nil); err != nil {
		return nil, "", errors.Join(fmt.Errorf("look at the networks of %s: %w", project, err), endObserver(context.WithoutCancel(ctx), eng, s, run))
	}
	return s, run, nil
}

// endObserver ends the agent and waits until it is gone.
func endObserver(ctx context.Context, eng *compose.Engine, s *session, run string) error {
	ctx, cancel := context.WithTimeout(ctx, teardownBudget)
	defer cancel()
	err := s.bye(ctx)
	if errors.Is(err, agent.ErrLost) {
		err = nil // what ended it is the error of the caller's own call
	}
	return errors.Join(err, awaitAgent(ctx, eng.Docker(), run))
}

// sample lists connections again and again until the window is over, at least once, and keeps the most of each.
func sample(ctx context.Context, window time.Duration, list func() ([]agent.Connection, error)) ([]agent.Connection, error) {
	most := map[agent.Connection]int{} // by a connection without its count
	over := time.NewTimer(window)
	defer over.Stop()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for more := true; more; {
		found, err := list()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return nil, cause
			}
			return nil, fmt.Errorf("list connections: %w", err)
		}
		for _, c := range found {
			n := c.Count
			c.Count = 0
			most[c] = max(most[c], n)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-over.C:
			more = false
		case <-tick.C:
		}
	}
	out := slices.SortedFunc(maps.Keys(most), func(a, b agent.Connection) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Port, b.Port))
	})
	for i := range out {
		out[i].Count = most[out[i]]
	}
	return out, nil
}
