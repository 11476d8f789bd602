package runner

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
)

// drawnIn makes injections of one lane, each a gap after the one before, that hold for 2 s.
func (s *stage) drawnIn(lane int, gaps ...time.Duration) []Injection {
	var out []Injection
	for i, gap := range gaps {
		id := fmt.Sprintf("%d.%d", lane, i+1)
		in := s.noting(id).injection(id, gap, false)
		in.Lane = lane
		if i > 0 {
			in.After = out[i-1].ID
		}
		out = append(out, in)
	}
	return out
}

func fakeOf(t *testing.T, in Injection) *fakeFault {
	t.Helper()
	f, ok := in.Fault.Params.(*fakeFault)
	if !ok {
		t.Fatalf("%T is no fake", in.Fault.Params)
	}
	return f
}

// called lists when each record was called, in ms from the start of the timeline.
func (s *stage) called() map[string]int64 {
	s.t.Helper()
	out := map[string]int64{}
	for record, f := range s.faultsByRecord() {
		if f.Called != f.Planned {
			s.t.Errorf("%s was planned for %d and called at %d", record, f.Planned, f.Called)
		}
		out[record] = f.Called
	}
	return out
}

func (s *stage) wantCalls(want map[string]int64) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.called()); diff != "" {
		s.t.Errorf("called (-want +got):\n%s", diff)
	}
}

func TestEachFaultOfALaneStartsItsGapAfterTheEndOfTheOneBefore(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		all := append(s.drawnIn(1, time.Second, 3*time.Second, time.Second), s.drawnIn(2, 2*time.Second, 5*time.Second)...)
		fixed := s.noting("fixed").injection("fixed", 4*time.Second, false)
		if err := s.play(t.Context(), append(all, fixed)...); err != nil {
			t.Fatal(err)
		}
		s.wantCalls(map[string]int64{"1.1/web-1": 1000, "1.2/web-1": 6000, "1.3/web-1": 9000, "2.1/web-1": 2000, "2.2/web-1": 9000, "fixed/web-1": 4000})
		if owed := s.r.undo.state.Owed(); len(owed) > 0 {
			t.Errorf("owed: %v", owed)
		}
	})
}

// TestNothingIsStartedAtTheTimeLimit: what would start at the limit does not, nor what follows it after a shorter gap, and
// what holds then is held for its time.
func TestNothingIsStartedAtTheTimeLimit(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		p := &Plan{Injections: append(s.drawnIn(1, time.Second, time.Second, 4*time.Second, time.Second), s.drawnIn(2, 9*time.Second)...)}
		p.schedule.limit = 10 * time.Second
		if err := s.run(t.Context(), p, s.base); err != nil {
			t.Fatal(err)
		}
		s.wantCalls(map[string]int64{"1.1/web-1": 1000, "1.2/web-1": 4000, "2.1/web-1": 9000})
		if f := s.faultsByRecord()["2.1/web-1"]; f.Released != 11000 {
			t.Errorf("released at %d, past the limit of 10000", f.Released)
		}
	})
}

func TestAFaultOfALaneWithoutAWitnessDoesNotEndIt(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		all := s.drawnIn(1, time.Second, time.Second)
		fakeOf(t, all[0]).confirm = func(_ faults.Target, active bool) error {
			if active {
				return faults.ErrNoWitness
			}
			return nil
		}
		if err := s.play(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		s.want("apply 1.1 on web", "revert 1.1 on web", "apply 1.2 on web", "revert 1.2 on web")
	})
}

func TestAnUndoThatFailsEndsAllLanes(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		all := append(s.drawnIn(1, time.Second, time.Second), s.drawnIn(2, 2*time.Second, 90*time.Second)...)
		fakeOf(t, all[0]).revert = func(faults.Target) error { return errors.New("device busy") }
		err := s.play(t.Context(), all...)
		var heal *faults.HealError
		if !errors.As(err, &heal) {
			t.Fatalf("got %v, want a HealError", err)
		}
		if diff := cmp.Diff([]string{"apply 1.1 on web", "apply 2.1 on web", "revert 2.1 on web"}, s.log); diff != "" {
			t.Errorf("what happened: -want +got:\n%s", diff)
		}
	})
}

func TestAnInterruptEndsTheNemesis(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(ErrInterrupted) }) // the timeline begins after one
		err := s.play(ctx, append(s.drawnIn(1, time.Second, time.Second), s.drawnIn(2, 5*time.Second)...)...)
		if !errors.Is(err, ErrInterrupted) {
			t.Errorf("got %v, want the cause", err)
		}
		s.want("apply 1.1 on web", "revert 1.1 on web")
	})
}
