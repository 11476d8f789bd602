package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The picks that a query answers while the run is under way.
const (
	PickLeader   = "leader"
	PickFollower = "follower"
	PickQuery    = "query"
)

// Asks reports whether the fault's targets are known only when its query was asked.
func (f Fault) Asks() bool {
	return slices.Contains([]string{PickLeader, PickFollower, PickQuery}, f.Pick)
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

// query checks the picks that ask the running system, and the query that says what they mean.
func (v *validator) query(key string, f Fault) {
	pick, query := joinKey(key, "pick"), joinKey(key, "query")
	switch {
	case f.Asks() && f.Query == nil:
		v.at(pick, "needs query", fmt.Sprintf(`what %s means: query = { exec = [...], matches = "Leader: (\\d+)", service = "kafka$1" }`, f.Pick))
	case !f.Asks() && f.Query != nil:
		v.at(query, `needs pick = "leader", "follower" or "query"`, "nothing else asks it")
	}
	if f.Asks() && len(f.links()) > 0 {
		v.at(pick, "no query can be asked in a link", "a query is about services; aim at one")
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

// Names finds the candidate that the first match in the output of the query's command names through its Service. ok is
// false where out does not match, or names none of them.
func (q Query) Names(out string, candidates []Ref) (named Ref, ok bool) {
	all := q.named(out, 1)
	if len(all) == 0 {
		return Ref{}, false
	}
	return among(all[0], candidates)
}

// NamesAll lists the candidates that the matches in the output of the query's command name through its Service, in the
// candidates' order.
func (q Query) NamesAll(out string, candidates []Ref) []Ref {
	var found []Ref
	for _, r := range q.named(out, -1) {
		if one, ok := among(r, candidates); ok {
			found = append(found, one)
		}
	}
	return slices.DeleteFunc(slices.Clone(candidates), func(r Ref) bool { return !slices.Contains(found, r) })
}

// named lists what up to most matches name, candidates or not.
func (q Query) named(out string, most int) []Ref {
	re, err := regexp.Compile(q.Matches)
	if err != nil {
		return nil
	}
	var all []Ref
	for _, m := range re.FindAllStringSubmatchIndex(out, most) {
		all = append(all, ParseRef(string(re.ExpandString(nil, q.Service, out, m))))
	}
	return all
}

// among finds a name in a list of whole services and single containers: "kafka" is the service, or its first container.
func among(named Ref, candidates []Ref) (Ref, bool) {
	if whole := (Ref{Service: named.Service}); slices.Contains(candidates, whole) {
		return whole, true
	}
	named.Number = max(named.Number, 1)
	return named, slices.Contains(candidates, named)
}

// query checks a query's service where it is the name itself, and that there can be a follower.
func (c *serviceCheck) query(key string, f Fault) {
	if f.Pick == PickFollower && c.candidates(f) == 1 {
		c.at(joinKey(key, "pick"), "there is only one to choose from, so it has no follower", "")
	}
	if f.Query == nil || f.Query.Service == "" || strings.Contains(f.Query.Service, "$") {
		return
	}
	if t, ok := parseTarget(f.Query.Service); ok {
		c.replica(joinKey(joinKey(key, "query"), "service"), t.pattern, t.number)
	}
}

// candidates counts what a fault's targets stand for: services where the kind takes them whole, else containers.
func (c *serviceCheck) candidates(f Fault) int {
	n := 0
	for _, r := range f.Select(c.services) {
		if s, ok := find(c.services, r.Service); ok && r.Number == 0 && !f.Spec.Whole {
			n += s.Replicas
			continue
		}
		n++
	}
	return n
}
