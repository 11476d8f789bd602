package oracle

import "fmt"

// settle looks at every element once all views were walked.
func (c *setCheck) settle() {
	var visible []int64
	unread := 0
	latest := int64(-1) // when the last whole view was invoked
	for i := range c.views {
		if c.views[i].whole {
			latest = max(latest, c.views[i].invoke)
		}
	}
	for i := range c.elements {
		if c.stopped(i) {
			return
		}
		e := &c.elements[i]
		switch {
		case e.fate == isFailed:
			c.failed(e)
			continue
		case e.fate == isUnknown && e.had >= 0 && e.had >= c.last:
			c.counts["unknown_found"]++
		case e.fate == isAcked && c.ops[e.op].Complete >= latest:
			c.counts["never_read"]++
			unread++
		case e.fate == isAcked && e.miss < 0:
			visible = append(visible, c.delay(e))
		}
		switch {
		case e.miss >= 0 && e.miss <= c.last:
			c.lose(e)
		case e.stale >= 0:
			c.stale(e, e.stale)
		case e.miss >= 0: // a final read might have had it
			c.stale(e, e.miss)
		}
	}
	c.spread("visible", visible)
	c.sum(unread)
}

func (c *setCheck) sum(unread int) {
	for _, k := range []string{"acknowledged", "failed", "unknown", "unknown_found", "lost", "stale", "never_read"} {
		c.counts[k] += 0
	}
	c.counts["snapshots"] = int64(len(c.views))
	if c.last >= 0 {
		c.counts["found"] = int64(len(c.views[c.last].has))
	} else if acked := c.counts["acknowledged"]; acked > 0 {
		c.doubt("the final read has no end, so %d acknowledged elements are unproven", acked)
	}
	if c.last >= 0 && unread > 0 {
		c.doubt("%d elements were acknowledged after the final read began, so they are unproven", unread)
	}
	if c.counts["acknowledged"] == 0 {
		c.thin("no element was acknowledged, so nothing is promised")
	}
}

// delay is how long after its acknowledgement an element was still missing from a snapshot.
func (c *setCheck) delay(e *setElement) int64 {
	if e.late < 0 {
		return 0
	}
	return max(0, c.views[e.late].invoke-c.ops[e.op].Complete)
}

// failed judges an element whose adding failed, and that a view has.
func (c *setCheck) failed(e *setElement) {
	if e.had < 0 {
		return
	}
	o := &c.ops[e.op]
	if e.stale >= 0 {
		c.breach(Resurrected, setComesBack, c.views[e.had].invoke, func() string {
			return fmt.Sprintf("adding %s failed (%s); %s misses it, and %s has it", elementName(o.Value), errorText(o), c.name(e.stale), c.name(e.had))
		}, e.op, c.views[e.stale].op, e.hadOp)
		return
	}
	c.breach(Phantom, setFailed, instant(o), func() string {
		return fmt.Sprintf("%s, whose adding failed (%s), is in %s", elementName(o.Value), errorText(o), c.viewName(&c.ops[e.firstOp]))
	}, e.op, e.firstOp)
}

// stale judges an element that a view misses, though it is not known to be lost.
func (c *setCheck) stale(e *setElement, miss int32) {
	c.counts["stale"]++
	if c.options.Stale == allow {
		return
	}
	o := &c.ops[e.op]
	ops := []int32{e.op, c.views[miss].op, e.hadOp}
	since := "acknowledged"
	if e.fate != isAcked || e.known != o.Complete {
		since = "in " + c.viewName(&c.ops[e.firstOp])
		ops = append(ops, e.firstOp)
	}
	c.breach(Stale, setFresh, c.views[miss].invoke, func() string {
		text := fmt.Sprintf("%s, %s %s before, is missing from %s", elementName(o.Value), since, seconds(c.views[miss].invoke-e.known), c.name(miss))
		if e.had > miss {
			text += "; " + c.name(e.had) + " has it"
		}
		return text
	}, ops...)
}

// lose judges an element that the final read misses.
func (c *setCheck) lose(e *setElement) {
	c.counts["lost"]++
	o := &c.ops[e.op]
	promise := setKept
	if e.fate != isAcked {
		promise = setShown
	}
	c.breach(DataLoss, promise, instant(o), func() string {
		text := fmt.Sprintf("%s (%s) is missing from the final read", elementName(o.Value), o.Outcome)
		switch {
		case e.had >= 0:
			return text + "; the last to have it was " + c.name(e.had)
		case len(c.views) > 1:
			return fmt.Sprintf("%s and was in none of %d snapshots", text, len(c.views)-1)
		}
		return text
	}, e.op, c.views[c.last].op, e.hadOp)
}

// name is a view for people.
func (c *setCheck) name(view int32) string { return c.viewName(&c.ops[c.views[view].op]) }
