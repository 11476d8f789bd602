package oracle

import (
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// abort turns the commit of a transaction with a record in the log into a failure.
func (p *logPlot) abort() (string, bool) {
	var eligible []int
	for _, i := range p.landed {
		if p.txn(p.sent[p.h.Ops[i].Value]) != nil {
			eligible = append(eligible, i)
		}
	}
	i, ok := one(&p.plot, eligible)
	if !ok {
		return "no record of a transaction was found by a complete final read", false
	}
	read := p.op(int32(i)) //nolint:gosec // fewer than 2^31 operations fit into memory
	txn := p.txn(p.sent[read.Value])
	p.touch(&p.h.Ops[p.sent[read.Value]])
	p.commits(txn, ledger.Failed)
	return fmt.Sprintf("turned the commit of transaction %s into a failure", txn.id), true
}

// commits gives every commit of a transaction another outcome.
func (p *logPlot) commits(txn *logTxn, outcome ledger.Outcome) {
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Func != ledger.FuncCommit {
			continue
		}
		if n, err := p.txns.of(o); err == nil && p.txns.list[n].id == txn.id {
			p.touch(o)
			o.Outcome, o.Error = outcome, "mutated"
		}
	}
}

// halve makes the fate of a transaction unknown, and removes one of its records from the final read.
func (p *logPlot) halve() (string, bool) {
	first := map[*logTxn]int{}
	var eligible []int
	for _, i := range p.landed {
		txn := p.txn(p.sent[p.h.Ops[i].Value])
		if txn == nil {
			continue
		}
		if other, met := first[txn]; !met {
			first[txn] = i
		} else if p.h.Ops[other].Value != p.h.Ops[i].Value {
			eligible = append(eligible, i)
		}
	}
	i, ok := one(&p.plot, eligible)
	if !ok {
		return "no transaction has two records in the log", false
	}
	read := &p.h.Ops[i]
	txn := p.txn(p.sent[read.Value])
	p.touch(&p.h.Ops[p.sent[read.Value]])
	p.commits(txn, ledger.Unknown)
	p.drop(ledger.FuncRead, read.Partition, read.Offset)
	return fmt.Sprintf("removed %s of transaction %s, and made the fate of the transaction unknown", valueName(read.Value), txn.id), true
}

// back swaps two deliveries of one consumer, of two batches, in a partition that it was not assigned anew in between.
func (p *logPlot) back() (string, bool) {
	type holder struct {
		process   int
		partition int32
	}
	last := map[holder]int{}
	var eligible [][2]int
	assigns := false
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Outcome != ledger.OK {
			continue
		}
		switch h := (holder{o.Process, o.Partition}); o.Func {
		case ledger.FuncAssign:
			assigns = true
			delete(last, h)
		case ledger.FuncPoll:
			if before, ok := last[h]; ok && p.h.Ops[before].Offset < o.Offset && p.h.Ops[before].Invoke < o.Invoke {
				eligible = append(eligible, [2]int{before, i})
			}
			last[h] = i
		}
	}
	if !assigns {
		return "it is not recorded what consumers are assigned", false
	}
	pair, ok := one(&p.plot, eligible)
	if !ok {
		return "no consumer was handed two batches of a partition one after the other", false
	}
	a, b := &p.h.Ops[pair[0]], &p.h.Ops[pair[1]]
	p.touch(a, b)
	a.Value, b.Value = b.Value, a.Value
	a.Offset, b.Offset = b.Offset, a.Offset
	a.Sum, b.Sum = b.Sum, a.Sum
	return fmt.Sprintf("swapped the deliveries of %s and offset %d", placeName(a), b.Offset), true
}
