package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
)

// links checks the form of the [[link]] tables.
func (v *validator) links() {
	for i, l := range v.s.Link {
		key := indexKey("link", i)
		v.side(joinKey(key, "from"), l.From)
		v.servicePort(joinKey(key, "to"), l.To)
	}
}

// linkTarget checks the form of a fault's target that is a link.
func (v *validator) linkTarget(key, text string) {
	const example = `as in "web->db:5432"`
	from, to, _ := strings.Cut(text, "->")
	service, port, colon := strings.Cut(to, ":")
	from, service = strings.TrimSpace(from), strings.TrimSpace(service)
	_, ok := ParseLink(text)
	switch {
	case ok || !isSide(from):
		v.side(key, from)
	case !isSide(service):
		v.at(key, fmt.Sprintf("%q is no service that a link could go to", service), example)
	case !colon:
		v.at(key, fmt.Sprintf("%q has no port", text), example)
	default:
		v.at(key, fmt.Sprintf("%q is no port", strings.TrimSpace(port)), example)
	}
}

// namedServices checks the form of the parameters of a fault that name services.
func (v *validator) namedServices(key string, f Fault) {
	eachNamed(v.problems, key, f, v.side)
}

// eachNamed calls do for each name in the parameters of a fault that name services, with the key that it stands at.
func eachNamed(p *problems, key string, f Fault, do func(key, name string)) {
	namer, ok := f.Params.(faults.ServiceNamer)
	if !ok {
		return
	}
	named := namer.Services()
	for _, param := range slices.Sorted(maps.Keys(named)) {
		for i, name := range named[param] {
			at := joinKey(key, param)
			if p.given(indexKey(at, i)) {
				at = indexKey(at, i)
			}
			do(at, name)
		}
	}
}

// side checks the form of a name that may stand for services and the run's own clients, and that the clients are there.
func (v *validator) side(key, name string) {
	workload, one := strings.CutPrefix(name, "workload.")
	workloads := slices.Sorted(maps.Keys(v.s.Workload))
	switch {
	case !isSide(name):
		v.at(key, fmt.Sprintf("%q is no service", name), `a service, a glob (* and ?), "workload", "workload.<name>" or "probes"`)
	case name == "probes" && !slices.Contains(v.s.clients(), "probes"):
		v.at(key, "no probe runs in a client container", "only probes of kind tcp and http do")
	case !one && name != "workload":
	case len(workloads) == 0:
		v.at(key, "the scenario has no workload", "add [workload.<name>], or name a service")
	case one && !slices.ContainsFunc(workloads, func(w string) bool { return fits(workload, w) }):
		v.at(key, fmt.Sprintf("there is no workload %q", workload), suggest(workload, workloads))
	}
}

// links checks the [[link]] tables against the services.
func (c *serviceCheck) links() {
	for i, l := range c.s.Link {
		key := indexKey("link", i)
		if ref, ok := ParseLink(l.From + "->" + l.To); ok {
			c.link(joinKey(key, "from"), joinKey(key, "to"), ref)
		}
	}
}

// link checks both sides of a link and reports whether there is something to route.
func (c *serviceCheck) link(from, to string, l LinkRef) bool {
	before := len(c.list)
	c.server(to, l)
	if len(c.list) == before {
		c.client(from, l)
	}
	if len(c.list) != before {
		return false
	}
	if len(c.s.edges([]LinkRef{l}, c.services)) > 0 {
		return true
	}
	switch {
	case isClient(l.From) && !slices.ContainsFunc(c.s.clients(), l.comesFrom): // Parse has said so
	case isGlob(l.From):
		c.at(from, fmt.Sprintf("%q matches nothing whose connections to %s:%d could be routed", l.From, l.To, l.Port),
			suggest("", c.sides()))
	default:
		c.at(to, fmt.Sprintf("%q matches no service that connections of %q could be routed to", l.To, l.From), "")
	}
	return false
}

// server checks the side that a link goes to.
func (c *serviceCheck) server(key string, l LinkRef) {
	if isGlob(l.To) {
		matched := l.servers(c.services)
		tells := func(name string) bool { return tellsTCP(name, l.Port, c.services) }
		closed := func(name string) bool { return udpOnly(name, l.Port, c.services) }
		switch {
		case len(matched) == 0:
			c.at(key, fmt.Sprintf("%q matches no service", l.To), suggest("", names(c.services)))
		case !slices.ContainsFunc(matched, func(name string) bool { return !closed(name) }):
			c.at(key, fmt.Sprintf("port %d of what %q matches is UDP", l.Port, l.To), "only TCP connections can be routed")
		case !slices.ContainsFunc(matched, tells):
			c.doubt(key, fmt.Sprintf("the Compose files do not mention port %d of any service that %q matches", l.Port, l.To), "a run finds out")
		}
		return
	}
	if !c.container(key, l.To, names(c.services)) || !c.routable(key, l.To) {
		return
	}
	if udpOnly(l.To, l.Port, c.services) {
		c.at(key, fmt.Sprintf("port %d of service %q is UDP", l.Port, l.To), "only TCP connections can be routed")
		return
	}
	c.listens(key, l.To, l.Port)
}

// client checks the side that a link comes from. Whether the run's own clients are there Parse has checked.
func (c *serviceCheck) client(key string, l LinkRef) {
	switch {
	case isClient(l.From) || isGlob(l.From):
	case !c.container(key, l.From, c.sides()) || !c.routable(key, l.From):
	case l.From == l.To:
		c.at(key, fmt.Sprintf("service %q is linked to itself", l.From), "connections inside one container cannot be routed")
	case namespace(l.From, c.services) == namespace(l.To, c.services):
		c.at(key, fmt.Sprintf("service %q is linked to itself: it shares a network namespace with %q", l.From, l.To), "connections inside one namespace cannot be routed")
	}
}

// sides are the names that the side that a link comes from may have.
func (c *serviceCheck) sides() []string {
	out := append(names(c.services), c.s.clients()...)
	if len(c.s.Workload) > 0 {
		out = append(out, "workload")
	}
	return out
}

// container checks that a service exists and has a container. known are the names that may stand there.
func (c *serviceCheck) container(key, name string, known []string) bool {
	s, ok := find(c.services, name)
	switch {
	case !ok:
		c.at(key, fmt.Sprintf("the environment has no service %q", name), c.otherName(name, known))
	case s.Replicas == 0:
		c.at(key, fmt.Sprintf("service %q has no container", name), "it is scaled to 0")
	}
	return ok && s.Replicas > 0
}

func (c *serviceCheck) routable(key, name string) bool {
	why := unroutable(name, c.services)
	if why != "" {
		c.at(key, why, "")
	}
	return why == ""
}

// faultLinks checks the targets of a fault that are links: that each is routed, that something uses it, and that no edge
// has the fault twice.
func (c *serviceCheck) faultLinks(key string, f Fault) {
	if len(f.Spec.Targets) > 0 && !slices.Contains(f.Spec.Targets, faults.OnLink) {
		return // Parse has said so
	}
	at, by := joinKey(key, "target"), map[LinkRef]LinkRef{}
	for i, text := range f.Target {
		one := at
		if c.given(indexKey(at, i)) {
			one = indexKey(at, i)
		}
		l, ok := ParseLink(text)
		if !ok || !c.link(one, one, l) {
			continue
		}
		edges := c.s.edges([]LinkRef{l}, c.services)
		c.declared(one, l, edges)
		c.used(one, edges)
		for _, e := range edges {
			other, twice := by[e]
			if !twice {
				by[e] = l
			}
			if twice && other != l && (f.Pick == "" || f.Pick == "all") {
				c.at(one, fmt.Sprintf("%q covers %s, and so does %q", l, e, other), "a fault acts on a link once")
			}
		}
	}
}

// declared reports edges that no [[link]] table names, where there are such tables: they are not routed.
func (c *serviceCheck) declared(key string, l LinkRef, edges []LinkRef) {
	if len(c.s.Link) == 0 {
		return
	}
	routed := c.s.Links(c.services)
	missing := slices.DeleteFunc(slices.Clone(edges), func(e LinkRef) bool { return slices.Contains(routed, e) })
	if len(missing) == 0 {
		return
	}
	more := ""
	if len(missing) > 1 {
		more = fmt.Sprintf(" and %d more", len(missing)-1)
	}
	c.at(key, fmt.Sprintf("no [[link]] covers %s%s", missing[0], more),
		fmt.Sprintf("add a [[link]] with from = %q and to = \"%s:%d\"; without any [[link]], the links that faults need are routed", l.From, missing[0].To, l.Port))
}

// used reports a link that nothing connects over: a fault on it would have no witness.
func (c *serviceCheck) used(key string, edges []LinkRef) {
	var why []string
	for _, e := range edges {
		reason := c.s.unused(e, c.services)
		if reason == "" {
			return
		}
		if !slices.Contains(why, reason) {
			why = append(why, reason)
		}
	}
	c.at(key, "nothing uses this link: "+strings.Join(why, ", "), "a fault on it would have no effect")
}

// namedServices checks the parameters of a fault that name services.
func (c *serviceCheck) namedServices(key string, f Fault) {
	eachNamed(&c.problems, key, f, func(at, name string) {
		switch known := c.sides(); {
		case !isSide(name) || isClient(name): // Parse has checked it
		case !isGlob(name):
			c.container(at, name, known)
		case !slices.ContainsFunc(known, func(k string) bool { return fits(name, k) }):
			c.at(at, fmt.Sprintf("%q matches no service", name), suggest("", known))
		}
	})
}
