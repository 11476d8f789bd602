package oracle

import (
	"fmt"
	"slices"
)

// settle looks at every item once all dequeues were walked.
func (c *queueCheck) settle() {
	for _, k := range []string{"acknowledged", "failed", "unknown", "unknown_found", "handed", "redelivered", "empty", "lost", "never_drained"} {
		c.counts[k] += 0
	}
	c.counts["blind"] = int64(c.blind)
	var dwell []int64
	var missing []int32
	for n := range c.items {
		if c.stopped(n) {
			return
		}
		item := &c.items[n]
		if item.handed > 0 {
			c.counts["handed"]++
			c.counts["redelivered"] += int64(item.handed - 1)
		}
		put := &c.ops[item.op]
		switch {
		case item.fate == isUnknown && item.handed > 0:
			c.counts["unknown_found"]++
		case item.fate != isAcked:
		case item.handed > 0:
			dwell = append(dwell, max(0, instant(&c.ops[item.first])-put.Complete))
		case c.end < 0:
		case put.Complete >= c.drained:
			c.counts["never_drained"]++
		default:
			missing = append(missing, int32(n)) //nolint:gosec // as many as operations
		}
	}
	c.spread("dwell", dwell)
	c.lose(missing)
	c.prove()
}

// excuses is how many missing values dequeues may have taken along.
func (c *queueCheck) excuses() int {
	if c.options.Delivery == atLeastOnce {
		return 0
	}
	return c.blind
}

// lose convicts missing values, where there are more than dequeues may have taken: then each is suspect.
func (c *queueCheck) lose(missing []int32) {
	excused := c.excuses()
	if len(missing) <= excused {
		return
	}
	c.counts["lost"] = int64(len(missing) - excused)
	for _, n := range missing {
		op := c.items[n].op
		put := &c.ops[op]
		c.breach(DataLoss, queueKept, instant(put), func() string {
			text := fmt.Sprintf("%s was acknowledged, and nobody was handed it by the end of the final drain", itemName(put.Value))
			if excused > 0 {
				text += fmt.Sprintf(" (%d values are missing, and %s of unknown outcome may have taken as many)", len(missing), plural(int64(excused), "dequeue"))
			}
			return text
		}, op, c.end)
	}
}

func (c *queueCheck) prove() {
	acked := c.counts["acknowledged"]
	switch {
	case acked == 0:
		c.thin("no value was acknowledged, so nothing is promised")
	case c.end < 0:
		c.doubt("the final drain has no end, so %d acknowledged values are unproven", acked)
	case c.counts["never_drained"] > 0:
		c.doubt("%d values were acknowledged after the final drain found the queue empty, so they are unproven", c.counts["never_drained"])
	}
}

// inOrder looks for values that were handed out before one that was surely put in before them. It judges those that
// were acknowledged and handed out once: what was handed out again was out of its order by then.
func (c *queueCheck) inOrder() {
	var byInvoke, byReturn []int32
	for n := range c.items {
		if item := &c.items[n]; item.fate == isAcked && item.handed == 1 && !item.doubted {
			byInvoke = append(byInvoke, int32(n)) //nolint:gosec // as many as operations
		}
	}
	byReturn = slices.Clone(byInvoke)
	slices.SortStableFunc(byInvoke, func(a, b int32) int {
		return compareInt(c.ops[c.items[a].op].Invoke, c.ops[c.items[b].op].Invoke)
	})
	slices.SortStableFunc(byReturn, func(a, b int32) int {
		return compareInt(c.ops[c.items[a].op].Complete, c.ops[c.items[b].op].Complete)
	})
	next, latest := 0, int32(-1) // of those put in before: the one that was handed out last
	for i, n := range byInvoke {
		if c.stopped(i) {
			return
		}
		b := &c.items[n]
		for ; next < len(byReturn) && c.ops[c.items[byReturn[next]].op].Complete < c.ops[b.op].Invoke; next++ {
			if a := byReturn[next]; latest < 0 || c.ops[c.items[a].taken].Invoke > c.ops[c.items[latest].taken].Invoke {
				latest = a
			}
		}
		if latest >= 0 && c.ops[b.taken].Complete < c.ops[c.items[latest].taken].Invoke {
			c.overtaken(&c.items[latest], b)
		}
	}
}

func (c *queueCheck) overtaken(a, b *queueItem) {
	c.breach(Order, queueOrder, c.ops[b.taken].Invoke, func() string {
		return fmt.Sprintf("%s was put in before %s (operations %d and %d), and handed out after it (operations %d and %d)",
			itemName(c.ops[a.op].Value), itemName(c.ops[b.op].Value), c.ops[a.op].ID, c.ops[b.op].ID, c.ops[a.taken].ID, c.ops[b.taken].ID)
	}, a.op, b.op, a.taken, b.taken)
}
