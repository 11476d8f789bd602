package oracle_test

import (
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// slow lets the operations of an observer that were invoked in [from, to) take so many milliseconds.
func (s *runSim) slow(name string, from, to float64, ms int64) {
	for i := range s.h.Ops {
		if o := &s.h.Ops[i]; o.Workload == name && at(from) <= o.Invoke && o.Invoke < at(to) {
			o.Complete = o.Invoke + ms*1_000_000
		}
	}
}

func budgetCases() []judgeCase {
	budget := func(b oracle.BudgetRule, change func(*runSim)) func(*runSim) {
		return func(s *runSim) {
			s.rules.Budgets = []oracle.BudgetRule{b}
			change(s)
		}
	}
	nothing := func(*runSim) {}
	during := func(s *runSim) { s.slow("orders", 12, 13, 700) }
	const ms = 1_000_000
	return []judgeCase{
		{"every budget is kept", func(s *runSim) {
			for _, phase := range []string{"before", "during", "after", "run"} {
				s.rules.Budgets = append(s.rules.Budgets, oracle.BudgetRule{Phase: phase, Availability: float(1), P50: 5 * ms, P99: 5 * ms, Max: 5 * ms})
			}
		}, oracle.Pass, oracle.Clean, ""},
		{"too many operations fail during a fault", budget(oracle.BudgetRule{Phase: "during", Fault: "freeze", Availability: float(0.9)}, func(s *runSim) { s.fail("orders", 12, 14, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "74.52 % of 157 operations of orders succeeded during freeze (pause of kafka), the budget asks for 90.00 %"},
		{"operations fail during a fault, and the budget is about the time after it", budget(oracle.BudgetRule{Phase: "after", Availability: float(1)}, func(s *runSim) { s.fail("orders", 12, 14, ledger.Unknown) }), oracle.Pass, oracle.Degraded, ""},
		{"operations fail after a fault", budget(oracle.BudgetRule{Phase: "after", Availability: float(1)}, func(s *runSim) { s.fail("orders", 19, 19.2, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "succeeded after freeze (pause of kafka), the budget asks for 100.00 %"},
		{"a slow recovery", budget(oracle.BudgetRule{Phase: "after", Recovery: 500 * ms}, func(s *runSim) { s.fail("orders", 18, 19.2, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "to recover from freeze (pause of kafka), the budget allows 500ms"},
		{"a recovery that the budget allows", budget(oracle.BudgetRule{Phase: "after", Recovery: 5000 * ms}, func(s *runSim) { s.fail("orders", 18, 19.2, ledger.Unknown) }), oracle.Pass, oracle.Degraded, ""},
		{"a slow recovery of a probe that the budget is not about", budget(oracle.BudgetRule{Phase: "after", Workload: "orders", Recovery: 500 * ms}, func(s *runSim) { s.fail("metadata", 18, 19.2, ledger.Unknown) }), oracle.Pass, oracle.Degraded, ""},
		{"operations fail before a fault", budget(oracle.BudgetRule{Phase: "before", Availability: float(1)}, func(s *runSim) { s.fail("orders", 8, 8.2, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "succeeded before freeze (pause of kafka), the budget asks for 100.00 %"},
		{"operations fail in the run", budget(oracle.BudgetRule{Phase: "run", Availability: float(0.999)}, func(s *runSim) { s.fail("orders", 8, 8.2, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "operations of orders succeeded over the run, the budget asks for 99.90 %"},
		{"a slow tail during a fault", budget(oracle.BudgetRule{Phase: "during", P99: 250 * ms}, during), oracle.Fail, oracle.Unavailable, "the p99 of 157 operations of orders was 700ms during freeze (pause of kafka), the budget allows 250ms"},
		{"a slow tail, and the budget is about the median", budget(oracle.BudgetRule{Phase: "during", P50: 250 * ms}, during), oracle.Pass, oracle.Clean, ""},
		{"a slow tail that the budget allows", budget(oracle.BudgetRule{Phase: "during", P99: 700 * ms}, during), oracle.Pass, oracle.Clean, ""},
		{"a slow median", budget(oracle.BudgetRule{Phase: "run", P50: 250 * ms}, func(s *runSim) { s.slow("orders", 0, 40, 300) }), oracle.Fail, oracle.Unavailable, "the p50 of"},
		{"one slow operation", budget(oracle.BudgetRule{Phase: "run", Max: 250 * ms}, func(s *runSim) { s.slow("orders", 12, 12.04, 300) }), oracle.Fail, oracle.Unavailable, "the max of"},
		{"a slow probe", budget(oracle.BudgetRule{Phase: "during", Workload: "metadata", Max: 250 * ms}, func(s *runSim) { s.slow("metadata", 12, 13, 300) }), oracle.Fail, oracle.Unavailable, "operations of metadata was 300ms"},
		{"a slow probe that no budget is about", budget(oracle.BudgetRule{Phase: "during", Max: 250 * ms}, func(s *runSim) { s.slow("metadata", 12, 13, 300) }), oracle.Pass, oracle.Clean, ""},
		{"no operation succeeds during a fault", budget(oracle.BudgetRule{Phase: "during", P99: 250 * ms}, func(s *runSim) { s.fail("orders", 10, 18.1, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "none of 157 operations of orders succeeded during freeze (pause of kafka), the budget asks for a p99 of at most 250ms"},
		{"a budget of a fault that did not happen", budget(oracle.BudgetRule{Phase: "during", Fault: "cut", P99: 250 * ms}, nothing), oracle.Inconclusive, oracle.TooFewOps, "the budget each workload during cut: p99 ≤ 250ms has no window of cut"},
		{"a budget of somebody who does nothing", budget(oracle.BudgetRule{Phase: "run", Workload: "idle", P99: 250 * ms}, nothing), oracle.Inconclusive, oracle.TooFewOps, "idle invoked no operation over the run"},
		{"a budget of a workload that does not observe the fault", budget(oracle.BudgetRule{Phase: "during", Workload: "orders", P99: 250 * ms}, func(s *runSim) {
			rule := s.rules.Faults["freeze"]
			rule.ObservedBy = []string{"metadata"}
			s.rules.Faults["freeze"] = rule
		}), oracle.Inconclusive, oracle.TooFewOps, "orders invoked no operation during freeze"},
	}
}

func TestBudgetsReadWell(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]oracle.BudgetRule{
		"orders during freeze: availability ≥ 0.5, p99 ≤ 250ms": {Phase: "during", Fault: "freeze", Workload: "orders", Availability: float(0.5), P99: 250_000_000},
		"each workload after each fault: p50 ≤ 10ms, max ≤ 1s":  {Phase: "after", P50: 10_000_000, Max: 1_000_000_000},
		"each workload after each fault: recovery ≤ 2s":         {Phase: "after", Recovery: 2_000_000_000},
		"each workload over the run: availability ≥ 0.99":       {Phase: "run", Availability: float(0.99)},
	} {
		if got := b.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
