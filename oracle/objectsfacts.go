package oracle

import (
	"math"

	"github.com/discompose/discompose/ledger"
)

// learn takes in what returned before an instant.
func (c *objectsCheck) learn(before int64) {
	for ; c.next < len(c.returns) && c.ops[c.returns[c.next]].Complete < before; c.next++ {
		i := c.returns[c.next]
		o := &c.ops[i]
		switch {
		case c.lists[i] != nil:
			c.learnList(i, o)
		case o.Func == ledger.FuncPut:
			p := c.shows[i] ^ objPutMark
			c.sure(p, o.Complete, i)
			c.keys[c.of[i]].fact(objFact{o.Invoke, i, p})
		case o.Func == ledger.FuncDelete:
			c.keys[c.of[i]].fact(objFact{o.Invoke, i, objAbsent})
		case c.shows[i] != objNothing:
			if p := c.shows[i]; p >= 0 {
				c.sure(p, o.Complete, i)
			}
			if c.options.Reads != eventual {
				c.keys[c.of[i]].fact(objFact{o.Invoke, i, c.shows[i]})
			}
		}
	}
}

// sure notes that a version had surely been put at an instant.
func (c *objectsCheck) sure(p int32, at int64, by int32) {
	if put := &c.puts[p]; at < put.sure {
		if put.fate == isUnknown && put.sure == math.MaxInt64 {
			c.counts["unknown_found"]++
		}
		put.sure, put.proof = at, by
	}
}

func (c *objectsCheck) learnList(i int32, o *ledger.Op) {
	if c.options.List == eventual {
		return
	}
	l := c.lists[i]
	for _, k := range l.keys {
		c.stamp[k] = i + 1
		if !l.wrong[k] {
			c.keys[k].fact(objFact{o.Invoke, i, objPresent})
		}
	}
	for _, k := range c.below(o.Key) {
		if c.stamp[k] != i+1 && !l.wrong[k] {
			c.keys[k].fact(objFact{o.Invoke, i, objAbsent})
		}
	}
}

// fact takes in one fact.
func (k *objKey) fact(f objFact) {
	switch {
	case f.value == objAbsent:
		if f.call > k.zero.call {
			k.zero = f
		}
	case f.call > k.some.call:
		k.some = f
	}
	switch {
	case f.value == objPresent:
	case f.value == k.top[0].value:
		if f.call > k.top[0].call {
			k.top[0] = f
		}
	case f.call > k.top[0].call:
		k.top[1], k.top[0] = k.top[0], f
	case f.call > k.top[1].call:
		k.top[1] = f
	}
}

// other is the last fact that shows another value.
func (k *objKey) other(value int32) objFact {
	if k.top[0].value == value {
		return k.top[1]
	}
	return k.top[0]
}
