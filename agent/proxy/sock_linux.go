package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const tcpClosed = 7 // TCP_CLOSE of include/net/tcp_states.h

// sock is a TCP socket that a mover watches, and Go's poller does not: two pollers would wake two threads for each
// message. Its calls never wait. They fail with net.ErrClosed once it is closed.
type sock struct {
	m    *mover
	slot int32 // in m
	life int32 // of the slot

	mu     sync.RWMutex // held to read during system calls, to write while closing
	fd     int
	closed bool

	in, out  signal      // a read, a write may succeed; or closed
	hup      atomic.Bool // the connection has broken, or both sides have ended it
	from, to atomic.Pointer[direction]

	// onHangup is told, by the mover, that the peer ended its side (broken: the whole connection); nil: nobody is.
	onHangup func(s *sock, broken bool)
}

// newSock takes a connection over; c is closed without its peer noticing. After an error c is as it was.
func newSock(m *mover, c *net.TCPConn, onHangup func(s *sock, broken bool)) (*sock, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &sock{m: m, fd: -1, onHangup: onHangup}
	var derr error
	if err := raw.Control(func(fd uintptr) { s.fd, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if derr != nil {
		return nil, fmt.Errorf("duplicate descriptor: %w", derr)
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0) // the proxy ends nothing that would live without it
	if err := m.watch(s); err != nil {
		_ = unix.Close(s.fd)
		return nil, err
	}
	_ = c.Close()
	return s, nil
}

// hold keeps the descriptor open until release. It reports whether it still is.
func (s *sock) hold() bool {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return false
	}
	return true
}

func (s *sock) release() { s.mu.RUnlock() }

// read and write: again means that they would have to wait for in or out.
func (s *sock) read(b []byte) (n int, again bool, err error) {
	if !s.hold() {
		return 0, false, net.ErrClosed
	}
	defer s.release()
	return readOnce(s.fd, b)
}

func (s *sock) write(b []byte) (n int, again bool, err error) {
	if !s.hold() {
		return 0, false, net.ErrClosed
	}
	defer s.release()
	return writeOnce(s.fd, b)
}

// closeWrite sends a FIN. It fails silently when the peer is gone: the other direction learns that.
func (s *sock) closeWrite() {
	if s.hold() {
		defer s.release()
		_ = unix.Shutdown(s.fd, unix.SHUT_WR)
	}
}

// isClosed reports whether the connection is no more, as after a RST.
func (s *sock) isClosed() bool {
	if !s.hold() {
		return false // then whoever closed it deals with it
	}
	defer s.release()
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == tcpClosed
}

// unsent returns how many bytes the peer has not acknowledged yet.
func (s *sock) unsent() int {
	if !s.hold() {
		return 0
	}
	defer s.release()
	n, err := unix.IoctlGetInt(s.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// awaitSent gives what was written a moment to arrive, before a RST discards it.
func (s *sock) awaitSent(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for range 50 {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if s.unsent() == 0 {
			return
		}
		timer.Reset(time.Millisecond)
	}
}

// reset closes with a RST.
func (s *sock) reset() {
	s.end(func() {
		_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// hangUp closes with a FIN and no RST: it takes what lies unread, because a close would answer that with a RST.
func (s *sock) hangUp() {
	s.end(func() {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
		buf := make([]byte, 64<<10)
		for {
			if n, err := unix.Read(s.fd, buf); n <= 0 && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
}

func (s *sock) close() { s.end(func() {}) }

// end closes after f, once.
func (s *sock) end(f func()) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	f()
	s.m.forget(s)
	_ = unix.Close(s.fd)
	s.mu.Unlock()
	s.in.broadcast()
	s.out.broadcast()
}
