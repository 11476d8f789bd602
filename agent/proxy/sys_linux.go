package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	sparePipes = 64
	backlog    = 4096
)

// pipe is what splice needs between two sockets.
type pipe struct{ r, w int }

// fill moves bytes from a socket into the empty pipe. 0 without error or again is the end of the stream.
func (p *pipe) fill(fd int) (n int, again bool, err error) { return splice(fd, p.w, pipeBytes) }

// drain moves up to most bytes from the pipe to a socket.
func (p *pipe) drain(fd, most int) (n int, again bool, err error) {
	n, again, err = splice(p.r, fd, most)
	if n == 0 && !again && err == nil {
		err = fmt.Errorf("splice from pipe: %w", unix.EPIPE)
	}
	return n, again, err
}

func splice(from, to, most int) (int, bool, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if n, again, done, err := settle("splice", int(n), err); done {
			return n, again, err
		}
	}
}

func readOnce(fd int, b []byte) (int, bool, error) {
	for {
		n, err := unix.Read(fd, b)
		if n, again, done, err := settle("read", n, err); done {
			return n, again, err
		}
	}
}

func writeOnce(fd int, b []byte) (int, bool, error) {
	for {
		n, err := unix.Write(fd, b)
		if n, again, done, err := settle("write", n, err); done {
			return n, again, err
		}
	}
}

// settle sorts the result of a system call that does not wait: again means that it would have had to, not done that it was
// interrupted. After an error n is 0.
func settle(name string, n int, err error) (_ int, again, done bool, _ error) {
	switch {
	case err == nil:
		return n, false, true, nil
	case errors.Is(err, unix.EINTR):
		return 0, false, false, nil
	case errors.Is(err, unix.EAGAIN):
		return 0, true, true, nil
	default:
		return 0, false, true, fmt.Errorf("%s: %w", name, err)
	}
}

// read takes bytes out of the pipe, which has some.
func (p *pipe) read(b []byte) (int, error) {
	n, again, err := readOnce(p.r, b)
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
