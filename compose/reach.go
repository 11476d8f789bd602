package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// settings collects what the settings of a project's services say about links.
type settings struct {
	p        *types.Project
	names    map[string]map[string][]string // network → name in lower case → services
	anywhere map[string][]string            // name in lower case → services
	found    []TopologyLink                 // one reason each
	warnings []string
}

// The default bridge has no names besides those of links.
const networkBridge = "bridge"

func newSettings(p *types.Project) *settings {
	m := &settings{p: p, names: map[string]map[string][]string{}, anywhere: map[string][]string{}}
	for _, service := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[service]
		own := ownNames(p, s)
		for _, name := range own {
			m.anywhere[name] = append(m.anywhere[name], service)
		}
		for key, n := range s.Networks {
			var aliases []string
			if n != nil {
				aliases = lower(n.Aliases)
			}
			for _, name := range slices.Concat(own, aliases) {
				m.name(key, name, service)
				m.name(key, name+"."+strings.ToLower(p.Networks[key].Name), service)
			}
			for _, name := range aliases {
				m.anywhere[name] = append(m.anywhere[name], service)
			}
		}
	}
	return m
}

func (m *settings) name(network, name, service string) {
	if m.names[network] == nil {
		m.names[network] = map[string][]string{}
	}
	if !slices.Contains(m.names[network][name], service) {
		m.names[network][name] = append(m.names[network][name], service)
	}
}

// ownNames are the names that the engine's DNS gives the containers of a service on each of their networks, besides
// aliases. Names are looked up without regard to case.
func ownNames(p *types.Project, s types.ServiceConfig) []string {
	out := []string{s.Name}
	if s.ContainerName != "" {
		out = append(out, s.ContainerName)
	} else {
		for n := range s.GetScale() {
			out = append(out, containerNameOf(p, s.Name, n+1))
		}
	}
	if s.Hostname != "" {
		out = append(out, s.Hostname)
	}
	out = lower(out)
	slices.Sort(out)
	return slices.Compact(out)
}

func containerNameOf(p *types.Project, service string, number int) string {
	return fmt.Sprintf("%s-%s-%d", p.Name, service, number)
}

func lower(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, strings.ToLower(s))
	}
	return out
}

// space is the service whose network namespace a service runs in: its own, or that of network_mode: service:x.
func (m *settings) space(service string) types.ServiceConfig {
	s := m.p.Services[service]
	for range m.p.Services { // a circle ends
		next, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix)
		if container, is := strings.CutPrefix(s.NetworkMode, types.ContainerPrefix); is {
			next, ok = m.container(container)
		}
		if !ok {
			break
		}
		s = m.p.Services[next]
	}
	return s
}

// container is the service that a container name stands for.
func (m *settings) container(name string) (string, bool) {
	for _, s := range m.p.Services {
		if s.ContainerName == name {
			return s.Name, true
		}
		for n := range s.GetScale() {
			if s.ContainerName == "" && containerNameOf(m.p, s.Name, n+1) == name {
				return s.Name, true
			}
		}
	}
	return "", false
}

// networks are the keys of the networks that a service is in.
func (m *settings) networks(service string) []string {
	s := m.space(service)
	if s.NetworkMode == networkBridge {
		return []string{networkBridge}
	}
	return slices.Sorted(maps.Keys(s.Networks))
}

// meet reports whether one service can reach another: they share a network, and are not one namespace.
func (m *settings) meet(from, to string) bool {
	if m.space(from).Name == m.space(to).Name {
		return false
	}
	theirs := m.networks(to)
	return slices.ContainsFunc(m.networks(from), func(n string) bool { return slices.Contains(theirs, n) })
}

// onlyPort is the TCP port of a service that has exactly one, else 0.
func (m *settings) onlyPort(service string) int {
	all, udp := containerPorts(m.p.Services[service])
	all = slices.DeleteFunc(all, func(n int) bool { return slices.Contains(udp, n) })
	if len(all) != 1 {
		return 0
	}
	return all[0]
}

// resolve is what a host name means to a service: the services that it reaches by it, and where there are none those that
// have the name elsewhere.
func (m *settings) resolve(from, host string) (reached, missed []string) {
	host = strings.ToLower(host)
	space := m.space(from)
	for name := range space.ExtraHosts {
		if strings.ToLower(name) == host {
			return nil, nil // /etc/hosts comes first
		}
	}
	for alias, to := range m.aliases(space) {
		if strings.ToLower(alias) == host && m.meet(from, to) {
			return []string{to}, nil
		}
	}
	for _, n := range m.networks(from) {
		reached = append(reached, m.names[n][host]...)
	}
	if len(reached) == 0 {
		missed = m.anywhere[host]
	}
	here := func(to string) bool { return m.space(to).Name == space.Name }
	return sortedSet(slices.DeleteFunc(reached, here)), sortedSet(slices.DeleteFunc(slices.Clone(missed), here))
}

func sortedSet(in []string) []string {
	slices.Sort(in)
	return slices.Compact(in)
}

// aliases are the names that only this service knows, by its links and external links, and the services behind them.
func (m *settings) aliases(s types.ServiceConfig) map[string]string {
	out := map[string]string{}
	for _, l := range s.Links {
		service, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = service
		}
		out[alias] = service
	}
	for _, l := range s.ExternalLinks {
		container, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = container
		}
		if service, mine := m.container(container); mine {
			out[alias] = service
		}
	}
	return out
}
