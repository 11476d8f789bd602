package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
)

// networks checks that a fault of the network family can cut what it names: each side has a network of its own, the two
// sides share one, and a network that is named is one of the target's.
func (c *serviceCheck) networks(key string, f Fault) {
	if f.Spec.Family != faults.Network {
		return
	}
	at := joinKey(key, "target")
	for _, r := range f.Select(c.services) {
		if why := uncuttable(r.Service, c.services); why != "" {
			c.at(at, why, "")
			return
		}
		c.sidesMeet(key, f, r.Service)
		c.ownNetwork(key, f, r.Service)
	}
}

// uncuttable says why a service cannot be cut off; "" where it can.
func uncuttable(name string, services []Service) string {
	switch namespace(name, services) {
	case "host":
		return fmt.Sprintf("service %q is in the engine host's network (network_mode: host): a cut there would be the host's", name)
	case "none":
		return fmt.Sprintf("service %q has no network (network_mode: none)", name)
	}
	return ""
}

// sidesMeet reports a named other side that has no network in common with the target.
func (c *serviceCheck) sidesMeet(key string, f Fault, target string) {
	eachNamed(&c.problems, key, f, func(at, name string) {
		other, ok := find(c.services, name)
		switch {
		case !ok || name == target: // a glob, or clients, which are in every network
		case uncuttable(name, c.services) != "":
			c.at(at, uncuttable(name, c.services), "")
		case namespace(name, c.services) == namespace(target, c.services):
			c.at(at, fmt.Sprintf("services %q and %q share one network namespace: nothing between them can be cut", target, other.Name), "")
		case !meet(networksOf(target, c.services), networksOf(name, c.services)):
			c.at(at, fmt.Sprintf("services %q and %q are in no common network: there is nothing to cut", target, other.Name), "")
		}
	})
}

// networksOf lists the networks that a service is in, by the service whose namespace it uses; nil where they are not known.
func networksOf(name string, services []Service) []string {
	s, _ := find(services, namespace(name, services))
	return s.Networks
}

func meet(a, b []string) bool {
	return a == nil || b == nil || slices.ContainsFunc(a, func(n string) bool { return slices.Contains(b, n) })
}

// ownNetwork checks the one network that a fault takes its target out of.
func (c *serviceCheck) ownNetwork(key string, f Fault, target string) {
	namer, ok := f.Params.(faults.NetworkNamer)
	if !ok {
		return
	}
	if owner := SharesNamespace(target, c.services); owner != "" {
		c.at(joinKey(key, "target"), fmt.Sprintf("service %q has no networks of its own: it is in the network namespace of %s", target, owner), "name the service whose networks they are")
		return
	}
	param, name := namer.NetworkName()
	have := networksOf(target, c.services)
	if name == "" || have == nil || slices.ContainsFunc(have, func(n string) bool {
		return n == name || strings.HasSuffix(name, "_"+n) || strings.HasSuffix(n, "_"+name)
	}) {
		return
	}
	c.at(joinKey(key, param), fmt.Sprintf("service %q is not in a network %q", target, name), suggest(name, have))
}
