package compose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// Project is a loaded Compose project. It is not safe for concurrent use: Isolate and Preflight change it.
type Project struct {
	p        *types.Project
	origin   string // its name as loaded
	shipped  string // name of the shipped environment; "" for a user's file
	warnings []string
	run      string // set by Isolate
	copies   []bindCopy
	publish  []Published
	blocked  map[string]error // item → why: of disabled services and what only they use, which RunOneShot may not have
}

// active is the project without what only disabled services use.
func (p *Project) active() *types.Project { return p.p.WithoutUnnecessaryResources() }

// Name is the project's name; Isolate changes it.
func (p *Project) Name() string { return p.p.Name }

// Shipped is the name of the shipped environment, or "".
func (p *Project) Shipped() string { return p.shipped }

// Files are the Compose files that the project was loaded from, in order.
func (p *Project) Files() []string { return slices.Clone(p.p.ComposeFiles) }

// Warnings are what the loader warned of, variables that are not set above all, and files that are not there.
func (p *Project) Warnings() []string { return slices.Clone(p.warnings) }

// Volumes are the names of the project's volumes as the file has them, sorted.
func (p *Project) Volumes() []string { return slices.Sorted(maps.Keys(p.active().Volumes)) }

// Disabled are the services that no active profile enables, sorted.
func (p *Project) Disabled() []string { return slices.Sorted(maps.Keys(p.p.DisabledServices)) }

// Service is one service of a project, as far as the rest of the program needs it. All lists are sorted.
type Service struct {
	Name        string
	Image       string // "" where it is built and has no name of its own
	Build       bool
	Replicas    int
	Ports       []int             // TCP and UDP container ports: ports, expose, and what other services' settings name beside these
	UDPPorts    []int             // those of Ports that take no TCP
	Published   []string          // host ports that the file publishes, "8080:80/tcp"
	HostPorts   map[int]int       // of these, the host's TCP ports and the container's behind them; nil: none
	Restart     string            // "no", "always", "on-failure", "unless-stopped"
	NetworkMode string            // "", "service:x", "none"
	Networks    []string          // as the file names them
	Volumes     []string          // where volumes, binds and tmpfs are mounted in the container
	Healthcheck bool              // of the file; an image's own is not known here
	OneShot     bool              // exit 0 is its ready state
	DependsOn   []string          // services
	Environment map[string]string // never nil
	Labels      map[string]string // never nil
	ReadOnly    bool              // read-only root file system
	User        string
	Links       map[string]string // name that this service uses → service: links, container names
	Names       []string          // further names that others may use: container_name, hostname, network aliases
}

// Services are the enabled services, sorted by name.
//
// A service is a one-shot if another depends on it with service_completed_successfully, or if it carries the label
// io.discompose.oneshot=true. Nothing else is: a service that ends by itself and is neither may have crashed.
func (p *Project) Services() []Service {
	links, _ := p.links() // Topology tells the warnings
	var out []Service
	for _, name := range slices.Sorted(maps.Keys(p.p.Services)) {
		s := p.describe(p.p.Services[name])
		for _, l := range links {
			if l.To == name && l.Port > 0 && len(s.Ports) > 0 && !slices.Contains(s.Ports, l.Port) {
				s.Ports = append(s.Ports, l.Port)
			}
		}
		slices.Sort(s.Ports)
		out = append(out, s)
	}
	return out
}

// Service is the service of that name; its Ports are only those of its own ports and expose.
func (p *Project) Service(name string) (Service, bool) {
	s, ok := p.p.Services[name]
	if !ok {
		return Service{}, false
	}
	return p.describe(s), true
}

// HealthTest is the command of a service's healthcheck as the file has it; nil without one.
func (p *Project) HealthTest(service string) []string {
	s, ok := p.p.Services[service]
	if !ok || !hasHealthcheck(s) {
		return nil
	}
	return slices.Clone(s.HealthCheck.Test)
}

func (p *Project) describe(s types.ServiceConfig) Service {
	out := Service{
		Name: s.Name, Image: s.Image, Build: s.Build != nil, Replicas: s.GetScale(), Restart: restartPolicy(s),
		NetworkMode: s.NetworkMode, Networks: slices.Sorted(maps.Keys(s.Networks)),
		Healthcheck: hasHealthcheck(s), OneShot: oneShot(p.p, s), DependsOn: slices.Sorted(maps.Keys(s.DependsOn)),
		Environment: map[string]string{}, ReadOnly: s.ReadOnly, User: s.User, Labels: map[string]string{}, Links: map[string]string{},
		HostPorts: publishedPorts(s),
	}
	out.Ports, out.UDPPorts = containerPorts(s)
	out.Names = furtherNames(s)
	maps.Copy(out.Labels, s.Labels)
	for k, v := range s.Environment {
		if v != nil {
			out.Environment[k] = *v
		}
	}
	for _, port := range s.Ports {
		if port.Published != "" {
			out.Published = append(out.Published, fmt.Sprintf("%s:%d/%s", port.Published, port.Target, port.Protocol))
		}
	}
	for _, v := range s.Volumes {
		out.Volumes = append(out.Volumes, v.Target)
	}
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		out.Volumes = append(out.Volumes, target)
	}
	for _, l := range s.Links {
		if service, alias, ok := strings.Cut(l, ":"); ok {
			out.Links[alias] = service
		}
	}
	slices.Sort(out.Published)
	slices.Sort(out.Volumes)
	return out
}

// furtherNames are those besides the service's own, sorted.
func furtherNames(s types.ServiceConfig) []string {
	set := map[string]bool{s.ContainerName: true, s.Hostname: true}
	for _, n := range s.Networks {
		if n == nil {
			continue
		}
		for _, alias := range n.Aliases {
			set[alias] = true
		}
	}
	delete(set, "")
	delete(set, s.Name)
	return slices.Sorted(maps.Keys(set))
}

// publishedPorts maps the host's TCP ports that a service publishes to those of the container. A range that stands for one
// port of the container, as replicas share it, gives each of its ports.
func publishedPorts(s types.ServiceConfig) map[int]int {
	var out map[int]int
	for _, port := range s.Ports {
		if port.Published == "" || !isTCP(port.Protocol) {
			continue
		}
		if out == nil {
			out = map[int]int{}
		}
		lo, hi := portSpan(port.Published)
		for n := lo; n <= hi; n++ {
			out[n] = int(port.Target)
		}
	}
	return out
}

// portSpan reads "8080" and "8080-8090"; what is neither is an empty span.
func portSpan(text string) (first, last int) {
	from, to, isRange := strings.Cut(text, "-")
	first, err := strconv.Atoi(from)
	if err != nil {
		return 1, 0 // the loader has validated it
	}
	if !isRange {
		return first, first
	}
	if last, err = strconv.Atoi(to); err != nil {
		return first, first
	}
	return first, last
}

// containerPorts lists what a service says that it listens on, and which of that takes no TCP.
func containerPorts(s types.ServiceConfig) (all, udp []int) {
	tcp := map[int]bool{} // port → whether it takes TCP
	for _, port := range s.Ports {
		tcp[int(port.Target)] = tcp[int(port.Target)] || isTCP(port.Protocol)
	}
	for _, e := range s.Expose {
		span, protocol, _ := strings.Cut(e, "/")
		lo, hi := portSpan(span)
		for n := lo; n <= hi; n++ {
			tcp[n] = tcp[n] || isTCP(protocol)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(tcp)) {
		all = append(all, n)
		if !tcp[n] {
			udp = append(udp, n)
		}
	}
	return all, udp
}

// isTCP reads a port's protocol as the Compose file has it: none is TCP.
func isTCP(protocol string) bool { return protocol == "" || strings.EqualFold(protocol, "tcp") }

// restartPolicy is the engine's name of a service's policy, as the SDK derives it.
func restartPolicy(s types.ServiceConfig) string {
	name, _, _ := strings.Cut(s.Restart, ":")
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil {
		name = s.Deploy.RestartPolicy.Condition
	}
	switch name {
	case "", "none", "no":
		return "no"
	case "any":
		return "always"
	}
	return name
}

func hasHealthcheck(s types.ServiceConfig) bool {
	h := s.HealthCheck
	return h != nil && !h.Disable && len(h.Test) > 0 && h.Test[0] != "NONE"
}

func oneShot(p *types.Project, s types.ServiceConfig) bool {
	if s.Labels[LabelOneShot] == "true" {
		return true
	}
	for _, other := range p.Services {
		if d, ok := other.DependsOn[s.Name]; ok && d.Condition == types.ServiceConditionCompletedSuccessfully {
			return true
		}
	}
	return false
}

// YAML is the project as one Compose file, with everything merged and interpolated. It may hold secrets of the
// environment, as `docker compose config` does.
func (p *Project) YAML() ([]byte, error) {
	text, err := p.active().MarshalYAML()
	if err != nil {
		return nil, fmt.Errorf("render compose project: %w", err)
	}
	return text, nil
}

// Change is one thing that isolation does to a project.
type Change struct {
	Item string // what it is about: "service web", "volume data", "network front"
	What string // what is done: "container_name shop becomes a network alias"
	Why  string
}

// String is a sentence for a plan.
func (c Change) String() string { return fmt.Sprintf("%s: %s (%s)", c.Item, c.What, c.Why) }

func sortChanges(c []Change) {
	slices.SortStableFunc(c, func(a, b Change) int { return cmp.Or(cmp.Compare(a.Item, b.Item), cmp.Compare(a.What, b.What)) })
}
