package routing

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/nftables"
	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newNS makes a network namespace with a loopback, or skips the test.
func newNS(t *testing.T) *os.File {
	t.Helper()
	var ns *os.File
	err := inNew(func() (err error) {
		if ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("this test makes network namespaces, which needs root: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func newTable(t *testing.T, ns *os.File, name string) *table {
	t.Helper()
	x, err := openTable(ns, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.close() })
	return x
}

// datagrams to the loopback, n of them.
func send(t *testing.T, ns *os.File, n int) {
	t.Helper()
	err := in(ns, func() error {
		for range n {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "udp", "127.0.0.1:9")
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("x"))
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func counted(t *testing.T, x *table, name string) int64 {
	t.Helper()
	got, err := x.read()
	if err != nil {
		t.Fatal(err)
	}
	n, ok := got[name]
	if !ok {
		t.Fatalf("there is no counter %s: %v", name, got)
	}
	return n
}

// inKernel is how many rules a chain really has.
func inKernel(t *testing.T, x *table, chain string) int {
	t.Helper()
	rules, err := x.conn.GetRules(x.t, x.chains[chain])
	if err != nil {
		t.Fatal(err)
	}
	return len(rules)
}

func TestCountersOutliveTheRulesThatFeedThem(t *testing.T) {
	ns := newNS(t)
	x := newTable(t, ns, "t")
	rules := func(names ...string) map[string][]rule {
		var out []rule
		for _, n := range names {
			out = append(out, on().address(netip.MustParseAddr("127.0.0.1"), 0).other("tcp", unix.IPPROTO_TCP).count(n).rule())
		}
		return map[string][]rule{chainCounts: out}
	}
	for i, step := range []struct {
		rules    []string
		a, b     int64
		counters []string
	}{
		{[]string{"a"}, 10, 0, []string{"a", "b"}},
		{[]string{"a", "b"}, 20, 10, []string{"a", "b"}}, // added to
		{[]string{"b"}, 20, 20, []string{"a", "b"}},      // written anew
		{nil, 20, 20, []string{"a", "b"}},
		{[]string{"b", "a"}, 30, 30, []string{"b", "a", "c"}},
	} {
		if err := x.render(chainSpecs(), rules(step.rules...), step.counters); err != nil {
			t.Fatal(err)
		}
		if got := inKernel(t, x, chainCounts); got != len(step.rules) {
			t.Errorf("step %d: %d rules in the kernel, want %d", i, got, len(step.rules))
		}
		send(t, ns, 10)
		// The loopback shows each datagram once at its input; what the kernel answers comes as ICMP, which is not TCP either.
		a, b := counted(t, x, "a"), counted(t, x, "b")
		if a != 2*step.a || b != 2*step.b {
			t.Errorf("step %d: a %d, b %d; want %d, %d", i, a, b, 2*step.a, 2*step.b)
		}
	}
}

func TestRulesThatTheKernelRefusesChangeNothing(t *testing.T) {
	ns := newNS(t)
	x := newTable(t, ns, "t")
	count := func(n string) rule { return on().count(n).rule() }
	if err := x.render(chainSpecs(), map[string][]rule{chainCounts: {count("a")}}, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	var bad []rule // several answers are errors
	for range 5 {
		bad = append(bad, count("no-such-counter"))
	}
	if err := x.render(chainSpecs(), map[string][]rule{chainCounts: {count("a")}, chainCuts: bad}, []string{"a", "b"}); err == nil {
		t.Fatal("a rule with an unknown counter was taken")
	}
	// A chain and a counter of the refused batch are not there: they must be made again.
	want := map[string][]rule{chainCounts: {count("b")}, chainCuts: {count("a"), count("b")}}
	for range 2 {
		if err := x.render(chainSpecs(), want, []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
	}
	for chain, n := range map[string]int{chainCounts: 1, chainCuts: 2} {
		if got := inKernel(t, x, chain); got != n {
			t.Errorf("chain %s has %d rules, want %d", chain, got, n)
		}
	}
	send(t, ns, 1)
	if got := counted(t, x, "b"); got == 0 {
		t.Error("the rules do not count")
	}
}

func TestManyRulesAreTakenAtOnce(t *testing.T) {
	ns := newNS(t)
	x := newTable(t, ns, "t")
	const n = 3000
	var rules []rule
	for i := range n {
		rules = append(rules, on().address(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 0).count("a").drop())
	}
	if err := x.render(chainSpecs(), map[string][]rule{chainCuts: rules}, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if got := inKernel(t, x, chainCuts); got != n {
		t.Errorf("%d rules in the kernel, want %d", got, n)
	}
}

// tables lists the names of a namespace's tables.
func tables(t *testing.T, ns *os.File) []string {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range list {
		out = append(out, x.Name)
	}
	slices.Sort(out)
	return out
}

func TestATableGoesWithItsSocket(t *testing.T) {
	ns := newNS(t)
	x := newTable(t, ns, "owned")
	if !x.owned {
		t.Skip("this kernel's tables have no owner (5.12)")
	}
	if _, err := openTable(ns, "owned"); !errors.Is(err, unix.EPERM) {
		t.Errorf("another one's table was taken: %v", err)
	}
	other := newTable(t, ns, "other")
	for range 3 {
		other.conn.DelTable(x.t)
	}
	if err := other.flush(); !errors.Is(err, unix.EPERM) {
		t.Errorf("another one's table was deleted: %v", err)
	}
	// The library reads the first refusal only: the others must not be taken for answers to what comes next.
	if err := other.render(chainSpecs(), map[string][]rule{chainCuts: {on().tcp().drop()}}, []string{"a"}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(other.close(), x.conn.CloseLasting()); err != nil { // as the end of the process does
		t.Fatal(err)
	}
	if got := tables(t, ns); len(got) > 0 {
		t.Errorf("tables %v are left", got)
	}
}

func TestOnAKernelWithoutOwnersATableIsRemovedAndReplaced(t *testing.T) {
	ns := newNS(t)
	open := func(name string) *table {
		x, err := openTableBy(ns, name, func(*mdlayher.Conn, string) error { return unix.EOPNOTSUPP })
		if err != nil {
			t.Fatal(err)
		}
		if err := x.render(chainSpecs(), map[string][]rule{chainCounts: {on().count("a").rule()}}, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	stale := open("discompose_1")
	send(t, ns, 1)
	if err := stale.conn.CloseLasting(); err != nil { // as the end of the process does
		t.Fatal(err)
	}
	if got := tables(t, ns); !slices.Equal(got, []string{"discompose_1"}) {
		t.Fatalf("tables %v, want the stale one", got)
	}
	x := open("discompose_1")
	if got := counted(t, x, "a"); got != 0 {
		t.Errorf("the stale table was not replaced: it has counted %d", got)
	}
	if err := x.conn.CloseLasting(); err != nil {
		t.Fatal(err)
	}
	x = open("discompose_2") // of another run
	if got := tables(t, ns); !slices.Equal(got, []string{"discompose_2"}) {
		t.Errorf("tables %v, want only the new one", got)
	}
	if err := x.close(); err != nil {
		t.Fatal(err)
	}
	if got := tables(t, ns); len(got) > 0 {
		t.Errorf("tables %v are left", got)
	}
}
