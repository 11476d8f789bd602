package scenarios

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
)

// Service is what CheckServices needs to know of one service of the Compose environment.
type Service struct {
	Name     string
	Replicas int // containers; 0: none
	// Ports are TCP and UDP that the service listens on as far as its file and image tell; nil: not known. It may listen
	// on others: a file need not name a port that only its own services use.
	Ports       []int
	UDPPorts    []int       // those of Ports that take no TCP
	HostPorts   map[int]int // TCP ports of the host that lead to those of the container; nil: none, or not known
	Restart     string      // restart policy: "" and "no" for none
	NetworkMode string      // "", "host", "none", "service:x", "container:<id>"
	Networks    []string    // as the Compose file names them; nil: not known
	Volumes     []string
	Healthcheck bool
	OneShot     bool     // its ready state is that it has ended
	Names       []string // further names that it answers to: container_name, hostname, aliases
}

// Ref is one service, or one replica of it, or a link, that a fault is aimed at. Number 0 is every replica.
type Ref struct {
	Service string // of a link: the service that it goes to; empty where that is a glob
	Number  int    // 0 for a link
	Link    string // as LinkRef writes it; empty for a service
}

// ParseRef reads "web" or "web[2]", a name that is no glob; the zero Ref for anything else.
func ParseRef(text string) Ref {
	t, ok := parseTarget(text)
	if !ok || t.glob() {
		return Ref{}
	}
	return Ref{Service: t.pattern, Number: t.number}
}

// Select lists what the fault is aimed at, in the order of its targets, each once: services and their replicas, and links
// as they are written. A glob leaves one-shots out. A target that matches no service adds nothing: CheckServices reports it.
func (f Fault) Select(services []Service) []Ref {
	var out []Ref
	for _, text := range f.Target {
		if l, ok := ParseLink(text); ok {
			if r := l.ref(); !slices.Contains(out, r) {
				out = append(out, r)
			}
			continue
		}
		t, ok := parseTarget(text)
		if !ok {
			continue
		}
		for _, s := range services {
			if t.glob() && s.OneShot {
				continue // it has ended when the first fault begins
			}
			r := Ref{Service: s.Name, Number: t.number}
			if t.matches(s.Name) && !slices.Contains(out, r) && !slices.Contains(out, Ref{Service: s.Name}) {
				out = append(out, r)
			}
		}
	}
	return slices.DeleteFunc(out, func(r Ref) bool { return r.Number > 0 && slices.Contains(out, Ref{Service: r.Service}) })
}

// CheckServices checks every name of the scenario against the services of its environment, and that there is a fault at
// all. The error is an Errors.
func (s *Scenario) CheckServices(services []Service) error {
	return s.checkServices(services).list.err()
}

func (s *Scenario) checkServices(services []Service) *serviceCheck {
	c := &serviceCheck{problems: problems{files: []string{s.Origin.Path}, places: s.Places}, s: s, services: services}
	for i, step := range s.Setup {
		c.step(indexKey("setup", i), step)
	}
	for i, step := range s.Teardown {
		c.step(indexKey("teardown", i), step)
	}
	for i, p := range s.Environment.Publish {
		c.port(indexKey("environment.publish", i), p)
	}
	for i, item := range s.Environment.Share {
		if kind, name, _ := strings.Cut(item, ":"); kind == "port" || kind == "logging" {
			c.service(indexKey("environment.share", i), name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Workload)) {
		c.port(joinKey(joinKey("workload", name), "target"), s.Workload[name].Target)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Probe)) {
		c.probe(joinKey(joinKey("probe", name), "target"), s.Probe[name])
	}
	for i, name := range s.Expect.Crashes {
		c.service(indexKey("expect.crashes", i), name)
	}
	c.links()
	for i, f := range s.Fault {
		c.aimed(indexKey("fault", i), f)
	}
	c.nemesis()
	if len(s.Faults()) == 0 {
		c.at("", "there is no fault, so a pass would prove nothing", "add a [[fault]]; discompose faults lists the kinds")
	}
	return c
}

// aimed checks everything of a fault that names services.
func (c *serviceCheck) aimed(key string, f Fault) {
	c.fault(key, f)
	c.faultLinks(key, f)
	c.namedServices(key, f)
	c.networks(key, f)
	c.query(key, f)
	c.gates(joinKey(key, "gate"), f.Gate)
}

type serviceCheck struct {
	problems
	s        *Scenario
	services []Service
	doubts   Errors
}

// service finds a service by its name and reports one that is not there.
func (c *serviceCheck) service(key, name string) (Service, bool) {
	s, ok := find(c.services, name)
	if !ok {
		c.at(key, fmt.Sprintf("the environment has no service %q", name), c.otherName(name, names(c.services)))
	}
	return s, ok
}

// otherName is a hint for a name that is no service's.
func (c *serviceCheck) otherName(name string, known []string) string {
	for _, s := range c.services {
		if slices.Contains(s.Names, name) {
			return fmt.Sprintf("that is another name of service %q", s.Name)
		}
	}
	switch name {
	case "localhost", "127.0.0.1", "host.docker.internal":
		return "name a service and its port inside the container: probes and workloads run in the project's networks, and host ports are not published"
	}
	return suggest(name, known)
}

func (c *serviceCheck) port(key, target string) {
	name, port, ok := splitPort(target)
	if !ok {
		return
	}
	c.listens(key, name, port)
}

// listens checks a port inside a container. A file need not mention all of them, so one that it does not mention is only
// doubted; the host's, which people take for it, is refused.
func (c *serviceCheck) listens(key, name string, port int) {
	if _, ok := c.service(key, name); !ok {
		return
	}
	known := ports(name, c.services)
	if len(known) == 0 || slices.Contains(known, port) {
		return
	}
	if inside, ok := behind(name, port, c.services); ok {
		c.at(key, fmt.Sprintf("port %d of service %q is the host's", port, name), fmt.Sprintf("inside the container it is %d", inside))
		return
	}
	c.doubt(key, fmt.Sprintf("the Compose files do not mention port %d of service %q", port, name), fmt.Sprintf("they mention %s; a run finds out", joinInts(known)))
}

func joinInts(ports []int) string {
	var out []string
	for _, p := range slices.Sorted(slices.Values(ports)) {
		out = append(out, fmt.Sprint(p))
	}
	return strings.Join(out, ", ")
}

func (c *serviceCheck) step(key string, s Step) {
	if s.Service != "" {
		c.service(joinKey(key, "service"), s.Service)
	}
	for i, name := range s.Before {
		c.service(indexKey(joinKey(key, "before"), i), name)
	}
}

func (c *serviceCheck) probe(key string, p Probe) {
	switch p.Kind {
	case "tcp":
		c.port(key, p.Target)
	case "http":
		if service, port, ok := p.dials(); ok {
			c.listens(key, service, port)
		} else if u, err := url.Parse(p.Target); err == nil && u.Hostname() != "" {
			c.service(key, u.Hostname())
		}
	case "exec", "log":
		if t, ok := parseTarget(p.Target); ok {
			c.replica(key, t.pattern, t.number)
		}
	}
}

// replica checks that a service exists and has the replica of a number (0: any).
func (c *serviceCheck) replica(key, name string, number int) {
	s, ok := c.service(key, name)
	switch {
	case !ok:
	case s.Replicas == 0:
		c.at(key, fmt.Sprintf("service %q has no container", name), "it is scaled to 0")
	case number > s.Replicas:
		c.at(key, fmt.Sprintf("service %q has %d container(s), no number %d", name, s.Replicas, number), "")
	}
}

func (c *serviceCheck) fault(key string, f Fault) {
	at := joinKey(key, "target")
	for i, text := range f.Target {
		one := at
		if c.given(indexKey(at, i)) {
			one = indexKey(at, i)
		}
		t, ok := parseTarget(text)
		if !ok {
			continue
		}
		if !t.glob() {
			c.replica(one, t.pattern, t.number)
			continue
		}
		if len((Fault{Target: Targets{text}}).Select(c.services)) == 0 {
			c.at(one, fmt.Sprintf("%q matches no service", text), suggest("", names(c.services)))
		}
	}
	c.returns(key, f)
}

// returns reports a fault after which nothing starts the target again.
func (c *serviceCheck) returns(key string, f Fault) {
	bound, ok := f.Params.(faults.PolicyBound)
	if !ok || !bound.ByPolicy() {
		return
	}
	for _, r := range f.Select(c.services) {
		s, found := find(c.services, r.Service)
		if !found || r.Link != "" || (s.Restart != "" && s.Restart != "no") {
			continue
		}
		problem := fmt.Sprintf("service %q has no restart policy, so nothing starts it again", r.Service)
		if _, ok := f.Params.(faults.Downtimer); ok {
			c.add(c.place(key), joinKey(key, "down"), "missing: "+problem, `write down = "5s" to start it again after that time, or give the service a restart policy`)
			return
		}
		c.at(joinKey(key, "target"), problem, `give the service a restart policy, as in restart: unless-stopped`)
		return
	}
}
