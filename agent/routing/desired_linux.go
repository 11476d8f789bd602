package routing

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The counters of links and cuts.
const (
	counterRedirect = "redirect"
	counterDirect   = "direct"
	counterEarly    = "early"
	counterGuarded  = "guarded"
	counterPassed   = "passed"
	counterArrived  = "arrived"
	counterIn       = "in"
	counterOut      = "out"
)

func edgeCounters() []string {
	return []string{counterRedirect, counterDirect, counterEarly, counterGuarded, counterPassed, counterArrived}
}

func cutCounters() []string { return []string{counterIn, counterOut} }

// render brings the rules of every namespace to what is wanted now. The caller holds mu.
func (m *Manager) render() error {
	m.stale = false
	want := m.wanted()
	var counters []string
	for _, e := range m.edges {
		for _, what := range edgeCounters() {
			counters = append(counters, e.counter(what))
		}
	}
	for _, c := range m.cutsInOrder() {
		for _, what := range cutCounters() {
			counters = append(counters, c.counter(what))
		}
	}
	// Side by side: taking rules away makes the kernel wait, in each namespace for itself.
	errs := make([]error, 0, len(want))
	before := map[*space][]string{}
	for s := range want {
		before[s] = slices.Clone(s.table.rules[chainRoute])
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for s, rules := range want {
		all.Go(func() {
			if err := s.table.render(chainSpecs(), rules, counters); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	for s, had := range before {
		if to := m.newlyRouted(s, had); len(to) > 0 {
			errs = append(errs, forget(s.ns, to))
		}
	}
	return errors.Join(errs...)
}

// newlyRouted lists the servers to which connections are redirected now and were not before. The caller holds mu.
func (m *Manager) newlyRouted(s *space, had []string) unanswered {
	now := s.table.rules[chainRoute]
	if len(now) == 0 || slices.Equal(now, had) {
		return nil
	}
	out := unanswered{}
	for _, e := range m.entriesOf(s) {
		for _, to := range m.servers(e, s) {
			if !m.past(e, s, to.member) {
				out[netip.AddrPortFrom(to.addr, uint16(e.Port))] = true //nolint:gosec // a port
			}
		}
	}
	return out
}

// wanted is the rules of each namespace by chain. The caller holds mu.
func (m *Manager) wanted() map[*space]map[string][]rule {
	want := map[*space]map[string][]rule{}
	for _, s := range m.spaces {
		want[s] = map[string][]rule{chainRoute: m.routeRules(s), chainGuard: m.guardRules(s), chainProof: m.proofRules(s)}
		m.arrivedRules(s, want[s])
	}
	for _, c := range m.cutsInOrder() {
		m.cutRules(c, want)
	}
	return want
}

func (m *Manager) cutsInOrder() []*cut {
	out := make([]*cut, 0, len(m.cuts))
	for _, c := range m.cuts {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *cut) int { return a.index - b.index })
	return out
}

// server is one address of a link's server.
type server struct {
	addr   netip.Addr
	member *member
}

// servers lists where a link's connections from a namespace go, sorted. Where the proxy cannot be entered is left out, and
// told as unrouted: a server in the client's own namespace, and IPv6 where the client has no ::1 to be redirected to.
func (m *Manager) servers(e *edge, from *space) []server {
	var out []server
	for _, x := range m.members {
		if x.who != e.To || x.space == from {
			continue
		}
		for _, a := range x.space.addrs() {
			if a.Is4() || from.loop6 && (from.entries[e] == nil || from.entries[e].port6 != 0) {
				out = append(out, server{a, x})
			}
		}
	}
	slices.SortFunc(out, func(a, b server) int { return a.addr.Compare(b.addr) })
	return out
}

func (m *Manager) serverAddrs(e *edge, from *space) []netip.Addr {
	var out []netip.Addr
	for _, s := range m.servers(e, from) {
		out = append(out, s.addr)
	}
	return out
}

// past reports whether new connections of a link to one server are to go past the proxy, so that connect() tells what it
// would tell without discompose: a fault has closed the server's port or cut the two apart, and the link has no toxic that
// would have to act.
func (m *Manager) past(e *edge, from *space, to *member) bool {
	if e.guarding {
		return false
	}
	if m.silent[door{to.id, uint16(e.Port)}] { //nolint:gosec // a port
		return true
	}
	return slices.ContainsFunc(membersOf(from), func(x *member) bool { return m.cutBetween(x, to) })
}

// cutBetween reports whether a cut stops packets between two members, in any direction.
func (m *Manager) cutBetween(a, b *member) bool {
	for _, c := range m.cuts {
		for _, side := range [][2]*member{{a, b}, {b, a}} {
			if side[0].id == c.Container && slices.ContainsFunc(c.Against, func(n string) bool { return stands(n, side[1].who) }) {
				return true
			}
		}
	}
	return false
}

// entriesOf lists the links that enter here, in their order.
func (m *Manager) entriesOf(s *space) []*edge {
	var out []*edge
	for _, e := range m.edges {
		if s.entries[e] != nil {
			out = append(out, e)
		}
	}
	return out
}

func (m *Manager) routeRules(s *space) []rule {
	edges := m.entriesOf(s)
	if len(edges) == 0 {
		return nil
	}
	out := []rule{on().mark(markOwn).accept()}
	for _, e := range edges {
		for _, to := range m.servers(e, s) {
			if !m.past(e, s, to.member) {
				out = append(out, e.to(to.addr).opening().count(e.counter(counterRedirect)).redirect(s.entries[e].port(to.addr)))
			}
		}
	}
	return out
}

// to matches what goes to one address of the link's server, and from what comes from there.
func (e *edge) to(a netip.Addr) *builder   { return on().address(a, 1).port(uint16(e.Port), 1) } //nolint:gosec // a port
func (e *edge) from(a netip.Addr) *builder { return on().address(a, 0).port(uint16(e.Port), 0) } //nolint:gosec // a port

// guardRules are about what goes to a server past the proxy. What is let past is counted as arrivedRules count.
func (m *Manager) guardRules(s *space) []rule {
	edges := m.entriesOf(s)
	if len(edges) == 0 {
		return nil
	}
	out := []rule{on().mark(markOwn).setCtMark(markOwn).accept(), on().ctMark(markOwn).accept()}
	for _, e := range edges {
		for _, to := range m.servers(e, s) {
			here := func() *builder { return e.to(to.addr) }
			if e.guarding {
				out = append(out, here().reset(false).count(e.counter(counterGuarded)).drop())
				continue
			}
			if m.past(e, s, to.member) {
				out = append(out, here().opening().ctMarkNot(markDirect).setCtMark(markDirect).count(e.counter(counterDirect)).accept())
			}
			out = append(out, here().ctMark(markDirect).acknowledged().setCtMark(markPast).rule(),
				here().ctMarkNot(markDirect).ctMarkNot(markPast).reset(false).count(e.counter(counterEarly)).accept())
		}
	}
	return out
}

// proofRules count what left past the guard.
func (m *Manager) proofRules(s *space) []rule {
	var out []rule
	for _, e := range m.entriesOf(s) {
		if !e.guarding {
			continue
		}
		for _, to := range m.servers(e, s) {
			out = append(out, e.to(to.addr).markNot(markOwn).ctMarkNot(markOwn).reset(false).count(e.counter(counterPassed)).accept())
		}
	}
	return out
}

// arrivedRules count, at the server, each new connection of a link's clients once, however often its SYN comes. Where the same
// ports are used again soon, conntrack may take the two for one: a SYN is the same connection's only until its client has
// acknowledged the server's answer, or one of them has reset it.
func (m *Manager) arrivedRules(s *space, want map[string][]rule) {
	for _, e := range m.edges {
		if slices.ContainsFunc(membersOf(s), func(x *member) bool { return x.who == e.To }) {
			want[chainArrived] = append(want[chainArrived], m.doorRules(e, s)...)
			for _, a := range m.clientAddrs(e, s) {
				here := func() *builder { return on().address(a, 0).port(uint16(e.Port), 1) } //nolint:gosec // a port
				want[chainArrived] = append(want[chainArrived], here().ctMark(markArrived).reset(true).setCtMark(0).rule(),
					here().opening().ctMarkNot(markArrived).setCtMark(markArrived).count(e.counter(counterArrived)).accept(),
					here().ctMark(markArrived).acknowledged().setCtMark(markOpen).rule())
				want[chainRefused] = append(want[chainRefused],
					on().address(a, 1).port(uint16(e.Port), 0).ctMark(markArrived).reset(true).setCtMark(0).rule()) //nolint:gosec // a port
			}
		}
		if s.entries[e] == nil {
			continue
		}
		for _, to := range m.servers(e, s) {
			want[chainArrived] = append(want[chainArrived], e.from(to.addr).ctMark(markDirect).reset(true).setCtMark(0).rule())
		}
	}
}

// doorRules keep connections out at the server that a link's clients open past the proxy though they should not: an attempt
// that was under way when the server got its address, or when its port was opened. What is dropped is repeated within a
// second, and goes to the proxy then.
func (m *Manager) doorRules(e *edge, s *space) []rule {
	var out []rule
	for _, from := range m.spacesInOrder() {
		n := from.entries[e]
		if from == s || n == nil || from.ports == nil || from.ports.count == 0 {
			continue
		}
		for _, a := range from.addrs() {
			if n.port(a) == 0 || a.Is6() && !from.loop6 {
				continue // its connections are not redirected
			}
			here := on().address(a, 0).port(uint16(e.Port), 1).opening().outside(from.ports) //nolint:gosec // a port
			switch how := m.wayTo(e, from, s); {
			case how == wayCut || how == waySilent && !m.sockets:
				continue
			case how == waySilent:
				here = here.heard()
			}
			out = append(out, here.count(e.counter(counterGuarded)).drop())
		}
	}
	return out
}

// way is where new connections of a link to one server go.
type way uint8

const (
	wayProxy  way = iota
	waySilent     // past the proxy: the port is closed
	wayCut        // past the proxy: a cut is between the two
)

// wayTo is the way from one namespace to the server in another.
func (m *Manager) wayTo(e *edge, from, to *space) way {
	for _, x := range membersOf(to) {
		switch {
		case x.who != e.To || !m.past(e, from, x):
		case m.silent[door{x.id, uint16(e.Port)}]: //nolint:gosec // a port
			return waySilent
		default:
			return wayCut
		}
	}
	return wayProxy
}

func (m *Manager) spacesInOrder() []*space {
	out := make([]*space, 0, len(m.spaces))
	for _, s := range m.spaces {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *space) int {
		if a.inode < b.inode {
			return -1
		}
		return 1
	})
	return out
}

func membersOf(s *space) []*member {
	out := make([]*member, 0, len(s.members))
	for _, x := range s.members {
		out = append(out, x)
	}
	slices.SortFunc(out, byName)
	return out
}

func byName(a, b *member) int { return strings.Compare(a.name+a.id, b.name+b.id) }

// clientAddrs lists the addresses of the namespaces in which a link enters, sorted.
func (m *Manager) clientAddrs(e *edge, server *space) []netip.Addr {
	var out []netip.Addr
	for _, s := range m.spaces {
		if s != server && s.entries[e] != nil {
			out = append(out, s.addrs()...)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// cutRules adds the rules of one cut to each receiver's namespace.
func (m *Manager) cutRules(c *cut, want map[*space]map[string][]rule) {
	x := m.members[c.Container]
	if x == nil {
		return
	}
	for _, p := range m.peers(c.Against, c.Container) {
		if p.space == x.space {
			continue
		}
		if c.In {
			stop(c, want[x.space], p.space.addrs(), counterIn)
		}
		if c.Out {
			stop(c, want[p.space], x.space.addrs(), counterOut)
		}
	}
}

// stop adds the rules that stop packets from addresses. Every cut counts what it would stop alone.
func stop(c *cut, want map[string][]rule, from []netip.Addr, what string) {
	add := func(match func() *builder, verdict func(*builder) rule) {
		want[chainCounts] = append(want[chainCounts], match().count(c.counter(what)).rule())
		want[chainCuts] = append(want[chainCuts], verdict(match()))
	}
	for _, a := range from {
		if c.Reject {
			rejects(a, add)
			continue
		}
		here := func() *builder { return on().address(a, 0) }
		if a.Is4() {
			add(here, (*builder).drop)
			continue
		}
		add(func() *builder { return here().other("icmpv6", unix.IPPROTO_ICMPV6) }, (*builder).drop)
		add(func() *builder { return here().icmp(true, expr.CmpOpLt, firstNeighbour) }, (*builder).drop)
	}
}

// The types of ICMP messages that cuts let through: what finds neighbours (ARP, which does that for IPv4, is no matter of
// these rules), and answers to what was rejected.
const (
	firstNeighbour = 133 // of ICMPv6, to the last in use
	unreachable4   = 3
	unreachable6   = 1
)

// rejects gives the rules that answer packets from an address. Answers of the other side's rules come through, or else
// nobody would learn of a rejection where packets are rejected both ways.
func rejects(from netip.Addr, add func(match func() *builder, verdict func(*builder) rule)) {
	here := func() *builder { return on().address(from, 0) }
	add(func() *builder { return here().tcp().reset(false) }, (*builder).rejectTCP)
	if from.Is4() {
		add(func() *builder { return here().other("tcp", unix.IPPROTO_TCP).other("icmp", unix.IPPROTO_ICMP) }, (*builder).rejectOther)
		add(func() *builder { return here().icmp(false, expr.CmpOpNeq, unreachable4) }, (*builder).rejectOther)
		return
	}
	add(func() *builder { return here().other("tcp", unix.IPPROTO_TCP).other("icmpv6", unix.IPPROTO_ICMPV6) }, (*builder).rejectOther)
	add(func() *builder {
		return here().icmp(true, expr.CmpOpGt, unreachable6).icmp(true, expr.CmpOpLt, firstNeighbour)
	}, (*builder).rejectOther)
}
