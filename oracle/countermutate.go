package oracle

import (
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (k Counter) Mutations() []Mutation {
	out := []Mutation{
		k.mutation("lost increment", DataLoss, (*counterPlot).lose),
		k.mutation("increment counted twice", Duplicate, (*counterPlot).twice),
		k.mutation("failed increment counted", Phantom, (*counterPlot).failed),
		k.mutation("phantom count", Phantom, (*counterPlot).phantom),
	}
	if k.Stale != allow {
		out = append(out,
			k.mutation("count taken back", DataLoss, (*counterPlot).takeBack),
			k.mutation("stale get", Stale, (*counterPlot).stale))
	}
	return out
}

// counterPlot is a history of a counter to be changed, with what the checker knows of it.
type counterPlot struct {
	*plot

	c         *counterCheck
	get       *ledger.Op // the final one
	low, high int64      // its bounds
}

const noAckedInc = "no increment was acknowledged"

func (k Counter) mutation(name string, class Class, change func(*counterPlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		c := newCounterCheck(p.scan(), k)
		for n := range c.gets {
			c.judge(n)
		}
		if c.final < 0 {
			return "no get was invoked after every inc had returned", false
		}
		g := &c.gets[c.final]
		get := &p.h.Ops[g.op]
		return change(&counterPlot{plot: p, c: c, get: get, low: get.Value + g.off[0], high: get.Value - g.off[1]})
	})
}

// set lets a get find another count.
func (p *counterPlot) set(get *ledger.Op, value int64) string {
	p.touch(get)
	was := get.Value
	get.Value = value
	return fmt.Sprintf("operation %d found %d instead of %d", get.ID, value, was)
}

// incs lists the operations that added something and have an outcome.
func (p *counterPlot) incs(outcome ledger.Outcome, before int64) []*ledger.Op {
	var out []*ledger.Op
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload == p.workload && o.Func == ledger.FuncInc && o.Outcome == outcome && o.Value > 0 && o.Invoke <= before {
			out = append(out, o)
		}
	}
	return out
}

// raisedBy is how much all increments of an outcome that the final get may see add up to.
func (p *counterPlot) raisedBy(outcomes ...ledger.Outcome) int64 {
	sum := int64(0)
	for _, outcome := range outcomes {
		for _, o := range p.incs(outcome, p.get.Complete) {
			sum += o.Value
		}
	}
	return sum
}

func (p *counterPlot) lose() (string, bool) {
	inc, ok := one(p.plot, p.incs(ledger.OK, p.get.Invoke))
	if !ok {
		return noAckedInc, false
	}
	return p.set(p.get, p.low-inc.Value) + fmt.Sprintf(", as without operation %d", inc.ID), true
}

func (p *counterPlot) twice() (string, bool) {
	inc, ok := one(p.plot, p.incs(ledger.OK, p.get.Invoke))
	if !ok {
		return noAckedInc, false
	}
	failed := p.raisedBy(ledger.Failed)
	extra := inc.Value
	if extra <= failed { // failed increments would explain it as well
		extra = failed + 1
	}
	if extra > p.raisedBy(ledger.OK, ledger.Unknown) {
		return "more was added by increments that failed than by others", false
	}
	return p.set(p.get, p.high+extra), true
}

func (p *counterPlot) failed() (string, bool) {
	inc, ok := one(p.plot, p.incs(ledger.Failed, p.get.Complete))
	if !ok {
		return "no increment failed", false
	}
	return p.set(p.get, p.high+inc.Value) + fmt.Sprintf(", as with operation %d, which failed", inc.ID), true
}

// phantom counts more than everything that was ever asked for explains, however often it counts.
func (p *counterPlot) phantom() (string, bool) {
	extra := int64(1)
	for i := range p.h.Ops {
		if o := &p.h.Ops[i]; o.Workload == p.workload && o.Func == ledger.FuncInc {
			extra += max(o.Value, -o.Value)
		}
	}
	return p.set(p.get, p.high+extra), true
}

// takeBack makes everything unknown that an earlier get had counted, and lets the final get find less.
func (p *counterPlot) takeBack() (string, bool) {
	side := &p.c.sides[0]
	if side.down.upTo(p.get.Complete) != 0 || side.failed.upTo(p.get.Complete) != 0 {
		return "the counter was decremented", false
	}
	var eligible []*ledger.Op
	for n := range p.c.gets {
		g := p.c.gets[n]
		if o := &p.h.Ops[g.op]; n != p.c.final && o.Complete < p.get.Invoke && o.Value > side.base && g.off[0] <= 0 && g.off[1] <= 0 {
			eligible = append(eligible, o)
		}
	}
	get, ok := one(p.plot, eligible)
	if !ok {
		return "no get of the run found a count", false
	}
	for _, inc := range p.incs(ledger.OK, get.Complete) {
		p.touch(inc)
		inc.Outcome, inc.Error = ledger.Unknown, "mutated"
	}
	return p.set(p.get, get.Value-1) + fmt.Sprintf(", less than operation %d found", get.ID), true
}

// stale lets a get of the run miss something that was acknowledged before it, and that the final get has.
func (p *counterPlot) stale() (string, bool) {
	if p.c.gets[p.c.final].off[0] > 0 {
		return "the final get misses something itself", false
	}
	var eligible []int
	for n := range p.c.gets {
		if n != p.c.final && p.c.gets[n].off[0] <= 0 && p.c.sides[0].up.before(p.c.get(n).Invoke) > 0 {
			eligible = append(eligible, n)
		}
	}
	n, ok := one(p.plot, eligible)
	if !ok {
		return "nothing was acknowledged before a get of the run", false
	}
	get := &p.h.Ops[p.c.gets[n].op]
	return p.set(get, get.Value+p.c.gets[n].off[0]-1), true
}
