package oracle_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// counterHistory draws the history of a counter that kept its promises; a lagging one shows old counts during the run.
func counterHistory(lagging bool) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		s := drawSystem(t)
		gets := rapid.IntRange(0, 60).Draw(t, "percent of gets")
		least := rapid.SampledFrom([]int{1, -5}).Draw(t, "least value")
		counts := []int64{0}
		s.run(rapid.IntRange(1, 5).Draw(t, "clients"), rapid.IntRange(1, 40).Draw(t, "operations of a client"), func(int) (ledger.Op, func(*ledger.Op)) {
			if s.r.IntN(100) < gets {
				return ledger.Op{Func: ledger.FuncGet}, func(o *ledger.Op) {
					n := len(counts) - 1
					if lagging {
						n -= s.r.IntN(n + 1)
					}
					o.Value = counts[n]
				}
			}
			value := int64(least + s.r.IntN(9))
			return ledger.Op{Func: ledger.FuncInc, Value: value}, func(*ledger.Op) { counts = append(counts, counts[len(counts)-1]+value) }
		})
		s.final(ledger.Op{Func: ledger.FuncGet, Value: counts[len(counts)-1]})
		return s.history()
	}
}

func TestCounterAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.Counter{}, counterHistory(false))
	acceptsLegal(t, &oracle.Counter{Stale: "allow"}, counterHistory(true))
}

func TestCounterConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.Counter{}, counterHistory(false))
	convictsMutants(t, &oracle.Counter{Stale: "allow"}, counterHistory(true))
}

// Two acknowledged increments, a get, an increment that failed, one of unknown fate, a third acknowledged one, a get that
// has the unknown one, and the final get.
func counterOps() []ledger.Op {
	return script(
		ledger.Op{Func: ledger.FuncInc, Value: 1},
		ledger.Op{Func: ledger.FuncInc, Value: 2},
		ledger.Op{Func: ledger.FuncGet, Value: 3},
		ledger.Op{Func: ledger.FuncInc, Value: 100, Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncInc, Value: 10, Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncInc, Value: 4},
		ledger.Op{Func: ledger.FuncGet, Value: 17},
		ledger.Op{Func: ledger.FuncGet, Value: 17},
	)
}

func TestCounterNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	value := func(value int64, ids ...int) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) {
			for _, id := range ids {
				(*ops)[id-1].Value = value
			}
		}
	}
	const kept, once, failed = "what was acknowledged or seen stays counted", "what was added counts once", "what failed does not count"
	convicts(t, &oracle.Counter{}, counterOps, []conviction{
		{"a lost increment", value(3, 7, 8), oracle.DataLoss, kept, "the get of operation 7 found 3, and at least 7 must count; suspect: operation 6", []int64{6, 7}, 2},
		{"a count that is taken back", value(7, 8), oracle.DataLoss, kept, "the final get found 7, and at least 17 must count, for operation 7 found 17 before", []int64{7, 8}, 1},
		{"a stale get", value(2, 3), oracle.Stale, "a get counts everything that was acknowledged, or seen, before it", "operation 3 found 2, and at least 3 must count; suspect: operation 1 and 2", []int64{1, 2, 3}, 1},
		{"an increment that counts twice", func(ops *[]ledger.Op) {
			value(1, 4)(ops)
			value(21, 7, 8)(ops)
		}, oracle.Duplicate, once, "operation 7 found 21, and at most 17 may count; suspect: operation 5 and 6", []int64{5, 6, 7}, 2},
		{"a failed increment that counts", value(117, 8), oracle.Phantom, failed, "the final get found 117, and at most 17 may count; suspect: operation 4", []int64{4, 8}, 1},
		{"a count from nowhere", value(1000, 3), oracle.Phantom, "nothing counts that was never added", "operation 3 found 1000, and at most 3 may count", []int64{3}, 1},
		{"a lost decrement", func(ops *[]ledger.Op) {
			(*ops)[1].Value = -9
			value(1, 3)(ops)
			value(5, 7, 8)(ops)
			(*ops)[4].Outcome, (*ops)[4].Error = ledger.Failed, "no"
			(*ops)[3].Value, (*ops)[4].Value = -1, -1
		}, oracle.DataLoss, kept, "the get of operation 3 found 1, and at most -8 may count; suspect: operation 2", []int64{2, 3}, 2},
	})
}

// With decrements both bounds move.
func TestCounterTakesDecrementsForWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		found int64
		pass  bool
	}{{4, true}, {5, false}, {-6, true}, {-7, false}, {0, true}} {
		ops := script(
			ledger.Op{Func: ledger.FuncInc, Value: 4},
			ledger.Op{Func: ledger.FuncInc, Value: -10, Outcome: ledger.Unknown},
			ledger.Op{Func: ledger.FuncInc, Value: -20, Outcome: ledger.Failed, Error: "no"},
			ledger.Op{Func: ledger.FuncGet, Value: tt.found},
		)
		r := oracle.Counter{}.Check(t.Context(), &ledger.History{Ops: ops}, "w")
		if (r.Verdict == oracle.Pass) != tt.pass {
			t.Errorf("%d: %s %+v", tt.found, r.Verdict, r.Findings)
		}
	}
}

// What a get had counted stays, whatever was taken off before it.
func TestCounterKeepsWhatAGetHadBesideDecrements(t *testing.T) {
	t.Parallel()
	ops := script(
		ledger.Op{Func: ledger.FuncInc, Value: 10, Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncInc, Value: -5},
		ledger.Op{Func: ledger.FuncGet, Value: 5},
		ledger.Op{Func: ledger.FuncGet, Value: -5},
	)
	r := oracle.Counter{}.Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Total != 1 || r.Violations[0].Class != oracle.DataLoss || !contains(r.Violations[0].Note, "at least 5 must count, for operation 3 found 5") {
		t.Errorf("%+v", r)
	}
}

func TestCounterStartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	ops := script(ledger.Op{Func: ledger.FuncInc, Value: 4}, ledger.Op{Func: ledger.FuncGet, Value: 104})
	if r := (oracle.Counter{Initial: 100}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Pass {
		t.Errorf("%+v", r.Findings)
	}
	if r := (oracle.Counter{}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Fail {
		t.Errorf("%+v", r)
	}
}

func TestCounterProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Counter{}, counterOps, []doubtful{
		{"without a final get", func(ops *[]ledger.Op) { *ops = (*ops)[:6] }, oracle.CheckerUnknown, "no get was invoked after every inc had returned, so what 3 of them added is unproven"},
		{"with an inc that returned after it", func(ops *[]ledger.Op) { (*ops)[5].Complete = simStart + 1_000_000_000 }, oracle.CheckerUnknown, "no get was invoked after"},
		{"with a final get that failed", func(ops *[]ledger.Op) { (*ops)[7].Outcome, (*ops)[6].Outcome = ledger.Failed, ledger.Unknown }, oracle.CheckerUnknown, "no get was invoked after"},
		{"without an acknowledgement", func(ops *[]ledger.Op) { *ops = (*ops)[3:5] }, oracle.TooFewOps, "nothing was acknowledged"},
	})
}

func TestCounterCounts(t *testing.T) {
	t.Parallel()
	r := oracle.Counter{}.Check(t.Context(), &ledger.History{Ops: counterOps()}, "w")
	want := map[string]int64{"acknowledged": 3, "failed": 1, "unknown": 1, "gets": 3, "final": 17, "low": 17, "high": 17, "stale": 0}
	for k, v := range want {
		if r.Counts[k] != v {
			t.Errorf("%s: %d, want %d", k, r.Counts[k], v)
		}
	}
	if len(r.Counts) != len(want) || r.Verdict != oracle.Pass {
		t.Errorf("%s %v", r.Verdict, r.Counts)
	}
}
