package process_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/process"
	"github.com/discompose/discompose/internal/units"
)

var on = faults.Target{Service: "web", Number: 1, Container: "c1", Name: "web-1"}

func ptr[T any](v T) *T { return &v }

func TestValidateNamesTheKey(t *testing.T) {
	second := units.Duration(time.Second)
	for _, tt := range []struct {
		name string
		in   faults.Fault
		keys []string
		hint string
	}{
		{"pause has no parameters", &process.Pause{}, nil, ""},
		{"stop", &process.Stop{DownFor: second, Grace: ptr(units.Duration(0))}, nil, ""},
		{"stop without down", &process.Stop{}, []string{"down"}, `down = "5s"`},
		{"stop reports every problem", &process.Stop{Grace: ptr(second / 2)}, []string{"down", "grace"}, `down = "5s"`},
		{"restart with a broken grace", &process.Restart{Grace: ptr(second / 2)}, []string{"grace"}, `grace = "1s"`},
		{"kill by default", &process.Kill{}, nil, ""},
		{"kill with a signal that does not end a process", &process.Kill{Signal: "SIGSTOP"}, []string{"signal"}, "SIGKILL"},
		{"kill with a short name", &process.Kill{Signal: "term"}, []string{"signal"}, `signal = "SIGTERM"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.in.Validate()
			var keys []string
			var hint string
			for _, e := range flatten(err) {
				var pe *faults.ParamError
				if !errors.As(e, &pe) {
					t.Fatalf("%v is no ParamError", e)
				}
				keys = append(keys, pe.Key)
				if hint == "" {
					hint = pe.Hint
				}
			}
			if !slices.Equal(keys, tt.keys) || !strings.Contains(hint, tt.hint) {
				t.Errorf("keys %v, hint %q: %v", keys, hint, err)
			}
		})
	}
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

func TestSignalsAreTheEnum(t *testing.T) {
	spec := process.KillSpec()
	k := &process.Kill{}
	for _, s := range faulttest.Enum(t, spec.New(), "signal") {
		if k.Signal = s; k.Validate() != nil {
			t.Errorf("the documented signal %s is refused", s)
		}
	}
}

// scene is one container in a fake world.
type scene struct {
	w   *faulttest.World
	env faults.Env
}

func set(box faulttest.Box) scene {
	box.ID = on.Container
	w := faulttest.NewWorld(1, box)
	return scene{w, w.Env(&faults.State{})}
}

func (s scene) begin(t *testing.T, id string, spec faults.Spec, f faults.Fault) faults.Record {
	t.Helper()
	r, err := f.Prepare(t.Context(), s.env, on)
	if err != nil {
		t.Fatal(err)
	}
	r.ID = id
	if err := s.env.Journal.Intend(r); err != nil {
		t.Fatal(err)
	}
	defer s.env.Journal.Lock(on.Container)()
	if err := spec.Effect.Apply(t.Context(), s.env, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (s scene) confirm(t *testing.T, spec faults.Spec, r faults.Record) (faults.Witness, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return spec.Effect.Confirm(ctx, s.env, r, true)
}

func (s scene) settled(t *testing.T, spec faults.Spec, r faults.Record) bool {
	t.Helper()
	settler, ok := spec.Effect.(faults.Settler)
	if !ok {
		t.Fatalf("%s is no Settler", spec.Kind)
	}
	done, err := settler.Settled(t.Context(), s.env, r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// bubble runs a subtest in a bubble of its own, where time passes at once.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func (s scene) end(t *testing.T, spec faults.Spec, r faults.Record) faults.Witness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w, err := faults.Undo(ctx, s.env, spec.Effect, r)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestKillLeavesTheReturnToTheRestartPolicy(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		agent        bool
		waits        bool // Settled is false until the policy has acted
	}{
		{"always", "always", true, true},
		{"on-failure", "on-failure", true, true},
		{"no", "no", true, false},
		{"docker kill disables it", "always", false, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s, spec := set(faulttest.Box{Policy: tt.policy}), process.KillSpec()
			if !tt.agent {
				s.env = s.w.APIOnly(s.env.Journal)
			}
			r := s.begin(t, "k", spec, &process.Kill{})
			if _, err := s.confirm(t, spec, r); err != nil {
				t.Fatal(err)
			}
			if got := s.settled(t, spec, r); got == tt.waits {
				t.Errorf("settled after the kill: %t", got)
			}
			time.Sleep(time.Second)
			if !s.settled(t, spec, r) || s.w.State("c1").Running != tt.waits {
				t.Errorf("after a second: settled %t, %+v", s.settled(t, spec, r), s.w.State("c1"))
			}
			w := s.end(t, spec, r)
			if !s.w.State("c1").Running || strings.Contains(w.Note, "restart policy") != tt.waits {
				t.Errorf("after the undo: %+v, %q", s.w.State("c1"), w.Note)
			}
		})
	}
}

func TestKillNeedsAPolicyUnlessItStartsTheTargetItself(t *testing.T) {
	for down, want := range map[units.Duration]bool{0: true, units.Duration(time.Second): false} {
		var f faults.Fault = &process.Kill{DownFor: down}
		if p, ok := f.(faults.PolicyBound); !ok || p.ByPolicy() != want {
			t.Errorf("down = %s: bound to its policy %v, want %v", down, !want, want)
		}
	}
}

func TestKillThatIsSurvivedHasNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, spec := set(faulttest.Box{Survives: []string{"SIGHUP"}}), process.KillSpec()
		r := s.begin(t, "k", spec, &process.Kill{Signal: "SIGHUP"})
		if w, err := s.confirm(t, spec, r); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), "SIGHUP") {
			t.Errorf("witness %+v, error %v", w, err)
		}
		s.end(t, spec, r)
	})
}

func TestKillOfAPausedContainerActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(faulttest.Box{Policy: "always"})
		p := s.begin(t, "p", process.PauseSpec(), &process.Pause{})
		k := s.begin(t, "k", process.KillSpec(), &process.Kill{})
		if _, err := s.confirm(t, process.KillSpec(), k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.end(t, process.KillSpec(), k)
		if got := s.w.State("c1"); !got.Running || !got.Paused {
			t.Errorf("the pause is still active and the new process is %+v", got)
		}
		s.end(t, process.PauseSpec(), p)
	})
}

func TestNothingStartsAContainerThatAStopOrAKillKeepsDown(t *testing.T) {
	for _, tt := range []struct {
		spec faults.Spec
		down faults.Fault
	}{
		{process.StopSpec(), &process.Stop{DownFor: units.Duration(time.Minute)}},
		{process.KillSpec(), &process.Kill{DownFor: units.Duration(time.Minute)}},
	} {
		bubble(t, string(tt.spec.Kind), func(t *testing.T) {
			s := set(faulttest.Box{})
			down := s.begin(t, "down", tt.spec, tt.down)
			time.Sleep(time.Second)
			pause := s.begin(t, "p", process.PauseSpec(), &process.Pause{})
			w, err := s.confirm(t, process.PauseSpec(), pause)
			if err != nil || !strings.Contains(w.Note, "down") {
				t.Errorf("witness of a pause on a container that is down: %+v, %v", w, err)
			}
			restart := s.begin(t, "r", process.RestartSpec(), &process.Restart{})
			if w, err := s.confirm(t, process.RestartSpec(), restart); !errors.Is(err, faults.ErrNoWitness) {
				t.Errorf("witness of a restart of nothing: %+v, %v", w, err)
			}
			kill := s.begin(t, "k", process.KillSpec(), &process.Kill{})
			if w, err := s.confirm(t, process.KillSpec(), kill); !errors.Is(err, faults.ErrNoWitness) {
				t.Errorf("witness of a kill of nothing: %+v, %v", w, err)
			}
			s.end(t, process.KillSpec(), kill)
			s.end(t, process.RestartSpec(), restart)
			s.end(t, process.PauseSpec(), pause)
			if s.w.State("c1").Running {
				t.Error("it was started while it had to stay down")
			}
			s.end(t, tt.spec, down)
			if got := s.w.State("c1"); !got.Running || got.Paused {
				t.Errorf("at the end it is %+v", got)
			}
		})
	}
}

func TestAPausedContainerThatUsesCPUTimeHasNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(faulttest.Box{CPUs: 1, Leaks: true})
		r := s.begin(t, "p", process.PauseSpec(), &process.Pause{})
		if w, err := s.confirm(t, process.PauseSpec(), r); !errors.Is(err, faults.ErrNoWitness) {
			t.Errorf("witness %+v, error %v", w, err)
		}
		s.end(t, process.PauseSpec(), r)
	})
}

func TestPrepareRefusesSomebodyElsesPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(faulttest.Box{})
		if err := s.env.Engine.Do(t.Context(), "c1", faults.Action{Verb: faults.DoPause}); err != nil {
			t.Fatal(err)
		}
		for _, f := range []faults.Fault{&process.Pause{}, &process.Stop{}, &process.Kill{}, &process.Restart{}} {
			if _, err := f.Prepare(t.Context(), s.env, on); !errors.Is(err, faults.ErrUnsupported) {
				t.Errorf("prepare %T: %v", f, err)
			}
		}
	})
}

func TestPrepareWaitsForAnotherFaultToEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec faults.Spec
		f    faults.Fault
	}{
		{"a pause", process.PauseSpec(), &process.Pause{}},
		{"a stop", process.StopSpec(), &process.Stop{DownFor: units.Duration(time.Second)}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := set(faulttest.Box{})
			r := s.begin(t, "first", tt.spec, tt.f)
			// What Undo does, with the engine busy for a while between the two.
			if err := s.env.Journal.Release(r); err != nil {
				t.Fatal(err)
			}
			reverted := make(chan error, 1)
			time.AfterFunc(300*time.Millisecond, func() { reverted <- tt.spec.Effect.Revert(t.Context(), s.env, r) })
			if _, err := (&process.Pause{}).Prepare(t.Context(), s.env, on); err != nil {
				t.Errorf("prepare: %v", err)
			}
			if err := <-reverted; err != nil {
				t.Fatal(err)
			}
		})
	}
}
