package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// MostDrawn is how many faults a nemesis may have: a plan lists each.
const MostDrawn = 10_000

// NemesisPrefix begins the ids of the faults that a nemesis draws: "nemesis-1", "nemesis-2" and so on.
const NemesisPrefix = "nemesis-"

// Fault is the fault that is drawn, without an id and an instant.
func (f NemesisFault) Fault() Fault {
	return Fault{
		Kind: f.Kind, Target: f.Target, For: f.For, Pick: f.Pick, Query: f.Query, ObservedBy: f.ObservedBy,
		Params: f.Params, Spec: f.Spec, Line: f.Line,
	}
}

// Faults lists every fault of the scenario, those that its nemesis draws from last.
func (s *Scenario) Faults() []Fault {
	out := slices.Clone(s.Fault)
	if s.Nemesis != nil {
		for _, f := range s.Nemesis.Fault {
			out = append(out, f.Fault())
		}
	}
	return out
}

// Most is how many faults the nemesis can start: its count, or as many as fit into its time where each of them waits and
// holds for the least time.
func (n *Nemesis) Most() int {
	if n.TimeLimit == nil {
		return n.Count
	}
	if len(n.Interval) == 0 || n.Interval[0] <= 0 {
		return 0
	}
	shortest := time.Duration(-1)
	for _, f := range n.Fault {
		hold := time.Duration(0)
		if f.For != nil {
			hold = f.For.Std()
		} else if d, ok := f.Params.(faults.Downtimer); ok {
			hold = d.Down()
		}
		if shortest < 0 || hold < shortest {
			shortest = hold
		}
	}
	// The first of a row starts after one interval, each of the others after a hold and an interval more. None starts at
	// the limit itself.
	left := n.TimeLimit.Std() - n.Interval[0].Std() - 1
	if left < 0 {
		return 0
	}
	row := 1 + int64(left/(n.Interval[0].Std()+max(shortest, 0)))
	return int(min(row, MostDrawn+1)) * min(max(n.AtOnce, 1), MostDrawn+1)
}

// LimitNemesis gives the nemesis a time instead of its own count or time. It is not for a scenario that is in use.
func (s *Scenario) LimitNemesis(limit time.Duration) error {
	if s.Nemesis == nil {
		return fmt.Errorf("%s has no [nemesis]", s.Origin.Path)
	}
	d := units.Duration(limit)
	s.Nemesis.Count, s.Nemesis.TimeLimit = 0, &d
	switch n := s.Nemesis.Most(); {
	case n < 1:
		return fmt.Errorf("%s: no fault of its nemesis can start within %s: its interval is at least %s", s.Origin.Path, d, s.Nemesis.Interval[0])
	case n > MostDrawn:
		return fmt.Errorf("%s: more than %d faults of its nemesis could start within %s", s.Origin.Path, MostDrawn, d)
	}
	return nil
}

// nemesis checks the [nemesis] table.
func (v *validator) nemesis() {
	n := v.s.Nemesis
	if n == nil || v.exactly("nemesis") {
		return
	}
	v.interval(n.Interval)
	v.atLeastOne("nemesis.at_once", n.AtOnce)
	if v.given("nemesis.fault") && len(n.Fault) == 0 {
		v.at("nemesis.fault", "is empty: there is nothing to draw", "add a [[nemesis.fault]]")
	}
	for i, f := range n.Fault {
		key := indexKey("nemesis.fault", i)
		if v.exactly(key) {
			continue // no table at all
		}
		v.atLeastOne(joinKey(key, "weight"), f.Weight)
		v.does(key, f.Fault())
	}
	v.gates("nemesis.gate", n.Gate)
	for i, f := range v.s.Fault {
		if strings.HasPrefix(f.ID, NemesisPrefix) {
			v.at(joinKey(indexKey("fault", i), "id"), fmt.Sprintf("%q is a name of the nemesis' own faults", f.ID), "use another")
		}
	}
	v.length(n)
}

// length checks count and time_limit: one of them says how many faults there are, and there is at least one.
func (v *validator) length(n *Nemesis) {
	count, limit := v.given("nemesis.count"), v.given("nemesis.time_limit")
	switch {
	case !count && !limit:
		v.add(v.place("nemesis"), "nemesis.count", "missing", `how many faults: count = 12, or time_limit = "5m"`)
	case count && limit:
		v.at("nemesis.time_limit", "excludes count", "a nemesis has exactly one of the two")
	case count:
		v.atLeastOne("nemesis.count", n.Count)
		if n.Count > MostDrawn {
			v.at("nemesis.count", fmt.Sprintf("must be at most %d", MostDrawn), "")
		}
	case v.has("nemesis"): // what is wrong elsewhere says more
	case n.Most() < 1:
		v.at("nemesis.time_limit", fmt.Sprintf("no fault starts within %s: the least interval is %s", n.TimeLimit, n.Interval[0]), "")
	case n.Most() > MostDrawn:
		v.at("nemesis.time_limit", fmt.Sprintf("more than %d faults could start", MostDrawn), "raise the interval's least time")
	}
}

func (v *validator) interval(list []units.Duration) {
	const key = "nemesis.interval"
	switch {
	case !v.given(key) || v.has(key):
	case len(list) != 2:
		v.at(key, "must be two durations, the least and the longest", `as in ["3s", "10s"]`)
	case list[0] <= 0:
		v.at(indexKey(key, 0), "must be longer than 0s", "")
	case list[1] < list[0]:
		v.at(indexKey(key, 1), fmt.Sprintf("%s is shorter than the least, %s", list[1], list[0]), "")
	}
}

// nemesis checks what the [nemesis] table aims at.
func (c *serviceCheck) nemesis() {
	if c.s.Nemesis == nil {
		return
	}
	for i, f := range c.s.Nemesis.Fault {
		c.aimed(indexKey("nemesis.fault", i), f.Fault())
	}
	c.gates("nemesis.gate", c.s.Nemesis.Gate)
}
