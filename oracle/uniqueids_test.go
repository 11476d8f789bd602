package oracle_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// idHistory draws the history of a service whose ids are unique; what it gave away with a lost answer is gone.
func idHistory(t *rapid.T) *ledger.History {
	s := drawSystem(t)
	n := 0
	s.run(rapid.IntRange(1, 5).Draw(t, "clients"), rapid.IntRange(1, 40).Draw(t, "operations of a client"), func(int) (ledger.Op, func(*ledger.Op)) {
		return ledger.Op{Func: ledger.FuncGenerate}, func(o *ledger.Op) { n++; o.Data = fmt.Sprintf("id-%d", n) }
	})
	return s.history()
}

func TestUniqueIDsAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.UniqueIDs{}, idHistory)
}

func TestUniqueIDsConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.UniqueIDs{}, idHistory)
}

func idOps() []ledger.Op {
	return script(
		ledger.Op{Func: ledger.FuncGenerate, Data: "a"},
		ledger.Op{Func: ledger.FuncGenerate, Data: "b"},
		ledger.Op{Func: ledger.FuncGenerate, Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncGenerate, Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncGenerate, Data: "A"},
	)
}

func TestUniqueIDsNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	id := func(text string, ids ...int) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) {
			for _, id := range ids {
				(*ops)[id-1].Data = text
			}
		}
	}
	convicts(t, &oracle.UniqueIDs{}, idOps, []conviction{
		{"an id twice", id("a", 5), oracle.Duplicate, "an id is handed out once", `"a" was given to operation 1, and again to operation 5, 4ms after`, []int64{1, 5}, 1},
		{"an id three times", id("b", 1, 5), oracle.Duplicate, "an id is handed out once", `"b" was given to operation 1, and again to operation 2, 1ms after`, []int64{1, 2}, 2},
		{"an empty id", id("", 2), oracle.Corruption, "an acknowledged id is not empty", "operation 2 was given an empty id", []int64{2}, 1},
	})
}

func TestUniqueIDsProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.UniqueIDs{}, idOps, []doubtful{
		{"with a single id", func(ops *[]ledger.Op) { *ops = (*ops)[1:4] }, oracle.TooFewOps, "1 ids were handed out"},
		{"with ids of operations that did not succeed", func(ops *[]ledger.Op) {
			*ops = (*ops)[1:4]
			(*ops)[1].Data, (*ops)[2].Data = "b", "b"
		}, oracle.TooFewOps, "1 ids were handed out"},
	})
}

func TestUniqueIDsCounts(t *testing.T) {
	t.Parallel()
	r := oracle.UniqueIDs{}.Check(t.Context(), &ledger.History{Ops: idOps()}, "w")
	if got, want := fmt.Sprint(r.Counts), "map[acknowledged:3 distinct:3 failed:1 unknown:1]"; got != want || r.Verdict != oracle.Pass {
		t.Errorf("%s %s, want %s", r.Verdict, got, want)
	}
}
