package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
)

func TestAGateThatDoesNotHoldInTimeEndsTheRolling(t *testing.T) {
	for _, c := range []struct {
		name    string
		instant bool
		down    int64 // ms from which on the probe fails
		log     []string
		event   string
	}{
		{
			"between two of an instantaneous kind", true, 1100,
			[]string{"apply x on web", "revert x on web"},
			"hang: x ended before x on web[2]: within 10s of web, gate probe.page: refused",
		},
		{
			"before the last is reached", false, 3000,
			[]string{"apply x on web", "apply x on web[2]", "revert x on web[2]", "revert x on web"},
			"hang: x ended before x on web[3]: within 10s of web[2], gate probe.page: refused",
		},
		{
			"in the middle of the undo", false, 8000,
			[]string{"apply x on web", "apply x on web[2]", "apply x on web[3]", "revert x on web[3]", "revert x on web[2]", "revert x on web"},
			"hang: x ended before the undo of x on web[2]: within 10s of web[3], gate probe.page: refused",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s.probing(ctx, func(ms int64) bool { return ms < c.down })
				in := s.rollingOver("x", 3, c.instant, page()...)
				s.readyAfter(in, "x", time.Second)
				next := s.noting("next").injection("next", 0, false)
				next.After = "x"
				if err := s.rollAll(ctx, in, next); err != nil {
					t.Fatalf("the run goes on to its recovery: %v", err)
				}
				s.want(append(c.log, "apply next on web", "revert next on web")...)
				if diff := cmp.Diff([]string{c.event}, s.announced()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				for _, f := range s.faultsByRecord() {
					if f.Error != "" || f.Gone == 0 {
						t.Errorf("recorded: %+v", f)
					}
				}
			})
		})
	}
}

func TestATargetThatDoesNotGetReadyEndsTheRolling(t *testing.T) {
	for _, instant := range []bool{true, false} {
		t.Run(fmt.Sprintf("instantaneous %v", instant), func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				in := s.rollingOver("x", 3, instant)
				undone := map[string]bool{}
				f := fakeOf(t, in)
				f.revert = func(on faults.Target) error {
					s.note("revert x on %s", on)
					undone[on.Container] = !instant // another image does not start, and the one before does again
					return nil
				}
				f.ready = func(on faults.Target) bool { return on.Container != "web-2" || undone[on.Container] }
				if err := s.rollAll(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				want := []string{"apply x on web", "revert x on web", "apply x on web[2]", "revert x on web[2]"}
				if !instant {
					want = []string{"apply x on web", "apply x on web[2]", "revert x on web[2]", "revert x on web"}
				}
				s.want(want...)
				events := s.announced()
				if len(events) != 1 || !strings.HasPrefix(events[0], "hang: x ended at web[2]: wait until web[2] is ready again: not ready within 2m0s") {
					t.Errorf("events: %v", events)
				}
				if f := s.faultsByRecord()["x/web-2"]; !strings.Contains(f.Error, "not ready within 2m0s") || f.Gone == 0 || (f.Settled > 0) == instant {
					t.Errorf("recorded: %+v", f)
				}
			})
		})
	}
}

// TestWhatFailsOnOneTargetEndsTheRolling: the judge finds why in the ledger, so nothing else is announced.
func TestWhatFailsOnOneTargetEndsTheRolling(t *testing.T) {
	once := []string{"apply x on web", "apply x on web[2]", "revert x on web[2]", "revert x on web"}
	for _, c := range []struct {
		name   string
		breaks func(f *fakeFault)
		log    []string
	}{
		{"prepare", func(f *fakeFault) {
			f.prepare = func(on faults.Target) error { return onSecond(on, faults.ErrGone) }
		}, []string{"apply x on web", "revert x on web"}},
		{"apply", func(f *fakeFault) {
			apply := f.apply
			f.apply = func(on faults.Target) error { return errors.Join(apply(on), onSecond(on, errors.New("refused"))) }
		}, once},
		{"confirm", func(f *fakeFault) {
			f.confirm = func(on faults.Target, active bool) error {
				if active {
					return onSecond(on, faults.ErrNoWitness)
				}
				return nil
			}
		}, once},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				in := s.rollingOver("x", 3, false)
				c.breaks(fakeOf(t, in))
				if err := s.rollAll(t.Context(), in); err != nil {
					t.Errorf("it is the judge's to say: %v", err)
				}
				s.want(c.log...)
				got := s.faultsByRecord()
				if one, two := got["x/web-1"], got["x/web-2"]; len(got) != 2 || two.Error == "" || two.Confirmed != 0 || one.Error != "" || one.Gone == 0 {
					t.Errorf("recorded: %+v", got)
				}
				if events := s.announced(); len(events) > 0 {
					t.Errorf("events: %v", events)
				}
			})
		})
	}
}

// nothingToTell fails where a fault has an error or did not end, or where the run says something of itself.
func (s *stage) nothingToTell() {
	s.t.Helper()
	for _, f := range s.faultsByRecord() {
		if f.Error != "" || f.Gone == 0 {
			s.t.Errorf("recorded: %+v", f)
		}
	}
	if events := s.announced(); len(events) > 0 {
		s.t.Errorf("events: %v", events)
	}
}

func onSecond(on faults.Target, err error) error {
	if on.Number == 2 {
		return err
	}
	return nil
}

// TestAnInterruptUndoesARolling at each point of its way: what was applied, in the opposite order, without any wait.
func TestAnInterruptUndoesARolling(t *testing.T) {
	for _, c := range []struct {
		name string
		ms   int64 // after the start of the timeline
		log  []string
	}{
		{"before it", 500, nil},
		{"while the first gets ready", 2000, []string{"apply x on web", "revert x on web"}},
		{"while the gate is closed", 5000, []string{"apply x on web", "revert x on web"}},
		{"while all hold", 13500, []string{"apply x on web", "apply x on web[2]", "revert x on web[2]", "revert x on web"}},
		{"between two undos", 15500, []string{"apply x on web", "apply x on web[2]", "revert x on web[2]", "revert x on web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				time.AfterFunc(time.Second+time.Duration(c.ms)*time.Millisecond, func() { cancel(ErrInterrupted) })
				s.probing(ctx, func(ms int64) bool { return ms > 9000 })
				in := s.rollingOver("x", 2, false, page()...)
				s.readyAfter(in, "x", 3*time.Second)
				if err := s.rollAll(ctx, in); !errors.Is(err, ErrInterrupted) {
					t.Errorf("got %v, want the cause", err)
				}
				s.want(c.log...)
				if took := s.ms() - c.ms; took > 100 {
					t.Errorf("it took %d ms to undo it all", took)
				}
				s.nothingToTell()
			})
		})
	}
}

func TestAnUndoThatFailsLeavesTheOthersUndone(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		in := s.rollingOver("x", 3, false, page()...)
		f := fakeOf(t, in)
		f.revert = func(on faults.Target) error {
			if on.Number == 2 {
				return errors.New("device busy")
			}
			s.note("revert x on %s", on)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(int64) bool { return true })
		err := s.rollAll(ctx, in)
		var heal *faults.HealError
		if !errors.As(err, &heal) || strings.Count(err.Error(), "heal fake on") != 1 || heal.Record.On.Number != 2 {
			t.Errorf("got %v, want one HealError", err)
		}
		if diff := cmp.Diff([]string{"apply x on web", "apply x on web[2]", "apply x on web[3]", "revert x on web[3]", "revert x on web"}, s.log); diff != "" {
			t.Errorf("what happened: -want +got:\n%s", diff)
		}
		if owed := s.r.undo.state.Owed(); len(owed) != 1 || owed[0].ID != "x/web-2" {
			t.Errorf("owed: %v", owed)
		}
		if f := s.faultsByRecord()["x/web-1"]; f.Error != "" || f.Gone == 0 {
			t.Errorf("the first has the error of the second: %+v", f)
		}
	})
}
