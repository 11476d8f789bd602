package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// report convicts a snapshot. Of those during the run that show the same for good it names the first.
func (c *bankCheck) report(n int) {
	v := &c.views[n]
	c.signs(n)
	if v.wrong {
		if n == c.final || n == 0 || c.views[n-1].total != v.total {
			c.offTotal(n)
		}
		return
	}
	const most = 200 // each looks through the transfers
	if len(v.off) == 0 {
		c.told = ""
		return
	}
	c.counts["unexplained"]++
	if c.explained >= most && n != c.final {
		return
	}
	c.explained++
	class, promise, text, ops := c.explain(n)
	if class == DataLoss && n != c.final && c.final >= 0 && c.views[c.final].sound() {
		class, promise = Stale, bankFresh
		c.counts["stale"]++
	}
	key := fmt.Sprint(class, ops)
	if key == c.told && n != c.final && class != Stale {
		return
	}
	c.told = key
	c.breach(class, promise, c.view(n).Invoke, func() string {
		return fmt.Sprintf("in %s, %s%s: %s", c.name(n), c.offText(v), c.boundText(v), text)
	}, append([]int32{v.op, c.views[c.order[0]].op, v.from}, ops...)...)
}

func (c *bankCheck) boundText(v *bankView) string {
	if v.from < 0 {
		return ""
	}
	return fmt.Sprintf(" (after what operation %d found)", c.ops[v.from].ID)
}

// offText lists the balances that are out of their bounds.
func (c *bankCheck) offText(v *bankView) string {
	const most = 4
	var out []string
	for i, x := range v.off {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(v.off)-most))
			break
		}
		way, bound := "low", v.balances[x.account]+x.off
		if x.side == 1 {
			way, bound = "high", v.balances[x.account]-x.off
		}
		out = append(out, fmt.Sprintf("account %s has %d, too %s by %d (bound %d)", c.names[x.account], v.balances[x.account], way, x.off, bound))
	}
	return strings.Join(out, ", ")
}

// signs convicts balances below 0.
func (c *bankCheck) signs(n int) {
	if c.options.Overdraft == allow {
		return
	}
	v := &c.views[n]
	var below []string
	for account, balance := range v.balances {
		if balance < 0 {
			below = append(below, fmt.Sprintf("account %s has %d", c.names[account], balance))
		}
	}
	if len(below) > 0 {
		c.breach(Invariant, bankPositive, c.view(n).Invoke, func() string {
			return fmt.Sprintf("in %s, %s", c.name(n), strings.Join(below, ", "))
		}, v.op)
	}
}

// offTotal convicts a total, and names what happened since the last right one.
func (c *bankCheck) offTotal(n int) {
	const most = 8
	v, o := &c.views[n], c.view(n)
	last := c.order[0]
	for m := range n {
		if !c.views[m].wrong && c.view(m).Complete < o.Invoke {
			last = m
		}
	}
	ops := []int32{c.views[c.order[0]].op, c.views[last].op, v.op}
	since := c.view(last).Invoke
	for i := len(c.transfers) - 1; i >= 0 && len(ops) < most+3; i-- {
		t := &c.ops[c.transfers[i].op]
		if t.Outcome != ledger.Failed && t.Invoke <= o.Complete && (t.Outcome == ledger.Unknown || t.Complete >= since) {
			ops = append(ops, c.transfers[i].op)
		}
	}
	c.breach(Invariant, bankTotal, o.Invoke, func() string {
		return fmt.Sprintf("%s has a total of %d, operation %d had %d; the last to have that was operation %d",
			c.name(n), v.total, c.view(c.order[0]).ID, c.views[c.order[0]].total, c.view(last).ID)
	}, ops...)
}

// explain finds what a snapshot that is out of its bounds can be put down to.
func (c *bankCheck) explain(n int) (class Class, promise, text string, ops []int32) {
	if why, t, ok := c.single(n); ok {
		o := &c.ops[t.op]
		what := fmt.Sprintf("operation %d (%d from %s to %s, %s)", o.ID, t.amount, c.names[t.from], c.names[t.to], o.Outcome)
		switch why {
		case whyMissing:
			return DataLoss, bankKept, "as if " + what + " were missing", []int32{t.op}
		case whyFailed:
			return Phantom, bankFailed, "as if " + what + " counted", []int32{t.op}
		case whyTwice:
			return Duplicate, bankOnce, "as if " + what + " counted twice", []int32{t.op}
		case whyNothing:
		}
	}
	if lost := c.suffix(n); len(lost) > 0 {
		const most = 8
		return DataLoss, bankKept, fmt.Sprintf("as if the last %d acknowledged transfers were missing", len(lost)), lost[:min(len(lost), most)]
	}
	return Invariant, bankMade, "no transfer explains it", nil
}

// single finds one transfer that explains a snapshot: rather one whose amount is just what a balance is off by; of
// these, rather one that is missing.
func (c *bankCheck) single(n int) (why counterWhy, best *bankTransfer, ok bool) {
	v, o := &c.views[n], c.view(n)
	rank := 0
	for i := range c.transfers {
		t := &c.transfers[i]
		op := &c.ops[t.op]
		if op.Invoke > o.Complete {
			break
		}
		for _, try := range []struct {
			why      counterWhy
			rank     int
			eligible bool
		}{
			{whyMissing, 3, op.Outcome == ledger.OK && op.Complete < o.Invoke && !c.mayLag(n) || op.Outcome == ledger.Unknown && v.from >= 0},
			{whyFailed, 2, op.Outcome == ledger.Failed},
			{whyTwice, 1, op.Outcome != ledger.Failed},
		} {
			fits, exact := false, false
			if try.eligible {
				fits, exact = v.putDown(t, try.why == whyMissing)
			}
			if exact {
				try.rank += 3
			}
			if fits && try.rank > rank {
				rank, why, best = try.rank, try.why, t
			}
		}
	}
	return why, best, best != nil
}

// putDown reports whether a transfer that is missing, or that counts once too often, explains all that is out of bounds.
func (v *bankView) putDown(t *bankTransfer, missing bool) (fits, exact bool) {
	low, high := t.from, t.to
	if missing {
		low, high = high, low
	}
	for _, x := range v.off {
		at := low
		if x.side == 1 {
			at = high
		}
		if x.account != at || x.off > t.amount {
			return false, false
		}
		exact = exact || x.off == t.amount
	}
	return true, exact
}

// suffix finds the fewest of the last acknowledged transfers without which a snapshot is in its bounds; nil if none are.
func (c *bankCheck) suffix(n int) []int32 {
	const most = 10_000
	v, o := &c.views[n], c.view(n)
	if c.mayLag(n) {
		return nil
	}
	low, high := slices.Clone(v.room[0]), slices.Clone(v.room[1])
	bad := 0
	for account := range low {
		bad += out(low[account], high[account])
	}
	var lost []int32
	move := func(account int, amount int64) { // the bounds move
		bad -= out(low[account], high[account])
		low[account] -= amount
		high[account] += amount
		bad += out(low[account], high[account])
	}
	for i := len(c.acked) - 1; i >= 0 && len(lost) < most; i-- {
		t := &c.transfers[c.acked[i]]
		if c.ops[t.op].Complete >= o.Invoke {
			continue
		}
		lost = append(lost, t.op)
		move(t.from, t.amount)
		move(t.to, -t.amount)
		if bad == 0 {
			return lost
		}
	}
	return nil
}

// out is 1 where there is no room inside of a bound.
func out(low, high int64) int {
	if low < 0 || high < 0 {
		return 1
	}
	return 0
}

func (c *bankCheck) sum() {
	for _, k := range []string{"acknowledged", "failed", "unknown", "stale", "unexplained"} {
		c.counts[k] += 0
	}
	c.counts["snapshots"], c.counts["accounts"] = int64(len(c.views)), int64(len(c.names))
	if len(c.views) > 0 {
		c.counts["total"] = c.views[c.order[0]].total
	}
	acked := c.counts["acknowledged"]
	switch {
	case acked == 0:
		c.thin("no transfer was acknowledged, so nothing is promised")
	case len(c.views) == 0:
		c.doubt("there is no snapshot of balances, so %d acknowledged transfers are unproven", acked)
	case c.sides == nil:
		c.doubt("no snapshot had returned before the first transfer was invoked, so what %d of them did is unproven", acked)
	case c.final < 0:
		c.doubt("no snapshot was invoked after every transfer had returned, so %d of them are unproven", acked)
	}
}
