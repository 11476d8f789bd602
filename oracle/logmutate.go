package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (k Log) Mutations() []Mutation {
	out := []Mutation{
		logMutation("lost acknowledged record", DataLoss, (*logPlot).lose),
		logMutation("duplicate record", Duplicate, (*logPlot).duplicate),
		logMutation("reordered records", Order, (*logPlot).reorder),
		logMutation("moved record", Order, (*logPlot).move),
		logMutation("corrupt body", Corruption, (*logPlot).corrupt),
		logMutation("phantom record", Phantom, (*logPlot).phantom),
		logMutation("failed record in the log", Phantom, (*logPlot).failed),
		logMutation("gap in the offsets", DataLoss, (*logPlot).gap),
		logMutation("skipped delivery", DataLoss, (*logPlot).skip),
		logMutation("delivered record taken back", DataLoss, (*logPlot).takeBack),
		logMutation("consumer goes back", Order, (*logPlot).back),
	}
	if k.Isolation != readUncommitted {
		out = append(out,
			logMutation("record of an aborted transaction", Phantom, (*logPlot).abort),
			logMutation("half of a transaction", Invariant, (*logPlot).halve))
	}
	return out
}

// logPlot is a copy of a history to be changed, and what is eligible in it.
type logPlot struct {
	plot

	ends   map[int32]int    // partition → the operation that ended its final read, with the highest offset
	sent   map[int64]int    // value → its produce operation
	whole  bool             // every partition was read to its end
	landed []int            // reads of acknowledged values before the end of their partition, where their acknowledgements say, if they do
	reads  map[[2]int64]int // partition and offset → the first read
	txns   logTxns
}

func logMutation(name string, class Class, change func(*logPlot) (note string, ok bool)) Mutation {
	return Mutation{name, class, func(h *ledger.History, workload string, r *rand.Rand) (*ledger.History, []int64, string, bool) {
		p := newLogPlot(h, workload, r)
		note, ok := change(p)
		if !ok {
			return nil, nil, note, false
		}
		return p.finish(), p.changed(), note, true
	}}
}

func newLogPlot(h *ledger.History, workload string, r *rand.Rand) *logPlot {
	p := &logPlot{plot: newPlot(h, workload, r), ends: map[int32]int{}, sent: map[int64]int{}, reads: map[[2]int64]int{}, txns: newLogTxns()}
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != workload {
			continue
		}
		_ = p.txns.ended(int32(i), o) //nolint:gosec // what cannot be read is a doubt of the checker; fewer than 2^31 operations fit into memory
		switch {
		case o.Func == ledger.FuncProduce:
			p.sent[o.Value] = i
			_ = p.txn(i) // it is known from here on
		case o.Func == ledger.FuncEnd && o.Outcome == ledger.OK:
			if e, ok := p.ends[o.Partition]; !ok || o.Offset >= p.h.Ops[e].Offset {
				p.ends[o.Partition] = i
			}
		}
	}
	p.whole = p.complete()
	for i := range p.h.Ops {
		if o := &p.h.Ops[i]; o.Workload == workload && o.Func == ledger.FuncRead && o.Outcome == ledger.OK {
			p.land(i, o)
		}
	}
	return p
}

// complete reports whether every partition that is known of was read to its end: else a value whose acknowledgement names none
// may be in the rest.
func (p *logPlot) complete() bool {
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Outcome != ledger.OK || o.Partition < 0 {
			continue
		}
		switch o.Func {
		case ledger.FuncProduce, ledger.FuncRead, ledger.FuncPoll:
			if _, ended := p.ends[o.Partition]; !ended {
				return false
			}
		}
	}
	return true
}

func (p *logPlot) land(i int, o *ledger.Op) {
	at := [2]int64{int64(o.Partition), o.Offset}
	if _, again := p.reads[at]; again {
		return
	}
	p.reads[at] = i
	end, ended := p.ends[o.Partition]
	send, sent := p.sent[o.Value]
	if !ended || !sent || o.Offset >= p.h.Ops[end].Offset {
		return
	}
	if txn := p.txn(send); txn != nil && txn.fate(p.h.Ops) != isAcked {
		return
	}
	s := &p.h.Ops[send]
	there := s.Partition == o.Partition || (s.Partition < 0 && p.whole)
	if s.Outcome == ledger.OK && there && (s.Offset == o.Offset || s.Offset < 0) {
		p.landed = append(p.landed, i)
	}
}

// placed lists those of the landed reads whose acknowledgements name an offset.
func (p *logPlot) placed() []int {
	return slices.DeleteFunc(slices.Clone(p.landed), func(i int) bool {
		s := &p.h.Ops[p.sent[p.h.Ops[i].Value]]
		return s.Partition < 0 || s.Offset < 0
	})
}

// txn is the transaction of a produce, or nil.
func (p *logPlot) txn(send int) *logTxn {
	o := &p.h.Ops[send]
	if o.Data == "" {
		return nil
	}
	n, err := p.txns.of(o)
	if err != nil {
		return nil
	}
	return &p.txns.list[n]
}

// pick returns the produce operation and the read of a random record that is where it should be.
func (p *logPlot) pick() (send, read *ledger.Op, ok bool) {
	if len(p.landed) == 0 {
		return nil, nil, false
	}
	read = &p.h.Ops[p.landed[p.rand.IntN(len(p.landed))]]
	return &p.h.Ops[p.sent[read.Value]], read, true
}

const noneLanded = "no acknowledged record was found by a complete final read"

// each calls f for every operation of a function in one partition at an offset for which at holds.
func (p *logPlot) each(fn string, partition int32, at func(offset int64) bool, f func(i int, o *ledger.Op)) {
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload == p.workload && o.Func == fn && o.Partition == partition && at(o.Offset) {
			f(i, o)
		}
	}
}

func exactly(offset int64) func(int64) bool { return func(o int64) bool { return o == offset } }

func (p *logPlot) drop(fn string, partition int32, offset int64) {
	p.each(fn, partition, exactly(offset), func(i int, o *ledger.Op) {
		p.touch(o)
		p.gone[i] = true
	})
}

func (p *logPlot) lose() (string, bool) {
	send, read, ok := p.pick()
	if !ok {
		return noneLanded, false
	}
	p.touch(send)
	p.drop(ledger.FuncRead, read.Partition, read.Offset)
	return "removed " + valueName(read.Value) + " from the final read", true
}

// add appends a read behind the end of a partition and returns it; pointers into the history are stale after it.
func (p *logPlot) add(partition int32, value int64) *ledger.Op {
	end := p.ends[partition]
	offset := p.h.Ops[end].Offset
	p.each(ledger.FuncEnd, partition, exactly(offset), func(_ int, o *ledger.Op) {
		p.touch(o)
		o.Offset++
	})
	extra := p.h.Ops[end]
	extra.Func, extra.Value, extra.Offset, extra.Key = ledger.FuncRead, value, offset, ""
	last := p.h.Ops[len(p.h.Ops)-1].Invoke
	extra.Planned, extra.Invoke, extra.Complete = last, last, last
	return p.insert(extra)
}

func (p *logPlot) duplicate() (string, bool) {
	send, read, ok := p.pick()
	if !ok {
		return noneLanded, false
	}
	p.touch(send, read)
	from := placeName(read)
	extra := p.add(read.Partition, read.Value)
	return fmt.Sprintf("repeated %s of %s at %s", valueName(extra.Value), from, placeName(extra)), true
}

// reorder swaps two records of one producer in a partition, with the offsets of their acknowledgements, if they name any, and
// their deliveries, so that their order alone gives it away.
func (p *logPlot) reorder() (string, bool) {
	a, b, ok := p.pair(p.landed)
	if !ok {
		return "no producer has two acknowledged records in one partition", false
	}
	av, bv := a.Value, b.Value
	for _, side := range []struct {
		at    int64
		value int64
	}{{a.Offset, bv}, {b.Offset, av}} {
		for _, fn := range []string{ledger.FuncRead, ledger.FuncPoll} {
			p.each(fn, a.Partition, exactly(side.at), func(_ int, o *ledger.Op) {
				p.touch(o)
				o.Value = side.value
			})
		}
		send := &p.h.Ops[p.sent[side.value]]
		p.touch(send)
		if send.Offset >= 0 {
			send.Offset = side.at
		}
	}
	return fmt.Sprintf("swapped %s and %s in partition %d", valueName(av), valueName(bv), a.Partition), true
}

// pair returns two of some reads that found records of one producer in one partition.
func (p *logPlot) pair(reads []int) (a, b *ledger.Op, ok bool) {
	if len(reads) == 0 {
		return nil, nil, false
	}
	// Start at a random record, so that one producer with a single record does not decide.
	start := p.rand.IntN(len(reads))
	newest := map[[2]int64]int{}
	for n := range reads {
		i := reads[(start+n)%len(reads)]
		o := &p.h.Ops[i]
		key := [2]int64{o.Value >> 32, int64(o.Partition)}
		if j, seen := newest[key]; seen && p.h.Ops[j].Value != o.Value {
			return &p.h.Ops[j], o, true
		}
		newest[key] = i
	}
	return nil, nil, false
}

// move swaps two records of one partition in the final read alone, so that the acknowledgements give it away.
func (p *logPlot) move() (string, bool) {
	a, b, ok := p.pair(p.placed())
	if !ok {
		return "no producer has two records in one partition whose acknowledgements name an offset", false
	}
	av, bv := a.Value, b.Value
	p.touch(&p.h.Ops[p.sent[av]], &p.h.Ops[p.sent[bv]])
	for at, value := range map[int64]int64{a.Offset: bv, b.Offset: av} {
		p.each(ledger.FuncRead, a.Partition, exactly(at), func(_ int, o *ledger.Op) {
			p.touch(o)
			o.Value = value
		})
	}
	return fmt.Sprintf("swapped %s and %s in the final read", valueName(av), valueName(bv)), true
}

func (p *logPlot) corrupt() (string, bool) {
	_, read, ok := p.pick()
	if !ok {
		return noneLanded, false
	}
	p.each(ledger.FuncRead, read.Partition, exactly(read.Offset), func(_ int, o *ledger.Op) {
		p.touch(o)
		o.Sum = p.rand.Uint32() | 1
	})
	return "changed the body of " + valueName(read.Value), true
}

func (p *logPlot) phantom() (string, bool) {
	_, read, ok := p.pick()
	if !ok {
		return noneLanded, false
	}
	stranger := read.Value>>32<<32 + 1
	for _, known := p.sent[stranger]; known; _, known = p.sent[stranger] {
		stranger += 1 << 32
	}
	extra := p.add(read.Partition, stranger)
	return fmt.Sprintf("added %s at %s", valueName(stranger), placeName(extra)), true
}

// failed lets a record appear whose sending failed; without one it turns an acknowledgement into a failure.
func (p *logPlot) failed() (string, bool) {
	send, read, ok := p.pick()
	if !ok {
		return noneLanded, false
	}
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Func != ledger.FuncProduce || o.Outcome != ledger.Failed {
			continue
		}
		p.touch(o)
		value := o.Value
		extra := p.add(read.Partition, value)
		return fmt.Sprintf("added %s, whose sending failed, at %s", valueName(value), placeName(extra)), true
	}
	p.touch(send, read)
	send.Outcome, send.Error = ledger.Failed, "mutated"
	return "turned the acknowledgement of " + valueName(read.Value) + " into a failure", true
}

// gap moves a random record and all behind it one offset up, with their acknowledgements and deliveries.
func (p *logPlot) gap() (string, bool) {
	_, read, ok := p.pick()
	if !ok {
		return noneLanded, false
	}
	if len(p.txns.list) > 0 {
		return "with transactions, offsets have gaps", false
	}
	partition, from := read.Partition, read.Offset
	behind := func(offset int64) bool { return offset >= from }
	for _, fn := range []string{ledger.FuncProduce, ledger.FuncRead, ledger.FuncPoll, ledger.FuncEnd} {
		p.each(fn, partition, behind, func(_ int, o *ledger.Op) {
			if o.Offset == from {
				p.touch(o)
			}
			o.Offset++
		})
	}
	return fmt.Sprintf("left partition %d without offset %d", partition, from), true
}
