package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// named takes one address that a setting names.
func (m *settings) named(from string, a address, why string) {
	reached, missed := m.resolve(from, a.host)
	for _, to := range reached {
		m.found = append(m.found, TopologyLink{From: from, To: to, Port: a.port, Why: []string{why}})
	}
	for _, to := range missed {
		w := fmt.Sprintf("%s: %s names %s, but %s cannot reach %s by that name: they share no network that has it", from, why, to, from, to)
		if !slices.Contains(m.warnings, w) {
			m.warnings = append(m.warnings, w)
		}
	}
}

func (m *settings) environment(s types.ServiceConfig) {
	env := map[string]string{}
	for k, v := range s.Environment {
		if v != nil {
			env[strings.ToLower(k)] = *v
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
		value := s.Environment[key]
		if value == nil || isImageKey(key) {
			continue
		}
		sibling, as := siblingPort(env, key), asText
		if isHostKey(key) || sibling > 0 {
			as = asHosts
		}
		for _, a := range addressesIn(*value, as) {
			if a.port == 0 {
				a.port = sibling
			}
			m.named(s.Name, a, "environment "+key)
		}
	}
}

func (m *settings) programs(s types.ServiceConfig) {
	for _, program := range []struct {
		why  string
		argv []string
	}{{"entrypoint", s.Entrypoint}, {"command", s.Command}} {
		for _, a := range addressesIn(strings.Join(program.argv, " "), asCommand) {
			m.named(s.Name, a, program.why)
		}
	}
}

// configs reads the files that the Compose file itself holds.
func (m *settings) configs(s types.ServiceConfig) {
	for _, c := range s.Configs {
		for _, a := range addressesIn(m.p.Configs[c.Source].Content, asText) {
			m.named(s.Name, a, "config "+c.Source)
		}
	}
}

func (m *settings) links(s types.ServiceConfig) {
	for _, to := range sortedSet(slices.Collect(maps.Values(m.aliases(s)))) {
		if m.meet(s.Name, to) {
			m.found = append(m.found, TopologyLink{From: s.Name, To: to, Why: []string{"links"}})
		}
	}
}

// dependencies takes depends_on for a link, except where the other service has ended by then.
func (m *settings) dependencies(s types.ServiceConfig) {
	for _, to := range slices.Sorted(maps.Keys(s.DependsOn)) {
		other, ok := m.p.Services[to]
		if ok && !implied(s, to) && !oneShot(m.p, other) && m.meet(s.Name, to) {
			m.found = append(m.found, TopologyLink{From: s.Name, To: to, Why: []string{"depends_on"}})
		}
	}
}

// implied reports whether a dependency is the loader's own, made from links, a shared namespace or volumes_from
// (compose-go v2.15.0, loader/normalize.go).
func implied(s types.ServiceConfig, to string) bool {
	d := s.DependsOn[to]
	if d.Condition != types.ServiceConditionStarted || !d.Required {
		return false
	}
	from := func(text string) bool { first, _, _ := strings.Cut(text, ":"); return first == to }
	if !d.Restart {
		return slices.ContainsFunc(s.VolumesFrom, from)
	}
	modes := []string{s.NetworkMode, s.Ipc, s.Pid, s.Uts, s.Cgroup}
	return slices.ContainsFunc(s.Links, from) || slices.Contains(modes, types.ServicePrefix+to)
}
