package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"github.com/mdlayher/netlink"
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
	tcpTimeWait      = 6
	tcpNewSynRecv    = 12
	tcpListen        = 10
)

// tcpSocket is one TCP socket of a namespace.
type tcpSocket struct {
	family, state byte
	local, remote netip.AddrPort
	mark          uint32
	id            []byte // struct inet_diag_sockid
}

// dump lists the TCP sockets of a namespace in one of the states.
func dump(ns *os.File, states ...int) ([]tcpSocket, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{NetNS: int(ns.Fd())}) //nolint:gosec // a descriptor fits
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
		msgs, err := c.Execute(netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: req})
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
	s := tcpSocket{family: b[0], state: b[1], id: slices.Clone(id)}
	address := func(b []byte) netip.Addr {
		if s.family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16([16]byte(b[:16])).Unmap()
	}
	s.local = netip.AddrPortFrom(address(id[4:20]), binary.BigEndian.Uint16(id))
	s.remote = netip.AddrPortFrom(address(id[20:36]), binary.BigEndian.Uint16(id[2:]))
	attrs, err := netlink.UnmarshalAttributes(b[diagMsgSize:])
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

// destroy closes the connections of a namespace to a port of some addresses that go past the proxy with these listeners.
// Both ends learn at once: the kernel sends a RST and gives the program ECONNABORTED.
func destroy(ns *os.File, to []netip.Addr, port uint16, listeners []uint16) (closed int, err error) {
	// SYN_SENT, FIN_WAIT and the like too: everything but CLOSE and LISTEN.
	list, err := dump(ns, tcpEstablished, 2, 3, 4, 5, tcpTimeWait, 8, 9, 11, tcpNewSynRecv)
	if err != nil {
		return 0, err
	}
	// A redirected socket still shows the server's address: its other end is one of the listener's connections.
	proxied := map[netip.AddrPort]bool{}
	for _, s := range list {
		if slices.Contains(listeners, s.local.Port()) {
			proxied[s.remote] = true
		}
	}
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{NetNS: int(ns.Fd())}) //nolint:gosec // a descriptor fits
	if err != nil {
		return 0, fmt.Errorf("open socket diagnostics: %w", err)
	}
	defer c.Close() //nolint:errcheck // nothing is lost
	var errs []error
	for _, s := range list {
		if s.mark == markOwn || proxied[s.local] || s.state == tcpTimeWait || s.remote.Port() != port || !slices.Contains(to, s.remote.Addr()) {
			continue
		}
		req := make([]byte, diagReqSize)
		req[0], req[1] = s.family, unix.IPPROTO_TCP
		copy(req[8:], s.id)
		_, err := c.Execute(netlink.Message{Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge}, Data: req})
		switch {
		case err == nil:
			closed++
		case errors.Is(err, unix.ENOENT): // it has ended meanwhile
		default:
			errs = append(errs, fmt.Errorf("close connection %s to %s: %w", s.local, s.remote, err))
		}
	}
	return closed, errors.Join(errs...)
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
		chainRoute:   {on().address(a, 1).port(80).count("n").redirect(8080)},
		chainGuard:   {on().mark(markOwn).setCtMark(markOwn).accept(), on().address(a, 1).port(80).fresh().reset(false).drop()},
		chainProof:   {on().address(a, 1).ctMarkNot(markOwn).accept()},
		chainCounts:  {on().address(a, 0).count("n").rule()},
		chainArrived: {on().address(a, 0).port(80).opening().reopened().count("n").accept()},
		chainCuts:    {on().address(a, 0).tcp().count("n").rejectTCP(), on().address(a, 0).rejectOther()},
	}
	err = t.render(chainSpecs(), rules, []string{"n"})
	return errors.Join(err, t.close())
}
