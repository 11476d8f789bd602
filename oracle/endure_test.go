package oracle_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// A run that broke its promises is judged with a self-test as well, and a panic of that would take the place of what its
// scenario expects.
func TestChecksAndSelfTestsEndureIllegalHistories(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  string
		c     oracle.Checker
		legal func(*rapid.T) *ledger.History
	}{
		{"append", &oracle.Append{}, listHistory("serializable")},
		{"append", &oracle.Append{Isolation: "read-committed"}, listHistory("read-committed")},
		{"bank", &oracle.Bank{}, bankHistory(false, false)},
		{"bank", &oracle.Bank{Overdraft: "allow"}, bankHistory(false, true)},
		{"bank", &oracle.Bank{Stale: "allow"}, bankHistory(true, false)},
		{"counter", &oracle.Counter{}, counterHistory(false)},
		{"counter", &oracle.Counter{Stale: "allow"}, counterHistory(true)},
		{"log", oracle.Log{}, ofW(legal)},
		{"log", oracle.Log{}, transactional(true)},
		{"log", oracle.Log{Isolation: "read-uncommitted"}, transactional(false)},
		{"objects", &oracle.Objects{}, objectsHistory(false, false)},
		{"objects", &oracle.Objects{Reads: "eventual", List: "eventual"}, objectsHistory(true, true)},
		{"queue", &oracle.Queue{}, queueHistory(false, false)},
		{"queue", &oracle.Queue{Order: "fifo"}, queueHistory(false, true)},
		{"queue", &oracle.Queue{Delivery: "at-least-once"}, queueHistory(true, false)},
		{"register", &oracle.Register{}, registerHistory},
		{"set", &oracle.Set{}, setHistory(false)},
		{"set", &oracle.Set{Stale: "allow"}, setHistory(true)},
		{"unique-ids", &oracle.UniqueIDs{}, idHistory},
	}
	tried := map[string]bool{}
	for _, tt := range tests {
		tried[tt.kind] = true
		t.Run(fmt.Sprintf("%s %+v", tt.kind, tt.c), func(t *testing.T) {
			t.Parallel()
			endures(t, tt.c, tt.legal)
		})
	}
	for kind := range oracle.Checkers() {
		if !tried[kind] {
			t.Errorf("no illegal history of %s is tried", kind)
		}
	}
}

// endures fails if a check or its self-test panics on a history that a checker's own mutations and arbitrary damage made illegal.
func endures(t *testing.T, c oracle.Checker, legal func(*rapid.T) *ledger.History) {
	t.Helper()
	illegal := 0
	rapid.Check(t, func(t *rapid.T) {
		h := legal(t)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "damage seed"), 1))
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			if r.IntN(3) == 0 {
				damage(r, h)
				continue
			}
			m := c.Mutations()[r.IntN(len(c.Mutations()))]
			if mutated, _, _, ok := m.Mutate(h, "w", r); ok {
				h = mutated
			}
		}
		if c.Check(t.Context(), h, "w").Verdict == oracle.Fail {
			illegal++
		}
		for _, m := range oracle.SelfTest(t.Context(), c, h, "w", r.Int64()) {
			if m.Fate == oracle.NotTried && m.Note == "" {
				t.Fatalf("%s was not tried, without a reason", m.Name)
			}
		}
	})
	if illegal == 0 {
		t.Error("no history was illegal")
	}
}

// damage changes operations without a thought for what they mean.
func damage(r *rand.Rand, h *ledger.History) {
	if len(h.Ops) < 2 {
		return
	}
	a, b := &h.Ops[r.IntN(len(h.Ops))], &h.Ops[r.IntN(len(h.Ops))]
	switch r.IntN(8) {
	case 0:
		a.Outcome = []ledger.Outcome{ledger.OK, ledger.Failed, ledger.Unknown}[r.IntN(3)]
	case 1:
		a.Value, b.Value = b.Value, a.Value
	case 2:
		a.Data, b.Data = b.Data, a.Data
	case 3:
		a.Data = ""
	case 4:
		a.Partition, a.Offset = b.Partition, b.Offset
	case 5:
		a.Func, b.Func = b.Func, a.Func
	case 6:
		a.Invoke, a.Complete, b.Invoke, b.Complete = b.Invoke, b.Complete, a.Invoke, a.Complete
		ledger.SortOps(h.Ops)
	case 7:
		h.Ops = slices.DeleteFunc(h.Ops, func(o ledger.Op) bool { return o.ID == a.ID })
	}
}
