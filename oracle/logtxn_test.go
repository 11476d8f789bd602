package oracle_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// transactional draws a history of a log whose records are sent in transactions. Reads that are committed find nothing of
// those that did not commit; ends of transactions take an offset.
func transactional(committed bool) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		s := drawSystem(t)
		partitions := rapid.IntRange(1, 3).Draw(t, "partitions")
		log := &txnLog{system: s, parts: make([][]int64, partitions), hidden: map[int64]bool{}, vague: drawVague(t, s.r)}
		for n := range int64(rapid.IntRange(1, 25).Draw(t, "transactions")) {
			log.transaction(n)
		}
		for p, values := range log.parts {
			for offset, v := range values {
				if v != 0 && (!committed || !log.hidden[v]) {
					s.final(ledger.Op{Func: ledger.FuncRead, Value: v, Partition: int32(p + 1), Offset: int64(offset)})
				}
			}
			s.final(ledger.Op{Func: ledger.FuncEnd, Partition: int32(p + 1), Offset: int64(len(values))})
		}
		return s.history()
	}
}

type txnLog struct {
	*system

	parts  [][]int64 // values by offset; 0 where a transaction ended
	hidden map[int64]bool
	seq    int64
	vague  func(*ledger.Op)
}

// transaction sends some records and ends.
func (l *txnLog) transaction(n int64) {
	data := ledger.EncodeData(ledger.Txn{ID: fmt.Sprint("t", n)})
	var values []int64
	trouble := func() bool { return l.r.IntN(100) < l.trouble }
	for range 1 + l.r.IntN(4) {
		l.seq++
		o := ledger.Op{Func: ledger.FuncProduce, Value: l.seq, Data: data, Partition: -1, Offset: -1}
		p := l.r.IntN(len(l.parts))
		lands := true
		if trouble() {
			o.Outcome, o.Error = ledger.Unknown, "timed out"
			lands = l.r.IntN(2) == 0
		}
		if lands {
			l.parts[p] = append(l.parts[p], o.Value)
			values = append(values, o.Value)
			if o.Outcome == "" {
				o.Partition, o.Offset = int32(p+1), int64(len(l.parts[p])-1)
				l.vague(&o)
			}
		}
		l.final(o)
	}
	commits, outcome, fn := !trouble(), ledger.OK, ledger.FuncCommit
	switch {
	case l.r.IntN(3) == 0 && trouble(): // its answer is lost, whatever it was
		outcome = ledger.Unknown
	case !commits && l.r.IntN(2) == 0:
		fn = ledger.FuncAbort
	case !commits:
		outcome = ledger.Failed
	}
	if l.r.IntN(10) == 0 && !commits && outcome != ledger.Unknown {
		fn = "" // the producer is gone
	}
	if fn != "" {
		l.final(ledger.Op{Func: fn, Data: data, Outcome: outcome})
	}
	for _, v := range values {
		l.hidden[v] = !commits
	}
	for p := range l.parts {
		l.parts[p] = append(l.parts[p], 0)
	}
}

func TestLogAcceptsTransactions(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, oracle.Log{}, transactional(true))
	acceptsLegal(t, oracle.Log{Isolation: "read-uncommitted"}, transactional(false))
}

func TestLogConvictsMutationsOfUncommittedReads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := transactional(false)(t)
		for _, m := range oracle.SelfTest(t.Context(), oracle.Log{Isolation: "read-uncommitted"}, h, "w", rapid.Int64().Draw(t, "mutation seed")) {
			if m.Fate == oracle.Survived {
				t.Fatalf("%s survived (%s)", m.Name, m.Note)
			}
		}
	})
}

// A committed transaction of two records, an aborted one, one of unknown fate that is there; a consumer that is handed
// what committed; the final read.
func txnLogOps() []ledger.Op {
	in := func(id string) string { return ledger.EncodeData(ledger.Txn{ID: id}) }
	at := func(o ledger.Op, offset int64) ledger.Op { o.Partition, o.Offset = 1, offset; return o }
	return script(
		at(ledger.Op{Func: ledger.FuncProduce, Value: 1, Data: in("a")}, 0),
		at(ledger.Op{Func: ledger.FuncProduce, Value: 2, Data: in("a")}, 1),
		ledger.Op{Func: ledger.FuncCommit, Data: in("a")},
		at(ledger.Op{Func: ledger.FuncProduce, Value: 3, Data: in("b")}, 3),
		ledger.Op{Func: ledger.FuncAbort, Data: in("b")},
		at(ledger.Op{Func: ledger.FuncProduce, Value: 4, Data: in("c")}, 5),
		at(ledger.Op{Func: ledger.FuncProduce, Value: 5, Data: in("c")}, 6),
		ledger.Op{Func: ledger.FuncCommit, Data: in("c"), Outcome: ledger.Unknown},
		at(ledger.Op{Func: ledger.FuncAssign}, -1),
		at(ledger.Op{Func: ledger.FuncPoll, Value: 1}, 0),
		at(ledger.Op{Func: ledger.FuncPoll, Value: 2}, 1),
		at(ledger.Op{Func: ledger.FuncRead, Value: 1}, 0),
		at(ledger.Op{Func: ledger.FuncRead, Value: 2}, 1),
		at(ledger.Op{Func: ledger.FuncRead, Value: 4}, 5),
		at(ledger.Op{Func: ledger.FuncRead, Value: 5}, 6),
		at(ledger.Op{Func: ledger.FuncEnd}, 8),
	)
}

// nowhere takes the place out of an acknowledgement.
func nowhere(id int) func(*[]ledger.Op) {
	return queueSet(id, func(o *ledger.Op) { o.Partition, o.Offset = -1, -1 })
}

func TestLogNamesWhatTransactionsPromise(t *testing.T) {
	t.Parallel()
	place := func(id int, value, offset int64) func(*[]ledger.Op) {
		return queueSet(id, func(o *ledger.Op) { o.Value, o.Offset = value, offset })
	}
	gone := func(id int) func(*[]ledger.Op) {
		return queueSet(id, func(o *ledger.Op) { o.Outcome = ledger.Unknown })
	}
	convicts(t, oracle.Log{}, txnLogOps, []conviction{
		{"a record of an aborted transaction", both(place(14, 3, 3), gone(15)), oracle.Phantom, "nothing is read of a transaction that did not commit", "record 3 of producer 0 was sent in transaction b and is at partition 1 offset 3, which operation 5 ended (abort, ok)", []int64{4, 5, 14}, 1},
		{"a record of a transaction that nobody ended", both(queueSet(3, func(o *ledger.Op) { o.Func = "other" }), gone(10), gone(11), gone(13)), oracle.Phantom, "nothing is read of a transaction that did not commit", "record 1 of producer 0 was sent in transaction a and is at partition 1 offset 0, which nobody committed", []int64{1, 12}, 1},
		{"a record of an aborted transaction that a consumer was handed", place(11, 3, 3), oracle.Phantom, "nothing is read of a transaction that did not commit", "record 3 of producer 0 was sent in transaction b", []int64{4, 5, 11}, 3},
		{"half of a transaction", gone(14), oracle.Invariant, "a transaction's records are in the log all or none", "of transaction c, whose commit has an unknown fate, record 5 of producer 0 is at partition 1 offset 6, and record 4 of producer 0 is not in the log", []int64{6, 7, 8, 15}, 1},
		{"half of a transaction whose acknowledgements name no place", both(gone(14), nowhere(6)), oracle.Invariant, "a transaction's records are in the log all or none", "and record 4 of producer 0 is not in the log", []int64{6, 7, 8, 15}, 1},
		{"a lost record of a committed transaction", gone(13), oracle.DataLoss, "an acknowledged record is in the log", "record 2 of producer 0 was acknowledged at partition 1 offset 1", []int64{2, 12, 14}, 1},
		{"a consumer that goes back", both(place(10, 2, 1), place(11, 1, 0)), oracle.Order, "a consumer is handed a partition's records in the order of offsets", "process 0 was handed partition 1 offset 0 after offset 1, and was not assigned the partition in between", []int64{10, 11}, 1},
	})
}

func TestLogAllowsWhatTransactionsDo(t *testing.T) {
	t.Parallel()
	gone := func(id int) func(*[]ledger.Op) {
		return queueSet(id, func(o *ledger.Op) { o.Outcome = ledger.Unknown })
	}
	unended := queueSet(10, func(o *ledger.Op) { o.Partition = 2 })
	aborted := queueSet(14, func(o *ledger.Op) { o.Value, o.Offset = 3, 3 })
	for name, tt := range map[string]struct {
		isolation string
		change    func(*[]ledger.Op)
	}{
		"as it is":                         {"", both()},
		"none of an unknown transaction":   {"", both(gone(14), gone(15))},
		"aborted, uncommitted":             {"read-uncommitted", both(aborted, gone(15))},
		"half, uncommitted":                {"read-uncommitted", gone(14)},
		"a record that may be elsewhere":   {"", both(gone(14), nowhere(6), unended)},
		"a commit that is tried again":     {"", both(queueSet(5, func(o *ledger.Op) { o.Func, o.Outcome, o.Data = ledger.FuncCommit, ledger.Failed, `{"txn":"a"}` }))},
		"a consumer that is assigned anew": {"", both(queueSet(11, func(o *ledger.Op) { o.Value, o.Offset = 1, 0 }), queueSet(9, func(o *ledger.Op) { o.Invoke += 1_500_000; o.Complete += 1_500_000 }))},
	} {
		ops := txnLogOps()
		tt.change(&ops)
		ledger.SortOps(ops)
		if r := (oracle.Log{Isolation: tt.isolation}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Pass {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
		}
	}
	r := oracle.Log{}.Check(t.Context(), &ledger.History{Ops: txnLogOps()}, "w")
	if got, want := fmt.Sprint(r.Counts), "map[aborted:1 acknowledged:2 delivered:4 failed:0 partitions:1 polled:2 redelivered:0 transactions:3 unknown:2 unknown_found:2]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	ops := txnLogOps()
	ops[0].Data, ops[2].Data = "x", "y"
	if r := (oracle.Log{}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); !contains(fmt.Sprint(r.Findings), "decode data of operation 1 (produce)") || !contains(fmt.Sprint(r.Findings), "decode data of operation 3 (commit)") {
		t.Errorf("%+v", r.Findings)
	}
}

// A follower of a consumer's output that comes back may record what it has recorded before, with the same instants.
func TestDeliveriesThatAreRecordedAgainDoNotGoBackwards(t *testing.T) {
	t.Parallel()
	ops := txnLogOps()
	again := slices.Clone(ops[9:11])
	ops = append(ops[:11], append(again, ops[11:]...)...)
	for i := range ops {
		ops[i].ID = int64(i + 1)
	}
	if r := (oracle.Log{}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Pass {
		t.Errorf("%s %+v", r.Verdict, r.Violations)
	}
	ops[12].Invoke, ops[12].Complete = ops[10].Invoke+1, ops[10].Complete+1
	ops[12].Offset, ops[12].Value = ops[9].Offset, ops[9].Value
	if r := (oracle.Log{}).Check(t.Context(), &ledger.History{Ops: ops}, "w"); len(r.Violations) == 0 || r.Violations[0].Class != oracle.Order {
		t.Errorf("%s %+v, want a violation of order", r.Verdict, r.Violations)
	}
}
