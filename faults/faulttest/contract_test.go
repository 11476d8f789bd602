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
	see := func() faults.Container {
		c, err := e.Inspect(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	do := func(a faults.Action) {
		a.Grace = time.Second
		if err := e.Do(ctx, id, a); err != nil {
			t.Fatalf("%s: %v", a.Verb, err)
		}
	}
	first := see()
	if !first.Ready() || first.PID == 0 || first.StartedAt.IsZero() || first.RestartPolicy != "always" || first.ID != id {
		t.Fatalf("at the start: %+v", first)
	}
	for range 2 {
		do(faults.Action{Verb: faults.DoStart})
		do(faults.Action{Verb: faults.DoPause})
		do(faults.Action{Verb: faults.DoPause})
		if c := see(); !c.Running || !c.Paused || c.Ready() || c.PID != first.PID {
			t.Errorf("paused: %+v", c)
		}
		do(faults.Action{Verb: faults.DoUnpause})
		do(faults.Action{Verb: faults.DoUnpause})
		if c := see(); !c.Ready() || c.PID != first.PID {
			t.Errorf("unpaused: %+v", c)
		}
	}
	do(faults.Action{Verb: faults.DoPause})
	do(faults.Action{Verb: faults.DoStop})
	do(faults.Action{Verb: faults.DoStop})
	if c := see(); c.Running || c.Paused || c.Restarting || c.PID != 0 || c.FinishedAt.Before(first.StartedAt) {
		t.Errorf("a paused container that was stopped: %+v", c)
	}
	do(faults.Action{Verb: faults.DoStart})
	second := see()
	if !second.Ready() || second.PID == first.PID || !second.StartedAt.After(first.StartedAt) {
		t.Errorf("started: %+v", second)
	}
	do(faults.Action{Verb: faults.DoRestart})
	third := see()
	if !third.Ready() || third.PID == second.PID || !third.StartedAt.After(second.StartedAt) {
		t.Errorf("restarted: %+v", third)
	}
	do(faults.Action{Verb: faults.DoKill, Signal: "SIGKILL"})
	if err := faults.Pause(ctx, 500*time.Millisecond); err != nil { // five times the first back-off of the restart policy
		t.Fatal(err)
	}
	if c := see(); c.Running || c.Restarting || c.ExitCode != 137 {
		t.Errorf("the restart policy acts after a kill through the engine: %+v", c)
	}
	if err := e.Do(ctx, id, faults.Action{Verb: faults.DoPause}); err == nil {
		t.Error("a container that is down was paused")
	}
	do(faults.Action{Verb: faults.DoStart})
	if err := e.Update(ctx, id, faults.Limits{NanoCPUs: 5e8, MemoryBytes: 32 << 20, PIDs: 20}); err != nil {
		t.Fatal(err)
	}
	if l := see().Limits; l.NanoCPUs != 5e8 || l.MemoryBytes != 32<<20 || l.PIDs != 20 {
		t.Errorf("limits are %+v", l)
	}
	if err := e.Update(ctx, id, faults.Limits{PIDs: 50}); err != nil {
		t.Fatal(err)
	}
	if l := see().Limits; l.NanoCPUs != 5e8 || l.PIDs != 50 {
		t.Errorf("an update of one limit changed others: %+v", l)
	}
	s, ok := e.(faults.StatsReader)
	if !ok {
		t.Fatalf("%T reads no stats", e)
	}
	if _, err := s.Stats(ctx, id); err != nil {
		t.Errorf("stats: %v", err)
	}
	if _, err := e.Inspect(ctx, "0123456789ab"); !errors.Is(err, faults.ErrGone) {
		t.Errorf("inspect of nothing: %v", err)
	}
	for _, v := range []faults.Verb{faults.DoPause, faults.DoStart, faults.DoStop, faults.DoKill} {
		if err := e.Do(ctx, "0123456789ab", faults.Action{Verb: v}); !errors.Is(err, faults.ErrGone) {
			t.Errorf("%s of nothing: %v", v, err)
		}
	}
}
