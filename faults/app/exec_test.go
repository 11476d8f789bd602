package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/app"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/internal/units"
)

var on = faults.Target{Service: "web", Number: 1, Container: "c1", Name: "web-1"}

// marks is a fault that makes a file.
func marks(file string) *app.Exec {
	return &app.Exec{Apply: []string{"touch", file}, Undo: []string{"rm", file}, Witness: []string{"test", "-e", file}}
}

func shell(script string) []string { return []string{"sh", "-c", script} }

// scene is one container in a fake world.
type scene struct {
	*testing.T
	w       *faulttest.World
	env     faults.Env
	journal [][]byte
	effect  faults.Effect
	clean   faulttest.State
}

// play runs a test in a bubble, where time passes at once.
func play(t *testing.T, policy string, test func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{T: t, w: faulttest.NewWorld(1, faulttest.Box{ID: "c1", Policy: policy}), effect: app.ExecSpec().Effect}
		s.env = s.w.Env(&faults.State{Commit: func(e faults.Entry) error {
			line, err := json.Marshal(e)
			s.journal = append(s.journal, line)
			return err
		}})
		s.clean = s.w.State("c1")
		test(s)
		if got := s.w.State("c1"); !t.Failed() && got != s.clean {
			t.Errorf("at the end it is %+v, and it was %+v", got, s.clean)
		}
	})
}

func (s *scene) prepare(id string, f *app.Exec) faults.Record {
	s.Helper()
	r, err := f.Prepare(s.Context(), s.env, on)
	if err != nil {
		s.Fatal(err)
	}
	r.ID = id
	if err := s.env.Journal.Intend(r); err != nil {
		s.Fatal(err)
	}
	return r
}

// begin applies a fault and confirms it.
func (s *scene) begin(id string, f *app.Exec) faults.Record {
	s.Helper()
	r := s.prepare(id, f)
	if err := s.effect.Apply(s.Context(), s.env, r); err != nil {
		s.Fatal(err)
	}
	if _, err := s.effect.Confirm(s.Context(), s.env, r, true); err != nil {
		s.Fatal(err)
	}
	return r
}

func (s *scene) undo(env faults.Env, r faults.Record) error {
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	_, err := faults.Undo(ctx, env, s.effect, r)
	return err
}

func (s *scene) end(r faults.Record) {
	s.Helper()
	if err := s.undo(s.env, r); err != nil {
		s.Fatal(err)
	}
}

// elsewhere is the world as another process sees it that has only the journal's lines.
func (s *scene) elsewhere() faults.Env {
	s.Helper()
	state := &faults.State{}
	for _, line := range s.journal {
		var e faults.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			s.Fatal(err)
		}
		if err := state.Replay(e); err != nil {
			s.Fatal(err)
		}
	}
	env := s.env
	env.Journal = state
	return env
}

func (s *scene) has(file string) bool {
	return slices.Contains(strings.Fields(s.w.State("c1").Files), file)
}

func TestPrepareRefuses(t *testing.T) {
	do := func(v faults.Verb) func(*scene) {
		return func(s *scene) {
			if err := s.env.Engine.Do(s.Context(), "c1", faults.Action{Verb: v}); err != nil {
				s.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		before func(*scene)
		f      *app.Exec
		says   string
		after  func(*scene)
	}{
		{"what is so before", nil, &app.Exec{Witness: []string{"echo", "open"}, Matches: "^open"}, "already so before: `echo open` in web exits with 0: open, which matches ^open", nil},
		{"a witness that cannot run", nil, &app.Exec{Witness: []string{"curll"}}, "executable file not found", nil},
		{"a witness that does not answer", nil, &app.Exec{Witness: []string{"sleep", "99"}, Timeout: units.Duration(time.Second)}, "it took too long", nil},
		{"a paused target", do(faults.DoPause), marks("/x"), "paused", do(faults.DoUnpause)},
		{"a target that is down", do(faults.DoStop), marks("/x"), "down (exit code 0)", do(faults.DoStart)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, "", func(s *scene) {
				if tt.before != nil {
					tt.before(s)
				}
				_, err := tt.f.Prepare(s.Context(), s.env, on)
				if !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), tt.says) {
					s.Errorf("prepare: %v, want %q", err, tt.says)
				}
				if tt.after != nil {
					tt.after(s)
				}
			})
		})
	}
}

func TestTheOutputMustMatch(t *testing.T) {
	play(t, "", func(s *scene) {
		f := marks("/x")
		f.Witness, f.Matches = []string{"echo", "closed"}, "^open$"
		r := s.prepare("a", f)
		if err := s.effect.Apply(s.Context(), s.env, r); err != nil {
			s.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		w, err := s.effect.Confirm(ctx, s.env, r, true)
		if !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), "closed, which does not match ^open$") {
			s.Errorf("witness %+v, %v", w, err)
		}
		s.end(r)
	})
}

func TestAnApplyThatFailsIsAnErrorWithItsOutputAndIsUndone(t *testing.T) {
	play(t, "", func(s *scene) {
		f := marks("/x")
		f.Apply = shell("touch /x && echo one && echo two && echo three && echo four && false")
		r := s.prepare("a", f)
		err := s.effect.Apply(s.Context(), s.env, r)
		if err == nil || !strings.Contains(err.Error(), "exits with 1: two / three / four") || !s.has("/x") {
			s.Errorf("apply: %v", err)
		}
		s.end(r)
		// One that did nothing at all: its undo has nothing to do, and fails.
		f.Apply = []string{"false"}
		r = s.prepare("b", f)
		if err := s.effect.Apply(s.Context(), s.env, r); err == nil {
			s.Error("apply did nothing and succeeded")
		}
		s.end(r)
	})
}

func TestAnUndoThatFailsIsAnErrorWithItsOutput(t *testing.T) {
	play(t, "", func(s *scene) {
		f := marks("/x")
		f.Undo = shell("rm /x && echo sorry && false")
		r := s.begin("a", f)
		err := s.undo(s.env, r)
		var dirty *faults.HealError
		// The witness no longer holds; but what else the command should have done, nobody knows.
		if !errors.As(err, &dirty) || !strings.Contains(err.Error(), "rm: /x: No such file or directory") || s.has("/x") {
			s.Errorf("undo: %v", err)
		}
	})
}

func TestAnEffectThatWentWithItsProcessIsUndone(t *testing.T) {
	for _, tt := range []struct {
		name, file, policy string
		down               bool
	}{
		{"restarted by its policy", "/dev/shm/x", "always", false},
		{"down by itself", "/dev/shm/x", "", true},
		{"one that stays, restarted by its policy", "/x", "always", false},
		{"one that stays, down by itself", "/x", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.policy, func(s *scene) {
				r := s.begin("a", marks(tt.file))
				s.w.Exit("c1", 1)
				time.Sleep(time.Second)
				if s.w.State("c1").Running == tt.down {
					s.Fatalf("it is %+v", s.w.State("c1"))
				}
				s.end(r)
			})
		})
	}
}

func TestTheUndoWaitsForWhatKeepsTheTargetFromIt(t *testing.T) {
	for _, tt := range []struct {
		kind       faults.Kind
		begin, end faults.Verb
	}{
		{"pause", faults.DoPause, faults.DoUnpause},
		{"stop", faults.DoStop, faults.DoStart},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			play(t, "", func(s *scene) { s.undoWaits(tt.kind, tt.begin, tt.end) })
		})
	}
}

// undoWaits undoes a fault while another kind has done something to the target.
func (s *scene) undoWaits(kind faults.Kind, begin, end faults.Verb) {
	r := s.begin("a", marks("/x"))
	other, err := faults.NewRecord(kind, on, nil)
	if err != nil {
		s.Fatal(err)
	}
	other.ID = "other"
	if err := errors.Join(s.env.Journal.Intend(other), s.env.Engine.Do(s.Context(), "c1", faults.Action{Verb: begin})); err != nil {
		s.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.undo(s.env, r) }()
	time.Sleep(10 * time.Second)
	select {
	case err := <-ended:
		s.Errorf("the undo did not wait: %v", err)
	default:
	}
	if !s.has("/x") {
		s.Error("it was undone in a target that cannot run anything")
	}
	if err := errors.Join(s.env.Engine.Do(s.Context(), "c1", faults.Action{Verb: end}), s.env.Journal.Done(other)); err != nil {
		s.Fatal(err)
	}
	if err := <-ended; err != nil {
		s.Error(err)
	}
}

func TestTheUndoWaitsForTheEndOfApply(t *testing.T) {
	for _, tt := range []struct {
		name  string
		agent bool
		takes string
	}{
		{"one that ends", false, "5"},
		{"one that is killed after its time", true, "3600"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, "", func(s *scene) {
				f := marks("/x")
				f.Apply = shell("sleep " + tt.takes + " && touch /x")
				r := s.prepare("a", f)
				dies, die := context.WithTimeout(s.Context(), time.Second) // the runner
				defer die()
				if err := s.effect.Apply(dies, s.env, r); err == nil {
					s.Fatal("apply did not take long")
				}
				env := s.elsewhere()
				if !tt.agent {
					env.Host = nil
				}
				if err := s.undo(env, r); err != nil {
					s.Error(err)
				}
				time.Sleep(2 * time.Hour) // it must not land after the undo
			})
		})
	}
}

func TestACommandThatTakesTooLongIsKilled(t *testing.T) {
	play(t, "", func(s *scene) {
		f := marks("/x")
		f.Apply, f.Timeout = shell("sleep 20 && touch /x"), units.Duration(2*time.Second)
		r := s.prepare("a", f)
		began := time.Now()
		err := s.effect.Apply(s.Context(), s.env, r)
		if err == nil || !strings.Contains(err.Error(), "it has not ended after 2s") || time.Since(began) > 3*time.Second {
			s.Errorf("apply: %v after %s", err, time.Since(began))
		}
		s.end(r)
		time.Sleep(time.Minute)
	})
}

func TestACommandThatTogglesEndsAtTheBase(t *testing.T) {
	play(t, "", func(s *scene) {
		f := marks("/off")
		f.Apply, f.Undo = []string{"mv", "/on", "/off"}, []string{"mv", "/off", "/on"}
		if _, err := run(s, "touch", "/on"); err != nil {
			s.Fatal(err)
		}
		s.clean = s.w.State("c1")
		s.end(s.prepare("never applied", f))
		r := s.begin("a", f)
		s.end(r)
		s.end(r)
		if err := s.undo(s.elsewhere(), r); err != nil { // after a crash between the undo and its entry in the journal
			s.Error(err)
		}
	})
}

func run(s *scene, argv ...string) (faults.Output, error) {
	x, ok := s.env.Engine.(faults.Execer)
	if !ok {
		s.Fatal("the fake runs no commands")
	}
	id, err := x.CreateExec(s.Context(), "c1", argv)
	if err != nil {
		return faults.Output{}, err
	}
	return x.RunExec(s.Context(), id)
}

func TestTwoExecsOnOneTargetEachUndoTheirOwn(t *testing.T) {
	for _, first := range []int{0, 1} {
		play(t, "", func(s *scene) {
			files := []string{"/a", "/b"}
			rs := []faults.Record{s.begin("a", marks(files[0])), s.begin("b", marks(files[1]))}
			s.end(rs[first])
			if s.has(files[first]) || !s.has(files[1-first]) {
				s.Errorf("after the end of %s there are %s", files[first], s.w.State("c1").Files)
			}
			s.end(rs[1-first])
		})
	}
}
