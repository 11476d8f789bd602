package oracle

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// obvious finds what two or three operations prove, and takes the observations that are wrong out of the key. It reports
// whether there were any.
func (c *registerCheck) obvious(k *regKey) bool {
	l := newRegLine(k)
	gone := map[int32]bool{}
	swapped := map[int32]int32{} // value → an acknowledged swap from it
	for _, i := range l.seen {
		o := &k.ops[i]
		v, _ := o.reads()
		if change, old := l.replaced(v, o); old && c.outdated(l, i, v, change) {
			gone[i] = true
			continue
		}
		if o.kind != regSwap || v == 0 || l.writers[v] != 1 {
			continue
		}
		if first, twice := swapped[v]; !twice {
			swapped[v] = i
		} else if c.swappedTwice(l, first, i) {
			gone[i] = true
		}
	}
	if len(gone) == 0 { // else a wrong read might speak against a mismatch that is right
		for n := range k.ops {
			if k.ops[n].kind == regMiss && c.matched(l, int32(n)) { //nolint:gosec // fewer than 2^31 operations fit into memory
				gone[int32(n)] = true //nolint:gosec // as above
			}
		}
	}
	k.forget(gone)
	return len(gone) > 0
}

// evidence are operations of a key that prove a violation.
func (l *regLine) evidence(places ...int32) []regOp {
	seen := map[int32]bool{}
	var out []regOp
	for _, i := range places {
		if !seen[i] {
			seen[i] = true
			out = append(out, l.k.ops[i])
		}
	}
	return out
}

// outdated tells of an observation of v after it had been replaced.
func (c *registerCheck) outdated(l *regLine, i, v, change int32) bool {
	k := l.k
	proof := l.evidence(change, i)
	if v != 0 {
		proof = l.evidence(l.writer[v], l.proof[v], change, i)
	}
	o, by := k.ops[i], k.ops[change]
	what := fmt.Sprintf("had set it to %s before", regValue(k.values[by.value]))
	if by.kind == regDelete {
		what = "had deleted it before"
	}
	class, promise := Stale, regFresh
	switch {
	case o.kind == regSwap:
		class, promise = NotLinearizable, regMatch
	case by.kind == regDelete:
		class, promise = Resurrected, regDeleted
	case !l.shown(change, o.call):
		class, promise = DataLoss, regKept
		what += ", and nobody saw that again"
	}
	return c.convict(k, proof, class, promise, o.call, func() string {
		return fmt.Sprintf("%s, though operation %d (%s) %s", c.saw(k, &o), c.ops[by.op].ID, c.ops[by.op].Func, what)
	})
}

// saw is an observation in words.
func (c *registerCheck) saw(k *regKey, o *regOp) string {
	id := c.ops[o.op].ID
	switch v, _ := o.reads(); {
	case o.kind == regSwap:
		return fmt.Sprintf("operation %d swapped key %s from %s", id, k.name, regValue(k.values[v]))
	case v == 0:
		return fmt.Sprintf("operation %d found key %s absent", id, k.name)
	default:
		return fmt.Sprintf("operation %d found %s in key %s", id, regValue(k.values[v]), k.name)
	}
}

// matched convicts a swap that did not match although the value was there before and after it, or although nobody had
// written anything where it expected nothing.
func (c *registerCheck) matched(l *regLine, i int32) bool {
	k, o := l.k, l.k.ops[i]
	v := o.from
	if v == 0 {
		if len(k.ops) > 0 && firstChange(k) > o.ret {
			return c.convict(k, l.evidence(i), NotLinearizable, regMatch, o.call, func() string {
				return fmt.Sprintf("operation %d expected key %s to be absent and did not match, though nothing was written until then", c.ops[o.op].ID, k.name)
			})
		}
		return false
	}
	if l.writers[v] != 1 || l.sure[v] >= o.call {
		return false
	}
	for _, n := range l.seen {
		after := &k.ops[n]
		if read, _ := after.reads(); read != v || after.call <= o.ret {
			continue
		}
		return c.convict(k, l.evidence(l.writer[v], l.proof[v], i, n), NotLinearizable, regMatch, o.call, func() string {
			return fmt.Sprintf("operation %d expected %s of key %s and did not match, though the key had it before and after that", c.ops[o.op].ID, regValue(k.values[v]), k.name)
		})
	}
	return false
}

func firstChange(k *regKey) int64 {
	for i := range k.ops {
		if k.ops[i].changes() {
			return k.ops[i].call
		}
	}
	return endOfTime
}

// swappedTwice convicts two swaps from one value, which was written once.
func (c *registerCheck) swappedTwice(l *regLine, first, second int32) bool {
	k, v := l.k, l.k.ops[second].from
	return c.convict(k, l.evidence(l.writer[v], first, second), NotLinearizable, regMatch, k.ops[second].call, func() string {
		return fmt.Sprintf("operations %d and %d both swapped from %s of key %s, which was written once", c.ops[k.ops[first].op].ID, c.ops[k.ops[second].op].ID, regValue(k.values[v]), k.name)
	})
}

// convict notes a violation that some operations of a key prove on their own, if porcupine sees it as well.
func (c *registerCheck) convict(k *regKey, proof []regOp, class Class, promise string, at int64, note func() string) bool {
	const (
		patience = 10 * time.Second // for a handful of operations
		most     = 2000             // porcupine remembers a bit of each for every step
	)
	if len(proof) > most || porcupine.CheckOperationsTimeout(regModel(k, nil), regHistory(c.ops, proof), patience) != porcupine.Illegal {
		c.doubt("key %s: the search finds no order, and porcupine does not confirm it (operations %v)", k.name, c.ids(regIndices(proof)))
		return false
	}
	c.breach(class, promise, at, note, regIndices(proof)...)
	return true
}

func regIndices(ops []regOp) []int32 {
	out := make([]int32, 0, len(ops))
	for _, o := range ops {
		out = append(out, o.op)
	}
	return out
}
