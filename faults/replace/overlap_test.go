package replace_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/process"
	"github.com/discompose/discompose/faults/replace"
)

func TestAContainerWithAnotherFaultIsNotReplaced(t *testing.T) {
	for _, k := range kinds() {
		t.Run(string(k.spec.Kind), func(t *testing.T) {
			play(t, 1, nil, func(t *testing.T, s scene) {
				early, err := k.f.Prepare(t.Context(), s.env, s.of(k.spec))
				if err != nil {
					t.Fatal(err)
				}
				pause := s.begin("freeze", process.PauseSpec(), &process.Pause{}, s.target(1))
				s.refusesDuringPause(k.spec, k.f)
				s.givesWayToPause(k.spec, early)
				go func() {
					time.Sleep(time.Second)
					s.end(process.PauseSpec(), pause)
				}()
				if _, err := k.f.Prepare(t.Context(), s.env, s.of(k.spec)); err != nil {
					t.Errorf("prepare while the pause ends: %v", err)
				}
				synctest.Wait()
			})
		})
	}
}

func (s scene) refusesDuringPause(spec faults.Spec, f faults.Fault) {
	s.t.Helper()
	began := time.Now()
	if _, err := f.Prepare(s.t.Context(), s.env, s.of(spec)); !errors.Is(err, faults.ErrUnsupported) {
		s.t.Errorf("prepare during a pause: %v", err)
	}
	if time.Since(began) < time.Second {
		s.t.Error("it did not wait for the pause to end")
	}
}

// givesWayToPause applies a record that was prepared before the pause began, and undoes it.
func (s scene) givesWayToPause(spec faults.Spec, early faults.Record) {
	s.t.Helper()
	early.ID = "early"
	if err := s.apply(spec, early); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), `pause "freeze"`) {
		s.t.Errorf("apply during a pause that began after prepare: %v", err)
	}
	s.end(spec, early)
	if !s.w.State("c1").Paused {
		s.t.Error("the undo of what was refused has ended the pause")
	}
}

func TestAContainerThatIsDueToGoTakesNoOtherFault(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec := replace.RecreateSpec()
		r := s.begin("update", spec, debug(), s.target(1))
		for _, f := range []faults.Fault{&process.Pause{}, &process.Kill{}, &process.Restart{}} {
			if _, err := f.Prepare(t.Context(), s.env, s.target(1)); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), `"update"`) {
				t.Errorf("prepare %T: %v", f, err)
			}
		}
		s.end(spec, r)
		if _, err := (&process.Pause{}).Prepare(t.Context(), s.env, s.target(1)); err != nil {
			t.Errorf("prepare on the container that came back: %v", err)
		}
	})
}

func TestTheNewestChangeCountsAndTheOlderComesBack(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec := replace.RecreateSpec()
		one := s.begin("one", spec, debug(), s.target(1))
		two := s.begin("two", spec, &replace.Recreate{Update: replace.Update{Command: []string{"serve", "-v"}, Grace: seconds(1)}}, s.target(1))
		if now := s.w.Service("web"); !strings.Contains(now, "[LEVEL=info]") || !strings.Contains(now, `[serve -v], record "two"`) {
			t.Errorf("with both: %s", now)
		}
		if _, err := s.confirm(spec, one); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), `recreate "two"`) {
			t.Errorf("the first was overtaken and its witness is %v", err)
		}
		away := replace.RemoveSpec()
		three := s.begin("three", away, &replace.Remove{}, s.target(1))
		if w := s.end(spec, two); !strings.Contains(w.Note, `stays away, by remove "three"`) {
			t.Errorf("the second ends while there is no container: %s", w.Note)
		}
		s.end(away, three)
		if now := s.w.Service("web"); !strings.Contains(now, "[LEVEL=debug]") || !strings.Contains(now, `record "one"`) {
			t.Errorf("with the first alone: %s", now)
		}
		s.end(spec, one)
		s.atBase()
	})
}

func TestAChangeThatComesWhileThereIsNoContainerWaitsForOne(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec, away := replace.RecreateSpec(), replace.RemoveSpec()
		late, err := debug().Prepare(t.Context(), s.env, s.target(1))
		if err != nil {
			t.Fatal(err)
		}
		late.ID = "late"
		first := s.begin("first", away, &replace.Remove{}, s.target(1))
		if err := s.apply(spec, late); err != nil {
			t.Fatal(err)
		}
		if w, err := s.confirm(spec, late); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), `remove "first"`) {
			t.Errorf("witness of a change to nothing: %+v, %v", w, err)
		}
		s.end(away, first)
		if _, err := s.confirm(spec, late); err != nil {
			t.Errorf("the container was made without the change: %v", err)
		}
		s.end(spec, late)
		s.atBase()
	})
}

func TestAContainerThatIsBeingGivenBackIsNotTakenForTheFirst(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		r := s.begin("r", replace.RecreateSpec(), debug(), s.target(1))
		if err := s.env.Journal.Release(r); err != nil {
			t.Fatal(err)
		}
		for _, k := range kinds() {
			if _, err := k.f.Prepare(t.Context(), s.env, s.of(k.spec)); !errors.Is(err, faults.ErrUnsupported) {
				t.Errorf("prepare %s: %v", k.spec.Kind, err)
			}
		}
	})
}
