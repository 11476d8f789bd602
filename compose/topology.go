package compose

import (
	"cmp"
	"maps"
	"slices"
)

// Topology is who talks to whom, as far as it is known. It is a value; Services and Links are sorted.
type Topology struct {
	Services []Service
	Links    []TopologyLink
	Warnings []string // services that a setting names and that cannot be reached by that name
}

// TopologyLink is the TCP connections from one service to one port of another.
type TopologyLink struct {
	From, To string
	Port     int      // 0: not known
	Why      []string // what it is believed for: "environment DATABASE_URL", "command", "links", "depends_on"
}

// Topology reads the links from what the services' settings name: environment, entrypoint, command, inline configs, links
// and depends_on. A name counts where it leads to another service over a network that both are in. Values are not
// repeated, for they may be secret.
func (p *Project) Topology() Topology {
	links, warnings := p.links()
	return Topology{Services: p.Services(), Links: links, Warnings: warnings}
}

func (p *Project) links() (links []TopologyLink, warnings []string) {
	m := newSettings(p.active())
	for _, name := range slices.Sorted(maps.Keys(m.p.Services)) {
		s := m.p.Services[name]
		m.environment(s)
		m.programs(s)
		m.configs(s)
		m.links(s)
		m.dependencies(s)
	}
	return group(m.found, m.onlyPort), m.warnings
}

// With is the topology with more links; those that it has already gain reasons, and ports where they were not known.
func (t Topology) With(more ...TopologyLink) Topology {
	t.Links = group(slices.Concat(t.Links, more), func(string) int { return 0 })
	return t
}

// group joins links that are the same, and gives those without a port the ports that are known between the two services,
// else the only port of the server.
func group(found []TopologyLink, only func(service string) int) []TopologyLink {
	type pair struct{ from, to string }
	known := map[pair][]int{}
	for _, l := range found {
		if l.Port != 0 {
			known[pair{l.From, l.To}] = append(known[pair{l.From, l.To}], l.Port)
		}
	}
	var out []TopologyLink
	add := func(from, to string, port int, why []string) {
		n := slices.IndexFunc(out, func(l TopologyLink) bool { return l.From == from && l.To == to && l.Port == port })
		if n < 0 {
			out = append(out, TopologyLink{From: from, To: to, Port: port})
			n = len(out) - 1
		}
		for _, w := range why {
			if !slices.Contains(out[n].Why, w) {
				out[n].Why = append(out[n].Why, w)
			}
		}
	}
	for _, l := range found {
		ports := known[pair{l.From, l.To}]
		switch {
		case l.Port != 0:
			ports = []int{l.Port}
		case len(ports) == 0:
			ports = []int{only(l.To)}
		}
		for _, port := range ports {
			add(l.From, l.To, port, l.Why)
		}
	}
	slices.SortFunc(out, func(a, b TopologyLink) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Port, b.Port))
	})
	return out
}
