package oracle

import (
	"fmt"
	"slices"
)

// last finds the final read of a list, and what it lacks.
func (c *appendCheck) last(l *appendList) {
	returned := int64(-1)
	for _, w := range l.writers {
		if c.txns[w.txn].fate == isAcked {
			returned = max(returned, c.op(w.txn).Complete)
		}
	}
	for _, r := range l.reads {
		if o := c.op(r.txn); o.Invoke > returned && (l.final.txn < 0 || o.Invoke >= c.op(l.final.txn).Invoke) {
			l.final = r
		}
	}
	if l.final.txn < 0 {
		return
	}
	have := map[int64]bool{}
	for _, v := range c.values(l.final) {
		have[v] = true
	}
	gone := make([]int64, 0)
	for v := range l.writers {
		if !have[v] {
			gone = append(gone, v)
		}
	}
	slices.Sort(gone)
	if len(gone) == 0 {
		return
	}
	shown := c.shown(l)
	had := map[int64]bool{}
	if shown.txn >= 0 {
		for _, v := range c.values(shown) {
			had[v] = true
		}
	}
	for _, v := range gone {
		c.missing(l, v, shown, had[v])
	}
}

// missing judges a value that the final read of its list lacks, and that another read had or not.
func (c *appendCheck) missing(l *appendList, v int64, shown appendSpot, read bool) {
	w := l.writers[v]
	t, o, final := &c.txns[w.txn], c.op(w.txn), c.op(l.final.txn)
	switch {
	case t.fate == isFailed || w.txn == l.final.txn: // what it appends after it read
	case t.fate == isAcked:
		c.counts["lost"]++
		c.breach(DataLoss, appendKept, instant(o), func() string {
			return fmt.Sprintf("operation %d appended value %d to list %s, and the final read (operation %d) lacks it", o.ID, v, l.name, final.ID)
		}, t.op, c.txns[l.final.txn].op)
	case read:
		by := c.op(shown.txn)
		c.breach(DataLoss, appendShown, instant(by), func() string {
			return fmt.Sprintf("operation %d found value %d of list %s, and the final read (operation %d) lacks it", by.ID, v, l.name, final.ID)
		}, t.op, c.txns[shown.txn].op, c.txns[l.final.txn].op)
	}
}

// shown is the longest read that had returned before the final one.
func (c *appendCheck) shown(l *appendList) appendSpot {
	best := appendSpot{-1, -1}
	for _, r := range l.reads {
		if c.op(r.txn).Complete < c.op(l.final.txn).Invoke && (best.txn < 0 || len(c.values(r)) > len(c.values(best))) {
			best = r
		}
	}
	return best
}

// reads judges what one transaction read: that it saw its own appends, and nobody's half. Dependencies follow from it.
func (c *appendCheck) reads(n int32) {
	t := &c.txns[n]
	if t.fate != isAcked {
		return
	}
	own := map[int32][]int64{} // what it appended so far, by list
	for m := range t.mops {
		mop, k := &t.mops[m], t.keys[m]
		if mop.Append {
			own[k] = append(own[k], mop.Value)
			continue
		}
		if mop.Values == nil {
			continue
		}
		l := &c.lists[k]
		before := len(mop.Values) - len(own[k])
		if before < 0 || !slices.Equal(mop.Values[before:], own[k]) {
			o := c.op(n)
			c.breach(Invariant, appendOwn, o.Invoke, func() string {
				return fmt.Sprintf("operation %d appended %d to list %s, and then found %d there", o.ID, own[k], l.name, mop.Values)
			}, t.op)
			continue
		}
		c.halfway(n, l, mop.Values[:before])
		if !l.broken {
			c.depends(n, k, before)
		}
	}
}

// halfway convicts a read that ends between two appends of another transaction.
func (c *appendCheck) halfway(n int32, l *appendList, values []int64) {
	if len(values) == 0 {
		return
	}
	w, ok := l.writers[values[len(values)-1]]
	if !ok || w.txn == n {
		return
	}
	t := &c.txns[w.txn]
	for m := int(w.mop) + 1; m < len(t.mops); m++ {
		if t.mops[m].Append && t.mops[m].Key == l.name {
			o, by := c.op(n), c.op(w.txn)
			c.breach(Invariant, appendBetween, o.Invoke, func() string {
				return fmt.Sprintf("operation %d found list %s to end with value %d, after which operation %d appended value %d", o.ID, l.name, values[len(values)-1], by.ID, t.mops[m].Value)
			}, c.txns[n].op, t.op)
			return
		}
	}
}

// depends notes what follows from a transaction having read so many values of a list.
func (c *appendCheck) depends(n, k int32, length int) {
	l := &c.lists[k]
	for i := length - 1; i >= 0; i-- {
		if w := l.writes[i]; w >= 0 {
			c.graph.add(w, n, edgeWR, k)
			break
		}
	}
	for i := length; i < len(l.writes); i++ {
		if w := l.writes[i]; w >= 0 {
			c.graph.add(n, w, edgeRW, k)
			break
		}
	}
}

// writes notes in which order transactions wrote.
func (c *appendCheck) writes() {
	for k := range c.lists {
		before := int32(-1)
		for _, w := range c.lists[k].writes {
			if w < 0 {
				continue
			}
			if before >= 0 {
				c.graph.add(before, w, edgeWW, int32(k)) //nolint:gosec // as many as operations
			}
			before = w
		}
	}
}

// clock notes which transactions returned before others were invoked: a chain of nodes, one for each return, leads there.
func (c *appendCheck) clock() {
	var returned []int32
	for n := range c.txns {
		if c.txns[n].fate == isAcked {
			returned = append(returned, int32(n)) //nolint:gosec // as many as operations
		}
	}
	slices.SortStableFunc(returned, func(a, b int32) int { return compareInt(c.op(a).Complete, c.op(b).Complete) })
	first := c.graph.nodes(len(c.txns), len(returned))
	for i, n := range returned {
		c.graph.add(n, first+int32(i), edgeTime, -1) //nolint:gosec // as above
		if i > 0 {
			c.graph.add(first+int32(i)-1, first+int32(i), edgeTime, -1) //nolint:gosec // as above
		}
	}
	for n := range c.txns {
		if t := &c.txns[n]; t.fate == isFailed || (t.fate == isUnknown && !t.seen) {
			continue
		}
		at := c.op(int32(n)).Invoke //nolint:gosec // as above
		i, _ := slices.BinarySearchFunc(returned, at, func(r int32, at int64) int { return compareInt(c.op(r).Complete, at) })
		if i > 0 {
			c.graph.add(first+int32(i)-1, int32(n), edgeTime, -1) //nolint:gosec // as above
		}
	}
}

func (c *appendCheck) sum() {
	for _, k := range []string{"acknowledged", "failed", "unknown", "unknown_found", "appended", "lost", "reads", "cycles"} {
		c.counts[k] += 0
	}
	for n := range c.txns {
		if c.txns[n].seen {
			c.counts["unknown_found"]++
		}
	}
	unread, values := 0, 0
	for k := range c.lists {
		l := &c.lists[k]
		c.counts["appended"] += int64(l.acked)
		c.counts["reads"] += int64(len(l.reads))
		if l.acked > 0 && l.final.txn < 0 {
			unread++
			values += l.acked
		}
	}
	c.counts["lists"] = int64(len(c.lists))
	switch {
	case c.counts["appended"] == 0:
		c.thin("nothing was appended by an acknowledged transaction, so nothing is promised")
	case unread > 0:
		c.doubt("not read after every append to it had returned: %s, so %s in there may be lost", plural(int64(unread), "list"), plural(int64(values), "value"))
	}
}
