package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

func find(services []Service, name string) (Service, bool) {
	i := slices.IndexFunc(services, func(s Service) bool { return s.Name == name })
	if i < 0 {
		return Service{}, false
	}
	return services[i], true
}

func names(services []Service) []string {
	var out []string
	for _, s := range services {
		out = append(out, s.Name)
	}
	return out
}

// namespace names the network namespace of a service: the service that it belongs to, or "host", "none" or
// "container:<id>". Services that share one get the same name.
func namespace(name string, services []Service) string {
	for range services {
		s, _ := find(services, name)
		switch {
		case s.NetworkMode == "host" || s.NetworkMode == "none" || strings.HasPrefix(s.NetworkMode, "container:"):
			return s.NetworkMode
		case !strings.HasPrefix(s.NetworkMode, "service:"):
			return name
		}
		name = strings.TrimPrefix(s.NetworkMode, "service:")
	}
	return name
}

// SharesNamespace is whose network namespace a service has by its network_mode: another service's, or "container:<id>".
// It is "" for one with its own, or with none.
func SharesNamespace(service string, services []Service) string {
	if ns := namespace(service, services); ns != service && ns != "host" && ns != "none" {
		return ns
	}
	return ""
}

// unroutable says why connections of a service, and to it, cannot be routed; "" where they can.
func unroutable(name string, services []Service) string {
	switch namespace(name, services) {
	case "host": // a rule there would be for the whole host
		return fmt.Sprintf("service %q is in the engine host's network (network_mode: host), so its connections cannot be routed", name)
	case "none":
		return fmt.Sprintf("service %q has no network (network_mode: none)", name)
	}
	return ""
}

// ports lists what is listened on in the network namespace of a service; nil where one of those in it does not tell.
func ports(name string, services []Service) []int {
	var out []int
	for _, s := range services {
		if s.Name != name && namespace(s.Name, services) != namespace(name, services) {
			continue
		}
		if len(s.Ports) == 0 {
			return nil
		}
		out = append(out, s.Ports...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// udpOnly reports whether the network namespace of a service listens on a port, and on no TCP one of that number.
func udpOnly(name string, port int, services []Service) bool {
	udp := false
	for _, s := range services {
		if !slices.Contains(s.Ports, port) || (s.Name != name && namespace(s.Name, services) != namespace(name, services)) {
			continue
		}
		if !slices.Contains(s.UDPPorts, port) {
			return false
		}
		udp = true
	}
	return udp
}

// behind is the container's port that the host's leads to, where a service or one that shares its network namespace
// publishes it.
func behind(name string, port int, services []Service) (inside int, ok bool) {
	for _, s := range services {
		if s.Name != name && namespace(s.Name, services) != namespace(name, services) {
			continue
		}
		if inside, ok = s.HostPorts[port]; ok {
			return inside, true
		}
	}
	return 0, false
}

// tellsTCP reports whether a service, as far as it tells, listens on a TCP port.
func tellsTCP(name string, port int, services []Service) bool {
	known := ports(name, services)
	return (len(known) == 0 || slices.Contains(known, port)) && !udpOnly(name, port, services)
}
