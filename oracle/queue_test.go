package oracle_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// queueSim is a queue that keeps its promises.
type queueSim struct {
	*system

	values      []int64
	handAgain   bool // whoever was handed a value may fail to acknowledge it, or it comes again all the same
	fifo        bool
	seq         []int64
	dequeueRate int
}

func (q *queueSim) next(p int) (ledger.Op, func(*ledger.Op)) {
	if q.r.IntN(100) < q.dequeueRate {
		return ledger.Op{Func: ledger.FuncDequeue}, q.take
	}
	q.seq[p]++
	return ledger.Op{Func: ledger.FuncEnqueue, Value: int64(p)<<32 | q.seq[p]}, func(o *ledger.Op) { q.values = append(q.values, o.Value) }
}

func (q *queueSim) take(o *ledger.Op) {
	if len(q.values) == 0 {
		return
	}
	i := 0
	if !q.fifo {
		i = q.r.IntN(len(q.values))
	}
	o.Value = q.values[i]
	answered := q.ops[o.ID-1].Value == o.Value
	switch {
	case answered && q.r.IntN(5) == 0: // handed over, but nobody can tell whether it is gone
		o.Outcome, o.Error = ledger.Unknown, "not acknowledged"
		if q.r.IntN(2) == 0 {
			return
		}
	case q.handAgain && (!answered || q.r.IntN(5) == 0):
		return
	}
	q.values = slices.Delete(q.values, i, i+1)
}

// queueHistory draws a history of a queue that kept its promises.
func queueHistory(again, fifo bool) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		clients := rapid.IntRange(1, 5).Draw(t, "clients")
		q := &queueSim{system: drawSystem(t), handAgain: again, fifo: fifo, seq: make([]int64, clients), dequeueRate: rapid.IntRange(0, 60).Draw(t, "percent of dequeues")}
		q.run(clients, rapid.IntRange(1, 40).Draw(t, "operations of a client"), q.next)
		for _, v := range q.values {
			q.final(ledger.Op{Func: ledger.FuncDequeue, Value: v})
		}
		q.final(ledger.Op{Func: ledger.FuncDequeue}, ledger.Op{Func: ledger.FuncEnd, Offset: int64(len(q.values))})
		return q.history()
	}
}

func TestQueueAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.Queue{}, queueHistory(false, false))
	acceptsLegal(t, &oracle.Queue{Order: "fifo"}, queueHistory(false, true))
	acceptsLegal(t, &oracle.Queue{Delivery: "at-least-once"}, queueHistory(true, false))
}

func TestQueueConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.Queue{}, queueHistory(false, false))
	convictsMutants(t, &oracle.Queue{Order: "fifo"}, queueHistory(false, true))
	convictsMutants(t, &oracle.Queue{Delivery: "at-least-once"}, queueHistory(true, false))
}

// Three acknowledged values, one that failed, one of unknown fate; three dequeues, of which the third is not
// acknowledged; the final drain.
func queueOps() []ledger.Op {
	return script(
		ledger.Op{Func: ledger.FuncEnqueue, Value: 1},
		ledger.Op{Func: ledger.FuncEnqueue, Value: 2},
		ledger.Op{Func: ledger.FuncEnqueue, Value: 3},
		ledger.Op{Func: ledger.FuncEnqueue, Value: 4, Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncEnqueue, Value: 5, Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncDequeue, Value: 1},
		ledger.Op{Func: ledger.FuncDequeue, Value: 2},
		ledger.Op{Func: ledger.FuncDequeue, Value: 3, Outcome: ledger.Unknown, Error: "not acknowledged"},
		ledger.Op{Func: ledger.FuncDequeue, Value: 3},
		ledger.Op{Func: ledger.FuncDequeue, Value: 5},
		ledger.Op{Func: ledger.FuncDequeue},
		ledger.Op{Func: ledger.FuncEnd, Offset: 2},
	)
}

func queueSet(id int, f func(o *ledger.Op)) func(*[]ledger.Op) {
	return func(ops *[]ledger.Op) { f(&(*ops)[id-1]) }
}

func queueValue(id int, value int64) func(*[]ledger.Op) {
	return queueSet(id, func(o *ledger.Op) { o.Value = value })
}

func both(changes ...func(*[]ledger.Op)) func(*[]ledger.Op) {
	return func(ops *[]ledger.Op) {
		for _, c := range changes {
			c(ops)
		}
	}
}

func TestQueueNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	blind := func(id int) func(*[]ledger.Op) {
		return queueSet(id, func(o *ledger.Op) { o.Value, o.Outcome, o.Error = 0, ledger.Unknown, "timed out" })
	}
	failedOp := func(id int) func(*[]ledger.Op) {
		return queueSet(id, func(o *ledger.Op) { o.Value, o.Outcome, o.Error = 0, ledger.Failed, "no" })
	}
	const kept = "an acknowledged value is handed out"
	tests := []conviction{
		{"a lost value", failedOp(7), oracle.DataLoss, kept, "value 2 was acknowledged, and nobody was handed it by the end of the final drain", []int64{2, 12}, 1},
		{"more lost values than excuses", both(blind(7), failedOp(6)), oracle.DataLoss, kept, "value 1 was acknowledged, and nobody was handed it by the end of the final drain (2 values are missing, and 1 dequeue of unknown outcome may have taken as many)", []int64{1, 12}, 2},
		{"a corrupt body", queueSet(7, func(o *ledger.Op) { o.Sum = 7 }), oracle.Corruption, "a value comes back as it was put in", "operation 7 was handed value 2 with another body (CRC-32C 00000007)", []int64{2, 7}, 1},
		{"a phantom", queueValue(10, 77), oracle.Phantom, "nothing is handed out that was never put in", "operation 10 was handed value 77, which was never put in", []int64{10}, 1},
		{"a value that is not there yet", queueSet(2, func(o *ledger.Op) { o.Invoke, o.Complete = o.Invoke+7_500_000, o.Complete+7_600_000 }), oracle.Phantom, "nothing is handed out that was never put in", "operation 7 was handed value 2 before operation 2 put it in", []int64{7, 2}, 1},
		{"a failed value", queueValue(10, 4), oracle.Phantom, "a value whose enqueue failed is not handed out", "operation 10 was handed value 4, whose enqueue failed (refused)", []int64{4, 10}, 1},
	}
	convicts(t, &oracle.Queue{}, queueOps, append(tests,
		conviction{"a value twice", queueValue(10, 2), oracle.Duplicate, "a value is handed out once", "operation 10 was handed value 2, which operation 7 had taken 3ms before", []int64{2, 7, 10}, 1},
		conviction{"a value that comes again after it was taken", both(queueValue(8, 2)), oracle.Duplicate, "a value is handed out once", "operation 8 was handed value 2, which operation 7 had taken", []int64{2, 7, 8}, 1},
	))
	convicts(t, &oracle.Queue{Order: "fifo"}, queueOps, []conviction{
		{"values out of their order", both(queueValue(6, 2), queueValue(7, 1)), oracle.Order, "values are handed out in the order in which they were put in", "value 1 was put in before value 2 (operations 1 and 2), and handed out after it (operations 7 and 6)", []int64{1, 2, 6, 7}, 1},
	})
	tests[1] = conviction{"a value that nobody was handed", blind(7), oracle.DataLoss, kept, "value 2 was acknowledged, and nobody was handed it by the end of the final drain", []int64{2, 12}, 1}
	convicts(t, &oracle.Queue{Delivery: "at-least-once"}, queueOps, tests)
}

func TestQueueAllowsWhatItsOptionsSay(t *testing.T) {
	t.Parallel()
	swapped := both(queueValue(6, 2), queueValue(7, 1))
	overlap := func(ops *[]ledger.Op) {
		swapped(ops)
		(*ops)[1].Invoke = (*ops)[0].Complete // which was put in first, nobody can tell
	}
	for name, tt := range map[string]struct {
		queue  oracle.Queue
		change func(*[]ledger.Op)
	}{
		"any order":                     {oracle.Queue{}, swapped},
		"an order that nobody can tell": {oracle.Queue{Order: "fifo"}, overlap},
		"another delivery":              {oracle.Queue{Delivery: "at-least-once"}, queueValue(10, 2)},
		"one excuse":                    {oracle.Queue{}, queueSet(7, func(o *ledger.Op) { o.Value, o.Outcome = 0, ledger.Unknown })},
	} {
		ops := queueOps()
		tt.change(&ops)
		if r := tt.queue.Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Pass {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
		}
	}
	if err := (&oracle.Queue{Delivery: "at-least-once", Order: "fifo"}).Validate(); err == nil || !contains(err.Error(), "order: ") {
		t.Errorf("fifo with at-least-once: %v", err)
	}
	if err := (&oracle.Queue{Order: "fifo"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestQueueProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Queue{}, queueOps, []doubtful{
		{"without an end of the final drain", func(ops *[]ledger.Op) { *ops = slices.Delete((*ops)[:11], 6, 7) }, oracle.CheckerUnknown, "the final drain has no end, so 3 acknowledged values are unproven"},
		{"with an end that broke off", queueSet(12, func(o *ledger.Op) { o.Outcome = ledger.Unknown }), oracle.CheckerUnknown, "the final drain has no end"},
		{"with an end that counts more", queueSet(12, func(o *ledger.Op) { o.Offset = 6 }), oracle.CheckerUnknown, "operation 12 ends a final drain of 6 values, and its process was handed 5"},
		{"with an acknowledgement during the drain", func(ops *[]ledger.Op) {
			(*ops)[1].Complete = (*ops)[10].Invoke
			(*ops)[6].Value = 5
			(*ops)[9].Value = 0
		}, oracle.CheckerUnknown, "1 values were acknowledged after the final drain found the queue empty"},
		{"with a value that was put in twice", both(queueValue(5, 2), queueSet(10, func(o *ledger.Op) { o.Outcome = ledger.Failed })), oracle.CheckerUnknown, "operations 2 and 5 put the same value"},
		{"without an acknowledgement", func(ops *[]ledger.Op) { *ops = (*ops)[3:5] }, oracle.TooFewOps, "no value was acknowledged"},
	})
}

func TestQueueCounts(t *testing.T) {
	t.Parallel()
	r := (&oracle.Queue{}).Check(t.Context(), &ledger.History{Ops: queueOps()}, "w")
	want := "map[acknowledged:3 blind:0 empty:1 failed:1 handed:4 lost:0 never_drained:0 redelivered:1 unknown:1 unknown_found:1]"
	if got := fmt.Sprint(r.Counts); got != want || r.Verdict != oracle.Pass || r.Times["dwell_max"] != 5_000_000 {
		t.Errorf("%s %s %v", r.Verdict, got, r.Times)
	}
}
