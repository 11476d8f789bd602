package runner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

func (in Injection) when() string {
	if in.After != "" {
		return "+" + in.At.String()
	}
	return in.At.String()
}

func (in Injection) what(services []scenarios.Service) string {
	f := in.Fault
	text := fmt.Sprintf("%s: %s %s", in.ID, f.Kind, in.whom(services))
	if f.Spec.Rolling {
		text += " one after the other"
	}
	text += holdText(f)
	if params := paramsText(f.Params); params != "" {
		text += " (" + params + ")"
	}
	switch {
	case f.Asks():
		text += ", asked when it is due: " + queryText(f.Query)
		if f.Pick == scenarios.PickFollower {
			text += "; the first of them, in the order of the seed, that does not lead"
		}
	case f.Pick != "" && f.Pick != "all":
		text += ", picked by the seed: " + f.Pick
	}
	if in.After != "" {
		text += ", after " + in.After
	}
	if in.Behind != "" {
		text += ", not before the end of " + in.Behind
	}
	if len(f.ObservedBy) > 0 {
		text += ", observed by " + strings.Join(f.ObservedBy, ", ")
	}
	return text
}

// whom names the targets of an injection, or what they are chosen from when it is due.
func (in Injection) whom(services []scenarios.Service) string {
	var targets []string
	for _, t := range in.Targets {
		text := refText(t)
		if t.Number == 1 && slices.ContainsFunc(services, func(s scenarios.Service) bool { return s.Name == t.Service && s.Replicas > 1 }) {
			text = fmt.Sprintf("%s[%d]", t.Service, t.Number) // the first of several is not the service
		}
		targets = append(targets, text)
	}
	if len(targets) == 0 { // the services of a project to attach to are not known yet
		targets = in.Fault.Target
	}
	list := strings.Join(targets, ", ")
	switch q := in.Fault.Query; {
	case in.Fault.Pick == scenarios.PickLeader:
		return "the leader of " + list
	case in.Fault.Pick == scenarios.PickFollower:
		return "a follower of " + list
	case in.Fault.Pick == scenarios.PickQuery && q != nil && q.Service == "":
		return "each of " + list + " in which a query holds,"
	case in.Fault.Pick == scenarios.PickQuery:
		return "those of " + list + " that a query names,"
	}
	return list
}

// holdText says for how long a fault holds.
func holdText(f scenarios.Fault) string {
	finite, ok := f.Params.(faults.Finite)
	switch ends := ok && finite.Finite(); {
	case ends && f.For != nil:
		return " until it ends by itself, at most for " + f.For.String()
	case ends:
		return " until it ends by itself"
	case f.For != nil:
		return " for " + f.For.String()
	}
	return ""
}

// paramsText is a kind's parameters as the scenario would write them, in one line; those that are zero are left out.
func paramsText(f faults.Fault) string {
	raw, err := toml.Marshal(f)
	if err != nil {
		return ""
	}
	var out []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, " = ")
		if value == "" || value == `""` || value == `"0s"` || value == "0" || value == "0.0" {
			continue
		}
		out = append(out, key+" = "+value)
	}
	return strings.Join(out, ", ")
}

func refText(r scenarios.Ref) string {
	if r.Link != "" {
		return r.Link
	}
	if r.Number > 1 {
		return fmt.Sprintf("%s[%d]", r.Service, r.Number)
	}
	return r.Service
}
