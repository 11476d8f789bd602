package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	bulkBytes   = 128 << 10 // one write
	loadThreads = 256       // more than there are connections
)

// blockingThreads makes this process's goroutines as good as threads that block in system calls, so that load generator
// and server cost no more than the same in C: a processor for each, no collector, no preemption to stop for.
func blockingThreads() {
	runtime.GOMAXPROCS(loadThreads)
	debug.SetGCPercent(-1)
}

// socket is a blocking TCP socket.
type socket int

func (s socket) read(b []byte) (int, error)  { return s.call(unix.SYS_READ, b) }
func (s socket) write(b []byte) (int, error) { return s.call(unix.SYS_WRITE, b) }
func (s socket) close()                      { _ = unix.Close(int(s)) }

// call blocks without the scheduler's knowledge: see blockingThreads.
func (s socket) call(nr uintptr, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(nr, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // for a system call
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, errno
		default:
			return int(n), nil
		}
	}
}

func (s socket) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := s.read(b)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("unexpected end of stream")
		}
		b = b[n:]
	}
	return nil
}

func (s socket) writeAll(b []byte) error {
	for len(b) > 0 {
		n, err := s.write(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func connect(at netip.AddrPort, mode byte) (socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make socket: %w", err)
	}
	s := socket(fd)
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}))
	if err == nil {
		err = s.writeAll([]byte{mode})
	}
	if err != nil {
		s.close()
		return 0, fmt.Errorf("connect to %v: %w", at, err)
	}
	return s, nil
}

// buffers keeps buffers of bulkBytes, for nothing collects them here.
var buffers = sync.Pool{New: func() any { b := make([]byte, bulkBytes); return &b }} //nolint:gochecknoglobals // a cache

// serveLoad accepts load connections for ever.
func serveLoad(fd int) error {
	for {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		_ = unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		go socket(c).serve()
	}
}

func (s socket) serve() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.close()
	held, _ := buffers.Get().(*[]byte)
	defer buffers.Put(held)
	buf, mode := *held, []byte{0}
	if s.readFull(mode) != nil {
		return
	}
	for {
		n, err := len(buf), error(nil)
		if mode[0] != modeSource {
			n, err = s.read(buf)
		}
		if err == nil && n > 0 && mode[0] != modeSink {
			err = s.writeAll(buf[:n])
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// bulk moves bytes one way through conns connections for d, and returns bytes per second. What it sends counts when the
// server has read it.
func bulk(at netip.AddrPort, mode byte, conns int, d time.Duration) (float64, error) {
	all := make([]socket, 0, conns)
	defer func() {
		for _, s := range all {
			s.close()
		}
	}()
	for range conns {
		s, err := connect(at, mode)
		if err != nil {
			return 0, err
		}
		all = append(all, s)
	}
	moved, errs := make([]int64, conns), make([]error, conns)
	began := time.Now()
	var work sync.WaitGroup
	for i, s := range all {
		work.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			moved[i], errs[i] = s.bulk(mode, began.Add(d))
		})
	}
	work.Wait()
	took, sum := time.Since(began), int64(0)
	for _, n := range moved {
		sum += n
	}
	return float64(sum) / took.Seconds(), errors.Join(errs...)
}

func (s socket) bulk(mode byte, until time.Time) (moved int64, err error) {
	held, _ := buffers.Get().(*[]byte)
	defer buffers.Put(held)
	for err == nil && time.Now().Before(until) {
		n := bulkBytes
		if mode == modeSource {
			n, err = s.read(*held)
		} else {
			err = s.writeAll(*held)
		}
		moved += int64(n)
	}
	if err != nil || mode == modeSource {
		return moved, err
	}
	if err := unix.Shutdown(int(s), unix.SHUT_WR); err != nil {
		return moved, fmt.Errorf("half-close: %w", err)
	}
	_, err = s.read(make([]byte, 1)) // the server has read everything
	return moved, err
}

// echoes sends a message of size bytes and waits for its echo, n times after a few to warm up, and returns the median.
func echoes(at netip.AddrPort, size, n int) (time.Duration, error) {
	s, err := connect(at, modeEcho)
	if err != nil {
		return 0, err
	}
	defer s.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	buf := make([]byte, size)
	var took []time.Duration
	for i := range n + n/10 {
		began := time.Now()
		if err := errors.Join(s.writeAll(buf), s.readFull(buf)); err != nil {
			return 0, fmt.Errorf("echo: %w", err)
		}
		if i >= n/10 {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
