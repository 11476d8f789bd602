package oracle_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// listSim is a store of lists. isolation says what it gives away: snapshot transactions read a state of their own and must
// not append to what changed since; serializable ones that only read may see an old state; committed reads each
// see one.
type listSim struct {
	*system

	isolation string
	states    []map[string][]int64
	keys      []string
	next      int64
}

func (l *listSim) txn(int) (ledger.Op, func(*ledger.Op)) {
	mops := make([]ledger.Mop, 1+l.r.IntN(4))
	appends := false
	for i := range mops {
		mops[i].Key = l.keys[l.r.IntN(len(l.keys))]
		if l.r.IntN(2) == 0 {
			l.next++
			mops[i].Append, mops[i].Value, appends = true, l.next, true
		}
	}
	began := len(l.states) - 1
	return ledger.Op{Func: ledger.FuncTxn, Data: ledger.EncodeData(mops)}, func(o *ledger.Op) {
		now := len(l.states) - 1
		start := now
		switch {
		case l.isolation == "snapshot":
			start = began
		case l.isolation == "serializable" && !appends:
			start = max(0, began-l.r.IntN(3))
		}
		l.commit(o, mops, start, now)
	}
}

// commit lets a transaction take effect that began with one state, in another.
func (l *listSim) commit(o *ledger.Op, mops []ledger.Mop, start, now int) {
	mops = slices.Clone(mops)
	own := map[string][]int64{}
	for i := range mops {
		m := &mops[i]
		if m.Append {
			own[m.Key] = append(own[m.Key], m.Value)
			continue
		}
		from := start
		if l.isolation == "read-committed" && own[m.Key] == nil {
			from -= l.r.IntN(min(start, 3) + 1)
		}
		m.Values = append(append([]int64{}, l.states[from][m.Key]...), own[m.Key]...)
	}
	for key := range own {
		if !slices.Equal(l.states[start][key], l.states[now][key]) {
			o.Outcome, o.Error = ledger.Failed, "conflict"
			return
		}
	}
	state := maps.Clone(l.states[now])
	for key, values := range own {
		state[key] = append(slices.Clone(state[key]), values...)
	}
	l.states = append(l.states, state)
	if l.ops[o.ID-1].Data == o.Data { // somebody is told
		o.Data = ledger.EncodeData(mops)
	}
}

func listHistory(isolation string) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		l := &listSim{system: drawSystem(t), isolation: isolation, states: []map[string][]int64{{}}}
		l.keys = []string{"x", "y", "z"}[:rapid.IntRange(1, 3).Draw(t, "lists")]
		l.run(rapid.IntRange(1, 5).Draw(t, "clients"), rapid.IntRange(1, 12).Draw(t, "transactions of a client"), l.txn)
		for i := range l.ops { // a lost answer has nothing to say
			if o := &l.ops[i]; o.Outcome != ledger.OK {
				o.Data = emptied(o)
			}
		}
		var last []ledger.Mop
		for _, key := range l.keys {
			last = append(last, ledger.Mop{Key: key, Values: append([]int64{}, l.states[len(l.states)-1][key]...)})
		}
		l.final(ledger.Op{Func: ledger.FuncTxn, Data: ledger.EncodeData(last)})
		return l.history()
	}
}

// emptied is the data of a transaction without what it read.
func emptied(o *ledger.Op) string {
	var mops []ledger.Mop
	if err := ledger.DecodeData(o, &mops); err != nil {
		panic(err)
	}
	for i := range mops {
		mops[i].Values = nil
	}
	return ledger.EncodeData(mops)
}

var isolations = []string{"read-committed", "snapshot", "serializable", "strict-serializable"}

func TestAppendAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	for _, level := range isolations {
		acceptsLegal(t, &oracle.Append{Isolation: level}, listHistory(level))
	}
	acceptsLegal(t, &oracle.Append{}, listHistory("serializable"))
}

// What a weaker isolation allows is found where a stronger one is asked for.
func TestAppendTellsIsolationsApart(t *testing.T) {
	t.Parallel()
	for i, level := range isolations[:3] {
		found := false
		rapid.Check(t, func(t *rapid.T) {
			h := listHistory(level)(t)
			r := oracle.Append{Isolation: isolations[i+1]}.Check(t.Context(), h, "w")
			found = found || r.Counts["cycles"] > 0
		})
		if !found {
			t.Errorf("no history of %s is found not to be %s", level, isolations[i+1])
		}
	}
}

func TestAppendConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"read-committed", "strict-serializable"} { // the others' are among the latter's
		convictsMutants(t, &oracle.Append{Isolation: level}, listHistory(level))
	}
}

func txn(data string) ledger.Op { return ledger.Op{Func: ledger.FuncTxn, Data: data} }

// Two transactions that append, one that failed, one of unknown fate that was seen, one that reads half of the time, and
// the final read.
func appendOps() []ledger.Op {
	ops := script(
		txn(`[["append","x",1],["append","y",2]]`),
		txn(`[["r","x",[1]],["append","x",3],["append","x",4],["r","x",[1,3,4]]]`),
		txn(`[["append","x",5],["r","y",null]]`),
		txn(`[["append","y",6]]`),
		txn(`[["r","y",[2]],["r","x",[1,3,4]]]`),
		txn(`[["r","x",[1,3,4]],["r","y",[2,6]]]`),
		txn(`[["r","x",[1,3,4]],["r","y",[2,6]]]`),
	)
	ops[2].Outcome, ops[2].Error = ledger.Failed, "conflict"
	ops[3].Outcome, ops[3].Complete = ledger.Unknown, 0
	return ops
}

func TestAppendNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	data := func(id int, data string) func(*[]ledger.Op) { return bankData(data, id) }
	convicts(t, &oracle.Append{}, appendOps, []conviction{
		{"a lost append", both(data(2, `[["append","x",3],["append","x",4]]`), data(5, `[["r","y",[2]],["r","x",[1]]]`), data(6, `[["r","x",[1]]]`), data(7, `[["r","x",[1]],["r","y",[2,6]]]`)), oracle.DataLoss, "an acknowledged value is in its list", "operation 2 appended value 3 to list x, and the final read (operation 7) lacks it", []int64{2, 7}, 2},
		{"a value that is taken back", data(7, `[["r","x",[1,3,4]],["r","y",[2]]]`), oracle.DataLoss, "a value that was read stays in its list", "operation 6 found value 6 of list y, and the final read (operation 7) lacks it", []int64{4, 6, 7}, 1},
		{"a value twice", data(7, `[["r","x",[1,3,4,4]],["r","y",[2,6]]]`), oracle.Duplicate, "a value is in its list once", "operation 7 found value 4 in list x twice", []int64{2, 7}, 1},
		{"a phantom", data(7, `[["r","x",[1,3,4,77]],["r","y",[2,6]]]`), oracle.Phantom, "nothing is in a list that was never appended", "operation 7 found value 77 in list x, which was never appended", []int64{7}, 1},
		{"an aborted read", data(7, `[["r","x",[1,3,4,5]],["r","y",[2,6]]]`), oracle.Phantom, "what an aborted transaction appended is not read (G1a)", "operation 7 found value 5 in list x, which operation 3 appended, that failed (conflict)", []int64{3, 7}, 1},
		{"two orders", data(5, `[["r","x",[1,4,3]]]`), oracle.Order, "all reads of a list agree on its order", "operation 5 found value 4 at place 1 of list x, operation 2 found value 3 there", []int64{2, 5}, 2},
		{"an intermediate read", data(5, `[["r","x",[1,3]]]`), oracle.Invariant, "no transaction reads what another one wrote halfway (G1b)", "operation 5 found list x to end with value 3, after which operation 2 appended value 4", []int64{2, 5}, 2},
		{"a transaction that does not see itself", data(2, `[["append","x",3],["append","x",4],["r","x",[1,3]]]`), oracle.Invariant, "a transaction reads what it appended itself", "operation 2 appended [3 4] to list x, and then found [1 3] there", []int64{2}, 1},
		{"a dirty write", both(data(2, `[["append","x",3],["append","y",4]]`), data(5, `[]`), data(6, `[]`), data(7, `[["r","x",[1,3]],["r","y",[4,2]]]`)), oracle.Invariant, "transactions do not write in a circle (G0, dirty write)", "operation 1 appended to list x before operation 2 appended to list y before operation 1", []int64{1, 2}, 1},
		{"a circle of reads", both(data(1, `[["append","x",1],["r","x",[1]],["append","y",2],["r","z",[9]]]`), data(2, `[["append","z",9],["r","y",[2]]]`), data(4, `[]`), data(5, `[]`), data(6, `[]`), data(7, `[["r","x",[1]],["r","y",[2]],["r","z",[9]]]`)), oracle.Invariant, "transactions do not read in a circle (G1c, circular information flow)", "operation 1 appended to list y what was read by operation 2 appended to list z what was read by operation 1", []int64{1, 2}, 1},
		{"a read skew", data(5, `[["r","x",[]],["r","y",[2]]]`), oracle.Invariant, "a transaction sees all of another one or nothing of it (G-single, read skew)", "operation 1 appended to list y what was read by operation 5 read list x before the append of operation 1", []int64{1, 5}, 1},
		{"a write skew", both(data(1, `[["r","y",[]],["append","x",1]]`), data(2, `[["r","x",[]],["append","y",2]]`), data(5, `[]`), data(6, `[]`), data(7, `[["r","x",[1]],["r","y",[2]]]`)), oracle.Invariant, "transactions are as if one ran after the other (G2, write skew)", "operation 1 read list y before the append of operation 2 read list x before the append of operation 1", []int64{1, 2}, 1},
	})
	convicts(t, &oracle.Append{Isolation: "strict-serializable"}, appendOps, []conviction{
		{"a stale read", data(5, `[["r","x",[1]]]`), oracle.NotLinearizable, "transactions take effect between their call and their return", "operation 2 returned before the call of operation 5 read list x before the append of operation 2", []int64{2, 5}, 1},
	})
}

func TestAppendAllowsWhatItsIsolationDoes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		isolation string
		change    func(*[]ledger.Op)
	}{
		"a stale read":                   {"serializable", bankData(`[["r","x",[1]]]`, 5)},
		"a write skew":                   {"snapshot", both(bankData(`[["r","y",[]],["append","x",1]]`, 1), bankData(`[["r","x",[]],["append","y",2]]`, 2), bankData(`[]`, 3, 4, 5, 6), bankData(`[["r","x",[1]],["r","y",[2]]]`, 7))},
		"a read skew":                    {"read-committed", bankData(`[["r","x",[]],["r","y",[2]]]`, 5)},
		"a read while others append":     {"strict-serializable", both(bankData(`[["r","x",[1]]]`, 5), func(ops *[]ledger.Op) { (*ops)[1].Complete = (*ops)[4].Invoke })},
		"an append of which nobody knew": {"strict-serializable", bankData(`[["r","x",[1,3,4]],["r","y",[2]]]`, 6, 7)},
	} {
		ops := appendOps()
		tt.change(&ops)
		if r := (oracle.Append{Isolation: tt.isolation}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Pass {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
		}
	}
}

func TestAppendProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Append{}, appendOps, []doubtful{
		{"without a final read", func(ops *[]ledger.Op) { *ops = (*ops)[:1] }, oracle.CheckerUnknown, "not read after every append to it had returned: 2 lists, so 2 values in there may be lost"},
		{"with an append during it", func(ops *[]ledger.Op) { (*ops)[1].Complete = (*ops)[6].Invoke }, oracle.CheckerUnknown, "had returned: 1 list, so 3 values"},
		{"with a transaction that cannot be read", bankData(`[["w","x",1]]`, 3), oracle.CheckerUnknown, "decode data of operation 3 (txn)"},
		{"with a value that was appended twice", both(bankData(`[["append","y",2]]`, 4), bankData(`[["r","x",[1,3,4]],["r","y",[2]]]`, 6, 7)), oracle.CheckerUnknown, "operations 1 and 4 appended the same value 2 to list y"},
		{"without an append", func(ops *[]ledger.Op) { *ops = (*ops)[2:4] }, oracle.TooFewOps, "nothing was appended"},
	})
}

func TestAppendCounts(t *testing.T) {
	t.Parallel()
	r := oracle.Append{}.Check(t.Context(), &ledger.History{Ops: appendOps()}, "w")
	want := "map[acknowledged:5 appended:4 cycles:0 failed:1 lists:2 lost:0 reads:8 unknown:1 unknown_found:1]"
	if got := fmt.Sprint(r.Counts); got != want || r.Verdict != oracle.Pass {
		t.Errorf("%s %s", r.Verdict, got)
	}
}

// BenchmarkAppend measures transactions of two appends and two reads over short lists.
func BenchmarkAppend(b *testing.B) {
	const txns = 50_000
	var ops []ledger.Op
	var x, y []int64
	for i := range int64(txns) {
		if i%100 == 0 {
			x, y = nil, nil
		}
		kx, ky := fmt.Sprintf("x%d", i/100), fmt.Sprintf("y%d", i/100)
		ops = append(ops, txn(ledger.EncodeData([]ledger.Mop{{Key: kx, Values: append([]int64{}, x...)}, {Append: true, Key: kx, Value: i}, {Append: true, Key: ky, Value: i}, {Key: ky, Values: append(slices.Clone(y), i)}})))
		x, y = append(slices.Clone(x), i), append(slices.Clone(y), i)
		if i%100 == 99 {
			ops = append(ops, txn(ledger.EncodeData([]ledger.Mop{{Key: kx, Values: x}, {Key: ky, Values: y}})))
		}
	}
	h := &ledger.History{Ops: script(ops...)}
	perSecond(b, len(h.Ops), func() {
		if r := (oracle.Append{Isolation: "strict-serializable"}).Check(b.Context(), h, "w"); r.Verdict != oracle.Pass {
			b.Fatal(r.Findings)
		}
	})
}
