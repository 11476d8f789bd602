//go:build e2e

package replace_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/replace"
	"github.com/discompose/discompose/internal/units"
)

func ptr[T any](v T) *T { return &v }

// second is a grace that the rig's containers do not need.
func second() *units.Duration { return ptr(units.Duration(time.Second)) }

// act is one fault on a rig.
type act struct {
	name       string
	spec       faults.Spec
	fault      faults.Fault
	containers int
	address    bool // the container has one of its own choice
}

func acts() []act {
	update := replace.Update{Env: map[string]string{"LEVEL": "debug"}, Memory: 32 << 20, Grace: second()}
	return append(ways(),
		act{"remove with a grace", replace.RemoveSpec(), &replace.Remove{Grace: second()}, 1, true},
		act{"rolling_update", replace.RollingUpdateSpec(), &replace.RollingUpdate{Update: update}, 1, false},
		act{"scale to nothing", replace.ScaleSpec(), &replace.Scale{Replicas: ptr(0), Grace: second()}, 2, false},
	)
}

// ways are the faults that go different ways.
func ways() []act {
	update := replace.Update{Env: map[string]string{"LEVEL": "debug"}, Memory: 32 << 20, Grace: second()}
	return []act{
		{"remove", replace.RemoveSpec(), &replace.Remove{}, 1, true},
		{"recreate", replace.RecreateSpec(), &replace.Recreate{Update: update}, 1, true},
		{"scale up", replace.ScaleSpec(), &replace.Scale{Replicas: ptr(2), Grace: second()}, 1, false},
		{"scale down", replace.ScaleSpec(), &replace.Scale{Replicas: ptr(1), Grace: second()}, 2, false},
	}
}

// target is what the fault is aimed at now.
func (a act) target(r rig) faults.Target {
	if a.spec.Whole {
		return faults.Target{Service: "web", Project: r.project, Name: "web"}
	}
	return faults.Target{Service: "web", Number: 1, Container: r.id(1), Name: r.name(1)}
}

// begin prepares, journals and applies; the error is that of apply.
func (a act) begin(r rig, p worker) (faults.Record, error) {
	r.t.Helper()
	record, err := a.fault.Prepare(r.t.Context(), p.env, a.target(r))
	r.must(err)
	record.ID = "a/web"
	r.must(p.env.Journal.Intend(record))
	defer p.env.Journal.Lock(record.On.Key())()
	return record, a.spec.Effect.Apply(r.t.Context(), p.env, record)
}

func TestEachKindBitesAndGivesBackWhatThereWas(t *testing.T) {
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, a.containers, a.address)
			was := r.now()
			p := r.worker(-1, false)
			record, err := a.begin(r, p)
			r.must(err)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			w, err := a.spec.Effect.Confirm(ctx, p.env, record, true)
			r.must(err)
			t.Log(w.Note)
			if cmp.Equal(was, r.now()) {
				t.Error("nothing has changed")
			}
			t.Log(r.heal(p, a.spec.Effect).Note)
			if diff := cmp.Diff(was, r.now()); diff != "" {
				t.Errorf("after the fault (-was +is):\n%s", diff)
			}
			settler, ok := a.spec.Effect.(faults.Settler)
			if !ok {
				t.Fatalf("%s is no Settler", a.spec.Kind)
			}
			r.must(p.env.Journal.Release(record)) // its undo was another process'
			if ready, err := settler.Settled(ctx, p.env, record); err != nil || !ready {
				t.Errorf("settled: %t, %v", ready, err)
			}
			if !a.spec.Whole && strings.Contains(r.exec(r.id(1), "ls /tmp"), "mark") {
				t.Error("what lay outside the volumes is still there")
			}
		})
	}
}

// TestACrashAtAnyCallIsHealedFromTheJournal kills the process when the engine has done each of its changing calls in turn,
// and heals from the journal.
func TestACrashAtAnyCallIsHealedFromTheJournal(t *testing.T) {
	for _, a := range ways() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, a.containers, a.address)
			was := r.now()
			for calls, died := 0, true; died; calls++ {
				p := r.worker(calls, true)
				_, err := a.begin(r, p)
				if died = p.death.dead; died == (err == nil) {
					t.Fatalf("killed at call %d: %t; apply: %v", calls, died, err)
				}
				w := r.heal(p, a.spec.Effect)
				if diff := cmp.Diff(was, r.now()); diff != "" {
					t.Errorf("killed at call %d (-was +is):\n%s", calls, diff)
				}
				t.Logf("killed at call %d: %s", calls, w.Note)
			}
		})
	}
}

// TestACrashInAnUndoIsHealedByTheNext kills the process at each changing call of its undo.
func TestACrashInAnUndoIsHealedByTheNext(t *testing.T) {
	for _, a := range ways() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, a.containers, a.address)
			was := r.now()
			for calls, died := 0, true; died; calls++ {
				p := r.worker(-1, false)
				record, err := a.begin(r, p)
				r.must(err)
				p.death.die(calls)
				err = a.spec.Effect.Revert(t.Context(), p.env, record)
				if died = p.death.dead; died == (err == nil) {
					t.Fatalf("killed at call %d: %t; revert: %v", calls, died, err)
				}
				r.heal(p, a.spec.Effect)
				if diff := cmp.Diff(was, r.now()); diff != "" {
					t.Errorf("killed at call %d (-was +is):\n%s", calls, diff)
				}
			}
		})
	}
}

func (d *dying) die(calls int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = calls
}

func TestAFaultThatChangesNothingHasNoWitness(t *testing.T) {
	r := newRig(t, 1, false)
	for n, u := range []replace.Update{
		{Image: busybox, Grace: second()}, {Env: map[string]string{"LEVEL": "info"}, Grace: second()}, {Memory: 64 << 20, Grace: second()},
	} {
		p := r.worker(-1, false)
		a := act{spec: replace.RecreateSpec(), fault: &replace.Recreate{Update: u}}
		record, err := a.begin(r, p)
		r.must(err)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		w, err := a.spec.Effect.Confirm(ctx, p.env, record, true)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "had") {
			t.Errorf("%d: the witness is %+v, %v", n, w, err)
		}
		r.heal(p, a.spec.Effect)
	}
	if got := fmt.Sprint(len(r.now())); got != "1" {
		t.Errorf("%s containers", got)
	}
}
