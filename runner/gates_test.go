package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// probing evaluates probe page every half second, each evaluation done after 10 ms, until the stage is over. It holds
// where up says so of the ms since the start of the timeline.
func (s *stage) probing(ctx context.Context, up func(ms int64) bool) {
	go func() {
		for sleep(ctx, 500*time.Millisecond) == nil {
			at := s.r.clock.now()
			op := ledger.Op{Workload: "page", Func: ledger.FuncProbe, Invoke: at, Complete: at + 10*int64(time.Millisecond), Outcome: ledger.OK}
			if !up((at - s.base) / int64(time.Millisecond)) {
				op.Outcome, op.Error = ledger.Failed, "refused"
			}
			if sleep(ctx, 10*time.Millisecond) == nil {
				s.r.track.add([]ledger.Op{op})
			}
		}
	}()
}

// gated plays lanes with gates that have 10 s to hold.
func (s *stage) gated(gates []scenarios.Gate, all ...Injection) error {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	return s.run(ctx, &Plan{Injections: all, schedule: schedule{within: 10 * time.Second, gates: gates}}, s.base)
}

func page() []scenarios.Gate { return []scenarios.Gate{{Probe: "probe.page"}} }

// gateLog lists the evaluations of gates, with instants in ms from the start of the timeline.
func (s *stage) gateLog() []string {
	s.t.Helper()
	var out []string
	for _, g := range history(s.t, s.r).Gates {
		held := "fails"
		if g.Held {
			held = "holds"
		}
		out = append(out, fmt.Sprintf("%s %s %s", g.Name, held, g.Note))
	}
	return out
}

// announced lists what the run says of itself.
func (s *stage) announced() []string {
	s.t.Helper()
	var out []string
	for _, e := range history(s.t, s.r).Events {
		out = append(out, e.Type+": "+e.Detail)
	}
	return out
}

func TestTheNextFaultWaitsForTheGate(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(ms int64) bool { return ms < 3000 || ms >= 7000 }) // the first fault ends at 3000
		if err := s.gated(page(), s.drawnIn(1, time.Second, time.Second, 3*time.Second)...); err != nil {
			t.Fatal(err)
		}
		got := s.called()
		second, third := got["1.2/web-1"], got["1.3/web-1"]
		if got["1.1/web-1"] != 1000 || second < 7400 || second > 8200 || third != second+2000+3000 {
			t.Errorf("called: %v", got)
		}
		log := s.gateLog()
		want := []string{"probe.page holds before 1.1", "probe.page fails before 1.2: refused", "probe.page holds before 1.2", "probe.page holds before 1.3"}
		failed := 0
		for _, line := range log {
			if line == want[1] {
				failed++
			}
		}
		if failed < 6 || failed > 9 {
			t.Errorf("a probe every half second for 4 s is recorded %d times", failed)
		}
		if diff := cmp.Diff(want, unique(log)); diff != "" {
			t.Errorf("gates (-want +got):\n%s", diff)
		}
		if events := s.announced(); len(events) > 0 {
			t.Errorf("events: %v", events)
		}
	})
}

// unique leaves out what is equal to the entry before.
func unique(log []string) []string {
	var out []string
	for _, line := range log {
		if len(out) == 0 || out[len(out)-1] != line {
			out = append(out, line)
		}
	}
	return out
}

func TestAnEvaluationFromBeforeTheEndOfTheFaultProvesNothing(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.r.track.add([]ledger.Op{{Workload: "page", Func: ledger.FuncProbe, Invoke: s.base + 1, Complete: s.base + 2, Outcome: ledger.OK}})
		if err := s.gated(page(), s.drawnIn(1, time.Second, time.Second)...); err != nil {
			t.Fatal(err)
		}
		s.wantCalls(map[string]int64{"1.1/web-1": 1000})
		want := []string{"hang: the nemesis ended before 1.2: within 10s of the last fault, gate probe.page: no evaluation yet"}
		if diff := cmp.Diff(want, s.announced()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"probe.page holds before 1.1", "probe.page fails before 1.2: no evaluation"}, s.gateLog()); diff != "" {
			t.Errorf("gates (-want +got):\n%s", diff)
		}
	})
}

func TestAGateThatDoesNotHoldInTimeEndsAllLanes(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(ms int64) bool { return ms < 3000 })
		// The second lane is gated before the first breaks anything, and waits for its instant.
		all := append(s.drawnIn(1, time.Second, time.Second), s.drawnIn(2, 60*time.Second)...)
		if err := s.gated(page(), all...); err != nil {
			t.Fatalf("the run goes on to its recovery: %v", err)
		}
		s.wantCalls(map[string]int64{"1.1/web-1": 1000})
		want := string(oracle.Hang) + ": the nemesis ended before 1.2: within 10s of the last fault, gate probe.page: refused"
		if diff := cmp.Diff([]string{want}, s.announced()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if ended := (s.r.clock.now() - s.base) / second; ended < 13 || ended > 14 {
			t.Errorf("the nemesis ended at %d s", ended)
		}
	})
}

// TestTheTimeOfAGateDoesNotRunWhileAFaultIsActive: a fixed fault keeps the probe down for longer than the gate's time.
func TestTheTimeOfAGateDoesNotRunWhileAFaultIsActive(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		long := s.noting("long").injection("long", 2*time.Second, false)
		*long.Fault.For *= 10 // up to 22 s
		s.probing(ctx, func(ms int64) bool { return ms < 2000 || ms >= 25000 })
		if err := s.gated(page(), append(s.drawnIn(1, time.Second, time.Second), long)...); err != nil {
			t.Fatal(err)
		}
		if got := s.called()["1.2/web-1"]; got < 25000 || got > 26500 {
			t.Errorf("the next fault is called at %d", got)
		}
		if events := s.announced(); len(events) > 0 {
			t.Errorf("events: %v", events)
		}
	})
}

func TestAGateThatNeverHeldIsNoSteadyState(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.exec = func(_ context.Context, ref scenarios.Ref, argv []string) (string, int, error) {
			if ref != (scenarios.Ref{Service: "db", Number: 2}) || strings.Join(argv, " ") != "ready -q" {
				t.Errorf("%v in %v", argv, ref)
			}
			return "no such file", 127, nil
		}
		gates := []scenarios.Gate{{Query: scenarios.GateQuery{Service: "db[2]", Exec: []string{"ready", "-q"}}}}
		if err := s.gated(gates, s.drawnIn(1, time.Second)...); err != nil {
			t.Fatal(err)
		}
		s.want()
		want := []string{string(oracle.NoSteadyState) + ": the nemesis did not begin: within 10s, gate query in db[2]: ready -q: exit code 127: no such file"}
		if diff := cmp.Diff(want, s.announced()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestAllGatesHoldAtTheSameTime(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(ms int64) bool { return ms < 3000 || ms >= 6000 })
		s.exec = func(context.Context, scenarios.Ref, []string) (string, int, error) {
			ms := (s.r.clock.now() - s.base) / int64(time.Millisecond)
			if ms > 3500 && ms < 6000 {
				t.Errorf("the query is asked at %d, while the gate before it does not hold", ms)
			}
			switch {
			case ms < 5000:
				return "3 in sync", 0, nil
			case ms < 9000:
				return "2 in sync", 0, nil
			case ms < 10000:
				return "", 0, errors.New("the container is gone")
			}
			return "3 in sync", 0, nil
		}
		gates := append(page(), scenarios.Gate{Query: scenarios.GateQuery{Service: "kafka", Exec: []string{"isr"}, Matches: "^3"}})
		if err := s.gated(gates, s.drawnIn(1, time.Second, time.Second)...); err != nil {
			t.Fatal(err)
		}
		if got := s.called()["1.2/web-1"]; got < 10000 || got > 11000 {
			t.Errorf("the next fault is called at %d", got)
		}
		log := strings.Join(s.gateLog(), "\n")
		for _, want := range []string{
			"query in kafka: isr =~ ^3 holds before 1.1", "query in kafka: isr =~ ^3 fails before 1.2: output does not match ^3",
			"query in kafka: isr =~ ^3 fails before 1.2: the container is gone",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("the ledger lacks %q:\n%s", want, log)
			}
		}
	})
}

func TestTheTimeLimitEndsTheWaitForAGate(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(ms int64) bool { return ms < 3000 })
		p := &Plan{Injections: s.drawnIn(1, time.Second, time.Second), schedule: schedule{within: 10 * time.Second, limit: 8 * time.Second, gates: page()}}
		if err := s.run(ctx, p, s.base); err != nil {
			t.Fatal(err)
		}
		if ended := (s.r.clock.now() - s.base) / second; ended != 8 || len(s.announced()) > 0 {
			t.Errorf("it ended at %d s: %v", ended, s.announced())
		}
	})
}

func TestAnInterruptEndsTheWaitForAGate(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancelCause(t.Context())
		s.exec = func(ctx context.Context, _ scenarios.Ref, _ []string) (string, int, error) {
			cancel(ErrInterrupted)
			<-ctx.Done()
			return "", 0, context.Cause(ctx)
		}
		gates := []scenarios.Gate{{Query: scenarios.GateQuery{Service: "db", Exec: []string{"x"}}}}
		p := &Plan{Injections: s.drawnIn(1, time.Second), schedule: schedule{within: time.Second, gates: gates}}
		if err := s.run(ctx, p, s.base); !errors.Is(err, ErrInterrupted) {
			t.Errorf("got %v, want the cause", err)
		}
		if log, events := s.gateLog(), s.announced(); len(log)+len(events) > 0 {
			t.Errorf("recorded: %v %v", log, events)
		}
	})
}

// TestAShortWaitForAGateIsNotTold: the next evaluation of a probe takes its time, which is nobody's concern.
func TestAShortWaitForAGateIsNotTold(t *testing.T) {
	for _, c := range []struct {
		name string
		up   int64 // ms from which on the probe holds again
		told bool
	}{{"a short one", 4500, false}, {"a long one", 6000, true}} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var said []string
				s.r.o.Observe = func(e Event) {
					if e.Kind == EventProgress {
						said = append(said, e.Text)
					}
				}
				s.probing(ctx, func(ms int64) bool { return ms < 3000 || ms >= c.up })
				if err := s.gated(page(), s.drawnIn(1, time.Second, time.Second)...); err != nil {
					t.Fatal(err)
				}
				if (len(said) > 0) != c.told || c.told && said[0] != "1.2 waits: gate probe.page: refused" {
					t.Errorf("told: %q", said)
				}
			})
		})
	}
}
