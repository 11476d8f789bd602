package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
)

// switches is an Effect on a set of switches: a record's switch is on while it is active. It tells what was called.
type switches struct {
	on      map[string]bool
	calls   []string
	hang    bool  // Revert waits for its ctx
	apply   error // what Apply says after it has acted
	confirm error // what Confirm(active) says
	stays   int   // reverts that have no effect
}

func (s *switches) Apply(_ context.Context, _ faults.Env, r faults.Record) error {
	s.calls = append(s.calls, "apply "+r.ID)
	s.on[r.ID] = true
	return s.apply
}

func (s *switches) Confirm(_ context.Context, _ faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if active && s.confirm != nil {
		return faults.Witness{}, s.confirm
	}
	if s.on[r.ID] != active {
		return faults.Witness{}, faults.ErrNoWitness
	}
	return faults.Witness{What: "switch", Note: r.ID}, nil
}

func (s *switches) Revert(ctx context.Context, _ faults.Env, r faults.Record) error {
	s.calls = append(s.calls, "revert "+r.ID)
	if s.hang {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if s.stays > 0 {
		s.stays--
		return nil
	}
	delete(s.on, r.ID)
	return nil
}

func rec(id string) faults.Record {
	return faults.Record{V: faults.RecordVersion, ID: id, Kind: "switch", On: faults.Target{Service: "db", Container: "c1"}, Want: json.RawMessage("1")}
}

func setUp() (*switches, *faults.State, faults.Env) {
	j := &faults.State{}
	return &switches{on: map[string]bool{}}, j, faults.Env{Journal: j, Now: func() int64 { return time.Now().UnixNano() }}
}

var budgets = faults.Budgets{Confirm: time.Second, Heal: 5 * time.Second}

func TestHoldRunsTheBodyBetweenWitnesses(t *testing.T) {
	s, j, env := setUp()
	var told []string
	o := faults.Observer{
		Ready:     func(context.Context) error { told = append(told, "ready"); return nil },
		Applied:   func(faults.Record, int64) { told = append(told, "applied") },
		Confirmed: func(faults.Record, faults.Witness) { told = append(told, "confirmed") },
		Reverting: func(faults.Record, int64) { told = append(told, "reverting") },
		Gone:      func(faults.Record, faults.Witness) { told = append(told, "gone") },
	}
	err := faults.Hold(t.Context(), env, s, rec("a"), budgets, o, func(_ context.Context, w faults.Witness) error {
		told = append(told, "body")
		if !s.on["a"] || w.At == 0 || len(j.Active("c1")) != 1 {
			t.Errorf("inside: on %t, witness %+v, active %v", s.on["a"], w, j.Active("c1"))
		}
		return nil
	})
	if err != nil || s.on["a"] || len(j.Owed()) != 0 {
		t.Errorf("after: %v, on %t, owed %v", err, s.on["a"], j.Owed())
	}
	want := []string{"ready", "applied", "confirmed", "body", "reverting", "gone"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("observer (-want +got):\n%s", diff)
	}
}

func TestHoldRevertsOnEveryPath(t *testing.T) {
	stop := errors.New("interrupted")
	for _, tt := range []struct {
		name string
		set  func(*switches)
		body func(cancel context.CancelCauseFunc, ctx context.Context) error
	}{
		{"the run is cancelled", func(*switches) {}, func(cancel context.CancelCauseFunc, ctx context.Context) error {
			cancel(stop)
			<-ctx.Done()
			return context.Cause(ctx)
		}},
		{"the body fails", func(*switches) {}, func(context.CancelCauseFunc, context.Context) error { return stop }},
		{"the apply fails after it acted", func(s *switches) { s.apply = stop }, nil},
		{"the witness is missing", func(s *switches) { s.confirm = stop }, nil},
		{"the first reverts have no effect", func(s *switches) { s.stays = 3 }, func(context.CancelCauseFunc, context.Context) error { return stop }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, j, env := setUp()
				tt.set(s)
				ctx, cancel := context.WithCancelCause(t.Context())
				ran := false
				err := faults.Hold(ctx, env, s, rec("a"), budgets, faults.Observer{}, func(ctx context.Context, _ faults.Witness) error {
					ran = true
					return tt.body(cancel, ctx)
				})
				if !errors.Is(err, stop) || ran != (tt.body != nil) {
					t.Errorf("error %v, body ran: %t", err, ran)
				}
				var dirty *faults.HealError
				if errors.As(err, &dirty) || s.on["a"] || len(j.Owed()) != 0 {
					t.Errorf("not undone: %v, on %t, owed %v", err, s.on["a"], j.Owed())
				}
			})
		})
	}
}

func TestHoldRevertsOnPanic(t *testing.T) {
	s, j, env := setUp()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = faults.Hold(t.Context(), env, s, rec("a"), budgets, faults.Observer{}, func(context.Context, faults.Witness) error { panic("x") })
	}()
	if s.on["a"] || len(j.Owed()) != 0 {
		t.Errorf("not undone: on %t, owed %v", s.on["a"], j.Owed())
	}
}

func TestHoldGivesUpHealingAfterItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, j, env := setUp()
		var began time.Time
		err := faults.Hold(t.Context(), env, s, rec("a"), budgets, faults.Observer{}, func(ctx context.Context, _ faults.Witness) error {
			s.hang = true
			err := faults.Pause(ctx, time.Hour) // a long hold takes nothing from the budget
			began = time.Now()
			return err
		})
		var dirty *faults.HealError
		if !errors.As(err, &dirty) || dirty.Record.ID != "a" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(began); took != budgets.Heal {
			t.Errorf("healing took %s of its budget of %s", took, budgets.Heal)
		}
		if len(j.Owed()) != 1 || len(j.Active("c1")) != 0 {
			t.Errorf("owed %v, active %v", j.Owed(), j.Active("c1"))
		}
	})
}

func TestHoldDoesNothingThatIsNotJournalled(t *testing.T) {
	s, j, env := setUp()
	full := errors.New("disk full")
	j.Commit = func(faults.Entry) error { return full }
	err := faults.Hold(t.Context(), env, s, rec("a"), budgets, faults.Observer{}, func(context.Context, faults.Witness) error { return nil })
	if !errors.Is(err, full) || len(s.calls) != 0 || len(j.Active("c1")) != 0 {
		t.Errorf("error %v, calls %v, active %v", err, s.calls, j.Active("c1"))
	}
}

func TestUndoActsThoughTheJournalCannot(t *testing.T) {
	for _, fails := range []faults.EntryType{faults.EntryRelease, faults.EntryDone} {
		t.Run(string(fails), func(t *testing.T) {
			s, j, env := setUp()
			full := errors.New("disk full")
			j.Commit = func(e faults.Entry) error {
				if e.Type == fails {
					return full
				}
				return nil
			}
			err := faults.Hold(t.Context(), env, s, rec("a"), budgets, faults.Observer{}, func(context.Context, faults.Witness) error { return nil })
			var dirty *faults.HealError
			if !errors.As(err, &dirty) || !errors.Is(err, full) {
				t.Errorf("error is %v", err)
			}
			if s.on["a"] || len(j.Active("c1")) != 0 || len(j.Owed()) != 1 {
				t.Errorf("on %t, active %v, owed %v", s.on["a"], j.Active("c1"), j.Owed())
			}
		})
	}
}

func TestHealThawsFirstThenNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, j, env := setUp()
		kinds := []faults.Kind{"pause", "limit", "pause", "unknown", "limit", "broken"}
		for i, k := range kinds {
			r := rec(string(rune('a' + i)))
			r.Kind = k
			if err := j.Intend(r); err != nil {
				t.Fatal(err)
			}
			s.on[r.ID] = true
		}
		broken := &switches{on: map[string]bool{}, hang: true}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		healed, err := faults.Heal(ctx, env, j.Owed(), func(k faults.Kind) (faults.Effect, faults.Family, bool) {
			switch k {
			case "pause":
				return s, faults.Process, true
			case "limit":
				return s, faults.Resource, true
			case "broken":
				return broken, faults.Disk, true
			}
			return nil, "", false
		})
		want := []string{"revert c", "revert a", "revert e", "revert b"}
		var dirty *faults.HealError
		if !errors.As(err, &dirty) {
			t.Errorf("error is %v", err)
		}
		var owed []string
		for _, r := range j.Owed() {
			owed = append(owed, r.ID)
		}
		slices.Sort(owed)
		if diff := cmp.Diff([]string{"d", "f"}, owed); diff != "" {
			t.Errorf("owed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, s.calls); diff != "" || len(healed) != 4 {
			t.Errorf("healed %d; calls (-want +got):\n%s", len(healed), diff)
		}
	})
}

func TestAwaitReturnsWhatWasMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		looks := 0
		_, err := faults.Await(ctx, 100*time.Millisecond, func() (faults.Witness, error) {
			looks++
			return faults.Witness{}, faults.ErrNoWitness
		})
		if !errors.Is(err, faults.ErrNoWitness) || !errors.Is(err, context.DeadlineExceeded) || looks < 10 {
			t.Errorf("after %d looks: %v", looks, err)
		}
		other := errors.New("engine is gone")
		looks = 0
		_, err = faults.Await(ctx, time.Second, func() (faults.Witness, error) { looks++; return faults.Witness{}, other })
		if !errors.Is(err, other) || looks != 1 {
			t.Errorf("after %d looks: %v", looks, err)
		}
	})
}
