package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pipeBytes  = 256 << 10 // asked for; the kernel may give less
	smallBytes = 16 << 10
	sparePipes = 64
	tcpClosed  = 7 // TCP_CLOSE of include/net/tcp_states.h
	backlog    = 4096
)

// pipe is what splice needs between two sockets. Messages that fit into its buffer are copied through that instead: it
// costs as many system calls, and they are cheaper.
type pipe struct {
	r, w  int
	small []byte // what is in buf and not yet written
	bulk  bool   // the last message did not fit
	buf   [smallBytes]byte
}

// fill moves bytes from a socket into the empty pipe. 0 without error is the end of the stream.
func (p *pipe) fill(fd int) (n int, again bool, err error) {
	if p.bulk {
		n, again, err = spliceOnce(fd, p.w, pipeBytes)
		p.bulk = n >= smallBytes
		return n, again, err
	}
	n, again, err = once("read", func() (int, error) { return unix.Read(fd, p.buf[:]) })
	p.small = p.buf[:n]
	p.bulk = n == smallBytes
	return n, again, err
}

// drain moves up to most bytes from the pipe to a socket.
func (p *pipe) drain(fd, most int) (n int, again bool, err error) {
	if len(p.small) > 0 {
		n, again, err = once("write", func() (int, error) { return unix.Write(fd, p.small) })
		p.small = p.small[n:]
		return n, again, err
	}
	n, again, err = spliceOnce(p.r, fd, most)
	if n == 0 && !again && err == nil {
		err = fmt.Errorf("splice from pipe: %w", unix.EPIPE)
	}
	return n, again, err
}

func spliceOnce(from, to, most int) (int, bool, error) {
	return once("splice", func() (int, error) {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
}

// once makes a system call that does not wait; again means that it would have had to. After an error n is 0.
func once(name string, call func() (int, error)) (n int, again bool, err error) {
	for {
		n, err := call()
		switch {
		case err == nil:
			return n, false, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, true, nil
		default:
			return 0, false, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// read takes bytes out of the pipe.
func (p *pipe) read(b []byte) (int, error) {
	if len(p.small) > 0 {
		n := copy(b, p.small)
		p.small = p.small[n:]
		return n, nil
	}
	n, again, err := once("read pipe", func() (int, error) { return unix.Read(p.r, b) })
	if err == nil && (again || n == 0) {
		err = fmt.Errorf("read pipe: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// pipePool keeps empty pipes. The zero value is ready; safe for concurrent use.
type pipePool struct {
	mu     sync.Mutex
	spare  []*pipe
	closed bool
}

func (x *pipePool) get() (*pipe, error) {
	x.mu.Lock()
	if n := len(x.spare); n > 0 {
		p := x.spare[n-1]
		x.spare = x.spare[:n-1]
		x.mu.Unlock()
		return p, nil
	}
	x.mu.Unlock()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeBytes) // refused beyond the user's share: then it is 64 KiB
	return &pipe{r: fds[0], w: fds[1]}, nil
}

func (x *pipePool) put(p *pipe) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || len(x.spare) >= sparePipes {
		p.close()
		return
	}
	x.spare = append(x.spare, p)
}

func (x *pipePool) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	for _, p := range x.spare {
		p.close()
	}
	x.spare = nil
}

// isClosed reports whether the connection behind a socket is no more, as after a RST.
func isClosed(raw syscall.RawConn) bool {
	var state uint8
	_ = raw.Control(func(fd uintptr) { // fails on a closed descriptor: then whoever closed it deals with it
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return state == tcpClosed
}

// awaitSent gives what was written to a socket a moment to arrive, before a RST discards it.
func awaitSent(ctx context.Context, raw syscall.RawConn) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for range 50 {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		left := 0
		_ = raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if left == 0 {
			return
		}
		timer.Reset(time.Millisecond)
	}
}

// hangUp sends a FIN and no RST: it takes what lies unread, because a close would answer that with a RST.
func hangUp(c *net.TCPConn) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.Shutdown(int(fd), unix.SHUT_RDWR)
			buf := make([]byte, 64<<10)
			for {
				if n, err := unix.Read(int(fd), buf); n <= 0 && !errors.Is(err, unix.EINTR) {
					return
				}
			}
		})
	}
	_ = c.Close()
}

// refuse makes connect() to a listener fail with ECONNREFUSED, and keeps its port. Accept fails until listenAgain.
func refuse(l *net.TCPListener) error {
	return control(l, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) })
}

// listenAgain undoes refuse. It fails if the listener lost its port: it was not opened with Listen.
func listenAgain(l *net.TCPListener) error {
	return control(l, func(fd int) error {
		if err := unix.Listen(fd, backlog); err != nil {
			return err
		}
		at, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		port := 0
		switch at := at.(type) {
		case *unix.SockaddrInet4:
			port = at.Port
		case *unix.SockaddrInet6:
			port = at.Port
		}
		if want, ok := l.Addr().(*net.TCPAddr); !ok || want.Port != port {
			return fmt.Errorf("listener %v moved to port %d: open it with proxy.Listen", l.Addr(), port)
		}
		return nil
	})
}

// Listen opens a listener on a free port of host, in the namespace of the calling thread. network is "tcp4" or "tcp6"; one
// for IPv6 takes no IPv4. The namespace's loopback may still be down: connections reach the listener once it is up. What is
// accepted has no keep-alive: the proxy ends no connection that would have lived without it.
//
// A link that is taken down keeps the port: the kernel lets a socket that does not listen keep only a port that was asked
// for by number, so the port is found with one socket and taken with another.
func Listen(ctx context.Context, network, host string) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(network, _ string, raw syscall.RawConn) error {
		var serr error
		if err := raw.Control(func(fd uintptr) { serr = beforeBind(int(fd), network) }); err != nil {
			return err
		}
		return serr
	}}
	finder, err := lc.Listen(ctx, network, net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	defer finder.Close() //nolint:errcheck // it only found a port
	l, err := lc.Listen(ctx, network, finder.Addr().String())
	if err != nil {
		return nil, err
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %s %s: not TCP", network, host)
	}
	return t, nil
}

// beforeBind prepares a listener's socket. FREEBIND is what lets it take an address that no interface has yet.
func beforeBind(fd int, network string) error {
	set := func(level, name int) error { return unix.SetsockoptInt(fd, level, name, 1) }
	err := set(unix.SOL_SOCKET, unix.SO_REUSEPORT)
	if network == "tcp6" {
		return errors.Join(err, set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY), set(unix.IPPROTO_IPV6, unix.IPV6_FREEBIND))
	}
	return errors.Join(err, set(unix.IPPROTO_IP, unix.IP_FREEBIND))
}

func control(l *net.TCPListener, f func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}
