package proxy_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/discompose/discompose/agent/proxy"
)

// TestListensBeforeLoopbackIsUp runs itself in a network namespace of its own, as new as one of a container that starts.
func TestListensBeforeLoopbackIsUp(t *testing.T) {
	if os.Getenv("DISCOMPOSE_NEW_NETNS") != "" {
		listenBeforeLoopbackIsUp(t)
		return
	}
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestListensBeforeLoopbackIsUp$", "-test.v")
	c.Env = append(os.Environ(), "DISCOMPOSE_NEW_NETNS=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	}
	out, err := c.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("SKIPPED, not tested: this process may not make a network namespace")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func listenBeforeLoopbackIsUp(t *testing.T) {
	t.Helper()
	// As in a container whose other interface comes first: only then the kernel knows that 127.0.0.1 is not there.
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "b"}
	at10 := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 0, 0, 1), Mask: net.CIDRMask(24, 32)}}
	if err := errors.Join(netlink.LinkAdd(pair), netlink.AddrAdd(pair, at10), netlink.LinkSetUp(pair)); err != nil {
		t.Fatal(err)
	}
	at := map[string]*net.TCPListener{}
	for network, host := range map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"} {
		l, err := proxy.Listen(t.Context(), network, host)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		defer l.Close()
		at[network] = l
	}
	if c, err := net.DialTCP("tcp4", nil, at["tcp4"].Addr().(*net.TCPAddr)); err == nil { //nolint:forcetypeassert // of a TCP listener
		c.Close()
		t.Fatal("the loopback is up already: this proves nothing")
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	for network, l := range at {
		c, err := net.DialTCP(network, nil, l.Addr().(*net.TCPAddr)) //nolint:forcetypeassert // of a TCP listener
		if err != nil {
			if network == "tcp6" && errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Logf("there is no ::1 here: %v", err)
				continue
			}
			t.Errorf("%s, the loopback is up: %v", network, err)
			continue
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		c.Close()
	}
}
