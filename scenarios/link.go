package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// LinkRef names TCP connections from one side to one port of the other. From is a service or a glob, "workload.<name>",
// "workload" (all of these), "probes" or "*" (everything but the server itself); To is a service or a glob. An edge is one
// whose From and To are no globs.
type LinkRef struct {
	From string
	To   string
	Port int
}

// ParseLink reads "web->db:5432". Spaces around a side are left out.
func ParseLink(text string) (LinkRef, bool) {
	from, to, arrow := strings.Cut(text, "->")
	service, port, colon := strings.Cut(to, ":")
	port = strings.TrimSpace(port)
	n, err := strconv.Atoi(port)
	l := LinkRef{From: strings.TrimSpace(from), To: strings.TrimSpace(service), Port: n}
	ok := arrow && colon && err == nil && strconv.Itoa(n) == port && n > 0 && n < 1<<16 && isSide(l.From) && isSide(l.To)
	return l, ok
}

// isSide reports whether a name has the form of a service or a glob; "workload.<name>" and "probes" have it too.
func isSide(name string) bool {
	t, ok := parseTarget(name)
	return ok && t.pattern == name
}

// isGlob reports whether a side stands for all that it matches.
func isGlob(side string) bool { return strings.ContainsAny(side, "*?") }

// isClient reports whether a side names client containers of the run, and no service.
func isClient(side string) bool {
	return side == "workload" || side == "probes" || strings.HasPrefix(side, "workload.")
}

// String is "web->db:5432".
func (l LinkRef) String() string { return fmt.Sprintf("%s->%s:%d", l.From, l.To, l.Port) }

// ref is the link as a fault is aimed at it.
func (l LinkRef) ref() Ref {
	r := Ref{Service: l.To, Link: l.String()}
	if isGlob(l.To) {
		r.Service = ""
	}
	return r
}

// Covers reports whether the edge is one of those that l names.
func (l LinkRef) Covers(edge LinkRef) bool {
	return l.Port == edge.Port && fits(l.To, edge.To) && edge.From != edge.To && l.comesFrom(edge.From)
}

func (l LinkRef) comesFrom(side string) bool {
	return fits(l.From, side) || (l.From == "workload" && strings.HasPrefix(side, "workload."))
}

func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func compareLinks(a, b LinkRef) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Port, b.Port))
}

// Links lists the edges that a run routes, sorted, each once: those that the [[link]] tables name. Without any: those that
// faults are aimed at and, unless the environment is a running project, those from each workload to its target. Where
// nothing is known of the services (nil), sides that are no globs are taken as they are.
func (s *Scenario) Links(services []Service) []LinkRef {
	named := s.declared()
	if len(s.Link) == 0 {
		for _, f := range s.Faults() {
			named = append(named, f.links()...)
		}
	}
	if len(s.Link) == 0 && s.Environment.Attach == "" {
		for name, w := range s.Workload {
			if service, port, ok := splitPort(w.Target); ok {
				named = append(named, LinkRef{From: "workload." + name, To: service, Port: port})
			}
		}
	}
	return s.edges(named, services)
}

// LinksOf lists the edges that the link targets of a fault stand for, sorted, each once: what pick chooses from. Those of
// the run's own clients that do not connect there are left out.
func (s *Scenario) LinksOf(f Fault, services []Service) []LinkRef {
	return slices.DeleteFunc(s.edges(f.links(), services), func(e LinkRef) bool { return s.unused(e, services) != "" })
}

// declared are the [[link]] tables that are well-formed.
func (s *Scenario) declared() []LinkRef {
	var out []LinkRef
	for _, l := range s.Link {
		if ref, ok := ParseLink(l.From + "->" + l.To); ok {
			out = append(out, ref)
		}
	}
	return out
}

// links are the targets of a fault that are links.
func (f Fault) links() []LinkRef {
	var out []LinkRef
	for _, text := range f.Target {
		if l, ok := ParseLink(text); ok {
			out = append(out, l)
		}
	}
	return out
}

// edges expands links to those of their edges that can be routed, sorted, each once.
func (s *Scenario) edges(links []LinkRef, services []Service) []LinkRef {
	var out []LinkRef
	for _, l := range links {
		servers, clients := []string{l.To}, append(s.clients(), l.From)
		if len(services) > 0 {
			servers, clients = l.servers(services), append(names(services), s.clients()...)
		}
		for _, to := range servers {
			for _, from := range clients {
				e := LinkRef{From: from, To: to, Port: l.Port}
				if l.Covers(e) && s.routable(e, services) {
					out = append(out, e)
				}
			}
		}
	}
	slices.SortFunc(out, compareLinks)
	return slices.Compact(out)
}

// servers are the services that the link may go to: of those that a glob matches the ones that tell of the port, or do
// not tell, and where there are none all of them, for a file need not mention every port.
func (l LinkRef) servers(services []Service) []string {
	matched := slices.DeleteFunc(names(services), func(name string) bool { return !fits(l.To, name) })
	told := slices.DeleteFunc(slices.Clone(matched), func(name string) bool { return !tellsTCP(name, l.Port, services) })
	if isGlob(l.To) && len(told) > 0 {
		return told
	}
	return matched
}

// routable reports whether the connections of an edge can be sent through a proxy in the client's network namespace.
func (s *Scenario) routable(e LinkRef, services []Service) bool {
	if len(services) == 0 {
		return !isGlob(e.From) && !isGlob(e.To) && (!isClient(e.From) || slices.Contains(s.clients(), e.From))
	}
	to, ok := find(services, e.To)
	if !ok || to.Replicas == 0 || unroutable(e.To, services) != "" || udpOnly(e.To, e.Port, services) {
		return false
	}
	if slices.Contains(s.clients(), e.From) {
		return true
	}
	from, ok := find(services, e.From)
	return ok && from.Replicas > 0 && unroutable(e.From, services) == "" && namespace(e.From, services) != namespace(e.To, services)
}

// clients are the client containers of the run as links name them: "probes" where a probe runs in one, and
// "workload.<name>", sorted.
func (s *Scenario) clients() []string {
	var out []string
	for _, p := range s.Probe {
		if p.Kind == "tcp" || p.Kind == "http" {
			out = []string{"probes"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Workload)) {
		out = append(out, "workload."+name)
	}
	return out
}

// unused says why nothing opens connections over an edge; "" where something may. What services do is not known. Of a
// workload only the port is: a server may send its clients on to another one, as Kafka's brokers do.
func (s *Scenario) unused(e LinkRef, services []Service) string {
	if e.From == "probes" {
		for _, p := range s.Probe {
			service, port, ok := p.dials()
			if ok && port == e.Port && (service == e.To || namespace(service, services) == namespace(e.To, services)) {
				return ""
			}
		}
		return fmt.Sprintf("no probe of kind tcp or http connects to %s:%d", e.To, e.Port)
	}
	name, ok := strings.CutPrefix(e.From, "workload.")
	w := s.Workload[name]
	if _, port, known := splitPort(w.Target); ok && known && port != e.Port {
		return fmt.Sprintf("workload %q connects to %s", name, w.Target)
	}
	return ""
}

// dials is where a probe connects from its client container.
func (p Probe) dials() (service string, port int, ok bool) {
	switch p.Kind {
	case "tcp":
		return splitPort(p.Target)
	case "http":
		u, err := url.Parse(p.Target)
		if err != nil {
			return "", 0, false
		}
		port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
		return splitPort(u.Hostname() + ":" + cmp.Or(u.Port(), port))
	}
	return "", 0, false
}
