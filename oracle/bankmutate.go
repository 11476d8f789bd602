package oracle

import (
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (b Bank) Mutations() []Mutation {
	out := []Mutation{
		b.mutation("changed total", Invariant, (*bankPlot).total),
		b.mutation("lost transfer", DataLoss, inFinal((*bankPlot).lose)),
		b.mutation("failed transfer counted", Phantom, inFinal((*bankPlot).failed)),
		b.mutation("transfer counted twice", Duplicate, inFinal((*bankPlot).twice)),
		b.mutation("balances that nothing explains", Invariant, inFinal((*bankPlot).unexplained)),
	}
	if b.Overdraft != allow {
		out = append(out, b.mutation("negative balance", Invariant, (*bankPlot).negative))
	}
	if b.Stale != allow {
		out = append(out, b.mutation("stale snapshot", Stale, inFinal((*bankPlot).stale)))
	}
	return out
}

// bankPlot is a history of a bank to be changed, with what the checker knows of it.
type bankPlot struct {
	*plot

	c *bankCheck
}

func (b Bank) mutation(name string, class Class, change func(*bankPlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		c := newBankCheck(p.scan(), b)
		for n := range c.views {
			c.judge(n)
		}
		switch {
		case c.final < 0 || c.sides == nil:
			return "there is no snapshot before all transfers and one after them", false
		case len(c.names) < 2:
			return "there is one account", false
		}
		return change(&bankPlot{plot: p, c: c})
	})
}

// inFinal is a change that shows only where the final snapshot is sound: in one that is wrong there is no room to tell, or another
// finding hides it.
func inFinal(change func(*bankPlot) (string, bool)) func(*bankPlot) (string, bool) {
	return func(p *bankPlot) (string, bool) {
		if !p.c.views[p.c.final].sound() {
			return "the final snapshot is wrong itself", false
		}
		return change(p)
	}
}

// add changes a balance in a snapshot.
func (p *bankPlot) add(n, account int, amount int64) {
	v := &p.c.views[n]
	v.balances[account] += amount
	balances := map[string]int64{}
	for account, name := range p.c.names {
		balances[name] = v.balances[account]
	}
	p.op(v.op).Data = ledger.EncodeData(balances)
}

// move takes an amount from one account to another in a snapshot.
func (p *bankPlot) move(n, from, to int, amount int64) string {
	p.add(n, from, -amount)
	p.add(n, to, amount)
	return fmt.Sprintf("moved %d from %s to %s in %s", amount, p.c.names[from], p.c.names[to], p.c.name(n))
}

// two draws two accounts.
func (p *bankPlot) two() (a, b int) {
	n := len(p.c.names)
	a = p.rand.IntN(n)
	return a, (a + 1 + p.rand.IntN(n-1)) % n
}

func (p *bankPlot) total() (string, bool) {
	var eligible []int // behind another total that is wrong, the same one is not reported again
	for n := 1; n < len(p.c.views); n++ {
		if !p.c.views[n-1].wrong && !p.c.views[n].wrong {
			eligible = append(eligible, n)
		}
	}
	n, ok := one(p.plot, eligible)
	if !ok {
		return "no two snapshots, one after the other, have the right total", false
	}
	account, amount := p.rand.IntN(len(p.c.names)), 1+p.rand.Int64N(9)
	p.add(n, account, amount)
	return fmt.Sprintf("added %d to account %s in %s", amount, p.c.names[account], p.c.name(n)), true
}

// slack is how far a sound snapshot's balances of two accounts may move, the first down and the second up, without a trace.
func (p *bankPlot) slack(n, low, high int) int64 {
	v := &p.c.views[n]
	return min(v.room[0][low], v.room[1][high])
}

// drawn draws a transfer between two accounts with an outcome.
func (p *bankPlot) drawn(outcome ledger.Outcome, before int64) (bankTransfer, bool) {
	var eligible []bankTransfer
	for _, t := range p.c.transfers {
		if o := &p.h.Ops[t.op]; o.Outcome == outcome && t.from != t.to && t.amount > 0 && instant(o) < before {
			eligible = append(eligible, t)
		}
	}
	return one(p.plot, eligible)
}

// like reports whether a transfer of the same amount explains the same, and rather: one that failed, or, the other way
// round, one that is missing. It may suffice that one of the accounts is the same, where the other one's bound is wide.
func (p *bankPlot) like(t bankTransfer, failed bool) bool {
	for _, other := range p.c.transfers {
		if other.amount != t.amount {
			continue
		}
		switch p.h.Ops[other.op].Outcome {
		case ledger.Failed:
			if failed && (other.from == t.from || other.to == t.to) {
				return true
			}
		case ledger.OK, ledger.Unknown:
			if other.to == t.from || other.from == t.to {
				return true
			}
		}
	}
	return false
}

const noFinalTransfer = "no transfer between two accounts was acknowledged before the final snapshot"

func (p *bankPlot) lose() (string, bool) {
	t, ok := p.drawn(ledger.OK, p.c.view(p.c.final).Invoke)
	if !ok {
		return noFinalTransfer, false
	}
	p.touch(&p.h.Ops[t.op])
	return p.move(p.c.final, t.to, t.from, p.slack(p.c.final, t.to, t.from)+t.amount) + ", against an acknowledged transfer", true
}

func (p *bankPlot) failed() (string, bool) {
	t, ok := p.drawn(ledger.Failed, p.c.view(p.c.final).Invoke)
	if !ok {
		return "no transfer between two accounts failed", false
	}
	if p.like(t, false) {
		return "another transfer would explain it as well", false
	}
	p.touch(&p.h.Ops[t.op])
	return p.move(p.c.final, t.from, t.to, p.slack(p.c.final, t.from, t.to)+t.amount) + ", like a transfer that failed", true
}

func (p *bankPlot) twice() (string, bool) {
	t, ok := p.drawn(ledger.OK, p.c.view(p.c.final).Invoke)
	if !ok {
		return noFinalTransfer, false
	}
	if p.like(t, true) {
		return "another transfer would explain it as well", false
	}
	p.touch(&p.h.Ops[t.op])
	return p.move(p.c.final, t.from, t.to, p.slack(p.c.final, t.from, t.to)+t.amount) + ", like a transfer that counts twice", true
}

// unexplained moves more than all transfers together.
func (p *bankPlot) unexplained() (string, bool) {
	a, b := p.two()
	amount := p.slack(p.c.final, a, b) + 1
	for _, t := range p.c.transfers {
		amount += max(t.amount, -t.amount)
	}
	return p.move(p.c.final, a, b, amount), true
}

func (p *bankPlot) negative() (string, bool) {
	n := p.rand.IntN(len(p.c.views))
	a, b := p.two()
	return p.move(n, a, b, max(0, p.c.views[n].balances[a])+1), true
}

// stale lets a snapshot of the run miss a transfer that was acknowledged before it, and that the final one has.
func (p *bankPlot) stale() (string, bool) {
	var eligible []int
	for n := 1; n < p.c.final; n++ {
		if p.c.views[n].sound() {
			eligible = append(eligible, n)
		}
	}
	n, ok := one(p.plot, eligible)
	if !ok {
		return "there is no snapshot of the run", false
	}
	t, ok := p.drawn(ledger.OK, p.c.view(n).Invoke)
	if !ok {
		return "no transfer between two accounts was acknowledged before a snapshot of the run", false
	}
	p.touch(&p.h.Ops[t.op])
	return p.move(n, t.to, t.from, p.slack(n, t.to, t.from)+t.amount) + ", against an acknowledged transfer", true
}
