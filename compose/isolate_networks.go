package compose

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// networks makes every network the run's own.
func (i *isolation) networks() {
	used, checked := i.usedSubnets()
	for _, key := range i.p.NetworkNames() {
		n := i.p.Networks[key]
		_, needed := i.used.Networks[key]
		i.quiet = !needed
		item := "network " + key
		fixed := n.Name != i.origin+"_"+key
		if i.shared("network", key, n.Name) {
			i.change(item, "the existing network "+n.Name+" is used", "the scenario shares it: faults and workloads reach what is in it")
			i.p.Networks[key] = types.NetworkConfig{Name: n.Name, External: true}
			continue
		}
		switch {
		case bool(n.External):
			i.refuse(item, "the external network "+n.Name+" leads out of the project", "declare it in the file for the run, or "+allow("network", key))
			continue
		case n.Driver == "macvlan" || n.Driver == "ipvlan" || n.Driver == "host":
			i.refuse(item, "its driver "+n.Driver+" puts services on the host's own network", "use a bridge network for the run, or "+allow("network", key))
			continue
		case fixed:
			i.change(item, "its fixed name "+n.Name+" is dropped", "a network of that name may be the user's")
		}
		n.Name = i.p.Name + "_" + key
		if bridge, ok := n.DriverOpts["com.docker.network.bridge.name"]; ok {
			delete(n.DriverOpts, "com.docker.network.bridge.name")
			i.change(item, "the bridge name "+bridge+" is dropped", "an interface name can exist only once on a host")
		}
		used = append(used, i.subnets(key, &n, used, checked)...)
		i.p.Networks[key] = n
	}
	i.quiet = false
}

func (i *isolation) usedSubnets() ([]netip.Prefix, bool) {
	if i.o.Used == nil {
		return nil, false
	}
	used, err := i.o.Used()
	if err != nil {
		i.errs = append(i.errs, err)
		return nil, false
	}
	return used, true
}

// subnets keeps fixed subnets that are free and moves the others. It returns what the network takes.
func (i *isolation) subnets(key string, n *types.NetworkConfig, used []netip.Prefix, checked bool) []netip.Prefix {
	var taken []netip.Prefix
	for _, pool := range n.Ipam.Config {
		if pool == nil || pool.Subnet == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(pool.Subnet)
		if err != nil {
			i.refuse("network "+key, fmt.Sprintf("subnet %q is not one: %v", pool.Subnet, err), `write it as "172.30.0.0/24"`)
			continue
		}
		prefix = prefix.Masked()
		if !checked {
			i.change("network "+key, fmt.Sprintf("subnet %s is kept if it is free when the run starts, else moved", prefix), "two networks cannot have the same addresses")
			continue
		}
		if hit := slices.IndexFunc(used, prefix.Overlaps); hit >= 0 {
			prefix = i.move(key, pool, prefix, append(slices.Clone(used), i.fixedSubnets()...))
		}
		taken = append(taken, prefix)
	}
	return taken
}

// fixedSubnets are those that the file asks for: a moved one must not take another's place.
func (i *isolation) fixedSubnets() []netip.Prefix {
	var out []netip.Prefix
	for _, n := range i.p.Networks {
		for _, pool := range n.Ipam.Config {
			if p, err := netip.ParsePrefix(pool.Subnet); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// move gives a pool another subnet of the same size, in which every fixed address keeps its offset.
func (i *isolation) move(key string, pool *types.IPAMPool, from netip.Prefix, used []netip.Prefix) netip.Prefix {
	item := "network " + key
	if who, address := i.literal(key, from); who != "" {
		i.refuse(item, fmt.Sprintf("subnet %s is in use on the engine, and it cannot be moved, for service %s names its address %s", from, who, address),
			"use the service's name instead of the address, or take the other network down")
		return from
	}
	to, ok := free(from, used)
	if !ok {
		i.refuse(item, fmt.Sprintf("subnet %s is in use on the engine, and no other of that size was found", from), "make it smaller, or take the other network down")
		return from
	}
	pool.Subnet = to.String()
	pool.Gateway = moved(pool.Gateway, from, to)
	if r, err := netip.ParsePrefix(pool.IPRange); err == nil {
		pool.IPRange = netip.PrefixFrom(shift(r.Addr(), from, to), r.Bits()).String()
	}
	for k, v := range pool.AuxiliaryAddresses {
		pool.AuxiliaryAddresses[k] = moved(v, from, to)
	}
	for _, s := range i.p.Services {
		if n := s.Networks[key]; n != nil {
			n.Ipv4Address = moved(n.Ipv4Address, from, to)
			n.Ipv6Address = moved(n.Ipv6Address, from, to)
		}
		for _, addresses := range s.ExtraHosts {
			moveAll(addresses, from, to)
		}
		moveAll(s.DNS, from, to)
	}
	i.change(item, fmt.Sprintf("subnet %s moves to %s, and static addresses, extra_hosts and dns with it", from, to),
		"it is in use on the engine; configuration files that name an address would not follow")
	return to
}

// literal finds a service whose configuration names a static address of the network in words.
func (i *isolation) literal(key string, in netip.Prefix) (service, address string) {
	var static []string
	for _, s := range i.p.Services {
		if n := s.Networks[key]; n != nil {
			for _, a := range []string{n.Ipv4Address, n.Ipv6Address} {
				if addr, err := netip.ParseAddr(a); err == nil && in.Contains(addr) {
					static = append(static, a)
				}
			}
		}
	}
	slices.Sort(static)
	for _, name := range i.p.ServiceNames() {
		text := words(i.p.Services[name])
		for _, a := range static {
			if slices.Contains(text, a) {
				return name, a
			}
		}
	}
	return "", ""
}

// words splits what a service is told into pieces that may be addresses. Its extra_hosts and dns move with the subnet.
func words(s types.ServiceConfig) []string {
	var text []string
	for _, v := range s.Environment {
		if v != nil {
			text = append(text, *v)
		}
	}
	text = slices.Concat(text, []string(s.Command), []string(s.Entrypoint))
	if s.HealthCheck != nil {
		text = append(text, s.HealthCheck.Test...)
	}
	return strings.FieldsFunc(strings.Join(text, " "), func(r rune) bool {
		return (r < '0' || r > '9') && r != '.'
	})
}

// free finds a subnet of the same size: of 10.224.0.0/11, which neither Docker nor common VPNs take, or of fd00::/8.
func free(like netip.Prefix, used []netip.Prefix) (netip.Prefix, bool) {
	if !like.Addr().Is4() {
		return freeIPv6(like, used)
	}
	if like.Bits() < 16 || like.Bits() > 30 {
		return netip.Prefix{}, false
	}
	step := uint64(1) << (32 - like.Bits())
	first := uint64(10)<<24 | 224<<16
	for a := first; a < first+1<<21; a += step {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(a)) //nolint:gosec // all of 10.224.0.0/11 has 32 bits
		p := netip.PrefixFrom(netip.AddrFrom4(b), like.Bits())
		if !slices.ContainsFunc(used, p.Overlaps) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func freeIPv6(like netip.Prefix, used []netip.Prefix) (netip.Prefix, bool) {
	if like.Bits() < 48 || like.Bits() > 112 {
		return netip.Prefix{}, false
	}
	for n := range 4096 {
		var b [16]byte
		copy(b[:], []byte{0xfd, 0xd1, 0x5c, 0x0e, byte(n >> 8), byte(n)}) // fdd1:5c0e:<n>::
		p := netip.PrefixFrom(netip.AddrFrom16(b), like.Bits())
		if !slices.ContainsFunc(used, p.Overlaps) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// moved is an address with the same offset in another subnet; one that is not of from stays.
func moved(address string, from, to netip.Prefix) string {
	a, err := netip.ParseAddr(address)
	if err != nil || !from.Contains(a) {
		return address
	}
	return shift(a, from, to).String()
}

func moveAll(addresses []string, from, to netip.Prefix) {
	for n, a := range addresses {
		addresses[n] = moved(a, from, to)
	}
}

func shift(a netip.Addr, from, to netip.Prefix) netip.Addr {
	out, base := a.AsSlice(), to.Addr().AsSlice()
	for n := range out {
		out[n] = base[n] | out[n]&^mask(from.Bits(), n)
	}
	moved, _ := netip.AddrFromSlice(out)
	return moved
}

// mask is the n-th byte of the network mask of that many bits.
func mask(bits, n int) byte {
	switch left := bits - 8*n; {
	case left >= 8:
		return 0xff
	case left <= 0:
		return 0
	default:
		return ^byte(0xff >> left)
	}
}
