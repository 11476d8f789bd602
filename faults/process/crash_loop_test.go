package process_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/process"
	"github.com/discompose/discompose/internal/units"
)

func (s scene) finished(t *testing.T, spec faults.Spec, r faults.Record) bool {
	t.Helper()
	finisher, ok := spec.Effect.(faults.Finisher)
	if !ok {
		t.Fatalf("%s is no Finisher", spec.Kind)
	}
	done, err := finisher.Finished(t.Context(), s.env, r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func (s scene) restarts(t *testing.T) int {
	t.Helper()
	c, err := s.env.Engine.Inspect(t.Context(), on.Container)
	if err != nil {
		t.Fatal(err)
	}
	return c.RestartCount
}

func TestACrashLoopEndsByItsCount(t *testing.T) {
	for _, policy := range []string{"always", "unless-stopped", "on-failure"} {
		bubble(t, policy, func(t *testing.T) {
			s, spec := set(faulttest.Box{Policy: policy}), process.CrashLoopSpec()
			f := &process.CrashLoop{Count: 5}
			if !f.Finite() || (&process.CrashLoop{}).Finite() || !f.ByPolicy() {
				t.Error("a loop is finite with a count, and always bound to the policy")
			}
			r := s.begin(t, "l", spec, f)
			if _, err := s.confirm(t, spec, r); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for !s.finished(t, spec, r) {
				time.Sleep(time.Millisecond)
			}
			// 200, 400, 800 and 1600 ms of back-off after the first, which the witness waited for.
			if took := time.Since(began); took < 3*time.Second || took > 4*time.Second || s.restarts(t) != 5 {
				t.Errorf("it finished after %s and %d restarts", took, s.restarts(t))
			}
			time.Sleep(time.Minute)
			w := s.end(t, spec, r)
			if want := "killed 5 times, restarted 5 times by policy " + policy; !strings.Contains(w.Note, want) || s.restarts(t) != 5 {
				t.Errorf("%d restarts, and the note is %q, want %q", s.restarts(t), w.Note, want)
			}
		})
	}
}

func TestACrashLoopLeavesEachProcessItsUptime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, spec := set(faulttest.Box{Policy: "always"}), process.CrashLoopSpec()
		r := s.begin(t, "l", spec, &process.CrashLoop{Uptime: units.Duration(20 * time.Second)})
		time.Sleep(time.Minute)
		// After 10 s of running the back-off begins anew: 20 s and a tenth for each.
		if n := s.restarts(t); n != 2 {
			t.Errorf("%d restarts in a minute", n)
		}
		s.end(t, spec, r)
	})
}

func TestUndoDoesNotWaitForTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, spec := set(faulttest.Box{Policy: "always"}), process.CrashLoopSpec()
		r := s.begin(t, "l", spec, &process.CrashLoop{})
		time.Sleep(40 * time.Second) // 25.6 s of back-off are over, and the one of 51.2 s has begun
		if s.w.State("c1").Running {
			t.Fatal("it runs in the middle of the back-off")
		}
		began := time.Now()
		w := s.end(t, spec, r)
		if took := time.Since(began); took > 2*time.Second || !s.w.State("c1").Running {
			t.Errorf("after %s it is %+v: %s", took, s.w.State("c1"), w.Note)
		}
	})
}

func TestACrashLoopWhoseProcessOutlivesItsSignalHasNoWitness(t *testing.T) {
	for _, tt := range []struct {
		name  string
		box   faulttest.Box
		says  string
		ended bool
	}{
		{"it handles the signal", faulttest.Box{Policy: "always", Survives: []string{"SIGTERM"}}, "still there after SIGTERM", false},
		{"it exits with 0, and the policy is for failures", faulttest.Box{Policy: "on-failure", Exits: []string{"SIGTERM"}}, `restart policy "on-failure" has not started it again (exit code 0)`, true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s, spec := set(tt.box), process.CrashLoopSpec()
			r := s.begin(t, "l", spec, &process.CrashLoop{Signal: "SIGTERM", Count: 2})
			if w, err := s.confirm(t, spec, r); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("witness %+v, error %v", w, err)
			}
			if s.finished(t, spec, r) != tt.ended {
				t.Errorf("finished: %t", !tt.ended)
			}
			s.end(t, spec, r)
			if !s.w.State("c1").Running {
				t.Error("it is down after the undo")
			}
		})
	}
}

func TestACrashLoopIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		box  faulttest.Box
		api  bool
		down bool
		says string
	}{
		{"without a restart policy", faulttest.Box{}, false, false, "no restart policy"},
		{"without an agent", faulttest.Box{Policy: "always"}, true, false, "needs"},
		{"of a container that is down", faulttest.Box{Policy: "always"}, false, true, "not running"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := set(tt.box)
			if tt.api {
				s.env = s.w.APIOnly(s.env.Journal)
			}
			if tt.down {
				if err := s.env.Engine.Do(t.Context(), "c1", faults.Action{Verb: faults.DoStop}); err != nil {
					t.Fatal(err)
				}
			}
			_, err := (&process.CrashLoop{}).Prepare(t.Context(), s.env, on)
			if !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("prepare: %v", err)
			}
		})
	}
}

func TestTheEndOfAStopLetsACrashLoopGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, loop, stop := set(faulttest.Box{Policy: "always"}), process.CrashLoopSpec(), process.StopSpec()
		l := s.begin(t, "l", loop, &process.CrashLoop{Uptime: units.Duration(time.Second)})
		st := s.begin(t, "s", stop, &process.Stop{DownFor: units.Duration(time.Minute)})
		time.Sleep(time.Minute)
		if s.w.State("c1").Running {
			t.Error("it was started while it had to stay down")
		}
		s.end(t, stop, st)
		if !s.settled(t, stop, st) {
			t.Error("the stop is not settled")
		}
		time.Sleep(10 * time.Second)
		if n := s.restarts(t); n < 3 {
			t.Errorf("%d crashes in 10 s after the stop", n)
		}
		s.end(t, loop, l)
	})
}

func TestNothingOfOursCutsTheBackOffShort(t *testing.T) {
	for _, tt := range []struct {
		spec faults.Spec
		f    faults.Fault
	}{
		{process.PauseSpec(), &process.Pause{}},
		{process.KillSpec(), &process.Kill{}},
		{process.CrashLoopSpec(), &process.CrashLoop{Uptime: units.Duration(time.Hour)}},
		{process.StopSpec(), &process.Stop{DownFor: units.Duration(time.Second)}},
	} {
		bubble(t, string(tt.spec.Kind), func(t *testing.T) {
			s, loop := set(faulttest.Box{Policy: "always"}), process.CrashLoopSpec()
			l := s.begin(t, "l", loop, &process.CrashLoop{})
			time.Sleep(10 * time.Second) // the back-off is 6.4 s
			before := s.restarts(t)
			other, err := tt.f.Prepare(t.Context(), s.env, on)
			if err != nil {
				t.Fatal(err)
			}
			other.ID = "other"
			if settler, ok := tt.spec.Effect.(faults.Settler); ok {
				if done, err := settler.Settled(t.Context(), s.env, other); !done || err != nil {
					t.Errorf("settled in the back-off of a loop: %t, %v", done, err)
				}
			}
			s.end(t, tt.spec, other) // as after a crash between the journal and the call
			if s.w.State("c1").Running || s.restarts(t) != before {
				t.Error("it was started in the middle of the back-off")
			}
			s.end(t, loop, l)
		})
	}
}

// same fails if another process runs after a while.
func (s scene) same(t *testing.T) {
	t.Helper()
	c, err := s.env.Engine.Inspect(t.Context(), on.Container)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	now, err := s.env.Engine.Inspect(t.Context(), on.Container)
	if err != nil || !now.Running || now.PID != c.PID || now.PID == 0 {
		t.Errorf("after the undo it was %+v, and a minute later it is %+v, %v", c, now, err)
	}
}

func TestTheUndoWaitsForALastKillThatIsUnderWay(t *testing.T) {
	second := units.Duration(time.Second)
	for _, tt := range []struct {
		name   string
		box    faulttest.Box
		signal string
		after  time.Duration // a kill, whose instant follows from the uptime and the back-offs
		kills  int
		most   time.Duration
	}{
		{"the engine does not know yet, and the back-off will be 3.2 s", faulttest.Box{}, "SIGKILL", 9126 * time.Millisecond, 6, 400 * time.Millisecond},
		{"the engine takes long to know", faulttest.Box{Unnoticed: 800 * time.Millisecond}, "SIGKILL", 3 * time.Second, 2, 5 * time.Second},
		{"the process takes its time", faulttest.Box{Takes: 4 * time.Second}, "SIGTERM", 7 * time.Second, 2, 20 * time.Second},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			tt.box.Policy = "always"
			s, spec := set(tt.box), process.CrashLoopSpec()
			r := s.begin(t, "l", spec, &process.CrashLoop{Uptime: second, Signal: tt.signal})
			began := time.Now()
			time.Sleep(tt.after)
			if !s.w.State("c1").Running || s.restarts(t) != tt.kills-1 {
				t.Fatalf("%d restarts, and it is %+v", s.restarts(t), s.w.State("c1"))
			}
			w := s.end(t, spec, r)
			if took := time.Since(began) - tt.after; took > tt.most || !strings.Contains(w.Note, fmt.Sprintf("killed %d times", tt.kills)) {
				t.Errorf("the undo took %s: %s", took, w.Note)
			}
			s.same(t)
		})
	}
}

func TestTheUndoOfALoopWhoseAgentHasJustEndedWaitsForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, spec := set(faulttest.Box{Policy: "always"}), process.CrashLoopSpec()
		r := s.begin(t, "l", spec, &process.CrashLoop{})
		s.w.EndAgent()
		s.env = s.w.APIOnly(s.env.Journal)
		s.end(t, spec, r)
		s.same(t)
	})
}
