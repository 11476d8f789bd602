package routing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/discompose/discompose/agent/proxy"
)

// space is one network namespace of the project. What changes is guarded by the Manager's lock.
type space struct {
	inode    uint64
	ns       *os.File
	table    *table
	members  map[string]*member // by container id
	prefixes []netip.Prefix     // addresses of its interfaces, the loopback's excepted
	loop6    bool               // the loopback has ::1
	entries  map[*edge]*entry   // of links whose clients are here
	done     chan struct{}      // ends the address watch
	ports    *ports             // of the proxy's own connections
}

// entry is where connections of one link enter the proxy in one namespace.
type entry struct {
	at           *proxy.Attachment
	port4, port6 uint16 // 0 where there is none
}

// port is where connections to an address enter.
func (n *entry) port(to netip.Addr) uint16 {
	if to.Is4() {
		return n.port4
	}
	return n.port6
}

// in runs f on a thread that is in the namespace. What f opens stays there; f must not start goroutines that open more.
func in(ns *os.File, f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer own.Close() //nolint:errcheck // opened to read
	if err := enter(ns); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread must not serve anything else: it stays locked and ends with its goroutine.
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// enter moves this thread. The file may be closed meanwhile, when the namespace is let go: its descriptor is not used then,
// for it may be another file's already.
func enter(ns *os.File) error {
	raw, err := ns.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.Setns(int(fd), unix.CLONE_NEWNET) })
	return errors.Join(err, cerr)
}

// inodeOf identifies a namespace.
func inodeOf(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("identify network namespace: %w", err)
	}
	return st.Ino, nil
}

// openSpace makes the table of a namespace and begins to watch its addresses. Those that it has now are known when it
// returns; onChange is told of each change from then on, until done.
func openSpace(ns *os.File, inode uint64, tableName string, onChange func(add bool, p netip.Prefix, loop bool)) (*space, error) {
	s := &space{inode: inode, ns: ns, members: map[string]*member{}, entries: map[*edge]*entry{}, done: make(chan struct{})}
	var err error
	if s.table, err = openTable(ns, tableName); err != nil {
		return nil, err
	}
	if err := in(ns, func() error { s.ports = readPorts(); return nil }); err != nil {
		return nil, errors.Join(err, s.table.close())
	}
	updates := make(chan netlink.AddrUpdate, 16)
	handle := netns.NsHandle(ns.Fd())
	err = netlink.AddrSubscribeWithOptions(updates, s.done, netlink.AddrSubscribeOptions{
		Namespace: &handle, ErrorCallback: func(error) {}, // the namespace ends, or the process does
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch addresses: %w", err), s.table.close())
	}
	go func() {
		for u := range updates {
			if p, loop, ok := prefixOf(u.LinkAddress); ok {
				onChange(u.NewAddr, p, loop)
			}
		}
	}()
	if err := s.list(handle); err != nil { // after the watch has begun, so that none is missed
		close(s.done)
		return nil, errors.Join(err, s.table.close())
	}
	return s, nil
}

// list takes in the addresses that the namespace has now.
func (s *space) list(handle netns.NsHandle) error {
	h, err := netlink.NewHandleAt(handle, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	defer h.Close()
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		if a.IPNet == nil {
			continue
		}
		if p, loop, ok := prefixOf(*a.IPNet); ok {
			s.take(true, p, loop)
		}
	}
	return nil
}

func prefixOf(n net.IPNet) (p netip.Prefix, loop, ok bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return p, false, false
	}
	a = a.Unmap()
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones), a.IsLoopback(), !a.IsLinkLocalUnicast()
}

// take takes one change of an address in, and reports whether it changes what is to be rendered.
func (s *space) take(add bool, p netip.Prefix, loop bool) bool {
	if loop {
		was := s.loop6
		if p.Addr().Is6() {
			s.loop6 = add
		}
		return was != s.loop6
	}
	have := slices.Contains(s.prefixes, p)
	switch {
	case add && !have:
		s.prefixes = append(s.prefixes, p)
		slices.SortFunc(s.prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	case !add && have:
		s.prefixes = slices.DeleteFunc(s.prefixes, func(x netip.Prefix) bool { return x == p })
	default:
		return false
	}
	return true
}

// shared lists the addresses of s that lie in a network of other.
func (s *space) shared(other *space) []netip.Addr {
	var out []netip.Addr
	for _, p := range s.prefixes {
		if slices.ContainsFunc(other.prefixes, func(o netip.Prefix) bool { return o.Contains(p.Addr()) }) {
			out = append(out, p.Addr())
		}
	}
	return out
}

// addrs lists the addresses of the namespace's interfaces.
func (s *space) addrs() []netip.Addr {
	out := make([]netip.Addr, 0, len(s.prefixes))
	for _, p := range s.prefixes {
		out = append(out, p.Addr())
	}
	return out
}

// sockets are a link's sockets in one namespace. It implements proxy.Network.
type sockets struct {
	ns      *os.File
	ports   *ports
	refused func(by netip.AddrPort) // told of each server that refuses the proxy
}

// Listen opens a listener on each loopback. There may be no loopback yet: the namespace may just have been made.
func (n sockets) Listen(ctx context.Context) (out []*net.TCPListener, err error) {
	err = in(n.ns, func() error {
		four, err := proxy.Listen(ctx, "tcp4", "127.0.0.1")
		if err != nil {
			return fmt.Errorf("listen on 127.0.0.1: %w", err)
		}
		out = append(out, four)
		if six, err := proxy.Listen(ctx, "tcp6", "::1"); err == nil { // a kernel without IPv6 needs none
			out = append(out, six)
		}
		return nil
	})
	return out, err
}

// Original asks conntrack where an accepted connection was going before it was redirected.
func (n sockets) Original(c *net.TCPConn) (to netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return to, err
	}
	cerr := raw.Control(func(fd uintptr) {
		if a, ok := c.LocalAddr().(*net.TCPAddr); ok && a.IP.To4() == nil {
			to, err = original6(int(fd))
			return
		}
		to, err = original4(int(fd))
	})
	return to, errors.Join(err, cerr)
}

// closeSoon closes an attachment in the background, within a time.
func closeSoon(wg *sync.WaitGroup, a *proxy.Attachment, within time.Duration) {
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), within) //nolint:forbidigo // outlives whatever ended the namespace
		defer cancel()
		_ = a.Close(ctx) // at the end of ctx it has closed the connections too
	})
}
