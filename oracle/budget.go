package oracle

import (
	"fmt"
	"strings"
)

// BudgetRule bounds how many operations of a phase may fail, and how long they may take. Durations are in ns; a nil or zero
// bound bounds nothing.
type BudgetRule struct {
	Phase        string   `json:"phase"`              // "before", "during" or "after" a fault, or "run"
	Fault        string   `json:"fault,omitempty"`    // its id; empty: each fault for itself
	Workload     string   `json:"workload,omitempty"` // or a probe; empty: each workload for itself, or each probe where there is none
	Availability *float64 `json:"availability,omitempty"`
	P50          int64    `json:"p50,omitempty"`
	P99          int64    `json:"p99,omitempty"`
	Max          int64    `json:"max,omitempty"`
	Recovery     int64    `json:"recovery,omitempty"` // after a fault: until the first success after which no failure came for a second
}

// The phases of budgets.
const (
	budgetBefore = "before"
	budgetDuring = "during"
	budgetAfter  = "after"
	budgetRun    = "run"
)

// String is the budget for people: "orders during freeze: p99 ≤ 250ms".
func (b BudgetRule) String() string {
	var bounds []string
	if b.Availability != nil {
		bounds = append(bounds, fmt.Sprintf("availability ≥ %g", *b.Availability))
	}
	for _, l := range b.latencies(Stats{}) {
		bounds = append(bounds, l.name+" ≤ "+seconds(l.most))
	}
	if b.Recovery > 0 {
		bounds = append(bounds, "recovery ≤ "+seconds(b.Recovery))
	}
	who, when := b.Workload, b.Phase+" "+b.Fault
	if who == "" {
		who = "each workload"
	}
	switch {
	case b.Phase == budgetRun:
		when = "over the run"
	case b.Fault == "":
		when = b.Phase + " each fault"
	}
	return fmt.Sprintf("%s %s: %s", who, when, strings.Join(bounds, ", "))
}

// latencyBound is one bound of latencies, and what was measured.
type latencyBound struct {
	name      string
	most, was int64
}

func (b BudgetRule) latencies(s Stats) []latencyBound {
	var out []latencyBound
	for _, l := range []latencyBound{{"p50", b.P50, s.P50}, {"p99", b.P99, s.P99}, {"max", b.Max, s.Max}} {
		if l.most > 0 {
			out = append(out, l)
		}
	}
	return out
}

// budgets holds each phase against its budgets. One without operations proves nothing.
func (c *court) budgets() {
	if c.short {
		return
	}
	for _, b := range c.x.rules.Budgets {
		names := c.x.overall()
		if b.Workload != "" {
			names = []string{b.Workload}
		}
		for _, name := range names {
			if b.Phase == budgetRun {
				c.budget(b, name, "over the run", c.x.stats(interval{c.span.base, c.span.end}, name))
				continue
			}
			c.budgetOfWindows(b, name)
		}
	}
}

// budgetOfWindows holds one observer against the budget of a part of windows.
func (c *court) budgetOfWindows(b BudgetRule, name string) {
	held := false
	for _, w := range c.windows {
		if b.Fault != "" && w.Fault.ID != b.Fault {
			continue
		}
		s, observes := map[string]map[string]Stats{budgetBefore: w.Before, budgetDuring: w.Inside, budgetAfter: w.After}[b.Phase][name]
		if !observes && b.Workload == "" {
			continue
		}
		held = true
		c.budget(b, name, b.Phase+" "+title(w.Fault), s)
		if b.Recovery > 0 && b.Phase == budgetAfter {
			w.Recovery = c.x.slowest(w, c.windows, c.span, []string{name})
			c.recovered(w, b.Recovery, name+": ", "budget")
		}
	}
	if !held && b.Fault != "" {
		c.find(TooFewOps, "the budget %s has no window of %s", b, b.Fault)
	}
}

// budget compares what one observer did in one phase with a budget.
func (c *court) budget(b BudgetRule, name, when string, s Stats) {
	if s.Invoked == 0 {
		c.find(TooFewOps, "%s invoked no operation %s, so its budget proves nothing", name, when)
		return
	}
	if want := b.Availability; want != nil && s.Available() < *want {
		c.find(Unavailable, "%.2f %% of %d operations of %s succeeded %s, the budget asks for %.2f %%", 100*s.Available(), s.Invoked, name, when, 100**want)
	}
	for _, l := range b.latencies(s) {
		switch {
		case s.OK == 0:
			c.find(Unavailable, "none of %d operations of %s succeeded %s, the budget asks for a %s of at most %s", s.Invoked, name, when, l.name, seconds(l.most))
		case l.was > l.most:
			c.find(Unavailable, "the %s of %d operations of %s was %s %s, the budget allows %s", l.name, s.OK, name, seconds(l.was), when, seconds(l.most))
		}
	}
}
