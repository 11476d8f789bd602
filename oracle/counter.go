package oracle

import (
	"context"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Counter is the checker of counters. Its promise: what a get finds is the initial count and what was added before it.
//
// Each get has bounds. Everything that was acknowledged before it was invoked counts; what was acknowledged later, and what
// nobody knows the fate of, may count if it was invoked before the get returned; what failed does not. Decrements
// that may count lower the lower bound, increments that may count raise the upper one. An earlier get gives bounds as well:
// what it found, and what was or may have been added since. Where values have both signs the bounds are wide.
//
// A count that is too low is data-loss where acknowledged (or shown) increments that are missing explain it, and stale
// where the last get has them. One that is too high is phantom where failed increments explain it, duplicate
// where those that count explain it if they count twice, and phantom where nothing does. Decrements are the mirror image,
// and come last.
//
// Operations: inc; get, of which one is invoked after every inc has returned, the final one.
type Counter struct {
	Initial int64  `toml:"initial" json:"initial,omitempty" default:"0" doc:"the count before the first inc"`
	Stale   string `toml:"stale" json:"stale,omitempty" default:"fail" enum:"fail|allow" doc:"whether a get during the run may miss what was acknowledged before it: fail, or allow, as of a replica that lags"`
}

// The promises of a counter.
const (
	counterKept  = "what was acknowledged or seen stays counted"
	counterFresh = "a get counts everything that was acknowledged, or seen, before it"
	counterOnce  = "what was added counts once"
	counterFail  = "what failed does not count"
	counterSent  = "nothing counts that was never added"
)

// Check implements Checker. Counts: acknowledged, failed and unknown (incs by outcome), gets, final (what the final get
// found), low and high (its bounds), stale (gets that missed what a later one has).
func (k Counter) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := newCounterCheck(newDocket(ctx, "counter", workload, h.Ops), k)
	for n := range c.gets {
		if c.stopped(n) {
			break
		}
		c.judge(n)
	}
	for n := range c.gets {
		c.report(n)
	}
	c.sum()
	return c.result()
}

// counterGet is one get. The first of a pair is about too low a count, the second about too high a one.
type counterGet struct {
	op   int32
	off  [2]int64 // by how much the count is out of its bounds; 0 or less if it is not
	from [2]int32 // the get that the bound is from, -1: the initial count
}

type counterCheck struct {
	*docket

	options Counter
	gets    []counterGet // by invocation
	final   int          // the last get, if it was invoked after every inc had returned; else -1
	sides   [2]boundSide
	order   []int    // gets by completion
	next    int      // the first of order that had not returned yet
	worst   [2]int64 // by how much reported gets were out of their bounds
}

func newCounterCheck(d *docket, k Counter) *counterCheck {
	c := &counterCheck{docket: d, options: k, final: -1, sides: newBounds(k.Initial)}
	returned := int64(-1)
	for i := range c.ops {
		o := &c.ops[i]
		if o.Workload != c.workload {
			continue
		}
		if c.stopped(i) {
			return c
		}
		switch o.Func {
		case ledger.FuncInc:
			c.tally(o)
			for side := range c.sides {
				c.sides[side].add(o, o.Value)
			}
			if o.Outcome == ledger.OK {
				returned = max(returned, o.Complete)
			}
		case ledger.FuncGet:
			if o.Outcome == ledger.OK { // one that failed says nothing
				c.gets = append(c.gets, counterGet{op: int32(i)}) //nolint:gosec // fewer than 2^31 operations fit into memory
			}
		}
	}
	for side := range c.sides {
		c.sides[side].arrange()
	}
	slices.SortStableFunc(c.gets, func(a, b counterGet) int {
		return compareInt(c.ops[a.op].Invoke, c.ops[b.op].Invoke)
	})
	for n := range c.gets {
		c.order = append(c.order, n)
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return compareInt(c.get(a).Complete, c.get(b).Complete) })
	if n := len(c.gets) - 1; n >= 0 && c.get(n).Invoke > returned {
		c.final = n
	}
	return c
}

// get is the operation of a get.
func (c *counterCheck) get(n int) *ledger.Op { return &c.ops[c.gets[n].op] }

// judge holds a get against its bounds, which come from those that had returned before it.
func (c *counterCheck) judge(n int) {
	g := &c.gets[n]
	o := &c.ops[g.op]
	c.anchors(o.Invoke)
	for side := range c.sides {
		s := &c.sides[side]
		floor := s.floor(o)
		if c.mayLag(n) {
			floor = s.lagging(o)
		}
		g.off[side], g.from[side] = floor.sum-s.sign*o.Value, floor.op
	}
}

func (c *counterCheck) mayLag(n int) bool { return c.options.Stale == allow && n != c.final }

// anchors takes every get that had returned before an instant, and that was in its bounds.
func (c *counterCheck) anchors(before int64) {
	for ; c.next < len(c.order) && c.get(c.order[c.next]).Complete < before; c.next++ {
		n := c.order[c.next]
		if g := &c.gets[n]; c.options.Stale != allow && g.off[0] <= 0 && g.off[1] <= 0 {
			for side := range c.sides {
				c.sides[side].anchor(g.op, &c.ops[g.op], c.ops[g.op].Value)
			}
		}
	}
}
