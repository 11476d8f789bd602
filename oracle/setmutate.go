package oracle

import (
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (s Set) Mutations() []Mutation {
	out := []Mutation{
		setMutation("lost acknowledged element", DataLoss, (*setPlot).lose),
		setMutation("shown element taken back", DataLoss, (*setPlot).takeBack),
		setMutation("phantom element", Phantom, (*setPlot).phantom),
		setMutation("failed element in the set", Phantom, (*setPlot).failed),
		setMutation("failed element that comes back", Resurrected, (*setPlot).comeBack),
		setMutation("duplicate element", Duplicate, (*setPlot).duplicate),
		setMutation("unreadable element", Corruption, (*setPlot).corrupt),
	}
	if s.Stale != allow {
		out = append(out, setMutation("stale snapshot", Stale, (*setPlot).stale))
	}
	return out
}

// setPlot is a history of a set to be changed, with what the checker knows of it.
type setPlot struct {
	*plot

	c     *setCheck
	final *setView // the last final read that came to its end
	there []int    // positions in final of elements that were acknowledged before it
}

const noFinalElement = "the final read found no acknowledged element"

func setMutation(name string, class Class, change func(*setPlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		c := &setCheck{docket: p.scan(), last: -1}
		c.look()
		if c.last < 0 {
			return "no final read came to its end", false
		}
		sp := &setPlot{plot: p, c: c, final: &c.views[c.last]}
		for i, at := range sp.final.has {
			if e := &c.elements[at]; e.fate == isAcked && e.known < sp.final.invoke && e.hadOp == sp.final.reads[i] {
				sp.there = append(sp.there, i)
			}
		}
		return change(sp)
	})
}

// pick draws an acknowledged element that the final read found once: its place there.
func (p *setPlot) pick() (i int, add *ledger.Op, ok bool) {
	i, ok = one(p.plot, p.there)
	if !ok {
		return 0, nil, false
	}
	return i, &p.h.Ops[p.element(i).op], true
}

// element is what the checker knows of the i-th element of the final read.
func (p *setPlot) element(i int) *setElement { return &p.c.elements[p.final.has[i]] }

// cut removes the i-th element of the final read.
func (p *setPlot) cut(i int) {
	p.remove(p.final.reads[i])
	p.op(p.final.op).Offset--
}

// grow adds an element to the final read, with what stands at the place of its i-th.
func (p *setPlot) grow(i int, value int64) {
	extra := p.h.Ops[p.final.reads[i]]
	extra.Value, extra.Key = value, ""
	end := p.op(p.final.op)
	end.Offset++
	end.Invoke, end.Complete = end.Invoke+1, end.Complete+1 // the new read has a later id, and must stand before it
	extra.Invoke = max(extra.Invoke, end.Invoke-1)
	extra.Complete = max(extra.Complete, extra.Invoke)
	p.insert(extra)
}

func (p *setPlot) lose() (string, bool) {
	i, add, ok := p.pick()
	if !ok {
		return noFinalElement, false
	}
	p.touch(add)
	p.cut(i)
	return "removed " + elementName(add.Value) + " from the final read", true
}

// takeBack removes an element from the final read that a snapshot had, and makes its fate unknown.
func (p *setPlot) takeBack() (string, bool) {
	var eligible []int
	for i, at := range p.final.has {
		e := &p.c.elements[at]
		if e.fate == isFailed || e.hadOp != p.final.reads[i] || e.firstOp == e.hadOp {
			continue
		}
		if first := &p.h.Ops[e.firstOp]; first.Func == ledger.FuncList && first.Complete < p.final.invoke {
			eligible = append(eligible, i)
		}
	}
	i, ok := one(p.plot, eligible)
	if !ok {
		return "no snapshot of the run had an element of the final read", false
	}
	add := p.op(p.element(i).op)
	add.Outcome, add.Error = ledger.Unknown, "mutated"
	p.cut(i)
	return fmt.Sprintf("removed %s from the final read, after operation %d had it", elementName(add.Value), p.h.Ops[p.element(i).firstOp].ID), true
}

func (p *setPlot) phantom() (string, bool) {
	i, add, ok := p.pick()
	if !ok {
		return noFinalElement, false
	}
	stranger := add.Value
	for known := true; known; _, known = p.c.index[stranger] {
		stranger += 1 << 32
	}
	p.grow(i, stranger)
	return "added " + elementName(stranger) + " to the final read", true
}

// failed turns the acknowledgement of an element into a failure. Where a snapshot misses it after that, it would come back
// instead.
func (p *setPlot) failed() (string, bool) {
	const tries = 20 // each looks through all snapshots
	for range tries {
		i, add, ok := p.pick()
		if !ok {
			return noFinalElement, false
		}
		if p.missedAfter(p.element(i)) {
			continue
		}
		p.touch(add)
		add.Outcome, add.Error = ledger.Failed, "mutated"
		return "turned the acknowledgement of " + elementName(add.Value) + " into a failure", true
	}
	return "snapshots missed what was acknowledged before", false
}

// missedAfter reports whether a whole view that was invoked after an add had returned misses its element.
func (p *setPlot) missedAfter(e *setElement) bool {
	value := p.h.Ops[e.op].Value
	for n := range p.c.views {
		v := &p.c.views[n]
		if v.whole && v.invoke > instant(&p.h.Ops[e.op]) && !slices.ContainsFunc(v.has, func(at int32) bool { return p.h.Ops[p.c.elements[at].op].Value == value }) {
			return true
		}
	}
	return false
}

// comeBack lets an element appear in the final read whose adding failed, and that a snapshot misses.
func (p *setPlot) comeBack() (string, bool) {
	var eligible []int32
	for n := range p.c.elements {
		e := &p.c.elements[n]
		if e.fate != isFailed || e.had >= 0 {
			continue
		}
		if slices.ContainsFunc(p.c.views, func(v setView) bool {
			return !v.final && v.whole && v.invoke > instant(&p.h.Ops[e.op]) && v.invoke < p.final.invoke
		}) {
			eligible = append(eligible, e.op)
		}
	}
	op, ok := one(p.plot, eligible)
	if !ok || len(p.there) == 0 {
		return "no adding failed before a snapshot of the run", false
	}
	add := p.op(op)
	value := add.Value
	p.grow(p.there[0], value)
	return "added " + elementName(value) + ", whose adding failed, to the final read", true
}

func (p *setPlot) duplicate() (string, bool) {
	i, add, ok := p.pick()
	if !ok {
		return noFinalElement, false
	}
	p.touch(add)
	value := add.Value
	p.grow(i, value)
	return "repeated " + elementName(value) + " in the final read", true
}

func (p *setPlot) corrupt() (string, bool) {
	i, add, ok := p.pick()
	if !ok {
		return noFinalElement, false
	}
	o := p.op(p.final.reads[i])
	o.Value, o.Key = 0, "�"
	return "made " + elementName(add.Value) + " of the final read unreadable", true
}

// stale removes an element from a snapshot of the run that was invoked after its acknowledgement.
func (p *setPlot) stale() (string, bool) {
	type spot struct{ view, place int }
	var eligible []spot
	for n := range p.c.views {
		v := &p.c.views[n]
		if v.final || v.invoke >= p.final.invoke {
			continue
		}
		for i, at := range v.has {
			if e := &p.c.elements[at]; e.fate == isAcked && p.h.Ops[e.op].Complete < v.invoke && p.c.views[e.had].invoke >= p.final.invoke {
				eligible = append(eligible, spot{n, i})
			}
		}
	}
	at, ok := one(p.plot, eligible)
	if !ok {
		return "no snapshot of the run had an element that was acknowledged before", false
	}
	v := &p.c.views[at.view]
	value := p.h.Ops[p.c.elements[v.has[at.place]].op].Value
	list := p.op(v.op)
	values, err := ledger.ParseValues(nil, list.Data)
	if err != nil {
		return err.Error(), false
	}
	list.Data = string(ledger.AppendValues(nil, slices.DeleteFunc(values, func(v int64) bool { return v == value })))
	return fmt.Sprintf("removed %s from the snapshot of operation %d", elementName(value), list.ID), true
}
