package routing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/discompose/discompose/agent"
)

// Datagrams of one reach: how many to each address, and how long they are waited for. Within one host a datagram takes
// some 20 µs.
const (
	reachEach = 3
	reachWait = 100 * time.Millisecond
)

// Reach sends datagrams from one container's namespace to another's and tells how many arrived.
func (m *Manager) Reach(ctx context.Context, r agent.Reach) (agent.ReachResult, error) {
	targets, err := parseAddrs(r.Addresses)
	if err != nil {
		return agent.ReachResult{}, err
	}
	m.mu.Lock()
	from, to := m.members[r.From], m.members[r.To]
	if from == nil || to == nil || from.space == to.space {
		m.mu.Unlock()
		return agent.ReachResult{}, nil
	}
	if len(targets) == 0 {
		targets = to.space.shared(from.space)
	}
	out := agent.ReachResult{Cuts: m.cutsFrom(from, to)}
	m.mu.Unlock()
	for _, a := range targets {
		arrived, err := datagrams(ctx, from.space, to.space, a)
		if errors.Is(err, net.ErrClosed) || m.gone(from, to) {
			return agent.ReachResult{}, nil
		}
		if err != nil {
			return out, fmt.Errorf("reach %s from %s: %w", to.name, from.name, err)
		}
		out.Sent += reachEach
		out.Arrived += arrived
	}
	return out, nil
}

func parseAddrs(in []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range in {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("reach: %w", err)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}

// cutsFrom lists the cuts that stop packets from one member to another, sorted. The caller holds mu.
func (m *Manager) cutsFrom(from, to *member) []string {
	var out []string
	against := func(c *cut, x *member) bool {
		return slices.ContainsFunc(c.Against, func(n string) bool { return stands(n, x.who) })
	}
	for id, c := range m.cuts {
		if (c.In && c.Container == to.id && against(c, from)) || (c.Out && c.Container == from.id && against(c, to)) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// gone reports whether one of two members has ended meanwhile.
func (m *Manager) gone(a, b *member) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members[a.id] != a || m.members[b.id] != b
}

func datagrams(ctx context.Context, from, to *space, a netip.Addr) (arrived int, err error) {
	var receiver, sender net.PacketConn
	defer func() {
		for _, c := range []net.PacketConn{receiver, sender} {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	listen := func(s *space, address string) (c net.PacketConn, err error) {
		err = in(s.ns, func() error {
			c, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
			return err
		})
		return c, err
	}
	unspecified := netip.IPv4Unspecified()
	if a.Is6() {
		unspecified = netip.IPv6Unspecified()
	}
	if receiver, err = listen(to, netip.AddrPortFrom(unspecified, 0).String()); err != nil {
		return 0, err
	}
	at, ok := receiver.LocalAddr().(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("listen for datagrams: %v is no address", receiver.LocalAddr())
	}
	if sender, err = listen(from, netip.AddrPortFrom(unspecified, 0).String()); err != nil {
		return 0, err
	}
	for range reachEach {
		// One that a rule refuses on its way shows as a datagram that does not arrive.
		_, _ = sender.WriteTo([]byte("discompose"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(at.Port)))) //nolint:gosec // a port
	}
	if err := receiver.SetReadDeadline(time.Now().Add(reachWait)); err != nil {
		return 0, err
	}
	buf := make([]byte, 64)
	for arrived < reachEach {
		if _, _, err := receiver.ReadFrom(buf); err != nil {
			return arrived, nil // the rest did not arrive
		}
		arrived++
	}
	return arrived, nil
}
