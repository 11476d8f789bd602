package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"github.com/google/nftables/expr"
	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The parts of the kernel's inet_diag.h and sock_diag.h that are used here.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagMark         = 15 // INET_DIAG_MARK
	diagReqSize      = 56 // struct inet_diag_req_v2
	diagMsgSize      = 72 // struct inet_diag_msg
	diagIDOffset     = 4  // of struct inet_diag_sockid in inet_diag_msg
	diagIDSize       = 48
	tcpEstablished   = 1
	tcpListen        = 10
)

// tcpSocket is one TCP socket of a namespace.
type tcpSocket struct {
	family        byte
	local, remote netip.AddrPort
	mark          uint32
	id            []byte // struct inet_diag_sockid
}

// dump lists the TCP sockets of a namespace in one of the states.
func dump(ns *os.File, states ...int) ([]tcpSocket, error) {
	c, err := mdlayher.Dial(unix.NETLINK_SOCK_DIAG, &mdlayher.Config{NetNS: int(ns.Fd())})
	if err != nil {
		return nil, fmt.Errorf("open socket diagnostics: %w", err)
	}
	defer c.Close() //nolint:errcheck // nothing is lost
	var mask uint32
	for _, s := range states {
		mask |= 1 << s
	}
	var out []tcpSocket
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		req := make([]byte, diagReqSize)
		req[0], req[1] = family, unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(req[4:], mask)
		msgs, err := c.Execute(mdlayher.Message{Header: mdlayher.Header{Type: sockDiagByFamily, Flags: mdlayher.Request | mdlayher.Dump}, Data: req})
		if err != nil {
			return nil, fmt.Errorf("list sockets: %w", err)
		}
		for _, m := range msgs {
			if s, ok := parseSocket(m.Data); ok {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func parseSocket(b []byte) (tcpSocket, bool) {
	if len(b) < diagMsgSize {
		return tcpSocket{}, false
	}
	id := b[diagIDOffset : diagIDOffset+diagIDSize]
	s := tcpSocket{family: b[0], id: slices.Clone(id)}
	address := func(b []byte) netip.Addr {
		if s.family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16([16]byte(b[:16])).Unmap()
	}
	s.local = netip.AddrPortFrom(address(id[4:20]), binary.BigEndian.Uint16(id))
	s.remote = netip.AddrPortFrom(address(id[20:36]), binary.BigEndian.Uint16(id[2:]))
	attrs, err := mdlayher.UnmarshalAttributes(b[diagMsgSize:])
	if err != nil {
		return s, true
	}
	for _, a := range attrs {
		if a.Type == diagMark && len(a.Data) == 4 {
			s.mark = binary.NativeEndian.Uint32(a.Data)
		}
	}
	return s, true
}

// established lists the open connections of a namespace.
func established(ns *os.File) ([]tcpSocket, error) { return dump(ns, tcpEstablished) }

// listeningPorts is the set of ports on which a namespace accepts connections.
func listeningPorts(ns *os.File) (map[uint16]bool, error) {
	list, err := dump(ns, tcpListen)
	out := map[uint16]bool{}
	for _, s := range list {
		out[s.local.Port()] = true
	}
	return out, err
}

// pair is the two ends of a connection as its client's program sees them.
type pair struct{ local, remote netip.AddrPort }

// destroy closes the connections of a namespace to a port of some addresses that go past the proxy, and tells how many of
// them had been let past, and how many were there before. Both ends learn at once: the kernel sends a RST and gives the
// program ECONNABORTED.
func destroy(ns *os.File, to []netip.Addr, port uint16) (past, early int, err error) {
	// SYN_SENT, FIN_WAIT and the like too: everything but TIME_WAIT, CLOSE and LISTEN.
	list, err := dump(ns, tcpEstablished, 2, 3, 4, 5, 8, 9, 11)
	if err != nil {
		return 0, 0, err
	}
	list = slices.DeleteFunc(list, func(s tcpSocket) bool {
		return s.mark == markOwn || s.remote.Port() != port || !slices.Contains(to, s.remote.Addr())
	})
	if len(list) == 0 {
		return 0, 0, nil
	}
	// A redirected socket shows the server's address, too: only conntrack knows where its packets go.
	flows, err := tracked(ns)
	if err != nil {
		return 0, 0, err
	}
	c, err := mdlayher.Dial(unix.NETLINK_SOCK_DIAG, &mdlayher.Config{NetNS: int(ns.Fd())})
	if err != nil {
		return 0, 0, fmt.Errorf("open socket diagnostics: %w", err)
	}
	defer c.Close() //nolint:errcheck // nothing is lost
	var errs []error
	for _, s := range list {
		flow := flows[pair{s.local, s.remote}]
		if flow.redirected {
			continue
		}
		req := make([]byte, diagReqSize)
		req[0], req[1] = s.family, unix.IPPROTO_TCP
		copy(req[8:], s.id)
		_, err := c.Execute(mdlayher.Message{Header: mdlayher.Header{Type: sockDestroy, Flags: mdlayher.Request | mdlayher.Acknowledge}, Data: req})
		switch {
		case err == nil && (flow.mark == markDirect || flow.mark == markPast):
			past++
		case err == nil:
			early++
		case errors.Is(err, unix.ENOENT): // it has ended meanwhile
		default:
			errs = append(errs, fmt.Errorf("close connection %s to %s: %w", s.local, s.remote, err))
		}
	}
	return past, early, errors.Join(errs...)
}

// flow is what conntrack knows of a connection.
type flow struct {
	redirected bool // its packets go to the loopback
	mark       uint32
}

// tracked lists the TCP connections that conntrack knows in a namespace.
func tracked(ns *os.File) (map[pair]flow, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open connection tracking: %w", err)
	}
	defer h.Close()
	out := map[pair]flow{}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		list, err := h.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			return nil, fmt.Errorf("list tracked connections: %w", err)
		}
		for _, f := range list {
			from, ok1 := netip.AddrFromSlice(f.Forward.SrcIP)
			to, ok2 := netip.AddrFromSlice(f.Forward.DstIP)
			if f.Forward.Protocol != unix.IPPROTO_TCP || !ok1 || !ok2 {
				continue
			}
			ends := pair{netip.AddrPortFrom(from.Unmap(), f.Forward.SrcPort), netip.AddrPortFrom(to.Unmap(), f.Forward.DstPort)}
			out[ends] = flow{f.Reverse.SrcIP.IsLoopback() && !to.IsLoopback(), f.Mark}
		}
	}
	return out, nil
}

// unanswered matches connections that wait for the first answer of one of some servers, and do not go to the proxy.
type unanswered map[netip.AddrPort]bool

// MatchConntrackFlow reports whether conntrack is to forget a flow.
func (u unanswered) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	const synSent = 1 // TCP_CONNTRACK_SYN_SENT
	state, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP)
	to, okTo := netip.AddrFromSlice(f.Forward.DstIP)
	return ok && okTo && state.State == synSent && !f.Reverse.SrcIP.IsLoopback() && u[netip.AddrPortFrom(to.Unmap(), f.Forward.DstPort)]
}

// forget makes conntrack forget what waits for an answer of some servers. A connection attempt from before the redirect
// would go past the proxy for as long as it is repeated; the next repetition is a new one then.
func forget(ns *os.File, to unanswered) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open connection tracking: %w", err)
	}
	defer h.Close()
	var errs []error
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, family, to); err != nil {
			errs = append(errs, fmt.Errorf("forget unanswered connections: %w", err))
		}
	}
	return errors.Join(errs...)
}

// trySocket makes a rule that asks for a socket in this thread's namespace.
func trySocket() error {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // opened to read
	t, err := openTable(ns, "discompose_probe")
	if err != nil {
		return err
	}
	rules := map[string][]rule{chainArrived: {on().address(netip.MustParseAddr("192.0.2.1"), 0).port(80, 1).opening().heard().count("n").drop()}}
	return errors.Join(t.render(chainSpecs(), rules, []string{"n"}), t.close())
}

// inNew runs f on a thread in a network namespace that is made for it and ends with it.
func inNew(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("make network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}

// tryRules makes one rule of each sort in this thread's namespace.
func tryRules() error {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // opened to read
	t, err := openTable(ns, "discompose_probe")
	if err != nil {
		return err
	}
	a := netip.MustParseAddr("192.0.2.1")
	rules := map[string][]rule{
		chainRoute:   {on().address(a, 1).port(80, 1).opening().count("n").redirect(8080)},
		chainGuard:   {on().mark(markOwn).setCtMark(markOwn).accept(), on().address(a, 1).port(80, 1).reset(false).drop()},
		chainProof:   {on().address(a, 1).ctMarkNot(markOwn).accept()},
		chainCounts:  {on().address(a, 0).count("n").rule()},
		chainArrived: {on().address(a, 0).port(80, 1).ctMarkNot(markArrived).count("n").accept()},
		chainCuts:    {on().address(a, 0).tcp().rejectTCP(), on().address(a, 0).icmp(false, expr.CmpOpNeq, unreachable4).rejectOther()},
	}
	err = t.render(chainSpecs(), rules, []string{"n"})
	_, terr := tracked(ns)
	return errors.Join(err, terr, t.close())
}
