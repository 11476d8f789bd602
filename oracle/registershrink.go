package oracle

import (
	"cmp"
	"fmt"
	"slices"
)

// prove finds a small part of a key's operations that has no order, convicts it, and takes its last observation out of the
// key. It is false where that cannot be done in the time.
//
// Every part is legal where the whole is: reads and mismatches may be left out, for they only demand; so may writes that
// no read or mismatch of the part speaks of, for whatever order the whole has is one without them.
func (c *registerCheck) prove(k *regKey) bool {
	s := &regShrink{c: c, k: k, left: regShrinkOps}
	part := s.prefix(k.ops)
	part = s.groups(part)
	part = s.reads(part)
	if c.search.Err() != nil {
		return false
	}
	culprit := -1
	for i := range part {
		if _, ok := part[i].reads(); ok || part[i].kind == regMiss {
			culprit = i
		}
	}
	if culprit < 0 {
		c.doubt("key %s: the search finds no order for operations that observe nothing", k.name)
		return false
	}
	o := part[culprit]
	if !c.convict(k, part, NotLinearizable, regOrder, o.call, func() string {
		return fmt.Sprintf("%d operations on key %s have no order in which each finds what it found; the last observation is that of operation %d", len(part), k.name, c.ops[o.op].ID)
	}) {
		return false
	}
	for i := range k.ops {
		if k.ops[i].op == o.op {
			k.forget(map[int32]bool{int32(i): true}) //nolint:gosec // fewer than 2^31 operations fit into memory
			break
		}
	}
	return true
}

// regShrinkOps bounds the work of shrinking one key: operations in all parts that are tried.
const regShrinkOps = 20_000_000

// regShrink looks for a small part of a key's operations that is still illegal.
type regShrink struct {
	c    *registerCheck
	k    *regKey
	left int
}

// illegal reports whether a part has surely no order.
func (s *regShrink) illegal(part []regOp) bool {
	if s.left -= len(part) + 1; s.left < 0 {
		return false
	}
	return searchRegister(s.c.search, part, len(s.k.values), s.c.limit) == regIllegal
}

// prefix is the shortest part of time in which there is no order.
func (s *regShrink) prefix(ops []regOp) []regOp {
	var returns []int64
	for i := range ops {
		if !ops[i].open {
			returns = append(returns, ops[i].ret)
		}
	}
	slices.Sort(returns)
	n, _ := slices.BinarySearchFunc(returns, true, func(at int64, _ bool) int {
		if s.illegal(until(ops, at)) {
			return 0
		}
		return -1
	})
	if n == len(returns) { // the budget is spent
		return ops
	}
	return until(ops, returns[n])
}

// until is what was known at an instant: an operation that had not returned may have changed the key, and says nothing.
func until(ops []regOp, at int64) []regOp {
	var out []regOp
	for _, o := range ops {
		switch {
		case o.call > at:
			return out
		case o.ret <= at || o.open:
		case !o.changes():
			continue
		default:
			o.open, o.ret = true, endOfTime
		}
		out = append(out, o)
	}
	return out
}

// groups leaves out values, each with the operations that write and read it.
func (s *regShrink) groups(part []regOp) []regOp {
	if with := slices.DeleteFunc(slices.Clone(part), func(o regOp) bool { return o.kind == regMiss }); s.illegal(with) {
		part = with
	} else {
		return part // any write may be what a mismatch saw
	}
	last := map[int32]int64{}
	for _, o := range part {
		last[o.value] = max(last[o.value], o.call)
		if o.kind == regSwap {
			last[o.from] = max(last[o.from], o.call)
		}
	}
	values := make([]int32, 0, len(last))
	for v := range last {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b int32) int { return cmp.Or(cmp.Compare(last[b], last[a]), cmp.Compare(a, b)) })
	for n := 2; n < len(values); n *= 2 { // the newest ones first
		if few := only(part, values[:n]); s.illegal(few) {
			part, values = few, values[:n]
			break
		}
	}
	for n := len(values) - 1; n >= 0; n-- {
		without := slices.Delete(slices.Clone(values), n, n+1)
		if few := only(part, without); s.illegal(few) {
			part, values = few, without
		}
	}
	return part
}

// only keeps the operations about some values. Of a swap from another value the write remains.
func only(part []regOp, values []int32) []regOp {
	kept := map[int32]bool{}
	for _, v := range values {
		kept[v] = true
	}
	var out []regOp
	for _, o := range part {
		if !kept[o.value] {
			continue
		}
		if o.kind == regSwap && !kept[o.from] {
			o.kind = regWrite
		}
		out = append(out, o)
	}
	return out
}

// reads leaves out single observations.
func (s *regShrink) reads(part []regOp) []regOp {
	for n := len(part) - 1; n >= 0; n-- {
		if part[n].changes() {
			continue
		}
		if without := slices.Delete(slices.Clone(part), n, n+1); s.illegal(without) {
			part = without
		}
	}
	return part
}
