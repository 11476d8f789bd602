package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/discompose/discompose/agent/proxy"
)

// patience is how long a test waits for what must happen; nothing is measured by it.
const patience = 30 * time.Second

// loopback is a Network on 127.0.0.1 whose clients all asked for one destination.
type loopback struct {
	to      netip.AddrPort
	dialErr error
}

func (n loopback) Listen(ctx context.Context) ([]*net.TCPListener, error) {
	l, err := proxy.Listen(ctx, "tcp4", "127.0.0.1")
	return []*net.TCPListener{l}, err
}

func (n loopback) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	if n.dialErr != nil {
		return nil, n.dialErr
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil //nolint:forcetypeassert // of a tcp dial
}

func (n loopback) Original(*net.TCPConn) (netip.AddrPort, error) { return n.to, nil }

// rig is a link between test clients and a test server.
type rig struct {
	t      testing.TB
	link   *proxy.Link
	server *net.TCPListener
}

// newRig opens a link, and checks after the test that it leaves no goroutine and no descriptor.
func newRig(tb testing.TB, o proxy.Options) *rig {
	tb.Helper()
	goroutines, fds := runtime.NumGoroutine(), descriptors(tb)
	ls, err := loopback{}.Listen(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{t: tb, server: ls[0]}
	if o.Network == nil {
		o.Network = loopback{to: addr(ls[0].Addr())}
	}
	if r.link, err = proxy.Open(tb.Context(), o); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.link.Close(ctx); err != nil {
			tb.Errorf("%v\n%s", err, stacks())
		}
		ls[0].Close()
		r.eventually("no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
		r.eventually("no descriptor is left", func() bool { return descriptors(tb) <= fds })
		s := r.link.Snapshot()
		if s.Open != 0 || s.Upstream.Held != 0 || s.Downstream.Held != 0 {
			tb.Errorf("closed link still has %d connections, %d and %d bytes", s.Open, s.Upstream.Held, s.Downstream.Held)
		}
	})
	return r
}

func addr(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() } //nolint:forcetypeassert // of a TCP socket

func descriptors(tb testing.TB) int {
	tb.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, x := range d { // pipes and sockets; the runtime's own come and go
		if to, _ := os.Readlink("/proc/self/fd/" + x.Name()); strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// eventually polls a condition that must come true.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never: %s\n%+v\n%s", what, r.link.Snapshot(), stacks())
		}
	}
}

// connect opens a connection through the link and returns both of its ends.
func (r *rig) connect() (client, server *net.TCPConn) {
	r.t.Helper()
	return r.dial(r.link.Addrs()[0])
}

// through opens one through an attachment.
func (r *rig) through(a *proxy.Attachment) (client, server *net.TCPConn) {
	r.t.Helper()
	return r.dial(a.Addrs()[0])
}

func (r *rig) dial(at netip.AddrPort) (client, server *net.TCPConn) {
	r.t.Helper()
	c, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(at))
	if err != nil {
		r.t.Fatal(err)
	}
	_ = r.server.SetDeadline(time.Now().Add(patience))
	s, err := r.server.AcceptTCP()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, x := range []*net.TCPConn{c, s} {
		r.t.Cleanup(func() { x.Close() })
		_ = x.SetDeadline(time.Now().Add(2 * patience))
	}
	return c, s
}

func (r *rig) add(x proxy.Toxic) {
	r.t.Helper()
	if x.Toxicity == 0 {
		x.Toxicity = 1
	}
	if _, err := r.link.AddToxic(r.t.Context(), x); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := r.link.RemoveToxic(name); err != nil {
		r.t.Fatal(err)
	}
}

func toxicOf(kind, dir string, attrs map[string]any) proxy.Toxic {
	return proxy.Toxic{Type: kind, Stream: dir, Toxicity: 1, Attributes: attrs}
}

// noise is a stream of n bytes that seed determines.
type noise struct {
	src  *rand.ChaCha8
	left int64
}

func newNoise(seed uint64, n int64) *noise {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	return &noise{rand.NewChaCha8(s), n}
}

func (n *noise) Read(b []byte) (int, error) {
	if n.left == 0 {
		return 0, io.EOF
	}
	if int64(len(b)) > n.left {
		b = b[:n.left]
	}
	n.left -= int64(len(b))
	return n.src.Read(b)
}

// sendNoise writes n bytes in pieces of random size, and half-closes.
func sendNoise(c *net.TCPConn, seed uint64, n int64) error {
	return sendUntil(c, seed, n, nil)
}

// sendUntil sends up to n bytes, fewer if stop is closed before. With stop it pauses now and then.
func sendUntil(c *net.TCPConn, seed uint64, n int64, stop <-chan struct{}) error {
	src, sizes := newNoise(seed, n), rand.New(rand.NewPCG(seed, 1))
	buf := make([]byte, 64<<10)
	for {
		select {
		case <-stop:
			return c.CloseWrite()
		default:
		}
		k := 1 + sizes.IntN(len(buf))
		if sizes.IntN(2) == 0 {
			k = 1 + sizes.IntN(200)
		}
		if stop != nil && sizes.IntN(3) == 0 { // bulk in between, but leave the processors to the others
			time.Sleep(time.Duration(sizes.IntN(3000)) * time.Microsecond)
		}
		m, err := io.ReadFull(src, buf[:k])
		if m > 0 {
			if _, werr := c.Write(buf[:m]); werr != nil {
				return fmt.Errorf("write: %w", werr)
			}
		}
		if err != nil {
			return c.CloseWrite()
		}
	}
}

// expectNoise reads to the end and compares every byte with what sendNoise sent. It returns how many came.
func expectNoise(c io.Reader, seed uint64) (int64, error) {
	want, total := newNoise(seed, 1<<62), int64(0)
	got, ref := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := c.Read(got)
		if n > 0 {
			_, _ = io.ReadFull(want, ref[:n])
			if !bytes.Equal(got[:n], ref[:n]) {
				if x, ok := c.(io.Closer); ok {
					defer x.Close() // so that the sender ends too
				}
				return total, fmt.Errorf("bytes %d to %d differ", total, total+int64(n))
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("read after %d bytes: %w", total, err)
		}
	}
}
