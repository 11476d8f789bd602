package oracle

import (
	"fmt"
	"math"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// judge decides a key and says whether it could. What breaks the promise is taken out of the key's operations, and the rest
// is judged again.
func (c *registerCheck) judge(k *regKey) bool {
	whole := slices.Clone(k.ops)
	before := len(c.breaches)
	decided := c.decide(k)
	if len(c.breaches) > before {
		c.draw(k, whole, c.breaches[before:])
	}
	return decided
}

// regQuick bounds the first search, in configurations.
const regQuick = 4000

func (c *registerCheck) decide(k *regKey) bool {
	c.phantoms(k)
	const most = 10 // proofs by search; others are found all at once
	for proofs := 0; proofs < most && c.search.Err() == nil; {
		// An order is mostly found at once; where it is not, what is plain is looked for before much is spent.
		if guessRegister(c.search, k.ops, len(k.values), min(c.limit, regQuick)) == regLegal {
			return true
		}
		if c.obvious(k) {
			continue
		}
		if out := searchRegister(c.search, k.ops, len(k.values), c.limit); out != regIllegal {
			return out == regLegal
		}
		proofs++
		if !c.prove(k) {
			return false
		}
	}
	return c.search.Err() == nil
}

// forget takes an observation out of a key: a swap stays as a write.
func (k *regKey) forget(gone map[int32]bool) {
	if len(gone) == 0 {
		return
	}
	kept := k.ops[:0]
	for i, o := range k.ops {
		if gone[int32(i)] { //nolint:gosec // fewer than 2^31 operations fit into memory
			if o.kind != regSwap {
				continue
			}
			o.kind = regWrite
		}
		kept = append(kept, o)
	}
	k.ops = kept
}

// corrupt tells of a read whose body is not what was written.
func (c *registerCheck) corrupt(o *ledger.Op, i int32) {
	c.breach(Corruption, regWhole, o.Invoke, func() string {
		return fmt.Sprintf("operation %d read %s of key %s, whose body is wrong (CRC-32C %08x)", o.ID, regValue(o.Value), o.Key, o.Sum)
	}, i)
}

// phantoms finds reads of values that nobody wrote until then.
func (c *registerCheck) phantoms(k *regKey) {
	first := make([]int64, len(k.values)) // by value, when it was first written
	writer := make([]int32, len(k.values))
	for v := range first {
		first[v], writer[v] = math.MaxInt64, -1
	}
	first[0] = 0
	for i := range k.ops {
		if o := &k.ops[i]; o.changes() && o.call < first[o.value] {
			first[o.value], writer[o.value] = o.call, o.op
		}
	}
	gone := map[int32]bool{}
	for i := range k.ops {
		o := &k.ops[i]
		v, ok := o.reads()
		if !ok || first[v] <= o.ret {
			continue
		}
		gone[int32(i)] = true //nolint:gosec // fewer than 2^31 operations fit into memory
		c.phantom(k, *o, v, writer[v])
	}
	k.forget(gone)
}

func (c *registerCheck) phantom(k *regKey, o regOp, v, writer int32) {
	class, promise := Phantom, regSent
	why := "which was never written"
	ops := []int32{o.op, writer}
	if refused, ok := k.refused[v]; ok && writer < 0 {
		promise, why = regRefused, fmt.Sprintf("though operation %d, which wrote it, failed (%s)", c.ops[refused].ID, errorText(&c.ops[refused]))
		ops = append(ops, refused)
	} else if writer >= 0 {
		why = fmt.Sprintf("which operation %d wrote only later", c.ops[writer].ID)
	}
	if o.kind == regSwap {
		class, promise = NotLinearizable, regMatch
	}
	c.breach(class, promise, o.call, func() string {
		return c.saw(k, &o) + ", " + why
	}, ops...)
}

// regValue names a value as its process counted it.
func regValue(v int64) string {
	switch {
	case v == 0:
		return "absent"
	case v < 0 || v>>32 == 0:
		return fmt.Sprintf("value %d", v)
	}
	return fmt.Sprintf("value %d of process %d", v&0xffffffff, v>>32)
}
