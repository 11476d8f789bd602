package oracle

import (
	"fmt"
	"math"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker. What a store may do that is behind until the final read is no mutation of it.
func (s Objects) Mutations() []Mutation {
	out := []Mutation{
		s.mutation("lost object", DataLoss, (*objPlot).lose),
		s.mutation("lost overwrite", DataLoss, (*objPlot).revert),
		s.mutation("wrong bytes", Corruption, (*objPlot).corrupt),
		s.mutation("wrong size", Corruption, (*objPlot).resize),
		s.mutation("phantom generation", Phantom, (*objPlot).phantom),
		s.mutation("failed put that is read", Phantom, (*objPlot).refused),
		s.mutation("phantom key in a list", Phantom, (*objPlot).stranger),
	}
	if s.Reads != eventual {
		out = append(out,
			s.mutation("stale read", Stale, (*objPlot).stale),
			s.mutation("object missing for a while", Stale, (*objPlot).vanish),
			s.mutation("deleted object that comes back", Resurrected, (*objPlot).comeBack))
	}
	if s.List != eventual {
		out = append(out,
			s.mutation("object missing from a list", Stale, (*objPlot).unlist),
			s.mutation("deleted object in a list", Resurrected, (*objPlot).listDeleted))
	}
	return out
}

// objPlot is a history of objects to be changed, with what the checker knows at its end.
type objPlot struct {
	*plot

	c    *objectsCheck
	gets []int32 // that are right
}

func (s Objects) mutation(name string, class Class, change func(*objPlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		op := &objPlot{plot: p}
		op.c = op.at(s, len(p.h.Ops))
		for i := range p.h.Ops {
			if p.h.Ops[i].Func == ledger.FuncGet && op.c.shows[i] != objNothing {
				op.gets = append(op.gets, int32(i)) //nolint:gosec // fewer than 2^31 operations fit into memory
			}
		}
		return change(op)
	})
}

// at is what the checker knows when the operation at an index is called.
func (p *objPlot) at(s Objects, until int) *objectsCheck {
	c := s.open(p.scan())
	c.scan()
	c.walk(until)
	if until < len(c.ops) {
		c.learn(c.ops[until].Invoke)
	}
	return c
}

// objTries bounds how often a mutation looks for an operation that is eligible: each time the history is walked.
const objTries = 6

// try draws an operation until the change at it, with what the checker knows there, is one.
func (p *objPlot) try(from []int32, change func(c *objectsCheck, k *objKey, i int32) (string, bool)) (string, bool) {
	for range min(objTries, len(from)) {
		i, _ := one(p.plot, from)
		c := p.at(p.c.options, int(i))
		var k *objKey
		if c.of[i] >= 0 {
			k = &c.keys[c.of[i]]
		}
		if note, ok := change(c, k, i); ok {
			return note, true
		}
	}
	return "", false
}

// show lets a get or a head find another version, or nothing.
func (p *objPlot) show(i int32, version int32) {
	o := p.op(i)
	o.Value, o.Sum, o.Data = 0, 0, ""
	if version < 0 {
		return
	}
	put := &p.c.puts[version]
	o.Value = p.h.Ops[put.op].Value
	if put.size >= 0 {
		o.Data = ledger.EncodeData(ledger.Object{Size: &put.size})
	}
}

// after lists the observations of a key that were called after an instant, and whether one of them may not be behind.
func (p *objPlot) after(key int32, at int64) (reads, lists []int32, firm bool) {
	for n := range p.h.Ops {
		o, i := &p.h.Ops[n], int32(n) //nolint:gosec // fewer than 2^31 operations fit into memory
		if o.Invoke <= at {
			continue
		}
		if l := p.c.lists[i]; l != nil {
			if slices.Contains(l.keys, key) {
				lists = append(lists, i)
				firm = firm || p.c.options.List != eventual || p.c.final[i]
			}
			continue
		}
		if p.c.of[i] == key && (o.Func == ledger.FuncGet || o.Func == ledger.FuncHead) {
			reads = append(reads, i)
			firm = firm || p.c.options.Reads != eventual || p.c.final[i]
		}
	}
	return reads, lists, firm
}

// kept draws a key whose last change was a put, which no delete can have followed.
func (p *objPlot) kept() (key int32, last objSpan, ok bool) {
	for _, n := range p.rand.Perm(len(p.c.keys)) {
		k := &p.c.keys[n]
		if k.gone || k.change.ret == 0 || len(k.open) > 0 || possible(k.deletes, k.change.call, math.MaxInt64) {
			continue
		}
		i := slices.IndexFunc(k.puts, func(s objSpan) bool { return s.call == k.change.call && s.ret == k.change.ret })
		if i >= 0 && max(k.lastRead, k.lastList) > k.change.ret {
			return int32(n), k.puts[i], true //nolint:gosec // as many as operations
		}
	}
	return 0, objSpan{}, false
}

func (p *objPlot) lose() (string, bool) {
	const nothing = "no object was read after it had been put and not deleted"
	key, last, ok := p.kept()
	if !ok {
		return nothing, false
	}
	reads, lists, firm := p.after(key, last.ret)
	if !firm {
		return nothing, false
	}
	for _, i := range reads {
		p.show(i, objAbsent)
	}
	for _, i := range lists {
		p.relist(i, p.c.keys[key].name, false)
	}
	return fmt.Sprintf("key %s is gone after operation %d had put it", p.c.keys[key].name, p.h.Ops[p.c.puts[last.put].op].ID), true
}

// revert lets every read after the last put of a key find an older version.
func (p *objPlot) revert() (string, bool) {
	const nothing = "no object was read after it had been overwritten"
	key, last, ok := p.kept()
	if !ok {
		return nothing, false
	}
	k := &p.c.keys[key]
	if k.zero.call >= last.call { // it would rather be a deleted version that comes back
		return nothing, false
	}
	older := slices.DeleteFunc(slices.Clone(k.puts), func(s objSpan) bool { return s.ret >= last.call })
	old, ok := one(p.plot, older)
	if !ok {
		return nothing, false
	}
	firm := false
	reads, _, _ := p.after(key, last.ret)
	for _, i := range reads {
		if p.h.Ops[i].Value > 0 {
			firm = firm || p.c.options.Reads != eventual || p.c.final[i]
		}
	}
	if !firm {
		return nothing, false
	}
	for _, i := range reads {
		if p.h.Ops[i].Value > 0 {
			p.show(i, old.put)
		}
	}
	return fmt.Sprintf("key %s has generation %d after operation %d had overwritten it", k.name, p.h.Ops[p.c.puts[old.put].op].Value, p.h.Ops[p.c.puts[last.put].op].ID), true
}

// found draws a get that found a version.
func (p *objPlot) found() (i int32, ok bool) {
	return one(p.plot, slices.DeleteFunc(slices.Clone(p.gets), func(i int32) bool { return p.c.shows[i] < 0 }))
}

const objNotFound = "no get found an object"

func (p *objPlot) corrupt() (string, bool) {
	i, ok := p.found()
	if !ok {
		return objNotFound, false
	}
	o := p.op(i)
	o.Sum = 1
	return fmt.Sprintf("operation %d found wrong bytes", o.ID), true
}

func (p *objPlot) resize() (string, bool) {
	eligible := slices.DeleteFunc(slices.Clone(p.gets), func(i int32) bool {
		data, err := decodeObject(&p.h.Ops[i])
		return p.c.shows[i] < 0 || p.c.puts[p.c.shows[i]].size < 0 || err != nil || data.Size == nil
	})
	i, ok := one(p.plot, eligible)
	if !ok {
		return "no get told the size of an object", false
	}
	o := p.op(i)
	data, err := decodeObject(o)
	if err != nil {
		return err.Error(), false
	}
	size := *data.Size + 1
	data.Size = &size
	o.Data = ledger.EncodeData(data)
	return fmt.Sprintf("operation %d found one byte more", o.ID), true
}

func (p *objPlot) phantom() (string, bool) {
	i, ok := p.found()
	if !ok {
		return objNotFound, false
	}
	o := p.op(i)
	for o.Value = 1 << 40; ; o.Value++ {
		if _, known := p.c.named[regNamed{p.c.of[i], o.Value}]; !known {
			break
		}
	}
	return fmt.Sprintf("operation %d found generation %d, which was never put", o.ID, o.Value), true
}

func (p *objPlot) refused() (string, bool) {
	eligible := slices.DeleteFunc(slices.Clone(p.gets), func(i int32) bool {
		return p.c.shows[i] < 0 || p.c.puts[p.c.shows[i]].fate != isAcked
	})
	i, ok := one(p.plot, eligible)
	if !ok {
		return "no get found an acknowledged object", false
	}
	o := p.op(p.c.puts[p.c.shows[i]].op)
	o.Outcome, o.Error = ledger.Failed, "mutated"
	return fmt.Sprintf("operation %d, whose object operation %d found, failed", o.ID, p.h.Ops[i].ID), true
}
