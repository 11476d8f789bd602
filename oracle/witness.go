package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// witnesses finds faults that nobody saw act, or nobody saw end.
func (c *court) witnesses() {
	seen := map[string]bool{}
	for _, f := range c.h.Faults {
		seen[f.ID] = true
		active, gone := witness(c.h, f, true), witness(c.h, f, false)
		because := ""
		if f.Error != "" {
			because = ": " + f.Error
		}
		switch {
		case f.Called == 0 && f.Confirmed == 0:
			c.find(NoWitness, "%s was not applied%s", title(f), because)
		case f.Confirmed == 0 || active == nil:
			c.find(NoWitness, "no witness saw %s act%s", title(f), because)
		case f.Released > 0 && f.Confirmed > f.Released && !c.x.rules.Faults[f.ID].Instant:
			c.find(NoWitness, "a witness saw %s only after it was released%s", title(f), because)
		case f.Gone == 0 || gone == nil:
			c.find(NoWitness, "no witness saw that %s ended%s", title(f), because)
		}
	}
	drawn, begun := 0, 0
	for _, id := range observers(c.x.rules.Faults) {
		switch drew := c.x.rules.Faults[id].Drawn; {
		case drew:
			drawn++
			if seen[id] {
				begun++
			}
		case !seen[id]:
			c.find(NoWitness, "fault %s was never applied", id)
		}
	}
	if drawn > 0 && begun == 0 {
		c.find(NoWitness, "no fault of the nemesis was applied")
	}
}

// guards finds windows, and phases of workloads, with too few operations to prove anything. Without a fault the whole run is
// the window.
func (c *court) guards() {
	for _, w := range c.windows {
		if few := w.thin(); few != "" {
			c.find(TooFewOps, "%s: %s", title(w.Fault), few)
		}
	}
	for _, p := range c.phases {
		if few := p.thin(); few != "" {
			c.find(TooFewOps, "%s", few)
		}
	}
	names := append(observers(c.x.rules.Workloads), observers(c.x.rules.Probes)...)
	if len(names) == 0 {
		c.find(TooFewOps, "the scenario has neither a workload nor a probe")
		return
	}
	if len(c.x.rules.Faults) > 0 {
		return
	}
	all := interval{c.span.base, c.span.end}
	var few []string
	for _, g := range c.x.guards(names, interval{1, 0}, all, interval{1, 0}) {
		if g.Part == "inside" && g.Count < g.Need {
			few = append(few, fmt.Sprintf("%s invoked %d of %d operations", g.Observer, g.Count, g.Need))
		}
	}
	if len(few) > 0 {
		c.find(TooFewOps, "%s", strings.Join(few, ", "))
	}
}

// crashes finds services that died while the environment should run, and that no fault was aimed at.
func (c *court) crashes() {
	died := map[string]int{}
	detail := map[string]string{}
	for _, e := range c.h.Events {
		if e.Source != "docker" || e.Type != "die" || e.Service == "" || c.span.base >= c.span.end {
			continue
		}
		if !(interval{c.span.start, c.span.stop}).has(e.At) || slices.Contains(c.x.rules.Crashes, e.Service) || c.meantToDie(e) {
			continue
		}
		if died[e.Service]++; died[e.Service] == 1 {
			detail[e.Service] = e.Detail
		}
	}
	for _, service := range observers(died) {
		c.find(Crash, "service %s died %s, and no fault was aimed at that (%s; expect.crashes names what may)", service, times(died[service]), cmp.Or(detail[service], "no detail"))
	}
}

// meantToDie reports whether a fault that stops its targets explains a death: one in its window, or in the time that
// the scenario gives the system to recover.
func (c *court) meantToDie(e ledger.Event) bool {
	for _, f := range c.h.Faults {
		rule := c.x.rules.Faults[f.ID]
		target, _, _ := strings.Cut(f.Target, "[") // a rule's services are those of all its occurrences
		if !rule.Stops || !slices.Contains(rule.Services, e.Service) || target != e.Service || f.Called == 0 {
			continue
		}
		until := over(f, f.Applied)
		if f.Released == 0 {
			until = c.span.stop // nobody knows when it ended
		}
		if (interval{f.Called - c.span.err, until + c.x.rules.Recovery + c.span.err}).has(e.At) {
			return true
		}
	}
	return false
}
