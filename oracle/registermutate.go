package oracle

import (
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (r Register) Mutations() []Mutation {
	return []Mutation{
		r.mutation("lost acknowledged write", DataLoss, (*regPlot).lose),
		r.mutation("stale read", Stale, (*regPlot).stale),
		r.mutation("resurrected deletion", Resurrected, (*regPlot).comeBack),
		r.mutation("phantom value", Phantom, (*regPlot).phantom),
		r.mutation("failed write that is read", Phantom, (*regPlot).refused),
		r.mutation("swap though the value did not match", NotLinearizable, (*regPlot).swap),
		r.mutation("mismatch though the value matched", NotLinearizable, (*regPlot).mismatch),
	}
}

// regPlot is a legal key of a history, to be changed.
type regPlot struct {
	*plot

	c    *registerCheck
	k    *regKey
	line *regLine
}

// plotTries bounds the keys that a mutation looks at: each is searched first, for a key that is illegal already may hide
// what is done to it.
const plotTries = 30

func (r Register) mutation(name string, class Class, change func(*regPlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		d := p.scan()
		c := r.open(d.ctx, d)
		c.scan()
		order := p.rand.Perm(len(c.keys))
		why := "no key has operations"
		for _, i := range order[:min(len(order), plotTries)] {
			k := &c.keys[i]
			before := len(c.breaches)
			c.phantoms(k)
			if len(c.breaches) > before || len(c.unproven) > 0 || searchRegister(c.ctx, k.ops, len(k.values), plotLimit) != regLegal {
				why = "no key that was tried is legal"
				continue
			}
			note, ok := change(&regPlot{plot: p, c: c, k: k, line: newRegLine(k)})
			if ok {
				return note, true
			}
			why = note
		}
		return why, false
	})
}

// plotLimit bounds the search for a legal key.
const plotLimit = 100_000

// gets are the reads of the key, by number in the key.
func (p *regPlot) gets() []int32 {
	return slices.DeleteFunc(slices.Clone(p.line.seen), func(i int32) bool { return p.k.ops[i].kind != regGet })
}

// older draws a value that was written once and surely had been replaced, by a change that fits, when operation i was called.
func (p *regPlot) older(i int32, fits func(change int32) bool) (v int32, ok bool) {
	const tries = 50
	by := &p.k.ops[i]
	for range min(tries, 4*len(p.k.values)) {
		v := int32(p.rand.IntN(len(p.k.values))) //nolint:gosec // as many as operations
		if v == 0 || v == by.value {
			continue
		}
		if change, ok := p.line.replaced(v, by); ok && fits(change) {
			return v, true
		}
	}
	return 0, false
}

// show lets a read find another value.
func (p *regPlot) show(i, v int32) *ledger.Op {
	o := p.op(p.k.ops[i].op)
	o.Value = p.k.values[v]
	return o
}

// lose lets every read after the last change find what was there before.
func (p *regPlot) lose() (string, bool) {
	const nothing = "no key was read after its last change alone"
	if len(p.line.changes) == 0 {
		return nothing, false
	}
	last := p.line.changes[len(p.line.changes)-1]
	after := p.k.ops[last]
	if after.kind == regDelete {
		return nothing, false
	}
	for i := range p.k.ops {
		// Nothing else may be what the reads find, or could have found.
		if o := &p.k.ops[i]; o.changes() && int32(i) != last && (o.open || o.ret >= after.call) { //nolint:gosec // as many as operations
			return nothing, false
		}
	}
	var changed []int32
	for _, i := range p.gets() {
		if p.k.ops[i].call > after.ret {
			changed = append(changed, i)
		}
	}
	if len(changed) == 0 {
		return nothing, false
	}
	v, ok := p.older(changed[0], func(change int32) bool { return change == last })
	if _, gone := p.line.replaced(0, &p.k.ops[changed[0]]); !ok && !gone {
		return nothing, false
	}
	p.touch(&p.h.Ops[after.op])
	for _, i := range changed {
		p.show(i, v)
	}
	return fmt.Sprintf("%d reads after %s of key %s was written find %s", len(changed), regValue(p.k.values[after.value]), p.k.name, regValue(p.k.values[v])), true
}

// one draws a read and an older value for it, replaced by a change that fits.
func (p *regPlot) outdate(fits func(i, change int32) bool) (note string, ok bool) {
	const tries = 20
	gets := p.gets()
	for range min(tries, len(gets)) {
		i, _ := one(p.plot, gets)
		if v, ok := p.older(i, func(change int32) bool { return fits(i, change) }); ok {
			o := p.show(i, v)
			return fmt.Sprintf("operation %d on key %s reads %s, which had been replaced", o.ID, p.k.name, regValue(o.Value)), true
		}
	}
	return "", false
}

func (p *regPlot) stale() (string, bool) {
	note, ok := p.outdate(func(i, change int32) bool {
		return p.k.ops[change].kind != regDelete && p.line.shown(change, p.k.ops[i].call)
	})
	if !ok {
		return "no read has an older value that was replaced and a newer one that was read later", false
	}
	return note, true
}

func (p *regPlot) comeBack() (string, bool) {
	note, ok := p.outdate(func(_, change int32) bool { return p.k.ops[change].kind == regDelete })
	if !ok {
		return "no read comes after a value was deleted", false
	}
	return note, true
}

func (p *regPlot) phantom() (string, bool) {
	i, ok := one(p.plot, p.gets())
	if !ok {
		return "no key was read", false
	}
	stranger := int64(1) << 62
	for slices.Contains(p.k.values, stranger) {
		stranger++
	}
	o := p.op(p.k.ops[i].op)
	o.Value = stranger
	return fmt.Sprintf("operation %d on key %s reads %s, which nobody wrote", o.ID, p.k.name, regValue(stranger)), true
}

// refused turns the acknowledgement of a write that was read into a failure.
func (p *regPlot) refused() (string, bool) {
	eligible := slices.DeleteFunc(p.gets(), func(i int32) bool {
		v := p.k.ops[i].value
		return v == 0 || p.line.writers[v] != 1 || p.k.ops[p.line.writer[v]].open
	})
	i, ok := one(p.plot, eligible)
	if !ok {
		return "no acknowledged write was read", false
	}
	o := p.op(p.k.ops[p.line.writer[p.k.ops[i].value]].op)
	o.Outcome, o.Error = ledger.Failed, "mutated"
	return fmt.Sprintf("operation %d, which wrote %s of key %s, failed", o.ID, regValue(o.Value), p.k.name), true
}

// swap lets a swap start from a value that had been replaced.
func (p *regPlot) swap() (string, bool) {
	swaps := slices.DeleteFunc(slices.Clone(p.line.seen), func(i int32) bool { return p.k.ops[i].kind != regSwap })
	for len(swaps) > 0 {
		n := p.rand.IntN(len(swaps))
		i := swaps[n]
		swaps = slices.Delete(swaps, n, n+1)
		from := p.k.ops[i].from
		if v, ok := p.older(i, func(int32) bool { return true }); ok && v != from {
			o := p.op(p.k.ops[i].op)
			o.Data = ledger.EncodeData(ledger.CAS{From: p.k.values[v]})
			return fmt.Sprintf("operation %d on key %s swapped from %s, which had been replaced", o.ID, p.k.name, regValue(p.k.values[v])), true
		}
	}
	return "no swap has an older value that was replaced", false
}

// mismatch adds a swap that did not match between two reads of the value that it expected.
func (p *regPlot) mismatch() (string, bool) {
	if !slices.ContainsFunc(p.k.ops, func(o regOp) bool { return o.kind == regSwap || o.kind == regMiss }) {
		return "no key was swapped", false
	}
	eligible := slices.DeleteFunc(p.gets(), func(i int32) bool {
		v := p.k.ops[i].value
		return v == 0 || p.line.writers[v] != 1 || p.line.sure[v] >= p.k.ops[i].call-2
	})
	i, ok := one(p.plot, eligible)
	if !ok {
		return "no value was read after it surely had been written", false
	}
	o := p.h.Ops[p.k.ops[i].op]
	o.Func, o.Data = ledger.FuncCAS, ledger.EncodeData(ledger.CAS{From: o.Value, Mismatch: true})
	o.Outcome, o.Error = ledger.Failed, ledger.Declined
	o.Value = int64(1) << 62
	o.Invoke, o.Complete = o.Invoke-1, o.Invoke-1
	from := p.k.values[p.k.ops[i].value]
	added := p.insert(o)
	return fmt.Sprintf("added operation %d on key %s, a swap from %s that did not match, though the key had it before and after", added.ID, p.k.name, regValue(from)), true
}
