package oracle

import (
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// counterWhy is what explains a count that is out of its bounds.
type counterWhy uint8

const (
	whyNothing counterWhy = iota
	whyMissing            // something that must count does not
	whyFailed             // something that failed counts
	whyTwice              // something counts twice
)

// explain says what may have happened: the first that suffices, of what is likelier for a count that is too low, or too high.
func (c *counterCheck) explain(n, side int) counterWhy {
	g, s := &c.gets[n], &c.sides[side]
	o := &c.ops[g.op]
	off := g.off[side]
	missing := int64(0)
	if !c.mayLag(n) {
		missing = s.up.before(o.Invoke)
	}
	if g.from[side] >= 0 { // it may have seen those of unknown fate
		missing += s.upMaybe.upTo(o.Complete)
	}
	suffices := map[counterWhy]bool{
		whyMissing: missing >= off,
		whyFailed:  -s.failed.upTo(o.Complete) >= off,
		whyTwice:   -s.down.upTo(o.Complete) >= off,
	}
	likely := []counterWhy{whyMissing, whyFailed, whyTwice}
	if s.sign < 0 {
		likely = []counterWhy{whyFailed, whyTwice, whyMissing}
	}
	for _, why := range likely {
		if suffices[why] {
			return why
		}
	}
	return whyNothing
}

// report convicts a get that is out of its bounds. Of those during the run that are so for good, and that the final get
// shows as well, it names those with which it got worse.
func (c *counterCheck) report(n int) {
	for side := range c.sides {
		off := c.gets[n].off[side]
		if off <= 0 {
			continue
		}
		why := c.explain(n, side)
		back := why == whyMissing && n != c.final && c.final >= 0 && c.gets[c.final].off[side] <= 0
		if back {
			c.counts["stale"]++
			c.convict(n, side, Stale, counterFresh)
			continue
		}
		if n != c.final && off <= c.worst[side] {
			continue
		}
		c.worst[side] = max(off, c.worst[side])
		switch why {
		case whyMissing:
			c.convict(n, side, DataLoss, counterKept)
		case whyFailed:
			c.convict(n, side, Phantom, counterFail)
		case whyTwice:
			c.convict(n, side, Duplicate, counterOnce)
		case whyNothing:
			c.convict(n, side, Phantom, counterSent)
		}
	}
}

// convict names the get, the one that its bound is from, and what is suspect.
func (c *counterCheck) convict(n, side int, class Class, promise string) {
	g := &c.gets[n]
	o := &c.ops[g.op]
	sign := c.sides[side].sign
	bound := o.Value + sign*g.off[side]
	text := fmt.Sprintf("%s found %d, and at least %d must count", c.name(n), o.Value, bound)
	if sign < 0 {
		text = fmt.Sprintf("%s found %d, and at most %d may count", c.name(n), o.Value, bound)
	}
	if from := g.from[side]; from >= 0 {
		text += fmt.Sprintf(", for operation %d found %d before", c.ops[from].ID, c.ops[from].Value)
	}
	suspects, more := c.suspects(n, side, promise)
	if len(suspects) > 0 {
		text += fmt.Sprintf("; suspect: operation %s", joinInts(c.ids(suspects)))
		if more {
			text += " and others"
		}
	}
	c.breach(class, promise, o.Invoke, func() string { return text }, append([]int32{g.op, g.from[side]}, suspects...)...)
}

// suspects lists the incs that may explain a get: what a promise is about, and what the last good get before does not
// explain already. It keeps the newest few, and looks only for the first violations.
func (c *counterCheck) suspects(n, side int, promise string) (ops []int32, more bool) {
	const (
		most = 8
		told = 200 // each looks through the history
	)
	if len(c.breaches) >= told {
		return nil, false
	}
	o, since := c.get(n), int64(-1)
	for m := range c.gets {
		g := &c.gets[m]
		if other := &c.ops[g.op]; other.Complete < o.Invoke && g.off[0] <= 0 && g.off[1] <= 0 {
			since = max(since, other.Invoke)
		}
	}
	for i := range c.ops {
		inc := &c.ops[i]
		if inc.Workload != c.workload || inc.Func != ledger.FuncInc || !suspicious(inc, o, c.sides[side].sign, promise) {
			continue
		}
		if inc.Outcome == ledger.OK && instant(inc) < since {
			continue
		}
		ops = append(ops, int32(i)) //nolint:gosec // fewer than 2^31 operations fit into memory
	}
	slices.Reverse(ops)
	return ops[:min(len(ops), most)], len(ops) > most
}

// suspicious reports whether an inc may explain that a get broke a promise; sign is 1 for a count that is too low.
func suspicious(inc, get *ledger.Op, sign int64, promise string) bool {
	up := sign*inc.Value > 0
	switch promise {
	case counterFail:
		return inc.Outcome == ledger.Failed && !up && inc.Invoke <= get.Complete
	case counterOnce:
		return inc.Outcome != ledger.Failed && !up && inc.Invoke <= get.Complete
	case counterKept, counterFresh:
		return inc.Outcome == ledger.OK && up && inc.Complete < get.Invoke
	}
	return false
}

func (c *counterCheck) name(n int) string {
	if n == c.final {
		return "the final get"
	}
	return fmt.Sprintf("the get of operation %d", c.get(n).ID)
}

func (c *counterCheck) sum() {
	for _, k := range []string{"acknowledged", "failed", "unknown", "stale"} {
		c.counts[k] += 0
	}
	c.counts["gets"] = int64(len(c.gets))
	acked := c.counts["acknowledged"]
	switch {
	case acked == 0:
		c.thin("nothing was acknowledged, so nothing is promised")
	case c.final < 0:
		c.doubt("no get was invoked after every inc had returned, so what %d of them added is unproven", acked)
	default:
		g := &c.gets[c.final]
		o := &c.ops[g.op]
		c.counts["final"], c.counts["low"], c.counts["high"] = o.Value, o.Value+g.off[0], o.Value-g.off[1]
	}
}
