package oracle_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// phased gives the workload of a run phases, each from so many seconds on, at 20 operations per second.
func phased(from ...float64) func(*runSim) {
	return func(s *runSim) {
		rule := s.rules.Workloads["orders"]
		rule.Phases = []oracle.PhaseRule{{Rate: 20}}
		for _, f := range from {
			rule.Phases = append(rule.Phases, oracle.PhaseRule{At: int64(f * float64(second)), Rate: 20})
		}
		s.rules.Workloads["orders"] = rule
	}
}

// sent are the operations of the workload from one second to another.
func sent(from, to float64) func(ledger.Op) bool {
	return func(o ledger.Op) bool {
		return o.Func == ledger.FuncProduce && at(from) <= o.Invoke && o.Invoke < at(to)
	}
}

func phaseCases() []judgeCase {
	after := func(change func(*runSim), from ...float64) func(*runSim) {
		return func(s *runSim) {
			s.rules.Checks = nil
			phased(from...)(s)
			change(s)
		}
	}
	rate := func(phase int, rate float64) func(*runSim) {
		return func(s *runSim) { s.rules.Workloads["orders"].Phases[phase].Rate = rate }
	}
	return []judgeCase{
		{"every phase was reached", phased(10, 48.9), oracle.Pass, oracle.Clean, ""},
		{"a phase that never began", phased(10, 600), oracle.Inconclusive, oracle.TooFewOps, "orders: its phase from 10m0s was never reached (the workload ended after 50s)"},
		{"the last phase was cut off", phased(10, 49.5), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 10 of 20 operations in its phase from 49.5s (the workload ended after 50s)"},
		{"another phase was cut off", phased(49.5, 600), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 10 of 20 operations in its phase from 49.5s (the workload ended after 50s)"},
		{"hardly anything was sent in a phase", after(func(s *runSim) { s.drop(sent(30.25, 40)) }, 30, 40), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 5 of 20 operations in its phase from 30s to 40s"},
		{"hardly anything was sent before the first phase", after(func(s *runSim) { s.drop(sent(0.25, 3)) }, 3), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 5 of 20 operations in its phase from 0s to 3s"},
		{"a lull has half of its operations", after(func(s *runSim) { rate(1, 2)(s); s.drop(sent(30.25, 35)) }, 30, 35), oracle.Pass, oracle.Clean, ""},
		{"a lull has less than half of them", after(func(s *runSim) { rate(1, 2)(s); s.drop(sent(30.2, 35)) }, 30, 35), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 4 of 5 operations in its phase from 30s to 35s"},
		{"a phase without a rate needs what a window needs", after(func(s *runSim) { rate(1, 0)(s); s.drop(sent(30.25, 35)) }, 30, 35), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 5 of 20 operations in its phase from 30s to 35s"},
		{"final reads are of no phase", after(func(s *runSim) { s.h.Run.Phases[2].To = at(51) }, 50.5), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 0 of 20 operations in its phase from 50.5s"},
		{"the instant that was planned counts, not that of the call", after(func(s *runSim) {
			for i := range s.h.Ops {
				if o := &s.h.Ops[i]; sent(30, 40)(*o) {
					o.Planned -= 10 * second
				}
			}
		}, 30, 40), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 0 of 20 operations in its phase from 30s to 40s"},
		{"phases count from the first operation", after(func(s *runSim) { s.drop(sent(0, 8)) }, 41.5), oracle.Inconclusive, oracle.TooFewOps, "orders invoked 10 of 20 operations in its phase from 41.5s (the workload ended after 42s)"},
		{"a workload that sent nothing", after(func(s *runSim) { s.drop(sent(0, 60)) }, 5), oracle.Inconclusive, oracle.TooFewOps, "orders: its phase from 5s was never reached (the workload ended after 0s)"},
		{"a run that was interrupted before its last phase", func(s *runSim) {
			phased(10, 600)(s)
			s.event(40, "runner", "interrupted", "", "for a reason")
		}, oracle.Inconclusive, oracle.Interrupted, "for a reason"},
	}
}

// TestAnInterruptedRunIsNotJudgedByItsPhases: what it did not come to is a consequence of its end.
func TestAnInterruptedRunIsNotJudgedByItsPhases(t *testing.T) {
	t.Parallel()
	s := newRun()
	phased(600)(s)
	s.event(40, "runner", "interrupted", "", "for a reason")
	j := oracle.Judge(t.Context(), s.h, s.rules)
	if slices.ContainsFunc(j.Findings, func(f oracle.Finding) bool { return strings.Contains(f.Reason, "phase") }) {
		t.Errorf("findings %+v", j.Findings)
	}
}

// TestPhasesAreOfTheWholeWorkload: containers start one after the other, and count their phases from their own start.
func TestPhasesAreOfTheWholeWorkload(t *testing.T) {
	t.Parallel()
	s := newRun()
	phased(10, 20)(s)
	s.fail("orders", 11, 12, ledger.Failed)
	s.fail("orders", 12, 12.5, ledger.Unknown)
	for _, o := range slices.Clone(s.h.Ops) { // a second container, 40 ms behind
		if o.Func == ledger.FuncProduce && o.Outcome == ledger.OK {
			o.Process, o.Planned, o.Invoke, o.Complete = 1, o.Planned+40_000_000, o.Invoke+40_000_000, o.Complete+40_000_000
			s.h.Ops = append(s.h.Ops, o)
		}
	}
	got := oracle.Judge(t.Context(), s.h, s.rules).Phases
	for i := range got {
		got[i].Stats = oracle.Stats{Invoked: got[i].Stats.Invoked, OK: got[i].Stats.OK, Failed: got[i].Stats.Failed, Unknown: got[i].Stats.Unknown, Seconds: got[i].Stats.Seconds}
	}
	want := []oracle.Phase{
		{Workload: "orders", To: 10 * second, Rate: 20, Need: 20, Stats: oracle.Stats{Invoked: 400, OK: 400, Seconds: 10}},
		{Workload: "orders", From: 10 * second, To: 20 * second, Rate: 20, Need: 20, Stats: oracle.Stats{Invoked: 370, OK: 340, Failed: 20, Unknown: 10, Seconds: 10}},
		{Workload: "orders", From: 20 * second, To: 50 * second, Last: true, Rate: 20, Need: 20, Stats: oracle.Stats{Invoked: 1200, OK: 1200, Seconds: 30}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// TestRunsWithoutPhasesHaveNone: those of old builds, whose rules know of none, are judged as before.
func TestRunsWithoutPhasesHaveNone(t *testing.T) {
	t.Parallel()
	s := newRun()
	if j := oracle.Judge(t.Context(), s.h, s.rules); j.Primary != oracle.Clean || j.Phases != nil {
		t.Errorf("%s with the phases %+v", j.Primary, j.Phases)
	}
}
