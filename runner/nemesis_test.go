package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// stage is a nemesis in a bubble: time passes only while everybody waits.
type stage struct {
	*nemesis
	t    *testing.T
	base int64
	mu   sync.Mutex
	log  []string // what happened, in order
}

// perform runs a test in a bubble with a ledger of its own.
func perform(t *testing.T, play func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := testRun(t, "")
		s := &stage{t: t, nemesis: &nemesis{r: r, snapshot: func(string) {}}, base: r.clock.now() + second}
		s.target = func(_ context.Context, ref scenarios.Ref) (faults.Target, error) {
			return faults.Target{Service: ref.Service, Number: ref.Number, Container: fmt.Sprintf("%s-%d", ref.Service, ref.Number)}, nil
		}
		r.fenv = faults.Env{Journal: r.undo.state, Now: r.clock.now}
		play(t, s)
	})
}

func (s *stage) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// noting is a kind that notes what is called.
func (s *stage) noting(name string) *fakeFault {
	return &fakeFault{
		apply:  func(on faults.Target) error { s.note("apply %s on %s", name, on); return nil },
		revert: func(on faults.Target) error { s.note("revert %s on %s", name, on); return nil },
	}
}

func (s *stage) play(ctx context.Context, all ...Injection) error {
	return s.run(ctx, &Plan{Injections: all}, s.base)
}

// faultsByRecord reads the ledger's faults, with instants from the start of the timeline in whole milliseconds.
func (s *stage) faultsByRecord() map[string]ledger.Fault {
	s.t.Helper()
	out := map[string]ledger.Fault{}
	for _, f := range history(s.t, s.r).Faults {
		for _, at := range []*int64{&f.Planned, &f.Called, &f.Applied, &f.Confirmed, &f.Released, &f.Gone, &f.Settled} {
			if *at != 0 {
				*at = (*at - s.base) / int64(time.Millisecond)
			}
		}
		out[f.Record] = f
	}
	return out
}

func (s *stage) want(log ...string) {
	s.t.Helper()
	if diff := cmp.Diff(log, s.log); diff != "" {
		s.t.Errorf("what happened: -want +got:\n%s", diff)
	}
	if owed := s.r.undo.state.Owed(); len(owed) > 0 {
		s.t.Errorf("owed: %v", owed)
	}
}

func TestAFaultIsCalledAtItsInstantAndHeldFromItsWitness(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		f := s.noting("a")
		f.confirm = func(_ faults.Target, active bool) error {
			if active {
				time.Sleep(700 * time.Millisecond)
			}
			return nil
		}
		in := f.injection("a", 3*time.Second, false)
		in.Targets = append(in.Targets, scenarios.Ref{Service: "web", Number: 2})
		if err := s.play(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		got := s.faultsByRecord()
		for _, c := range []struct{ record, target, container string }{{"a/web-1", "web", "web-1"}, {"a/web-2", "web[2]", "web-2"}} {
			want := ledger.Fault{
				Record: c.record, ID: "a", Kind: "fake", Target: c.target, Container: c.container, Mechanism: "fake",
				Planned: 3000, Called: 3000, Applied: 3000, Confirmed: 3700, Released: 5700, Gone: 5700, Settled: 5700,
			}
			if diff := cmp.Diff(want, got[c.record]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		if h := history(t, s.r); len(h.Witnesses) != 4 {
			t.Errorf("witnesses: %+v", h.Witnesses)
		}
	})
}

func TestAFaultWithoutAWitnessIsRecordedAndReverted(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		f := s.noting("a")
		f.confirm = func(_ faults.Target, active bool) error {
			if active {
				return fmt.Errorf("nothing stands still: %w", faults.ErrNoWitness)
			}
			return nil
		}
		if err := s.play(t.Context(), f.injection("a", time.Second, false), s.noting("b").injection("b", 4*time.Second, false)); err != nil {
			t.Errorf("it is the judge's to say: %v", err)
		}
		s.want("apply a on web", "revert a on web", "apply b on web", "revert b on web")
		got := s.faultsByRecord()["a/web-1"]
		if !strings.Contains(got.Error, "confirm fake on web: nothing stands still") || got.Confirmed != 0 || got.Gone == 0 {
			t.Errorf("recorded: %+v", got)
		}
	})
}

func TestAFaultThatWaitsForAnotherStartsAfterItsEnd(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		second := s.noting("second").injection("second", 500*time.Millisecond, false)
		second.After = "first"
		third := s.noting("third").injection("third", 0, false)
		third.After = "second"
		if err := s.play(t.Context(), second, third, s.noting("first").injection("first", time.Second, false)); err != nil {
			t.Fatal(err)
		}
		s.want("apply first on web", "revert first on web", "apply second on web", "revert second on web", "apply third on web", "revert third on web")
		got := s.faultsByRecord()
		if a, b := got["first/web-1"], got["second/web-1"]; a.Gone != 3000 || b.Planned != 3500 || b.Called != 3500 {
			t.Errorf("first ended at %d, second was planned for %d and called at %d", a.Gone, b.Planned, b.Called)
		}
	})
}

func TestAnUndoThatFailsComesBackAndTheOthersGoOn(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		stuck := s.noting("stuck")
		refused := errors.New("device busy")
		stuck.revert = func(faults.Target) error { return refused }
		all := []Injection{
			stuck.injection("x", 0, false), stuck.injection("y", 0, false),
			s.noting("late").injection("late", 90*time.Second, false),
		}
		all[1].Targets[0].Number = 2
		err := s.play(t.Context(), all...)
		var heal *faults.HealError
		if !errors.As(err, &heal) || !errors.Is(err, refused) {
			t.Fatalf("got %v, want a HealError", err)
		}
		if n := strings.Count(err.Error(), "heal fake on web"); n != 2 {
			t.Errorf("%d of 2 faults that were not undone are told: %v", n, err)
		}
		if diff := cmp.Diff([]string{"apply stuck on web", "apply stuck on web[2]", "apply late on web", "revert late on web"}, sortedPair(s.log)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if owed := s.r.undo.state.Owed(); len(owed) != 2 {
			t.Errorf("owed: %v", owed)
		}
		for _, record := range []string{"x/web-1", "y/web-2"} {
			if f := s.faultsByRecord()[record]; !strings.Contains(f.Error, "device busy") || f.Gone != 0 {
				t.Errorf("recorded: %+v", f)
			}
		}
	})
}

// sortedPair orders the first two entries, which happen at the same instant.
func sortedPair(log []string) []string {
	if len(log) > 1 && log[0] > log[1] {
		log[0], log[1] = log[1], log[0]
	}
	return log
}

func TestAnInterruptRevertsWhatHoldsAndStartsNothing(t *testing.T) {
	for name, cause := range map[string]error{"by the user": ErrInterrupted, "by the deadline": ErrTimeout, "by the agent": fmt.Errorf("%w: stream ended", ErrAgentLost)} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3*time.Second, func() { cancel(cause) }) // the timeline begins after one
				waits := s.noting("waits").injection("waits", 0, false)
				waits.After = "holds"
				err := s.play(ctx, s.noting("holds").injection("holds", time.Second, false), waits, s.noting("later").injection("later", 9*time.Second, false))
				if !errors.Is(err, cause) {
					t.Errorf("got %v, want the cause", err)
				}
				s.want("apply holds on web", "revert holds on web")
				got := s.faultsByRecord()
				if f := got["holds/web-1"]; len(got) != 1 || f.Error != "" || f.Released != 2000 || f.Gone != 2000 {
					t.Errorf("recorded: %+v", got)
				}
			})
		})
	}
}

func TestAnInstantaneousFaultEndsWhenItsTargetIsReadyAgain(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		f := s.noting("kill")
		f.settled = func() bool { return s.r.clock.now() >= s.base+6*second }
		if err := s.play(t.Context(), f.injection("kill", time.Second, true)); err != nil {
			t.Fatal(err)
		}
		s.want("apply kill on web", "revert kill on web")
		if got := s.faultsByRecord()["kill/web-1"]; got.Called != 1000 || got.Released < 6000 || got.Settled < got.Released || got.Error != "" {
			t.Errorf("recorded: %+v", got)
		}
	})
}

func TestADownTimeCountsFromTheAnsweredCall(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		f := s.noting("stop")
		f.down = 4 * time.Second
		f.confirm = func(_ faults.Target, active bool) error {
			if active {
				time.Sleep(time.Second)
			}
			return nil
		}
		if err := s.play(t.Context(), f.injection("stop", time.Second, true)); err != nil {
			t.Fatal(err)
		}
		if got := s.faultsByRecord()["stop/web-1"]; got.Applied != 1000 || got.Confirmed != 2000 || got.Released != 5000 || got.Settled != 5000 {
			t.Errorf("recorded: %+v", got)
		}
	})
}

func TestATargetThatNeverBecomesReadyIsRecorded(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		f := s.noting("kill")
		f.settled = func() bool { return false }
		if err := s.play(t.Context(), f.injection("kill", 0, true)); err != nil {
			t.Errorf("it is the judge's to say: %v", err)
		}
		if got := s.faultsByRecord()["kill/web-1"]; got.Settled != 0 || !strings.Contains(got.Error, "wait until web is ready again") {
			t.Errorf("recorded: %+v", got)
		}
	})
}

func TestWhatCannotBePreparedIsRecordedAndNeverApplied(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		unfit := s.noting("unfit")
		unfit.prepare = func(faults.Target) error { return fmt.Errorf("it is down: %w", faults.ErrUnsupported) }
		gone := s.noting("gone").injection("gone", 0, false)
		gone.Targets = []scenarios.Ref{{Service: "nosuch", Number: 1}}
		find := s.target
		s.target = func(ctx context.Context, ref scenarios.Ref) (faults.Target, error) {
			if ref.Service == "nosuch" {
				return faults.Target{}, faults.ErrGone
			}
			return find(ctx, ref)
		}
		if err := s.play(t.Context(), unfit.injection("unfit", 0, false), gone); err != nil {
			t.Errorf("it is the judge's to say: %v", err)
		}
		s.want()
		h := history(t, s.r)
		if len(h.Events) != 1 || h.Events[0].Type != string(oracle.NotSupported) || !strings.Contains(h.Events[0].Detail, "prepare fake on web: it is down") {
			t.Errorf("events: %+v", h.Events)
		}
		got := s.faultsByRecord()
		if f := got["gone/nosuch-1"]; f.Error != faults.ErrGone.Error() || f.Called != 0 {
			t.Errorf("recorded: %+v", f)
		}
		if f := got["unfit/web-1"]; f.Called != 0 || f.Error == "" {
			t.Errorf("recorded: %+v", f)
		}
	})
}

func TestAFaultIsNotAppliedBeforeItsUndoIsDurable(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		full := errors.New("disk full")
		s.r.undo.state.Commit = func(e faults.Entry) error {
			s.note("commit %s", e.Type)
			if e.Type == faults.EntryIntend {
				return full
			}
			return nil
		}
		if err := s.play(t.Context(), s.noting("a").injection("a", 0, false)); err != nil {
			t.Errorf("nothing was done: %v", err)
		}
		s.want("commit intend")
		if f := s.faultsByRecord()["a/web-1"]; f.Called != 0 || !strings.Contains(f.Error, "disk full") {
			t.Errorf("recorded: %+v", f)
		}
	})
}

// TestARealKindRunsOnAFakeHost pauses a container of the fake world through the same path as a run.
func TestARealKindRunsOnAFakeHost(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		world := faulttest.NewWorld(2, faulttest.Box{ID: "web-1", CPUs: 0.5}, faulttest.Box{ID: "web-2", CPUs: 0.5})
		s.r.fenv = world.Env(s.r.undo.state)
		s.r.fenv.Now = s.r.clock.now
		pause, ok := catalogue.Lookup("pause")
		if !ok {
			t.Fatal("there is no pause")
		}
		in := (&fakeFault{}).injection("freeze", time.Second, false)
		in.Fault.Kind, in.Fault.Spec, in.Fault.Params = "pause", pause, pause.New()
		in.Targets = append(in.Targets, scenarios.Ref{Service: "web", Number: 2})
		var paused atomic.Bool
		time.AfterFunc(3*time.Second, func() { paused.Store(world.State("web-1").Paused && world.State("web-2").Paused) })
		if err := s.play(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if !paused.Load() {
			t.Error("the containers are not paused in the middle of the window")
		}
		for _, id := range []string{"web-1", "web-2"} {
			if st := world.State(id); st.Paused || !st.Running {
				t.Errorf("%s afterwards: %+v", id, st)
			}
		}
		s.want()
		for record, f := range s.faultsByRecord() {
			if f.Error != "" || f.Confirmed == 0 || f.Gone == 0 {
				t.Errorf("%s: %+v", record, f)
			}
		}
	})
}
