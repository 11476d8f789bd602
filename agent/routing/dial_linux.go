package routing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ports are the source ports of the proxy's own connections in one namespace: none of those that the kernel gives to
// programs. Conntrack remembers a connection for a while after its end: a program that got a port of the proxy's would go
// past it, and a connection of the proxy's with a port of a program's would be sent back to the proxy.
type ports struct {
	first, count uint32 // tried in turn
	next         atomic.Uint32
}

const mostTries = 128

// portsOf chooses the ports above those that the kernel gives away in the namespace of this thread, or below where too few
// are left. Where that leaves none either, count is 0 and the kernel chooses.
func portsOf(ephemeral string) *ports {
	const least = 1024
	low, high := uint32(32768), uint32(60999) // the kernel's default
	var l, h uint32
	if n, err := fmt.Sscan(strings.TrimSpace(ephemeral), &l, &h); n == 2 && err == nil && l <= h && h <= 65535 {
		low, high = l, h
	}
	switch {
	case 65535-high >= least:
		return &ports{first: high + 1, count: 65535 - high}
	case low >= 20000+least:
		return &ports{first: 20000, count: low - 20000}
	}
	return &ports{}
}

// readPorts reads what portsOf needs; it must run in the namespace.
func readPorts() *ports {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return portsOf("")
	}
	return portsOf(string(b))
}

// take is the next port to try; 0 lets the kernel choose.
func (p *ports) take() int {
	if p == nil || p.count == 0 {
		return 0
	}
	return int(p.first + (p.next.Add(1)-1)%p.count)
}

// Dial connects from the namespace, with the mark that rules let through.
func (n sockets) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	fd := -1
	err := in(n.ns, func() (err error) {
		for range mostTries {
			// In use, or its last connection to the same server is not forgotten yet: the next.
			fd, err = dialFrom(n.ports.take(), to)
			if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	f := os.NewFile(uintptr(fd), "dial "+to.String())
	defer f.Close() //nolint:errcheck // the connection is a duplicate
	if err := connected(ctx, f); err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			n.refused(to)
		}
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return c.(*net.TCPConn), nil //nolint:forcetypeassert // of a TCP socket
}

// dialFrom makes a marked socket with a source port (0: any) and starts to connect it.
func dialFrom(port int, to netip.AddrPort) (fd int, err error) {
	family := unix.AF_INET6
	var from, addr unix.Sockaddr = &unix.SockaddrInet6{Port: port}, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		family = unix.AF_INET
		from, addr = &unix.SockaddrInet4{Port: port}, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	made := fd // the result is -1 where the deferred function has something to do
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(made))
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, markOwn); err != nil {
		return -1, os.NewSyscallError("setsockopt SO_MARK", err)
	}
	if port > 0 {
		// A port whose last connection has just ended may be taken again, and a program may listen on it any time.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return -1, os.NewSyscallError("setsockopt SO_REUSEADDR", err)
		}
		if err := unix.Bind(fd, from); err != nil {
			return -1, os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, addr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// connected waits until a socket is connected, or has failed to be, or ctx ends.
func connected(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // it is pollable
	defer stop()
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			failed = os.NewSyscallError("getsockopt", err)
		case code != 0:
			failed = os.NewSyscallError("connect", unix.Errno(code))
		default:
			_, err := unix.Getpeername(int(fd))
			return err == nil // ENOTCONN: not yet
		}
		return true
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(failed, err)
}
