package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/discompose/discompose/agent/proxy"
)

func TestFrozenPeer(t *testing.T) {
	r := newRig(t, proxy.Options{Window: 1 << 20})
	client, server := r.connect()
	_ = server.SetReadBuffer(64 << 10)
	stop := make(chan struct{})
	sent := make(chan error, 1)
	go func() { sent <- sendUntil(client, 7, 64<<20, stop) }()

	before := uint64(0)
	var m runtime.MemStats
	var slowest time.Duration
	timed := func(f func()) {
		start := time.Now()
		f()
		slowest = max(slowest, time.Since(start))
	}
	kinds := []proxy.Toxic{
		toxicOf("latency", "upstream", map[string]any{"latency": 1}),
		toxicOf("bandwidth", "upstream", map[string]any{"rate": 100_000}),
		toxicOf("slicer", "upstream", map[string]any{"average_size": 100, "size_variation": 50}),
		toxicOf("reset_peer", "upstream", map[string]any{"timeout": 3_600_000}),
		toxicOf("limit_data", "upstream", map[string]any{"bytes": 1 << 50}),
		toxicOf("slow_close", "upstream", map[string]any{"delay": 1}),
	}
	for i := range 20 {
		for _, x := range kinds {
			timed(func() { r.add(x) })
		}
		r.eventually("the chain is as full as it may be, or nothing moves", func() bool {
			h := r.link.Snapshot().Upstream.Held
			time.Sleep(2 * time.Millisecond)
			return h > 0 && h == r.link.Snapshot().Upstream.Held
		})
		if h := r.link.Snapshot().Upstream.Held; h > 1<<20+32<<10 {
			t.Fatalf("round %d: %d bytes are held, more than the window", i, h)
		}
		for _, x := range kinds {
			timed(func() { r.remove(x.Type + "_upstream") })
		}
		runtime.GC()
		runtime.ReadMemStats(&m)
		if i == 5 {
			before = m.HeapAlloc
		}
	}
	if slowest > 5*time.Second {
		t.Errorf("a change took %v on a frozen peer", slowest)
	}
	if m.HeapAlloc > before+8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, m.HeapAlloc)
	}
	t.Logf("slowest change: %v", slowest)
	// The peer thaws: every byte is there, and the link goes back to the kernel.
	close(stop)
	n, err := expectNoise(server, 7)
	if err != nil || n == 0 {
		t.Errorf("after the freeze %d bytes came: %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestSlowReader(t *testing.T) {
	r := newRig(t, proxy.Options{Window: 256 << 10})
	client, server := r.connect()
	_ = server.SetReadBuffer(16 << 10)
	done := make(chan error, 1)
	const size = 12 << 20
	go func() { done <- sendNoise(client, 3, size) }()
	go func() { done <- churn(t.Context(), r, 5, 150) }()
	n, err := expectNoise(slow{server}, 3)
	if err != nil || n != size {
		t.Errorf("%d of %d bytes came: %v", n, size, err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// narrow is a Network whose connections to the server hold little.
type narrow struct{ loopback }

func (n narrow) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	c, err := n.loopback.Dial(ctx, to)
	if err == nil {
		_ = c.SetWriteBuffer(16 << 10)
	}
	return c, err
}

// block sends messages, none long enough for a pipe, until one does not get through. It returns how many bytes it sent.
func (r *rig) block(client *net.TCPConn, seed uint64) (sent int64) {
	r.t.Helper()
	src, b := newNoise(seed, 1<<62), make([]byte, 3000)
	for {
		_, _ = io.ReadFull(src, b)
		n, err := client.Write(b)
		if err != nil {
			r.t.Fatal(err)
		}
		sent += int64(n)
		if !r.passed(sent) {
			return sent
		}
	}
}

// passed reports whether n bytes go upstream within 20 ms or so.
func (r *rig) passed(n int64) bool {
	for range 200 {
		if r.link.Snapshot().Upstream.Bytes == n {
			return true
		}
		time.Sleep(100 * time.Microsecond)
	}
	return false
}

// TestBlockedMessageIsKept blocks the link in the middle of small messages, while others pass through the same movers.
func TestBlockedMessageIsKept(t *testing.T) {
	for name, toxic := range map[string]bool{"in the kernel": false, "taken into the chain": true} {
		t.Run(name, func(t *testing.T) { blockedMessage(t, toxic) })
	}
}

func blockedMessage(t *testing.T, toxic bool) {
	t.Helper()
	r := newRig(t, proxy.Options{Network: nothing{}})
	a, err := r.link.Attach(t.Context(), narrow{loopback{to: addr(r.server.Addr())}})
	if err != nil {
		t.Fatal(err)
	}
	client, server := r.through(a)
	_ = server.SetReadBuffer(16 << 10)
	sent := r.block(client, 4)
	for range 10 {
		c, s := r.through(a)
		go func() { _ = sendNoise(c, 5, 100_000) }()
		if n, err := expectNoise(s, 5); n != 100_000 || err != nil {
			t.Fatalf("past the blocked connection %d bytes came: %v", n, err)
		}
		s.Close()
		c.Close()
	}
	if toxic {
		r.add(toxicOf("slow_close", "upstream", nil))
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := expectNoise(server, 4); n != sent || err != nil {
		t.Errorf("%d of %d bytes came: %v", n, sent, err)
	}
}

// slow reads small pieces with pauses.
type slow struct{ r io.Reader }

func (s slow) Read(b []byte) (int, error) {
	if rand.IntN(50) == 0 {
		time.Sleep(time.Millisecond)
	}
	return s.r.Read(b[:min(len(b), 8<<10)])
}

// modes are a link without a toxic and one with a harmless toxic in both directions.
func modes(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Run("in the kernel", func(t *testing.T) { f(t, newRig(t, proxy.Options{})) })
	t.Run("in the chain", func(t *testing.T) {
		r := newRig(t, proxy.Options{})
		for _, dir := range []string{"upstream", "downstream"} {
			r.add(toxicOf("latency", dir, map[string]any{"latency": 1}))
		}
		f(t, r)
	})
}

func TestHalfClose(t *testing.T) {
	modes(t, func(t *testing.T, r *rig) {
		for _, first := range []string{"client", "server"} {
			a, b := r.connect()
			if first == "server" {
				a, b = b, a
			}
			if err := sendNoise(a, 1, 100_000); err != nil {
				t.Fatal(err)
			}
			if n, err := expectNoise(b, 1); n != 100_000 || err != nil {
				t.Fatalf("%s closed first: %d bytes: %v", first, n, err)
			}
			// The other way is still open, for as long as it likes.
			if err := sendNoise(b, 2, 3_000_000); err != nil {
				t.Fatal(err)
			}
			if n, err := expectNoise(a, 2); n != 3_000_000 || err != nil {
				t.Fatalf("after %s had closed: %d bytes: %v", first, n, err)
			}
		}
		r.eventually("connections end", func() bool { return r.link.Snapshot().Open == 0 })
	})
}

func TestResetIsPassedOn(t *testing.T) {
	modes(t, func(t *testing.T, r *rig) {
		for _, who := range []string{"client", "server"} {
			a, b := r.connect()
			if who == "server" {
				a, b = b, a
			}
			if _, err := a.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(b, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			_ = a.SetLinger(0)
			a.Close()
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the %s reset, the other side got %v", who, err)
			}
		}
		r.eventually("connections end", func() bool { return r.link.Snapshot().Open == 0 })
		if n := r.link.Snapshot().PassedRST; n != 2 {
			t.Errorf("%d resets were counted", n)
		}
	})
}

func TestResetReachesBlockedPeer(t *testing.T) {
	modes(t, func(t *testing.T, r *rig) {
		client, server := r.connect()
		_ = client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if err := sendNoise(client, 1, 1<<30); err == nil {
			t.Fatal("the server reads nothing, and a gigabyte went through")
		}
		_ = client.SetLinger(0)
		client.Close()
		r.eventually("the connection is gone", func() bool { return r.link.Snapshot().Open == 0 })
		if _, err := io.Copy(io.Discard, server); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server got %v", err)
		}
	})
}

func TestResetsInFlight(t *testing.T) {
	r := newRig(t, proxy.Options{Window: 128 << 10})
	done := make(chan error, 1)
	go func() { done <- churn(t.Context(), r, 11, 200) }()
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 30 {
		client, server := r.connect()
		var both sync.WaitGroup
		a, b := client, server
		if i%2 == 1 {
			a, b = b, a
		}
		var sent, got error // of b: the kernel tells one of them that the connection was reset
		both.Go(func() { _ = sendNoise(a, 1, 1<<30) })
		both.Go(func() { sent = sendNoise(b, 2, 1<<30) })
		both.Go(func() { _, got = expectNoise(b, 1) })
		_, _ = io.CopyN(io.Discard, a, int64(rnd.IntN(500_000)))
		_ = a.SetLinger(0)
		a.Close()
		both.Wait()
		if reset := errors.Join(sent, got); !errors.Is(reset, syscall.ECONNRESET) {
			t.Errorf("connection %d: sending ended with %v, receiving with %v", i, sent, got)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.eventually("connections end", func() bool { return r.link.Snapshot().Open == 0 })
}

func TestLeavesKernelAndComesBack(t *testing.T) {
	r := newRig(t, proxy.Options{})
	client, server := r.connect()
	echo := func() {
		t.Helper()
		if _, err := client.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		echo()
		if s := r.link.Snapshot(); s.Upstream.Chained != 0 {
			t.Fatal("the chain is used without a toxic")
		}
		r.add(toxicOf("slow_close", "upstream", nil))
		if s := r.link.Snapshot(); s.Upstream.Chained != 1 || s.Downstream.Chained != 0 {
			t.Fatalf("after adding a toxic: %+v", s)
		}
		echo()
		r.remove("slow_close_upstream")
		r.eventually("the kernel moves the bytes", func() bool { return r.link.Snapshot().Upstream.Chained == 0 })
	}
}

func TestAdoptsOpenPair(t *testing.T) {
	r := newRig(t, proxy.Options{Network: loopback{}})
	left, _ := new(net.Dialer).DialContext(t.Context(), "tcp4", r.server.Addr().String())
	a, _ := r.server.AcceptTCP()
	right, _ := new(net.Dialer).DialContext(t.Context(), "tcp4", r.server.Addr().String())
	b, _ := r.server.AcceptTCP()
	defer left.Close()
	defer right.Close()
	if err := r.link.Adopt(a, b); err != nil {
		t.Fatal(err)
	}
	go func() { _ = sendNoise(left.(*net.TCPConn), 1, 1<<20) }() //nolint:forcetypeassert // of a tcp4 dial
	if n, err := expectNoise(right, 1); n != 1<<20 || err != nil {
		t.Errorf("%d bytes: %v", n, err)
	}
}

// TestRemovalKeepsOrder removes a toxic that holds bytes while the stage before it, and then the reader, pass it more.
func TestRemovalKeepsOrder(t *testing.T) {
	r := newRig(t, proxy.Options{Window: 256 << 10})
	client, server := r.connect()
	stop, sent := make(chan struct{}), make(chan error, 2)
	go func() { sent <- sendNoise(client, 9, 64<<20) }()
	go func() {
		n, err := expectNoise(server, 9)
		if err == nil && n != 64<<20 {
			err = fmt.Errorf("%d bytes came", n)
		}
		close(stop)
		sent <- err
	}()
	rounds := 0
	for ended := false; !ended && rounds < 1000; rounds++ {
		select {
		case <-stop:
			ended = true
		default:
		}
		if rounds%2 == 0 {
			r.add(proxy.Toxic{Name: "before", Type: "slow_close", Stream: "upstream"})
		}
		// Slices fill the queue behind the slicer and what waits before it.
		r.add(proxy.Toxic{Name: "x", Type: "slicer", Stream: "upstream", Attributes: map[string]any{"average_size": 100, "delay": 1}})
		for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {
			runtime.Gosched()
		}
		r.remove("x")
		if rounds%2 == 0 {
			r.remove("before")
		}
	}
	for range 2 {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d rounds", rounds)
}

// TestToxicLeavesTheOtherDirectionAlone holds one direction back for an hour, while megabytes go the other way.
func TestToxicLeavesTheOtherDirectionAlone(t *testing.T) {
	for _, way := range []string{"upstream", "downstream"} {
		t.Run(way, func(t *testing.T) { oneWay(t, way) })
	}
}

func oneWay(t *testing.T, way string) {
	t.Helper()
	const size = 5 << 20
	r := newRig(t, proxy.Options{})
	from, to := r.connect() // in the direction of the toxic
	if way == "downstream" {
		from, to = to, from
	}
	flows := func() (toxic, other proxy.Flow) {
		s := r.link.Snapshot()
		if way == "downstream" {
			return s.Downstream, s.Upstream
		}
		return s.Upstream, s.Downstream
	}
	r.add(toxicOf("latency", way, map[string]any{"latency": 3_600_000}))
	if _, err := from.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	r.eventually("the toxic holds the bytes", func() bool { x, _ := flows(); return x.Held == 4 })
	go func() { _ = sendNoise(to, 1, size) }()
	if n, err := expectNoise(from, 1); n != size || err != nil {
		t.Errorf("%d of %d bytes came: %v", n, size, err)
	}
	toxic, other := flows()
	if toxic.Bytes != 0 || toxic.Held != 4 {
		t.Errorf("the direction with the toxic: %+v", toxic)
	}
	if other != (proxy.Flow{Bytes: size}) {
		t.Errorf("the other direction: %+v", other)
	}
	r.remove("latency_" + way)
	if _, err := io.ReadFull(to, make([]byte, 4)); err != nil {
		t.Error(err)
	}
}
