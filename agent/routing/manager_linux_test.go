package routing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/discompose/discompose/agent"
)

// wire is a Manager with two namespaces that are linked by a cable: "web" at 10.9.0.1 and "db" at 10.9.0.2.
type wire struct {
	*testing.T
	m       *Manager
	web, db *os.File

	mu   sync.Mutex
	said []string
}

const wireLink = "web->db:5432"

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{T: t, web: newNS(t), db: newNS(t)}
	w.in(w.web, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(w.db.Fd())})
	})
	for ns, a := range map[*os.File]string{w.web: "10.9.0.1/24", w.db: "10.9.0.2/24"} {
		w.addr(ns, a)
	}
	w.m = NewManager(t.Context(), Options{Emit: func(string, any) {}, Log: func(s string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said = append(w.said, s)
	}})
	if err := w.m.open(agent.NetStart{Run: "1", Project: "p", Links: []agent.Edge{{Name: wireLink, From: "web", To: "db", Port: 5432}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.m.Close(); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.said) > 0 {
			t.Errorf("it said %q", w.said)
		}
	})
	w.join(w.web, "web")
	w.join(w.db, "db")
	return w
}

func (w *wire) in(ns *os.File, f func() error) {
	w.Helper()
	if err := in(ns, f); err != nil {
		w.Fatal(err)
	}
}

// addr gives a namespace one more address.
func (w *wire) addr(ns *os.File, a string) {
	w.Helper()
	w.in(ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(eth0, parsed), netlink.LinkSetUp(eth0))
	})
}

func (w *wire) join(ns *os.File, who string) {
	w.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()))
	if err != nil {
		w.Fatal(err)
	}
	inode, err := inodeOf(f)
	if err != nil {
		w.Fatal(err)
	}
	x := &member{id: who + "-id", who: who, name: who}
	if joined, err := w.m.join(x, nsFile{f, inode}, false); err != nil || !joined {
		w.Fatalf("joined %v: %v", joined, err)
	}
}

// serve listens on the server's port and hands out what it accepts.
func (w *wire) serve() (net.Listener, <-chan net.Conn) {
	w.Helper()
	var l net.Listener
	w.in(w.db, func() (err error) { l, err = (&net.ListenConfig{}).Listen(w.Context(), "tcp4", ":5432"); return err })
	w.Cleanup(func() { l.Close() })
	accepted := make(chan net.Conn, 100)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	return l, accepted
}

// dial connects from one port, or from any where that is 0.
func (w *wire) dial(ctx context.Context, port int) (net.Conn, error) {
	var c net.Conn
	err := in(w.web, func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 9, 0, 1), Port: port}}
		c, err = d.DialContext(ctx, "tcp4", "10.9.0.2:5432")
		return err
	})
	return c, err
}

// past lets connections past the proxy, as where a fault has closed the server's port: their ports are the client's own.
func (w *wire) past() {
	w.Helper()
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	// A cut that stops nothing: connections go past the proxy as long as it is there.
	w.m.cuts["past"] = &cut{Cut: agent.Cut{ID: "past", Container: "db-id", Against: []string{"web"}}, totals: map[string]int64{}}
	if err := w.m.render(); err != nil {
		w.Fatal(err)
	}
}

func (w *wire) report() agent.LinkReport {
	w.Helper()
	got, err := w.m.Reports()
	if err != nil || len(got) != 1 {
		w.Fatalf("reports %+v: %v", got, err)
	}
	return got[0]
}

func (w *wire) eventually(what string, ok func() bool) {
	w.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("not within 30 s: %s", what)
}

// tcp is a connection of a TCP listener or dialer.
func tcp(t *testing.T, c net.Conn) *net.TCPConn {
	t.Helper()
	out, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("%T is no TCP connection", c)
	}
	return out
}

func TestEachConnectionArrivesOnceHoweverItEnds(t *testing.T) { //nolint:gocognit // ways to end a connection, then each three times
	abort := func(c net.Conn) { _ = tcp(t, c).SetLinger(0); c.Close() }
	vanish := func(c net.Conn) { // without a segment
		raw, err := tcp(t, c).SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		var rerr error
		err = raw.Control(func(fd uintptr) { rerr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
		if err := errors.Join(err, rerr, c.Close()); err != nil {
			t.Error(err)
		}
	}
	for i, c := range []struct {
		name string
		deaf bool
		end  func(client, server net.Conn)
	}{
		{name: "the server refuses it", deaf: true},
		{name: "the client resets it", end: func(client, _ net.Conn) { abort(client) }},
		{name: "the server resets it", end: func(_, server net.Conn) { abort(server) }},
		{name: "the client closes it first", end: func(client, server net.Conn) { client.Close(); _, _ = io.Copy(io.Discard, server); abort(server) }},
		{name: "nobody sees its end", end: func(client, server net.Conn) { vanish(client); vanish(server) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t)
			w.past()
			var accepted <-chan net.Conn
			if !c.deaf {
				_, accepted = w.serve()
			}
			const times = 3
			for range times {
				client, err := w.dial(t.Context(), 20000+i)
				if c.deaf {
					if !errors.Is(err, unix.ECONNREFUSED) {
						t.Fatalf("connect to nobody: %v", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				server := <-accepted
				c.end(client, server)
				// Both ends are closed now or learn of it here.
				_, _ = io.Copy(io.Discard, client)
				_, _ = io.Copy(io.Discard, server)
				client.Close()
				server.Close()
			}
			if x := w.report(); x.Arrived != times || x.Direct != times || x.Redirects != 0 {
				t.Errorf("arrived %d, direct %d, redirected %d; want %d, %d, 0", x.Arrived, x.Direct, x.Redirects, times, times)
			}
		})
	}
}

func TestAConnectionWhoseOpeningIsRepeatedArrivesOnce(t *testing.T) {
	w := newWire(t)
	w.serve()
	if err := w.m.Cut(agent.Cut{ID: "c", Container: "db-id", Against: []string{"web"}, Out: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := w.dial(ctx, 0); ended <- err }()
	w.eventually("the server's answer is stopped twice", func() bool {
		state, err := w.m.CutState("c")
		return err == nil && state.Out >= 2
	})
	cancel()
	<-ended
	if x := w.report(); x.Arrived != 1 || x.Direct != 1 {
		t.Errorf("arrived %d, direct %d; want one connection", x.Arrived, x.Direct)
	}
}

func TestFiftyStartsLeaveNothingOpen(t *testing.T) {
	w := newWire(t)
	_, accepted := w.serve()
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	again := func() {
		w.m.leave(w.m.members["web-id"])
		w.join(w.web, "web")
		client, err := w.dial(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		server := <-accepted
		client.Close()
		_, _ = io.Copy(io.Discard, server)
		server.Close()
	}
	again() // what is opened once
	w.eventually("all is quiet", func() bool { return len(w.m.edges[0].link.Addrs()) == 2 })
	fds, routines := descriptors(), runtime.NumGoroutine()
	const starts = 50
	for range starts {
		again()
	}
	w.eventually("descriptors and goroutines are as before", func() bool {
		return descriptors() <= fds+5 && runtime.NumGoroutine() <= routines+5
	})
	x := w.report()
	if x.Clients != starts+2 || x.Redirects != starts+1 || x.Arrived != starts+1 {
		t.Errorf("%d clients, %d redirected, %d arrived; want %d, %d, %d: counters outlive namespaces",
			x.Clients, x.Redirects, x.Arrived, starts+2, starts+1, starts+1)
	}
}

func TestAddressesThatComeAllAtOnceAreAllRouted(t *testing.T) {
	w := newWire(t)
	w.serve()
	const n = 60
	for i := range n {
		w.addr(w.db, fmt.Sprintf("10.9.1.%d/24", i+1))
	}
	routed := func() string {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		for _, s := range w.m.spaces {
			if len(s.entries) > 0 {
				return strings.Join(s.table.rules[chainRoute], "\n")
			}
		}
		return ""
	}
	w.eventually("the last address is routed", func() bool { return strings.Contains(routed(), fmt.Sprintf("ip daddr 10.9.1.%d tcp", n)) })
	w.eventually("all addresses are routed", func() bool { return strings.Count(routed(), "redirect to") == n+1 })
	c, err := w.dial(t.Context(), 0)
	if err == nil {
		c.Close()
	}
}

func TestTwoCutsOfOnePairCountForThemselves(t *testing.T) {
	w := newWire(t)
	for _, id := range []string{"a", "b"} {
		if err := w.m.Cut(agent.Cut{ID: id, Container: "db-id", Against: []string{"w*"}, In: true}); err != nil {
			t.Fatal(err)
		}
	}
	reach := func() agent.ReachResult {
		got, err := w.m.Reach(t.Context(), agent.Reach{From: "web-id", To: "db-id"})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := reach(); got.Sent == 0 || got.Arrived > 0 {
		t.Errorf("through two cuts: %+v", got)
	}
	if err := w.m.Uncut("a"); err != nil {
		t.Fatal(err)
	}
	if got := reach(); got.Arrived > 0 {
		t.Errorf("through one cut: %+v", got)
	}
	if got, err := w.m.CutState("b"); err != nil || got.In != 2*reachEach {
		t.Errorf("the second cut: %+v, %v; want %d packets", got, err, 2*reachEach)
	}
	if err := w.m.Uncut("b"); err != nil {
		t.Fatal(err)
	}
	if got := reach(); got.Arrived != got.Sent {
		t.Errorf("after the cuts: %+v", got)
	}
	if got, err := w.m.CutState("b"); err != nil || got.Active {
		t.Errorf("the second cut is over: %+v, %v", got, err)
	}
}

func TestOperationsAreRefusedBeforeTheStart(t *testing.T) {
	m := NewManager(t.Context(), Options{Emit: func(string, any) {}, Log: func(string) {}})
	t.Cleanup(func() { m.Close() })
	var refused []string
	for name, args := range map[string]string{
		agent.OpNetLinks: "", agent.OpCut: `{"id":"a","container":"b","in":true}`, agent.OpNetConns: "", agent.OpUncut: `{"id":"a"}`, agent.OpCutState: `{"id":"a"}`,
	} {
		if _, err := m.Ops()[name](t.Context(), json.RawMessage(args)); errors.Is(err, errNotStarted) {
			refused = append(refused, name)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	slices.Sort(refused)
	if want := []string{agent.OpCut, agent.OpNetLinks}; !slices.Equal(refused, want) { // a cut of a child that ended is over
		t.Errorf("refused %v, want %v", refused, want)
	}
}

func TestAClosedPortIsPassedUntilItIsOpenAgain(t *testing.T) {
	w := newWire(t)
	l, _ := w.serve()
	set := func(id string, on bool) {
		if err := w.m.SetDirect(agent.Direct{ID: id, Container: "db-id", On: on}); err != nil {
			t.Fatal(err)
		}
	}
	through := func() bool { // the proxy, or past it
		before := w.report()
		c, err := w.dial(t.Context(), 0)
		if err == nil {
			c.Close()
		}
		after := w.report()
		if after.Redirects+after.Direct == before.Redirects+before.Direct {
			t.Fatalf("one connection changed %+v into %+v", before, after)
		}
		return after.Redirects > before.Redirects
	}
	set("a", true)
	if !through() {
		t.Error("a connection to an open port went past the proxy")
	}
	l.Close()
	w.eventually("connections go past the proxy", func() bool { return !through() })
	if _, err := w.dial(t.Context(), 0); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect to a closed port: %v, want it refused", err)
	}
	set("b", true)
	set("a", false)
	if through() {
		t.Error("one of two faults ended, and connections go through the proxy")
	}
	w.serve()
	w.eventually("the open port is routed again", through)
	set("b", false)
	w.m.leave(w.m.members["db-id"])
	w.join(w.db, "db")
	if !through() {
		t.Error("after the faults a connection went past the proxy")
	}
}

// TestAnAttemptFromBeforeTheServerWasKnownGoesThroughTheProxy dials a server that does not answer yet, as where its container
// is being started: the first SYN waits for the server's hardware address, and no rule has seen where it goes.
func TestAnAttemptFromBeforeTheServerWasKnownGoesThroughTheProxy(t *testing.T) {
	w := newWire(t)
	link := func(up bool) {
		w.in(w.db, func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			if up {
				return netlink.LinkSetUp(eth0)
			}
			return netlink.LinkSetDown(eth0)
		})
	}
	link(false)
	w.m.leave(w.m.members["db-id"])
	w.serve()
	dialled := make(chan error, 1)
	go func() {
		c, err := w.dial(t.Context(), 0)
		if err == nil {
			err = c.Close()
		}
		dialled <- err
	}()
	w.eventually("the attempt is under way", func() bool {
		list, err := dump(w.web, 2) // SYN_SENT
		return err == nil && len(list) == 1
	})
	w.join(w.db, "db")
	link(true)
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	w.eventually("it has gone through the proxy", func() bool {
		x := w.report()
		return x.Redirects == 1 && x.Arrived == 1 && x.Direct == 0
	})
}
