package faulttest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
)

func TestFakeEngineKeepsTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := faulttest.NewWorld(1, faulttest.Box{ID: "c1", Policy: "always", Limits: faults.Limits{NanoCPUs: 1e9, MemoryBytes: 64 << 20, PIDs: 50}})
		contract(t, w.APIOnly(&faults.State{}).Engine, "c1")
	})
}

// contract is what faults rely on in an engine. The container has the restart policy "always" and limits of one CPU,
// 64 MiB and 50 processes. Each step begins where the last one ended.
func contract(t *testing.T, e faults.Engine, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := party{t: t, e: e, id: id}
	c.stopsAndStarts(ctx, c.pauses(ctx))
	c.killed(ctx)
	c.limits(ctx)
	c.absent(ctx)
}

// party is the container that the contract is about.
type party struct {
	t  *testing.T
	e  faults.Engine
	id string
}

func (p party) see(ctx context.Context) faults.Container {
	p.t.Helper()
	c, err := p.e.Inspect(ctx, p.id)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p party) do(ctx context.Context, a faults.Action) {
	p.t.Helper()
	a.Grace = time.Second
	if err := p.e.Do(ctx, p.id, a); err != nil {
		p.t.Fatalf("%s: %v", a.Verb, err)
	}
}

// pauses returns the container as it was at the start.
func (p party) pauses(ctx context.Context) faults.Container {
	first := p.see(ctx)
	if !first.Ready() || first.PID == 0 || first.StartedAt.IsZero() || first.RestartPolicy != "always" || first.ID != p.id {
		p.t.Fatalf("at the start: %+v", first)
	}
	for range 2 {
		p.do(ctx, faults.Action{Verb: faults.DoStart})
		p.do(ctx, faults.Action{Verb: faults.DoPause})
		p.do(ctx, faults.Action{Verb: faults.DoPause})
		if c := p.see(ctx); !c.Running || !c.Paused || c.Ready() || c.PID != first.PID {
			p.t.Errorf("paused: %+v", c)
		}
		p.do(ctx, faults.Action{Verb: faults.DoUnpause})
		p.do(ctx, faults.Action{Verb: faults.DoUnpause})
		if c := p.see(ctx); !c.Ready() || c.PID != first.PID {
			p.t.Errorf("unpaused: %+v", c)
		}
	}
	return first
}

func (p party) stopsAndStarts(ctx context.Context, first faults.Container) {
	p.do(ctx, faults.Action{Verb: faults.DoPause})
	p.do(ctx, faults.Action{Verb: faults.DoStop})
	p.do(ctx, faults.Action{Verb: faults.DoStop})
	if c := p.see(ctx); c.Running || c.Paused || c.Restarting || c.PID != 0 || c.FinishedAt.Before(first.StartedAt) {
		p.t.Errorf("a paused container that was stopped: %+v", c)
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
	second := p.see(ctx)
	if !second.Ready() || second.PID == first.PID || !second.StartedAt.After(first.StartedAt) {
		p.t.Errorf("started: %+v", second)
	}
	p.do(ctx, faults.Action{Verb: faults.DoRestart})
	third := p.see(ctx)
	if !third.Ready() || third.PID == second.PID || !third.StartedAt.After(second.StartedAt) {
		p.t.Errorf("restarted: %+v", third)
	}
}

func (p party) killed(ctx context.Context) {
	p.do(ctx, faults.Action{Verb: faults.DoKill, Signal: "SIGKILL"})
	if err := faults.Pause(ctx, 500*time.Millisecond); err != nil { // five times the first back-off of the restart policy
		p.t.Fatal(err)
	}
	if c := p.see(ctx); c.Running || c.Restarting || c.ExitCode != 137 {
		p.t.Errorf("the restart policy acts after a kill through the engine: %+v", c)
	}
	if err := p.e.Do(ctx, p.id, faults.Action{Verb: faults.DoPause}); err == nil {
		p.t.Error("a container that is down was paused")
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
}

func (p party) limits(ctx context.Context) {
	if err := p.e.Update(ctx, p.id, faults.Limits{NanoCPUs: 5e8, MemoryBytes: 32 << 20, PIDs: 20}); err != nil {
		p.t.Fatal(err)
	}
	if l := p.see(ctx).Limits; l.NanoCPUs != 5e8 || l.MemoryBytes != 32<<20 || l.PIDs != 20 {
		p.t.Errorf("limits are %+v", l)
	}
	if err := p.e.Update(ctx, p.id, faults.Limits{PIDs: 50}); err != nil {
		p.t.Fatal(err)
	}
	if l := p.see(ctx).Limits; l.NanoCPUs != 5e8 || l.PIDs != 50 {
		p.t.Errorf("an update of one limit changed others: %+v", l)
	}
	s, ok := p.e.(faults.StatsReader)
	if !ok {
		p.t.Fatalf("%T reads no stats", p.e)
	}
	if _, err := s.Stats(ctx, p.id); err != nil {
		p.t.Errorf("stats: %v", err)
	}
}

// absent asks for a container that does not exist.
func (p party) absent(ctx context.Context) {
	if _, err := p.e.Inspect(ctx, "0123456789ab"); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("inspect of nothing: %v", err)
	}
	for _, v := range []faults.Verb{faults.DoPause, faults.DoStart, faults.DoStop, faults.DoKill} {
		if err := p.e.Do(ctx, "0123456789ab", faults.Action{Verb: v}); !errors.Is(err, faults.ErrGone) {
			p.t.Errorf("%s of nothing: %v", v, err)
		}
	}
}
