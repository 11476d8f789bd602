package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rolls checks the gates of a fault: only a kind that goes over its targets one after the other waits for any.
func (v *validator) rolls(key string, f Fault) {
	at := joinKey(key, "gate")
	if v.given(at) && !f.Spec.Rolling && !v.has(at) {
		v.at(at, fmt.Sprintf("%s does not go over its targets one after the other", f.Kind), "between the faults of a [nemesis], write nemesis.gate")
		return
	}
	v.gates(at, f.Gate)
}

func (v *validator) gates(key string, all []Gate) {
	for i, g := range all {
		v.gate(indexKey(key, i), g)
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

// gates checks the services in which the queries of some gates are asked.
func (c *serviceCheck) gates(key string, all []Gate) {
	for i, g := range all {
		if t, ok := parseTarget(g.Query.Service); ok && g.Probe == "" {
			c.replica(joinKey(indexKey(key, i), "service"), t.pattern, t.number)
		}
	}
}
