package oracle

import (
	"fmt"
	"time"

	"github.com/discompose/discompose/ledger"
)

// lastHeal is when the last fault was surely over; base without any.
func (c *court) lastHeal() int64 {
	last := c.span.base
	for _, f := range c.h.Faults {
		last = max(last, over(f, 0))
	}
	return last
}

// hangs finds what never came back: operations, and a system that did not recover in time after the last heal. A run
// that was cut short proves neither.
func (c *court) hangs() {
	if c.short {
		return
	}
	names := append(observers(c.x.rules.Workloads), observers(c.x.rules.Probes)...)
	healed := c.lastHeal()
	for _, name := range names {
		never, first := 0, int64(0)
		for _, i := range c.x.by[name] {
			if o := &c.x.ops[i]; o.Complete == 0 {
				if never++; never == 1 {
					first = o.ID
				}
			}
		}
		if never > 0 {
			c.find(Hang, "%d operations of %s never returned, the first of them operation %d", never, name, first)
		}
		if len(c.windows) == 0 || len(c.x.invoked(name, interval{healed, c.span.end})) == 0 {
			continue // too few operations: the guards say so
		}
		took := c.x.recovery(healed, c.span.end, name)
		if took < 0 || took > c.x.rules.Recovery {
			c.find(Hang, "%s did not succeed again within %s of the last heal%s", name, seconds(c.x.rules.Recovery), tookText(took))
		}
	}
}

func tookText(took int64) string {
	if took < 0 {
		return ""
	}
	return fmt.Sprintf(" (it took %s)", seconds(took))
}

// seconds writes a length of time for people.
func seconds(ns int64) string { return time.Duration(ns).Round(time.Millisecond).String() }

// availability holds the run against what the scenario asks of availability, recovery and rate.
func (c *court) availability() {
	if c.short {
		return
	}
	rules := c.x.rules
	overall := c.x.stats(interval{c.span.base, c.span.end}, c.x.overall()...)
	if want := rules.Availability; want != nil && overall.Invoked > 0 && overall.Available() < *want {
		c.find(Unavailable, "%.2f %% of operations succeeded, the scenario asks for %.2f %%", 100*overall.Available(), 100**want)
	}
	for _, w := range c.windows {
		if want := rules.MaxRecovery; want != nil {
			c.recovered(w, *want, "", "scenario")
		}
		if want := rules.MinRate; want != nil && w.To > w.From {
			rate := float64(c.acknowledged(interval{w.From, w.To})) / (float64(w.To-w.From) / 1e9)
			if rate < *want {
				c.find(Unavailable, "%.1f operations per second succeeded while %s held, the scenario asks for %.1f", rate, title(w.Fault), *want)
			}
		}
	}
}

// recovered compares a window's recovery with the longest that somebody allows. Where the next fault came before that time was
// over, nobody can tell.
func (c *court) recovered(w Window, most int64, of, somebody string) {
	switch {
	case w.Recovery > most:
		c.find(Unavailable, "%sit took %s to recover from %s, the %s allows %s", of, seconds(w.Recovery), title(w.Fault), somebody, seconds(most))
	case w.Recovery < 0 && c.x.until(w.To, c.windows, c.span)-w.To >= most:
		c.find(Unavailable, "%sit did not recover from %s, the %s allows %s", of, title(w.Fault), somebody, seconds(most))
	}
}

// acknowledged counts the operations of all workloads (or of the probes where there is none) that succeeded in an
// interval, whenever they were invoked.
func (c *court) acknowledged(in interval) int {
	n := 0
	for _, name := range c.x.overall() {
		for _, i := range c.x.by[name] {
			if o := &c.x.ops[i]; o.Served() && in.has(o.Complete) {
				n++
			}
		}
	}
	return n
}

// excused lists the intervals in which errors of an observer are expected: each window from its first effect on, and the
// time that the observer took to recover. only keeps the faults for which it is true.
func (c *court) excused(name string, only func(ledger.Fault) bool) []interval {
	var out []interval
	for _, f := range c.h.Faults {
		if f.Called == 0 || !only(f) {
			continue
		}
		recovery := c.x.rules.Recovery
		for _, w := range c.windows {
			if w.Fault.Record != f.Record {
				continue
			}
			if took := c.x.recoveryAfter(w, c.windows, c.span, name); took >= 0 {
				recovery = min(recovery, took)
			}
		}
		until := over(f, f.Applied)
		if f.Released == 0 {
			until = max(c.span.end, c.x.final) // nobody knows when it ended
		}
		out = append(out, interval{f.Called - c.span.err, until + recovery + c.span.err})
	}
	return out
}

func meetsAny(in []interval, o *ledger.Op) bool {
	for _, i := range in {
		if i.meets(o.Invoke, max(o.Invoke, o.Complete)) {
			return true
		}
	}
	return false
}

// errorsOutside finds errors of workloads that no fault excuses, where the scenario asks for none.
func (c *court) errorsOutside() {
	if !c.x.rules.ErrorsOnly || c.short {
		return
	}
	for _, name := range observers(c.x.rules.Workloads) {
		excused := c.excused(name, func(ledger.Fault) bool { return true })
		n, first := c.unexcused(name, excused)
		if n > 0 {
			c.find(Unavailable, "%d operations of %s failed outside every fault and its recovery, first operation %d: %s", n, name, first.ID, errorText(first))
		}
	}
}

// unexcused counts the operations of an observer that did not succeed, from the timeline's start to the end of recovery,
// and that touch none of the excused intervals.
func (c *court) unexcused(name string, excused []interval) (n int, first *ledger.Op) {
	for _, i := range c.x.invoked(name, interval{c.span.base, c.span.end}) {
		o := &c.x.ops[i]
		if o.Served() || meetsAny(excused, o) {
			continue
		}
		if n++; n == 1 {
			first = o
		}
	}
	return n, first
}

func errorText(o *ledger.Op) string {
	if o.Error == "" {
		return "outcome " + string(o.Outcome)
	}
	return o.Error
}
