package runner

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
)

// fakeFault is a kind whose parts are functions; those that are nil succeed. It is its own Effect.
type fakeFault struct {
	prepare, apply, revert func(on faults.Target) error
	confirm                func(on faults.Target, active bool) error
	settled                func() bool
	ready                  func(on faults.Target) bool // what settled is for one target
	finished               func() bool                 // not nil: it has an end of its own
	down                   time.Duration
}

func (f *fakeFault) Validate() error { return nil }

func (f *fakeFault) Prepare(_ context.Context, _ faults.Env, on faults.Target) (faults.Record, error) {
	if err := call(f.prepare, on); err != nil {
		return faults.Record{}, err
	}
	return faults.NewRecord("fake", on, nil)
}

func (f *fakeFault) Down() time.Duration { return f.down }

func (f *fakeFault) Apply(_ context.Context, _ faults.Env, r faults.Record) error {
	return call(f.apply, r.On)
}

func (f *fakeFault) Revert(_ context.Context, _ faults.Env, r faults.Record) error {
	return call(f.revert, r.On)
}

func (f *fakeFault) Confirm(_ context.Context, _ faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if f.confirm != nil {
		if err := f.confirm(r.On, active); err != nil {
			return faults.Witness{}, err
		}
	}
	return faults.Witness{What: "fake", Note: "seen"}, nil
}

func (f *fakeFault) Settled(_ context.Context, _ faults.Env, r faults.Record) (bool, error) {
	return (f.settled == nil || f.settled()) && (f.ready == nil || f.ready(r.On)), nil
}

func (f *fakeFault) Finite() bool { return f.finished != nil }

func (f *fakeFault) Finished(context.Context, faults.Env, faults.Record) (bool, error) {
	return f.finished(), nil
}

func call(f func(faults.Target) error, on faults.Target) error {
	if f == nil {
		return nil
	}
	return f(on)
}

// injection of the fake: on the first container of web, for 2 s where it is not instantaneous.
func (f *fakeFault) injection(id string, at time.Duration, instant bool) Injection {
	in := Injection{
		ID: id, At: at, Targets: []scenarios.Ref{{Service: "web", Number: 1}}, Mechanism: "fake",
		Fault: scenarios.Fault{ID: id, Kind: "fake", Params: f, Spec: faults.Spec{Kind: "fake", Family: faults.Resource, Instant: instant, Effect: f}},
	}
	if !instant {
		hold := units.Duration(2 * time.Second)
		in.Fault.For = &hold
	}
	return in
}

// testRun is a run with a ledger and no engine. Without a scenario it has an empty one.
func testRun(t *testing.T, text string) *run {
	t.Helper()
	s := &scenarios.Scenario{}
	if text != "" {
		s = scenario(t, text)
	}
	store, err := ledger.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := &run{
		o:     Options{Scenario: s, Observe: func(Event) {}, Log: slog.New(slog.DiscardHandler)},
		clock: newHostClock(), store: store, track: newTracker(), polled: &positions{},
	}
	r.undo.state = &faults.State{}
	return r
}

// history is what the run's ledger has by now.
func history(t *testing.T, r *run) *ledger.History {
	t.Helper()
	if err := r.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := r.store.Load(t.Context(), r.info)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
