package oracle

import (
	"cmp"
	"math"
	"slices"
)

// regLine is what is certain about a key without a search.
type regLine struct {
	k       *regKey
	writers []int32 // by value: how many operations set it
	writer  []int32 // by value: one of them
	sure    []int64 // by value: when it surely had been written
	proof   []int32 // by value: the operation that proves it
	changes []int32 // acknowledged changes by return
	latest  []int32 // of the changes up to each, the one that was called last
	deletes []int32 // by call
	undone  []int64 // the last return of the deletes up to each
	seen    []int32 // observations by call
	newest  []int64 // of the observations from each on, the greatest sure
}

func newRegLine(k *regKey) *regLine {
	n := len(k.values)
	l := &regLine{k: k, writers: make([]int32, n), writer: make([]int32, n), sure: make([]int64, n), proof: make([]int32, n)}
	for v := range l.sure {
		l.sure[v] = math.MaxInt64
	}
	sure := func(v int32, i int) {
		if at := k.ops[i].ret; at < l.sure[v] {
			l.sure[v], l.proof[v] = at, int32(i) //nolint:gosec // fewer than 2^31 operations fit into memory
		}
	}
	for n := range k.ops {
		o, i := &k.ops[n], int32(n) //nolint:gosec // as above
		if v, ok := o.reads(); ok {
			sure(v, n)
			l.seen = append(l.seen, i)
		}
		if !o.changes() {
			continue
		}
		l.writers[o.value]++
		l.writer[o.value] = i
		if o.kind == regDelete {
			l.deletes = append(l.deletes, i)
			l.undone = append(l.undone, max(o.ret, lastOr(l.undone, -1)))
		}
		if !o.open {
			sure(o.value, n)
			l.changes = append(l.changes, i)
		}
	}
	l.sort()
	return l
}

func lastOr(list []int64, otherwise int64) int64 {
	if len(list) == 0 {
		return otherwise
	}
	return list[len(list)-1]
}

func (l *regLine) sort() {
	ops := l.k.ops
	slices.SortStableFunc(l.changes, func(a, b int32) int { return cmp.Compare(ops[a].ret, ops[b].ret) })
	for n, i := range l.changes {
		if n > 0 && ops[l.latest[n-1]].call > ops[i].call {
			i = l.latest[n-1]
		}
		l.latest = append(l.latest, i)
	}
	l.newest = make([]int64, len(l.seen)+1)
	l.newest[len(l.seen)] = -1
	for n := len(l.seen) - 1; n >= 0; n-- {
		o := &ops[l.seen[n]]
		v, _ := o.reads()
		at := l.sure[v]
		if v == 0 {
			at = l.lastDelete(o.ret)
		}
		l.newest[n] = max(l.newest[n+1], at)
	}
}

// lastDelete is the call of the last delete that was called until an instant; -1 without any.
func (l *regLine) lastDelete(until int64) int64 {
	n, _ := slices.BinarySearchFunc(l.deletes, until, func(i int32, at int64) int { return cmp.Or(cmp.Compare(l.k.ops[i].call, at), -1) })
	if n == 0 {
		return -1
	}
	return l.k.ops[l.deletes[n-1]].call
}

// returned is how many acknowledged changes had returned before an instant.
func (l *regLine) returned(before int64) int {
	n, _ := slices.BinarySearchFunc(l.changes, before, func(i int32, at int64) int { return cmp.Or(cmp.Compare(l.k.ops[i].ret, at), 1) })
	return n
}

// replaced finds an acknowledged change that surely came after the value v and before an observation of v: the last one
// to return.
func (l *regLine) replaced(v int32, by *regOp) (change int32, ok bool) {
	n := l.returned(by.call)
	if v == 0 {
		return l.written(n, by.ret)
	}
	if n == 0 || l.writers[v] != 1 || l.k.ops[l.latest[n-1]].call <= l.sure[v] {
		return 0, false
	}
	n--
	for l.k.ops[l.changes[n]].call <= l.sure[v] {
		n--
	}
	return l.changes[n], true
}

// written finds an acknowledged write among the first n changes after which the key was surely there until an instant.
func (l *regLine) written(n int, until int64) (change int32, ok bool) {
	if n == 0 {
		return 0, false
	}
	last := l.latest[n-1]
	if l.k.ops[last].value == 0 {
		return 0, false
	}
	// A delete that had not returned when it was called may have come later.
	d, _ := slices.BinarySearchFunc(l.deletes, until, func(i int32, at int64) int { return cmp.Or(cmp.Compare(l.k.ops[i].call, at), -1) })
	if d > 0 && l.undone[d-1] >= l.k.ops[last].call {
		return 0, false
	}
	return last, true
}

// shown reports whether an observation that was called after an instant shows a change or something that is not older.
func (l *regLine) shown(change int32, after int64) bool {
	n, _ := slices.BinarySearchFunc(l.seen, after, func(i int32, at int64) int { return cmp.Or(cmp.Compare(l.k.ops[i].call, at), -1) })
	return l.newest[n] >= l.k.ops[change].call
}
