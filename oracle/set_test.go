package oracle_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// setHistory draws the history of a set that kept its promises; a lagging one shows old snapshots during the run.
func setHistory(lagging bool) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		s := drawSystem(t)
		lists := rapid.IntRange(0, 30).Draw(t, "percent of snapshots")
		clients := rapid.IntRange(1, 5).Draw(t, "clients")
		var state []int64
		seq := make([]int64, clients)
		s.run(clients, rapid.IntRange(1, 40).Draw(t, "operations of a client"), func(p int) (ledger.Op, func(*ledger.Op)) {
			if s.r.IntN(100) < lists {
				return ledger.Op{Func: ledger.FuncList}, func(o *ledger.Op) {
					n := len(state)
					if lagging {
						n -= s.r.IntN(n + 1)
					}
					shuffled := slices.Clone(state[:n])
					s.r.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
					o.Data = string(ledger.AppendValues(nil, shuffled))
				}
			}
			seq[p]++
			return ledger.Op{Func: ledger.FuncAdd, Value: int64(p)<<32 | seq[p]}, func(o *ledger.Op) { state = append(state, o.Value) }
		})
		if rapid.Bool().Draw(t, "first final read breaks off") {
			for _, v := range state[:len(state)/2] {
				s.final(ledger.Op{Func: ledger.FuncRead, Value: v})
			}
			s.final(ledger.Op{Func: ledger.FuncEnd, Outcome: ledger.Unknown, Error: "connection lost"})
		}
		for _, v := range state {
			s.final(ledger.Op{Func: ledger.FuncRead, Value: v})
		}
		s.final(ledger.Op{Func: ledger.FuncEnd, Offset: int64(len(state))})
		return s.history()
	}
}

func TestSetAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.Set{}, setHistory(false))
	acceptsLegal(t, &oracle.Set{Stale: "allow"}, setHistory(true))
}

func TestSetConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.Set{}, setHistory(false))
	convictsMutants(t, &oracle.Set{Stale: "allow"}, setHistory(true))
}

// Three acknowledged elements, a failed one, and an unknown one that landed; a snapshot after two of them and one after
// all; the final read.
func setOps() []ledger.Op {
	return script(
		ledger.Op{Func: ledger.FuncAdd, Value: 1},
		ledger.Op{Func: ledger.FuncAdd, Value: 2},
		ledger.Op{Func: ledger.FuncList, Data: "[1,2]"},
		ledger.Op{Func: ledger.FuncAdd, Value: 3},
		ledger.Op{Func: ledger.FuncAdd, Value: 4, Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncAdd, Value: 5, Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncList, Data: "[1,2,3,5]"},
		ledger.Op{Func: ledger.FuncRead, Value: 1},
		ledger.Op{Func: ledger.FuncRead, Value: 2},
		ledger.Op{Func: ledger.FuncRead, Value: 3},
		ledger.Op{Func: ledger.FuncRead, Value: 5},
		ledger.Op{Func: ledger.FuncEnd, Offset: 4},
	)
}

// drop removes the operation of an id; where it is a final read the end counts one less.
func dropRead(ops *[]ledger.Op, id int64) {
	*ops = slices.DeleteFunc(*ops, func(o ledger.Op) bool { return o.ID == id })
	(*ops)[len(*ops)-1].Offset--
}

func TestSetNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	set := func(id int, f func(o *ledger.Op)) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) { f(&(*ops)[id-1]) }
	}
	data := func(id int, data string) func(*[]ledger.Op) { return set(id, func(o *ledger.Op) { o.Data = data }) }
	convicts(t, &oracle.Set{}, setOps, []conviction{
		{"a lost element", func(ops *[]ledger.Op) { dropRead(ops, 10) }, oracle.DataLoss, "an acknowledged element is in the set", "element 3 (ok) is missing from the final read; the last to have it was the snapshot of operation 7", []int64{4, 7, 12}, 1},
		{"an element that nobody ever saw", func(ops *[]ledger.Op) { dropRead(ops, 10); data(7, "[1,2,5]")(ops) }, oracle.DataLoss, "an acknowledged element is in the set", "was in none of 2 snapshots", []int64{4, 12}, 1},
		{"an unknown element that was seen and is gone", func(ops *[]ledger.Op) { dropRead(ops, 11) }, oracle.DataLoss, "an element that a snapshot had stays in the set", "element 5 (unknown)", []int64{6, 7, 12}, 1},
		{"a stale snapshot", data(7, "[1,2,5]"), oracle.Stale, "a snapshot has every element that was acknowledged, or seen, before it", "element 3, acknowledged 3ms before, is missing from the snapshot of operation 7; the final read has it", []int64{4, 7, 10}, 1},
		{"a snapshot that misses what an earlier one had", func(ops *[]ledger.Op) {
			set(1, func(o *ledger.Op) { o.Outcome = ledger.Unknown })(ops)
			data(7, "[2,3,5]")(ops)
		}, oracle.Stale, "a snapshot has every element that was acknowledged, or seen, before it", "element 1, in the snapshot of operation 3 ", []int64{1, 3, 7, 8}, 1},
		{"a phantom in the final read", set(11, func(o *ledger.Op) { o.Value = 77 }), oracle.Phantom, "nothing is in the set that was never added", "element 77, which was never added, is in the final read", []int64{11}, 2},
		{"a phantom in a snapshot", data(3, "[1,2,77]"), oracle.Phantom, "nothing is in the set that was never added", "snapshot of operation 3", []int64{3}, 1},
		{"an element before it was added", data(3, "[1,2,3]"), oracle.Phantom, "nothing is in the set that was never added", "element 3 was in the snapshot of operation 3 before it was added", []int64{3, 4}, 1},
		{"a failed element", set(2, func(o *ledger.Op) { o.Outcome, o.Error = ledger.Failed, "no" }), oracle.Phantom, "an element whose adding failed is not in the set", "element 2, whose adding failed (no), is in the snapshot of operation 3", []int64{2, 3}, 1},
		{"a failed element that comes back", func(ops *[]ledger.Op) {
			set(11, func(o *ledger.Op) { o.Value = 4 })(ops)
			data(7, "[1,2,3]")(ops)
		}, oracle.Resurrected, "an element whose adding failed does not come back", "adding element 4 failed (refused); the snapshot of operation 7 misses it, and the final read has it", []int64{5, 7, 11}, 1},
		{"an element twice in the final read", set(11, func(o *ledger.Op) { o.Value = 2 }), oracle.Duplicate, "the set has an element once", "element 2, added once (ok), is in the final read twice", []int64{2, 9, 11}, 2},
		{"an element twice in a snapshot", data(7, "[1,2,3,5,3]"), oracle.Duplicate, "the set has an element once", "snapshot of operation 7 twice", []int64{4, 7}, 1},
		{"an unreadable element", set(8, func(o *ledger.Op) { o.Value, o.Key = 0, "x\x01" }), oracle.Corruption, "an element comes back as it was added", `found "x\x01"`, []int64{8}, 2},
	})
}

func TestSetProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Set{}, setOps, []doubtful{
		{"without a final read", func(ops *[]ledger.Op) { *ops = (*ops)[:7] }, oracle.CheckerUnknown, "the final read has no end, so 3 acknowledged elements are unproven"},
		{"with a final read that broke off", func(ops *[]ledger.Op) { *ops = (*ops)[:9] }, oracle.CheckerUnknown, "the final read has no end"},
		{"with a final read that lacks records", func(ops *[]ledger.Op) { *ops = slices.Delete(*ops, 9, 10) }, oracle.CheckerUnknown, "operation 12 ends a final read of 4 elements, of which 3 were recorded"},
		{"with an acknowledgement after the final read", func(ops *[]ledger.Op) {
			(*ops)[3].Complete = simStart + 1_000_000_000
			(*ops)[6].Data = "[1,2,5]"
			dropRead(ops, 10)
		}, oracle.CheckerUnknown, "1 elements were acknowledged after the final read began"},
		{"with an element that was added twice", func(ops *[]ledger.Op) { (*ops)[5].Value = 2; dropRead(ops, 11); (*ops)[6].Data = "[1,2,3]" }, oracle.CheckerUnknown, "operations 2 and 6 added the same element"},
		{"with a snapshot that is no JSON", func(ops *[]ledger.Op) { (*ops)[2].Data = "1,2" }, oracle.CheckerUnknown, "operation 3 (list) cannot be read"},
		{"without an acknowledgement", func(ops *[]ledger.Op) { *ops = (*ops)[4:6] }, oracle.TooFewOps, "no element was acknowledged"},
	})
}

func TestSetAllowsALaggingReplica(t *testing.T) {
	t.Parallel()
	ops := setOps()
	ops[6].Data = "[1]"
	r := (&oracle.Set{Stale: "allow"}).Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Verdict != oracle.Pass || r.Counts["stale"] != 2 || r.Times["visible_max"] != 4_500_000 {
		t.Fatalf("%s %v %v %+v", r.Verdict, r.Counts, r.Times, r.Findings)
	}
}

func TestSetCounts(t *testing.T) {
	t.Parallel()
	r := oracle.Set{}.Check(t.Context(), &ledger.History{Ops: setOps()}, "w")
	want := map[string]int64{"acknowledged": 3, "failed": 1, "unknown": 1, "unknown_found": 1, "found": 4, "lost": 0, "stale": 0, "never_read": 0, "snapshots": 3}
	for k, v := range want {
		if r.Counts[k] != v {
			t.Errorf("%s: %d, want %d", k, r.Counts[k], v)
		}
	}
	if len(r.Counts) != len(want) || r.Verdict != oracle.Pass || r.Times["visible_max"] != 0 {
		t.Errorf("%s %v %v", r.Verdict, r.Counts, r.Times)
	}
}

// BenchmarkSet measures the set check: the bar is 1,000,000 operations per second on one core. Ten snapshots show all that
// was added until then.
func BenchmarkSet(b *testing.B) {
	const adds = 500_000
	ops := make([]ledger.Op, 0, 2*adds+11)
	values := make([]int64, 0, adds)
	for i := range adds {
		v := int64(i%8)<<32 | int64(i/8+1)
		values = append(values, v)
		ops = append(ops, ledger.Op{Func: ledger.FuncAdd, Value: v})
		if i%(adds/10) == adds/10-1 {
			ops = append(ops, ledger.Op{Func: ledger.FuncList, Data: string(ledger.AppendValues(nil, values))})
		}
	}
	for _, v := range values {
		ops = append(ops, ledger.Op{Func: ledger.FuncRead, Value: v})
	}
	h := &ledger.History{Ops: script(append(ops, ledger.Op{Func: ledger.FuncEnd, Offset: adds})...)}
	perSecond(b, len(h.Ops), func() {
		if r := (oracle.Set{}).Check(b.Context(), h, "w"); r.Verdict != oracle.Pass {
			b.Fatal(r.Findings)
		}
	})
}
