package oracle

import (
	"encoding/json"
	"fmt"
	"slices"
)

// stale lets a get find what had been overwritten.
func (p *objPlot) stale() (string, bool) {
	return p.older("no get could have found what had been overwritten", func(c *objectsCheck, i int32, by objFact) bool {
		return by.value >= 0 && p.c.keys[c.of[i]].lastGood > p.h.Ops[i].Invoke
	})
}

// comeBack lets a get find what had been deleted.
func (p *objPlot) comeBack() (string, bool) {
	return p.older("no get could have found what had been deleted", func(_ *objectsCheck, _ int32, by objFact) bool { return by.value == objAbsent })
}

// older lets a get find a version that a fact which fits had replaced.
func (p *objPlot) older(none string, fits func(c *objectsCheck, i int32, by objFact) bool) (string, bool) {
	note, ok := p.try(p.gets, func(c *objectsCheck, k *objKey, i int32) (string, bool) {
		var eligible []int32
		for _, s := range k.puts {
			by, wrong := c.contradicts(k, s.put, p.h.Ops[i].Complete, false)
			if wrong && fits(c, i, by) {
				eligible = append(eligible, s.put)
			}
		}
		old, ok := one(p.plot, eligible)
		if !ok {
			return "", false
		}
		p.show(i, old)
		return fmt.Sprintf("operation %d on key %s found generation %d, which was gone", p.h.Ops[i].ID, k.name, p.h.Ops[i].Value), true
	})
	if !ok {
		return none, false
	}
	return note, true
}

// vanish lets a get miss an object that is seen again later.
func (p *objPlot) vanish() (string, bool) {
	note, ok := p.try(p.gets, func(c *objectsCheck, k *objKey, i int32) (string, bool) {
		o := &p.h.Ops[i]
		if _, wrong := c.contradicts(k, objAbsent, o.Complete, true); !wrong || p.c.keys[c.of[i]].lastSeen <= o.Invoke {
			return "", false
		}
		p.show(i, objAbsent)
		return fmt.Sprintf("operation %d found key %s absent", o.ID, k.name), true
	})
	if !ok {
		return "no get of an object that was there came before another one", false
	}
	return note, true
}

// listed are the lists of the run.
func (p *objPlot) listed() []int32 {
	var out []int32
	for i := range p.h.Ops {
		if n := int32(i); p.c.lists[n] != nil { //nolint:gosec // fewer than 2^31 operations fit into memory
			out = append(out, n)
		}
	}
	return out
}

// relist adds a key to a list, or removes it.
func (p *objPlot) relist(i int32, name string, add bool) {
	o := p.op(i)
	names, err := decodeNames(o.Data)
	if err != nil {
		return // a list that the checker could not read is none
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
	if add {
		names = append(names, name)
	}
	if names == nil {
		names = []string{}
	}
	raw, err := json.Marshal(names)
	if err != nil {
		return // texts can always be written
	}
	o.Data = string(raw)
}

func (p *objPlot) stranger() (string, bool) {
	i, ok := one(p.plot, p.listed())
	if !ok {
		return "nothing was listed", false
	}
	name := p.h.Ops[i].Key + "never-put"
	for _, known := p.c.index[name]; known; _, known = p.c.index[name] {
		name += "-"
	}
	p.relist(i, name, true)
	return fmt.Sprintf("added key %s to the list of operation %d", name, p.h.Ops[i].ID), true
}

// unlist removes an object from a list that is seen again later.
func (p *objPlot) unlist() (string, bool) {
	note, ok := p.try(p.listed(), func(c *objectsCheck, _ *objKey, i int32) (string, bool) {
		o := &p.h.Ops[i]
		eligible := slices.DeleteFunc(slices.Clone(c.lists[i].keys), func(key int32) bool {
			_, wrong := c.contradicts(&c.keys[key], objAbsent, o.Complete, true)
			return !wrong || p.c.keys[key].lastSeen <= o.Invoke
		})
		key, ok := one(p.plot, eligible)
		if !ok {
			return "", false
		}
		p.relist(i, c.keys[key].name, false)
		return fmt.Sprintf("removed key %s from the list of operation %d", c.keys[key].name, o.ID), true
	})
	if !ok {
		return "no list shows an object that surely was there and was seen later", false
	}
	return note, true
}

// listDeleted adds a deleted object to a list.
func (p *objPlot) listDeleted() (string, bool) {
	note, ok := p.try(p.listed(), func(c *objectsCheck, _ *objKey, i int32) (string, bool) {
		o := &p.h.Ops[i]
		eligible := slices.DeleteFunc(slices.Clone(c.below(o.Key)), func(key int32) bool {
			k := &c.keys[key]
			_, wrong := c.contradicts(k, objPresent, o.Complete, true)
			return !wrong || k.some.call == 0 || slices.Contains(c.lists[i].keys, key)
		})
		key, ok := one(p.plot, eligible)
		if !ok {
			return "", false
		}
		p.relist(i, c.keys[key].name, true)
		return fmt.Sprintf("added key %s, which was deleted, to the list of operation %d", c.keys[key].name, o.ID), true
	})
	if !ok {
		return "no list was asked for after a delete", false
	}
	return note, true
}
