package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/oracle"
)

// holdings are what containers hold at an instant: their descriptors by service, as people name it. Those that do not run
// hold none.
type holdings struct {
	open map[string]agent.DescriptorsResult
	err  error // why nobody knows
}

// holdings measures, where the scenario asks for it.
func (r *run) holdings(ctx context.Context) *holdings {
	if r.o.Scenario.Expect.Leak == nil {
		return nil
	}
	if r.host == nil {
		return &holdings{err: errors.New("there is no agent that could look")}
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotBudget)
	defer cancel()
	list, err := r.env.Containers(ctx)
	if err != nil {
		return &holdings{err: fmt.Errorf("list containers: %w", err)}
	}
	return holdingsOf(list, func(id string) (out agent.DescriptorsResult, err error) {
		err = r.host.Call(ctx, agent.OpDescriptors, agent.Descriptors{Container: id}, &out)
		return out, err
	})
}

// holdingsOf asks for each container that runs.
func holdingsOf(list []compose.Container, count func(id string) (agent.DescriptorsResult, error)) *holdings {
	h := &holdings{open: map[string]agent.DescriptorsResult{}}
	for _, c := range list {
		if c.State != "running" && c.State != "paused" {
			continue
		}
		n, err := count(c.ID)
		if err != nil {
			h.err = errors.Join(h.err, fmt.Errorf("count the descriptors of %s: %w", c, err))
			continue
		}
		h.open[c.String()] = n
	}
	return h
}

// grown lists, in words, what holds more than most descriptors more than before; what was not there before is not told of.
func (h *holdings) grown(after *holdings, most int) map[string]string {
	out := map[string]string{}
	for name, was := range h.open {
		if is, there := after.open[name]; there && is.Open-was.Open > most {
			out[name] = fmt.Sprintf("%s holds %d descriptors more than before the faults (%d, then %d; sockets: %d, then %d), the scenario allows %d",
				name, is.Open-was.Open, was.Open, is.Open, was.Sockets, is.Sockets, most)
		}
	}
	return out
}

// leaks waits until no container holds more than the scenario allows, for as long as it gives recovery; then it says
// what still does.
func (r *run) leaks(ctx context.Context) error {
	if r.held == nil {
		return nil
	}
	if r.held.err != nil {
		r.note("runner", string(oracle.CheckerUnknown), "", "whether anything leaks nobody knows: "+r.held.err.Error())
		return nil //nolint:nilerr // the note makes the run inconclusive
	}
	deadline := r.clock.now() + r.o.Scenario.Recovery.Within.Std().Nanoseconds()
	for {
		after := r.holdings(ctx)
		grown := r.held.grown(after, r.o.Scenario.Expect.Leak.Descriptors)
		now := r.clock.now()
		switch {
		case after.err == nil && len(grown) == 0:
			return nil
		case now > deadline && after.err != nil:
			r.note("runner", string(oracle.CheckerUnknown), "", "whether anything leaks nobody knows: "+after.err.Error())
			return nil
		case now > deadline:
			for _, name := range sortedKeys(grown) {
				r.note("runner", string(oracle.Leak), name, grown[name])
			}
			return nil
		}
		r.say(Event{Kind: EventProgress, Text: "waiting for descriptors to come back", Wait: time.Duration(deadline - now)})
		if err := sleep(ctx, 5*pollEvery); err != nil {
			return err
		}
	}
}
