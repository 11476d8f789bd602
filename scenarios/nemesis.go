package scenarios

import (
	"fmt"
	"maps"
	"regexp"
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
	for i, g := range n.Gate {
		v.gate(indexKey("nemesis.gate", i), g)
	}
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

func (v *validator) gate(key string, g Gate) {
	if v.has(key) {
		return
	}
	if g.Probe != "" {
		if name := strings.TrimPrefix(g.Probe, "probe."); v.s.Probe[name].Kind == "" {
			v.at(key, fmt.Sprintf("there is no probe %q", name), suggest(name, slices.Sorted(maps.Keys(v.s.Probe))))
		}
		return
	}
	if t, ok := parseTarget(g.Query.Service); !ok || t.glob() {
		v.at(joinKey(key, "service"), fmt.Sprintf("%q is no service", g.Query.Service), `as in "kafka" or "kafka[2]"`)
	}
	v.command(key, g.Query.Exec, g.Query.Matches)
}

// command checks a command and the pattern of its output.
func (v *validator) command(key string, argv []string, matches string) *regexp.Regexp {
	if len(argv) == 0 || argv[0] == "" {
		v.at(joinKey(key, "exec"), "is empty", "write the command and its arguments")
	}
	re, err := regexp.Compile(matches)
	if err != nil {
		v.at(joinKey(key, "matches"), regexpProblem(err), "")
	}
	return re
}

// leader checks pick = "leader" and the query that says what it means.
func (v *validator) leader(key string, f Fault) {
	pick, query := joinKey(key, "pick"), joinKey(key, "query")
	switch {
	case f.Pick == "leader" && f.Query == nil:
		v.at(pick, "needs query", `what leader means: query = { exec = [...], matches = "Leader: (\\d+)", service = "kafka$1" }`)
	case f.Pick != "leader" && f.Query != nil:
		v.at(query, `needs pick = "leader"`, "nothing else asks it")
	}
	if f.Pick == "leader" && len(f.links()) > 0 {
		v.at(pick, "a link has no leader", "a query is about services; aim at one")
	}
	if f.Query == nil || v.has(query) {
		return
	}
	re := v.command(query, f.Query.Exec, f.Query.Matches)
	if !strings.Contains(f.Query.Service, "$") || re == nil {
		return
	}
	for _, m := range groupPattern.FindAllStringSubmatch(f.Query.Service, -1) {
		name := m[1] + m[2]
		if !slices.Contains(groups(re), name) {
			v.at(joinKey(query, "service"), fmt.Sprintf("$%s is no group of matches", name), `$1 is the first; write $${1} where a letter, a digit or _ follows`)
		}
	}
}

var groupPattern = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)

// groups lists the names that a template may use for the groups of a pattern.
func groups(re *regexp.Regexp) []string {
	out := []string{"0"}
	for i, name := range re.SubexpNames()[1:] {
		out = append(out, fmt.Sprint(i+1))
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// Names finds the candidate that the output of the query's command names through its Service. ok is false where out does
// not match, or names none of them.
func (q Query) Names(out string, candidates []Ref) (leader Ref, ok bool) {
	re, err := regexp.Compile(q.Matches)
	if err != nil {
		return Ref{}, false
	}
	m := re.FindStringSubmatchIndex(out)
	if m == nil {
		return Ref{}, false
	}
	leader = ParseRef(string(re.ExpandString(nil, q.Service, out, m)))
	leader.Number = max(leader.Number, 1)
	return leader, slices.Contains(candidates, leader)
}

// nemesis checks what the [nemesis] table aims at.
func (c *serviceCheck) nemesis() {
	if c.s.Nemesis == nil {
		return
	}
	for i, f := range c.s.Nemesis.Fault {
		c.aimed(indexKey("nemesis.fault", i), f.Fault())
	}
	for i, g := range c.s.Nemesis.Gate {
		if t, ok := parseTarget(g.Query.Service); ok && g.Probe == "" {
			c.replica(joinKey(indexKey("nemesis.gate", i), "service"), t.pattern, t.number)
		}
	}
}

// leader checks a query's service where it is the name itself.
func (c *serviceCheck) leader(key string, f Fault) {
	if f.Query == nil || f.Query.Service == "" || strings.Contains(f.Query.Service, "$") {
		return
	}
	if t, ok := parseTarget(f.Query.Service); ok {
		c.replica(joinKey(joinKey(key, "query"), "service"), t.pattern, t.number)
	}
}
