package oracle

import (
	"context"
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Bank is the checker of accounts between which money is moved. Its promises:
//
//   - Every snapshot has the total of the first one (invariant).
//   - No balance is below 0 (invariant), unless overdraft is allowed.
//   - Balances are what transfers made of those of the first snapshot: acknowledged transfers that were invoked after it count,
//     once, those of unknown fate may, failed ones do not. For each account that gives bounds, as for a counter. A snapshot that
//     is out of them is put down to one transfer if one explains it: an acknowledged (or seen) one that is missing (data-loss, or
//     stale where the last snapshot has it), a failed one that counts (phantom), or one that counts twice (duplicate); to the
//     last few acknowledged ones that are missing (data-loss, stale); and else to nothing (invariant).
//
// Operations: transfer; balances, one before the first transfer, one after all have returned, the final one.
type Bank struct {
	Overdraft string `toml:"overdraft" json:"overdraft,omitempty" default:"forbid" enum:"forbid|allow" doc:"whether a balance may be below 0"`
	Stale     string `toml:"stale" json:"stale,omitempty" default:"fail" enum:"fail|allow" doc:"whether a snapshot during the run may miss transfers that were acknowledged before it: fail, or allow, as of a replica that lags. Its total must be right all the same"`
}

// The promises of a bank.
const (
	bankTotal    = "the total of all balances stays what it was"
	bankPositive = "no balance is below 0"
	bankKept     = "a transfer that was acknowledged, or seen, counts"
	bankFresh    = "a snapshot has every transfer that was acknowledged, or seen, before it"
	bankFailed   = "a transfer that failed does not count"
	bankOnce     = "a transfer counts once"
	bankMade     = "balances are what transfers made of them"
)

// Check implements Checker. Counts: acknowledged, failed and unknown (transfers by outcome), snapshots, accounts, total,
// stale (snapshots that missed what the last one has), unexplained (that are out of their bounds).
func (b Bank) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := newBankCheck(newDocket(ctx, "bank", workload, h.Ops), b)
	for n := range c.views {
		if c.stopped(n) {
			break
		}
		c.judge(n)
	}
	for n := range c.views {
		c.report(n)
	}
	c.sum()
	return c.result()
}

// bankTransfer is one transfer between two accounts, by index.
type bankTransfer struct {
	op       int32
	from, to int
	amount   int64
}

// bankView is one snapshot.
type bankView struct {
	op       int32
	balances []int64 // by account; 0 where it has none
	total    int64
	off      []bankOff
	room     [2][]int64 // by side and account, how far balances are inside of their bounds; none where it is wrong
	from     int32      // an earlier snapshot that a bound is from, or -1
	wrong    bool       // its total is wrong, so that bounds say nothing
}

// sound reports whether a judged snapshot is as it should be, but for the signs of balances.
func (v *bankView) sound() bool { return !v.wrong && len(v.off) == 0 }

// bankOff is a balance that is out of its bounds: too low on side 0, too high on side 1.
type bankOff struct {
	account, side int
	off           int64
}

type bankCheck struct {
	*docket

	options   Bank
	names     []string
	accounts  map[string]int
	transfers []bankTransfer // by invocation
	acked     []int32        // of these, by completion
	views     []bankView     // by invocation
	order     []int          // views by completion
	next      int            // the first of order that had not returned yet
	sides     [][2]boundSide // by account; nil where the snapshot that returned first is not the state before all transfers
	final     int            // the last view, if it was invoked after every transfer had returned; else -1
	told      string         // what was reported of the view before
	explained int
}

func newBankCheck(d *docket, b Bank) *bankCheck {
	c := &bankCheck{docket: d, options: b, accounts: map[string]int{}, final: -1}
	found := c.scan()
	for _, o := range found {
		v := bankView{op: o.op, balances: make([]int64, len(c.names)), from: -1}
		for name, balance := range o.balances {
			v.balances[c.accounts[name]] = balance
			v.total += balance
		}
		c.views = append(c.views, v)
	}
	slices.SortStableFunc(c.views, func(a, b bankView) int { return compareInt(c.ops[a.op].Invoke, c.ops[b.op].Invoke) })
	for n := range c.views {
		c.order = append(c.order, n)
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return compareInt(c.view(a).Complete, c.view(b).Complete) })
	slices.SortStableFunc(c.acked, func(a, b int32) int {
		return compareInt(c.ops[c.transfers[a].op].Complete, c.ops[c.transfers[b].op].Complete)
	})
	c.open()
	return c
}

// bankFound is a snapshot before every account has its number.
type bankFound struct {
	op       int32
	balances map[string]int64
}

// scan sorts the operations into transfers and snapshots.
func (c *bankCheck) scan() []bankFound {
	var found []bankFound
	names := map[string]bool{}
	var moves []ledger.Transfer
	for i := range c.ops {
		o := &c.ops[i]
		if o.Workload != c.workload || (o.Func != ledger.FuncTransfer && o.Func != ledger.FuncBalances) {
			continue
		}
		if c.stopped(i) {
			break
		}
		at := int32(i) //nolint:gosec // fewer than 2^31 operations fit into memory
		if o.Func == ledger.FuncBalances {
			if o.Outcome != ledger.OK { // one that failed says nothing
				continue
			}
			if f, ok := c.snapshot(at, names); ok {
				found = append(found, f)
			}
			continue
		}
		var t ledger.Transfer
		if err := ledger.DecodeData(o, &t); err != nil {
			c.doubt("%v", err)
			continue
		}
		c.tally(o)
		names[t.From], names[t.To] = true, true
		moves = append(moves, t)
		c.transfers = append(c.transfers, bankTransfer{op: at, amount: t.Amount})
	}
	c.number(names)
	for n := range c.transfers {
		t := &c.transfers[n]
		t.from, t.to = c.accounts[moves[n].From], c.accounts[moves[n].To]
		if c.ops[t.op].Outcome == ledger.OK {
			c.acked = append(c.acked, int32(n)) //nolint:gosec // as many as operations
		}
	}
	return found
}

// snapshot reads the snapshot of the operation at, and adds its accounts to names.
func (c *bankCheck) snapshot(at int32, names map[string]bool) (bankFound, bool) {
	f := bankFound{op: at}
	if err := ledger.DecodeData(&c.ops[at], &f.balances); err != nil {
		c.doubt("%v", err)
		return f, false
	}
	for name := range f.balances {
		names[name] = true
	}
	return f, true
}

func (c *bankCheck) number(names map[string]bool) {
	c.names = observers(names)
	for n, name := range c.names {
		c.accounts[name] = n
	}
}

// open lets every account start with its balance in the snapshot that returned first, and finds the final one. Another one may have
// been invoked before it and be late.
func (c *bankCheck) open() {
	if len(c.views) == 0 {
		return
	}
	first, returned := c.ops[c.views[c.order[0]].op].Complete, int64(-1)
	for _, n := range c.acked {
		returned = max(returned, c.ops[c.transfers[n].op].Complete)
	}
	if last := len(c.views) - 1; last > 0 && c.view(last).Invoke > returned {
		c.final = last
	}
	for n := range c.transfers {
		if o := &c.ops[c.transfers[n].op]; o.Outcome != ledger.Failed && o.Invoke <= first {
			return
		}
	}
	c.sides = make([][2]boundSide, len(c.names))
	for account := range c.sides {
		c.sides[account] = newBounds(c.views[c.order[0]].balances[account])
	}
	for _, t := range c.transfers {
		for side := range 2 {
			c.sides[t.from][side].add(&c.ops[t.op], -t.amount)
			c.sides[t.to][side].add(&c.ops[t.op], t.amount)
		}
	}
	for account := range c.sides {
		for side := range 2 {
			c.sides[account][side].arrange()
		}
	}
}

// view is the operation of a snapshot.
func (c *bankCheck) view(n int) *ledger.Op { return &c.ops[c.views[n].op] }

func (c *bankCheck) mayLag(n int) bool { return c.options.Stale == allow && n != c.final }

// judge holds a snapshot against its bounds.
func (c *bankCheck) judge(n int) {
	v := &c.views[n]
	o := c.view(n)
	c.anchors(o.Invoke)
	v.wrong = v.total != c.views[c.order[0]].total
	if c.sides == nil || v.wrong {
		return
	}
	v.room = [2][]int64{make([]int64, len(c.names)), make([]int64, len(c.names))}
	for account := range c.sides {
		for side := range 2 {
			s := &c.sides[account][side]
			floor := s.floor(o)
			if c.mayLag(n) {
				floor = s.lagging(o)
			}
			v.room[side][account] = s.sign*v.balances[account] - floor.sum
			if off := -v.room[side][account]; off > 0 {
				v.off = append(v.off, bankOff{account, side, off})
				v.from = max(v.from, floor.op)
			}
		}
	}
}

// anchors takes every snapshot that had returned before an instant, and that was right.
func (c *bankCheck) anchors(before int64) {
	for ; c.next < len(c.order) && c.view(c.order[c.next]).Complete < before; c.next++ {
		v := &c.views[c.order[c.next]]
		if c.options.Stale == allow || !v.sound() {
			continue
		}
		for account := range c.sides {
			for side := range 2 {
				c.sides[account][side].anchor(v.op, &c.ops[v.op], v.balances[account])
			}
		}
	}
}

// name is a snapshot for people.
func (c *bankCheck) name(n int) string {
	if n == c.final {
		return "the final snapshot"
	}
	return fmt.Sprintf("the snapshot of operation %d", c.view(n).ID)
}
