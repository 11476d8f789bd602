// Package starter proposes files to start from: a scenario for somebody's own Compose file, and the files of a new fault
// kind for contributors.
//
// What it proposes is complete: the scenario validates and has a plan, the kind builds and fails its tests with what is to
// be written. Its functions keep no state. It starts nothing and asks no engine.
package starter

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/discompose/discompose/compose"
)

// Proposal is the experiment that a Compose file suggests: who is disturbed, and how it shows.
type Proposal struct {
	Target     string // the service that is disturbed
	Dependents int    // services that reach it, over others too
	Kind       string // "pause", or "stop" where a frozen target would go unnoticed
	Probe      Probe
}

// Probe is how the proposal observes the system.
type Probe struct {
	Service string
	Kind    string   // "http", "tcp" or "exec"
	Target  string   // as the scenario writes it
	Command []string // of exec
}

// ErrNoService says that a project has no service that a scenario could disturb.
var ErrNoService = errors.New("no service of it stays up")

// Propose chooses from a project: of the services that listen or have a healthcheck, the one that most others reach; and a
// probe of the outermost of these, over HTTP where its healthcheck or its image says how. Links are those that settings and
// depends_on tell. Errors: ErrNoService.
func Propose(p *compose.Project) (Proposal, error) {
	c := newChoice(p)
	if len(c.services) == 0 {
		return Proposal{}, ErrNoService
	}
	target := slices.MaxFunc(c.services, func(a, b compose.Service) int {
		return cmp.Or(
			compareBool(c.listens(a) || a.Healthcheck, c.listens(b) || b.Healthcheck),
			cmp.Compare(len(c.users(a.Name)), len(c.users(b.Name))),
			compareBool(a.Healthcheck, b.Healthcheck),
			cmp.Compare(b.Name, a.Name), // the first by name
		)
	})
	users := c.users(target.Name)
	out := Proposal{Target: target.Name, Dependents: len(users), Kind: "pause"}
	var ways []Probe
	for _, name := range append(users, target.Name) { // who reaches it comes first
		if s, ok := c.find(name); ok {
			if way, ok := c.probe(s); ok {
				ways = append(ways, way)
			}
		}
	}
	if len(ways) == 0 {
		out.Probe = Probe{Service: target.Name, Kind: "exec", Target: target.Name, Command: []string{"true"}}
		return out, nil
	}
	out.Probe = slices.MinFunc(ways, func(a, b Probe) int {
		return cmp.Or(
			compareBool(a.Service == target.Name, b.Service == target.Name),
			cmp.Compare(len(c.users(a.Service)), len(c.users(b.Service))),
			compareBool(a.Kind != "http", b.Kind != "http"),
			compareBool(!c.published(a.Service), !c.published(b.Service)),
			cmp.Compare(a.Service, b.Service),
		)
	})
	if out.Probe.Kind == "tcp" && out.Probe.Service == out.Target {
		out.Kind = "stop" // the kernel goes on accepting connections for a program that is frozen
	}
	return out, nil
}

func compareBool(a, b bool) int {
	n := map[bool]int{true: 1}
	return cmp.Compare(n[a], n[b])
}

// choice is what a project offers.
type choice struct {
	project  *compose.Project
	services []compose.Service // those that stay up and that a scenario can name, sorted
	links    []compose.TopologyLink
}

// named are the names that a scenario can aim at.
var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func newChoice(p *compose.Project) choice {
	c := choice{project: p, links: p.Topology().Links}
	for _, s := range p.Services() {
		if !s.OneShot && s.Replicas > 0 && named.MatchString(s.Name) {
			c.services = append(c.services, s)
		}
	}
	return c
}

func (c choice) find(name string) (compose.Service, bool) {
	i := slices.IndexFunc(c.services, func(s compose.Service) bool { return s.Name == name })
	if i < 0 {
		return compose.Service{}, false
	}
	return c.services[i], true
}

// users are the services that reach one, over others too, sorted; one-shots are none.
func (c choice) users(name string) []string {
	seen := map[string]bool{name: true}
	for todo := []string{name}; len(todo) > 0; todo = todo[1:] {
		for _, l := range c.links {
			if l.To == todo[0] && !seen[l.From] {
				seen[l.From] = true
				todo = append(todo, l.From)
			}
		}
	}
	var out []string
	for _, s := range c.services {
		if seen[s.Name] && s.Name != name {
			out = append(out, s.Name)
		}
	}
	return out
}

func (c choice) published(name string) bool {
	s, _ := c.find(name)
	return len(s.Published) > 0
}

func (c choice) listens(s compose.Service) bool { return len(c.ports(s)) > 0 }

// ports are the TCP ports that a service is likely to listen on, the likeliest first: what the file says, with the image's
// own in front; else what other services' settings say, else the image's own.
func (c choice) ports(s compose.Service) []int {
	own := imagePort(s.Image)
	if c.client(s) {
		own = 0
	}
	var out []int
	for _, port := range s.Ports {
		if !slices.Contains(s.UDPPorts, port) {
			out = append(out, port)
		}
	}
	if len(s.Ports) > 0 {
		if i := slices.Index(out, own); i > 0 {
			out[0], out[i] = out[i], out[0]
		}
		return out
	}
	for _, l := range c.links {
		if l.To == s.Name && l.Port > 0 && !slices.Contains(out, l.Port) {
			out = append(out, l.Port)
		}
	}
	if len(out) == 0 && own > 0 {
		out = append(out, own)
	}
	return out
}

// client reports whether a service has its image for the client programs in it, as jobs with psql do: it reaches another
// service of the same image.
func (c choice) client(s compose.Service) bool {
	return slices.ContainsFunc(c.links, func(l compose.TopologyLink) bool {
		to, ok := c.find(l.To)
		return ok && l.From == s.Name && base(to.Image) == base(s.Image)
	})
}

// probe is how a service is asked over its networks; ok is false where nobody says how.
func (c choice) probe(s compose.Service) (Probe, bool) {
	if s.NetworkMode != "" {
		return Probe{}, false // it has no name there
	}
	if port, path, ok := healthURL(c.project.HealthTest(s.Name), s.Name); ok {
		return Probe{Service: s.Name, Kind: "http", Target: url(s.Name, port, path)}, true
	}
	ports := c.ports(s)
	if len(ports) == 0 {
		return Probe{}, false
	}
	if servesPages(s.Image) && ports[0] == imagePort(s.Image) {
		return Probe{Service: s.Name, Kind: "http", Target: url(s.Name, ports[0], "/")}, true
	}
	return Probe{Service: s.Name, Kind: "tcp", Target: fmt.Sprintf("%s:%d", s.Name, ports[0])}, true
}

func url(service string, port int, path string) string {
	if port == 80 {
		return fmt.Sprintf("http://%s%s", service, path)
	}
	return fmt.Sprintf("http://%s:%d%s", service, port, path)
}

var urlPattern = regexp.MustCompile(`http://([A-Za-z0-9_.-]+|\[::1\])(?::([0-9]{1,5}))?(/[A-Za-z0-9/_.~-]*)?`)

// healthURL finds what a healthcheck asks of its own service over HTTP, as curl and wget do.
func healthURL(test []string, service string) (port int, path string, ok bool) {
	text := strings.Join(test, " ")
	m := urlPattern.FindStringSubmatch(text)
	if m == nil || !slices.Contains([]string{"localhost", "127.0.0.1", "0.0.0.0", "[::1]", service}, m[1]) {
		return 0, "", false
	}
	// What a shell would still change, and a query, which the pattern leaves out, may be what makes it work.
	rest := text[strings.Index(text, m[0])+len(m[0]):]
	if strings.HasPrefix(rest, "?") || strings.HasPrefix(rest, "$") || strings.HasPrefix(rest, ":") {
		return 0, "", false
	}
	port = 80
	if m[2] != "" {
		if _, err := fmt.Sscan(m[2], &port); err != nil || port < 1 || port > 65535 {
			return 0, "", false
		}
	}
	return port, cmp.Or(m[3], "/"), true
}
