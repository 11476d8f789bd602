package oracle

import (
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (a Append) Mutations() []Mutation {
	r := func(key string, values ...int64) ledger.Mop {
		return ledger.Mop{Key: key, Values: append([]int64{}, values...)}
	}
	w := func(key string, value int64) ledger.Mop { return ledger.Mop{Append: true, Key: key, Value: value} }
	const x, y = "mutated-x", "mutated-y"
	out := []Mutation{
		a.mutation("lost append", DataLoss, (*appendPlot).lose),
		a.mutation("phantom value", Phantom, (*appendPlot).phantom),
		a.mutation("aborted value read", Phantom, (*appendPlot).aborted),
		a.mutation("value in a list twice", Duplicate, (*appendPlot).twice),
		a.mutation("reordered list", Order, (*appendPlot).reorder),
		a.mutation("intermediate read", Invariant, (*appendPlot).halfway),
		a.circle("dirty write (G0)",
			[]ledger.Mop{w(x, 1), w(y, 2)}, []ledger.Mop{w(x, 3), w(y, 4)}, []ledger.Mop{r(x, 1, 3), r(y, 4, 2)}),
		a.circle("circular information flow (G1c)",
			[]ledger.Mop{w(x, 1), r(y, 2)}, []ledger.Mop{w(y, 2), r(x, 1)}),
	}
	if a.Isolation == readCommitted {
		return out
	}
	out = append(out, a.circle("read skew (G-single)",
		[]ledger.Mop{w(x, 1), w(y, 2)}, []ledger.Mop{r(x), r(y, 2)}, []ledger.Mop{r(x, 1)}))
	if a.Isolation == snapshotIsolation {
		return out
	}
	out = append(out, a.circle("write skew (G2)",
		[]ledger.Mop{r(x), w(y, 1)}, []ledger.Mop{r(y), w(x, 2)}, []ledger.Mop{r(x, 2), r(y, 1)}))
	if a.Isolation == strictSerializable {
		out = append(out, a.mutation("stale read", NotLinearizable, func(p *appendPlot) (string, bool) {
			return p.stage(true, []ledger.Mop{w(x, 1)}, []ledger.Mop{r(x)}, []ledger.Mop{r(x, 1)})
		}))
	}
	return out
}

// appendPlot is a history of lists to be changed, with what the checker knows of it.
type appendPlot struct {
	*plot

	c *appendCheck
}

const noFinalList = "no list with values was read after every append to it had returned"

func (a Append) mutation(name string, class Class, change func(*appendPlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		c := newAppendCheck(p.scan(), a)
		c.scan()
		for k := range c.lists {
			c.list(&c.lists[k])
		}
		return change(&appendPlot{plot: p, c: c})
	})
}

// circle is a mutation that adds transactions over lists of their own, at one time.
func (a Append) circle(name string, txns ...[]ledger.Mop) Mutation {
	return a.mutation(name, Invariant, func(p *appendPlot) (string, bool) { return p.stage(false, txns...) })
}

// stage adds transactions behind all others, at one time or one after the other.
func (p *appendPlot) stage(row bool, txns ...[]ledger.Mop) (string, bool) {
	at, process := int64(0), 0
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		at, process = max(at, o.Invoke, o.Complete), max(process, o.Process)
	}
	for n, mops := range txns {
		if row {
			at += 10
		}
		p.insert(ledger.Op{
			Workload: p.workload, Process: process + n + 1, Func: ledger.FuncTxn, Data: ledger.EncodeData(mops),
			Partition: -1, Offset: -1, Planned: at, Invoke: at, Complete: at + 5, Outcome: ledger.OK,
		})
	}
	return fmt.Sprintf("added %d transactions over lists of their own", len(txns)), true
}

// final draws a list that a final read found values in.
func (p *appendPlot) final() (*appendList, bool) {
	var eligible []*appendList
	for k := range p.c.lists {
		if l := &p.c.lists[k]; !l.broken && l.final.txn >= 0 && len(p.c.values(l.final)) > 0 {
			eligible = append(eligible, l)
		}
	}
	return one(p.plot, eligible)
}

// set lets a step find other values.
func (p *appendPlot) set(s appendSpot, values []int64) {
	t := &p.c.txns[s.txn]
	t.mops = slices.Clone(t.mops)
	t.mops[s.mop].Values = append([]int64{}, values...)
	p.op(t.op).Data = ledger.EncodeData(t.mops)
}

// acked draws a value of a final read that an acknowledged transaction appended.
func (p *appendPlot) acked(l *appendList) (int64, bool) {
	var eligible []int64
	for _, v := range p.c.values(l.final) {
		if w, ok := l.writers[v]; ok && p.c.txns[w.txn].fate == isAcked {
			eligible = append(eligible, v)
		}
	}
	return one(p.plot, eligible)
}

func (p *appendPlot) lose() (string, bool) {
	l, ok := p.final()
	if !ok {
		return noFinalList, false
	}
	v, ok := p.acked(l)
	if !ok {
		return noFinalList, false
	}
	p.touch(p.c.op(l.writers[v].txn))
	for _, r := range l.reads {
		if values := p.c.values(r); slices.Contains(values, v) {
			p.set(r, slices.DeleteFunc(slices.Clone(values), func(x int64) bool { return x == v }))
		}
	}
	return fmt.Sprintf("removed value %d of list %s from every read", v, l.name), true
}

// grow appends a value to what the final read found, and every read after which there is none longer.
func (p *appendPlot) grow(l *appendList, v int64) {
	p.set(l.final, append(slices.Clone(p.c.values(l.final)), v))
}

func (p *appendPlot) phantom() (string, bool) {
	l, ok := p.final()
	if !ok {
		return noFinalList, false
	}
	stranger := p.c.values(l.final)[0]
	for known := true; known; _, known = l.writers[stranger] {
		stranger += 1 << 32
	}
	p.grow(l, stranger)
	return fmt.Sprintf("added value %d to list %s", stranger, l.name), true
}

// aborted turns the acknowledgement of a transaction whose value a final read found into a failure.
func (p *appendPlot) aborted() (string, bool) {
	l, ok := p.final()
	if !ok {
		return noFinalList, false
	}
	v, ok := p.acked(l)
	if !ok {
		return noFinalList, false
	}
	o := &p.h.Ops[p.c.txns[l.writers[v].txn].op]
	p.touch(o, &p.h.Ops[p.c.txns[l.final.txn].op])
	o.Outcome, o.Error = ledger.Failed, "mutated"
	return fmt.Sprintf("turned the acknowledgement of operation %d, which appended value %d to list %s, into a failure", o.ID, v, l.name), true
}

func (p *appendPlot) twice() (string, bool) {
	l, ok := p.final()
	if !ok {
		return noFinalList, false
	}
	v, _ := one(p.plot, p.c.values(l.final))
	p.grow(l, v)
	return fmt.Sprintf("repeated value %d in list %s", v, l.name), true
}

// reorder swaps the first two values in one of two reads.
func (p *appendPlot) reorder() (string, bool) {
	var eligible []appendSpot
	var lists []*appendList
	for k := range p.c.lists {
		l := &p.c.lists[k]
		if l.broken {
			continue
		}
		var long []appendSpot
		for _, r := range l.reads {
			if len(p.c.values(r)) >= 2 {
				long = append(long, r)
			}
		}
		if len(long) >= 2 {
			eligible = append(eligible, long...)
			for range long {
				lists = append(lists, l)
			}
		}
	}
	if len(eligible) == 0 {
		return "no list was read twice with two values in it", false
	}
	n := p.rand.IntN(len(eligible))
	values := slices.Clone(p.c.values(eligible[n]))
	values[0], values[1] = values[1], values[0]
	p.set(eligible[n], values)
	return fmt.Sprintf("swapped the first two values of list %s in operation %d", lists[n].name, p.c.op(eligible[n].txn).ID), true
}

// halfway lets a read end between two values that another transaction appended.
func (p *appendPlot) halfway() (string, bool) {
	type cut struct {
		spot appendSpot
		at   int
	}
	var eligible []cut
	for k := range p.c.lists {
		l := &p.c.lists[k]
		for _, r := range l.reads {
			values := p.c.values(r)
			for i := range len(values) - 1 {
				a, known := l.writers[values[i]]
				b, same := l.writers[values[i+1]]
				if known && same && a.txn == b.txn && a.txn != r.txn && a.mop < b.mop && !p.appends(r.txn, l.name) {
					eligible = append(eligible, cut{r, i + 1})
				}
			}
		}
	}
	at, ok := one(p.plot, eligible)
	if !ok {
		return "nobody read a list to which one transaction had appended twice", false
	}
	p.set(at.spot, p.c.values(at.spot)[:at.at])
	return fmt.Sprintf("cut operation %d short between two values of one transaction", p.c.op(at.spot.txn).ID), true
}

// appends reports whether a transaction appends to a list.
func (p *appendPlot) appends(txn int32, list string) bool {
	return slices.ContainsFunc(p.c.txns[txn].mops, func(m ledger.Mop) bool { return m.Append && m.Key == list })
}
