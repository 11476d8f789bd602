package oracle

import (
	"cmp"
	"context"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Log is the checker of partitioned logs such as Kafka's. Its promises:
//
//   - An acknowledged value is in the final read (data-loss), at one offset only (duplicate), at the one that its
//     acknowledgement named (order), and behind the acknowledged values that its producer sent to the partition before
//     (order). Values of one producer are ordered by their sequence number.
//   - A value whose fate is unknown is in the log at most once (duplicate).
//   - Nothing is in the log that was never sent, or whose sending surely failed (phantom).
//   - Every body is the one that was sent (corruption), and an offset holds one record for all reads (corruption).
//   - The offsets of a partition have no gaps from 0 to its end (data-loss), where no lost value explains them. With
//     transactions they have, for commits take offsets too, and this is not asked.
//   - Records of a transaction that did not commit are not in the log (phantom), and of one whose commit nobody knows the fate of all
//     are or none (invariant): such a commit makes their fates unknown together. With isolation read-uncommitted both may be
//     read, in the final read and by consumers.
//   - Where it is recorded what consumers are assigned: until a partition is assigned anew, what one is handed of it comes
//     in the order of offsets (order).
//   - What a consumer group was handed stays in the log (data-loss) at its offset (order); between the first and the last
//     offset that it was handed of a partition it was handed every acknowledged value (data-loss).
//
// Operations: produce, commit, abort, read and end of the final read, poll, and assign, under the workload's name. It does not judge the order of
// unknown values (a late retry of one may land behind its successors), delivery of one offset more than once, or
// the order of deliveries where assignments are not recorded (a rebalance may rewind). A partition whose final read has no end is unproven.
type Log struct {
	Isolation string `toml:"isolation" json:"isolation,omitempty" default:"read-committed" enum:"read-committed|read-uncommitted" doc:"how the final read and consumers read: with read-committed, nothing of a transaction that did not commit is there, and of any other one everything or nothing"`
}

// Check implements Checker. Counts: acknowledged, failed and unknown (sent values by outcome), unknown_found (of these,
// in the log), delivered (offsets that the final read found), polled (offsets that a group was handed), redelivered
// (further deliveries of these), partitions; where there are transactions, these, committed, and aborted (records).
func (k Log) Check(ctx context.Context, h *ledger.History, workload string) Result {
	l := &logCheck{docket: newDocket(ctx, "log", workload, h.Ops), options: k, sent: map[int64]int32{}, parts: map[int32]*logPart{}, txns: newLogTxns()}
	l.scan()
	l.resolve()
	for _, p := range l.sorted() {
		p.arrange(l)
		l.walk(p)
	}
	l.settle()
	for _, p := range l.sorted() {
		l.gaps(p)
		l.polls(p)
	}
	l.halves()
	l.positions()
	l.count()
	return l.result()
}

// fate of a sent value.
type fate uint8

const (
	isUnknown fate = iota
	isAcked
	isFailed
)

// sentValue is what is known of one value that a producer sent. Operations are indices into the history; -1 is none.
type sentValue struct {
	op    int32
	read  int32 // where the final read first found it
	fate  fate
	atAck bool // found at the offset of its acknowledgement
	txn   int32
}

// place is one read or delivery.
type place struct {
	offset int64
	op     int32
}

// logPart is one partition.
type logPart struct {
	number int32
	end    int64   // offset at which the final read ended
	endOp  int32   // -1: it did not end
	acked  int     // values acknowledged here
	reads  []place // by offset, one an offset, once arranged
	polls  []place // by offset, then time, once arranged
	lost   []int64 // offsets of acknowledged values that are gone
	found  int     // distinct offsets that were polled
}

type logCheck struct {
	*docket

	options Log
	txns    logTxns
	assigns bool // it is recorded what consumers are assigned

	values []sentValue
	sent   map[int64]int32 // value → index in values
	parts  map[int32]*logPart
}

// sorted lists the partitions by number.
func (l *logCheck) sorted() []*logPart {
	out := make([]*logPart, 0, len(l.parts))
	for _, p := range l.parts {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *logPart) int { return cmp.Compare(a.number, b.number) })
	return out
}

func (l *logCheck) part(number int32) *logPart {
	p := l.parts[number]
	if p == nil {
		p = &logPart{number: number, endOp: -1}
		l.parts[number] = p
	}
	return p
}

// scan sorts the operations into values and partitions.
func (l *logCheck) scan() {
	sends := 0
	for i := range l.ops {
		if l.ops[i].Func == ledger.FuncProduce {
			sends++
		}
	}
	l.values = make([]sentValue, 0, sends)
	l.sent = make(map[int64]int32, sends)
	var last *logPart // neighbours are often of one partition
	for i := range l.ops {
		o := &l.ops[i]
		if o.Workload != l.workload {
			continue
		}
		if l.stopped(i) {
			return
		}
		if o.Func == ledger.FuncProduce {
			l.send(int32(i), o) //nolint:gosec // fewer than 2^31 operations fit into memory
			continue
		}
		if err := l.txns.ended(int32(i), o); err != nil { //nolint:gosec // as above
			l.doubt("%v", err)
			continue
		}
		l.assigns = l.assigns || o.Func == ledger.FuncAssign
		if o.Outcome != ledger.OK || (o.Func != ledger.FuncRead && o.Func != ledger.FuncPoll && o.Func != ledger.FuncEnd) {
			continue // a read that failed proves nothing; its retry is there as well
		}
		last = l.observe(last, int32(i), o) //nolint:gosec // as above
	}
}

// observe takes what a read found into its partition, which it returns; last is the one before.
func (l *logCheck) observe(last *logPart, i int32, o *ledger.Op) *logPart {
	if o.Partition < 0 || o.Offset < 0 {
		l.doubt("operation %d (%s) has no partition or offset", o.ID, o.Func)
		return last
	}
	if last == nil || last.number != o.Partition {
		last = l.part(o.Partition)
	}
	last.take(i, o)
	return last
}

func (l *logCheck) send(i int32, o *ledger.Op) {
	if first, twice := l.sent[o.Value]; twice {
		l.doubt("operations %d and %d sent the same value %s, so its fate cannot be told", l.ops[l.values[first].op].ID, o.ID, valueName(o.Value))
		return
	}
	v := sentValue{op: i, read: -1, txn: -1}
	if o.Data != "" {
		var err error
		if v.txn, err = l.txns.of(o); err != nil {
			l.doubt("%v", err)
		}
	}
	switch o.Outcome {
	case ledger.OK:
		v.fate = isAcked
		if o.Partition >= 0 {
			l.part(o.Partition).acked++
		}
	case ledger.Failed:
		v.fate = isFailed
	case ledger.Unknown:
	}
	l.sent[o.Value] = int32(len(l.values)) //nolint:gosec // as many as operations
	l.values = append(l.values, v)
}

func (p *logPart) take(i int32, o *ledger.Op) {
	switch o.Func {
	case ledger.FuncRead:
		p.reads = append(p.reads, place{o.Offset, i})
	case ledger.FuncPoll:
		p.polls = append(p.polls, place{o.Offset, i})
	case ledger.FuncEnd:
		if p.endOp < 0 || o.Offset >= p.end {
			p.end, p.endOp = o.Offset, i
		}
	}
}

// arrange sorts reads and polls by offset and keeps one read an offset: a final read that was tried again reads from 0.
func (p *logPart) arrange(l *logCheck) {
	byOffset := func(a, b place) int { return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.op, b.op)) }
	for _, places := range [][]place{p.reads, p.polls} {
		if !slices.IsSortedFunc(places, byOffset) {
			slices.SortFunc(places, byOffset)
		}
	}
	kept := p.reads[:0]
	for _, r := range p.reads {
		if n := len(kept); n > 0 && kept[n-1].offset == r.offset {
			if first := kept[n-1].op; l.ops[first].Value != l.ops[r.op].Value {
				l.broke(ruleOneRecord, l.ops[r.op].Invoke, first, r.op)
			}
			continue
		}
		kept = append(kept, r)
	}
	p.reads = kept
}

func (l *logCheck) count() {
	l.counts = map[string]int64{"acknowledged": 0, "failed": 0, "unknown": 0, "unknown_found": 0, "delivered": 0, "polled": 0, "redelivered": 0}
	for _, v := range l.values {
		switch v.fate {
		case isAcked:
			l.counts["acknowledged"]++
		case isFailed:
			l.counts["failed"]++
			if l.aborted(&v) {
				l.counts["failed"]--
				l.counts["aborted"]++
			}
		case isUnknown:
			l.counts["unknown"]++
			if v.read >= 0 {
				l.counts["unknown_found"]++
			}
		}
	}
	for _, p := range l.parts {
		l.counts["delivered"] += int64(len(p.reads))
		l.counts["polled"] += int64(p.found)
		l.counts["redelivered"] += int64(len(p.polls) - p.found)
	}
	l.counts["partitions"] = int64(len(l.parts))
	l.txns.count(l.counts)
	if l.counts["acknowledged"] == 0 {
		l.thin("no record was acknowledged, so nothing is promised")
	}
}
