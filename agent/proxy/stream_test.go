package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/discompose/discompose/agent/proxy"
)

// lossless are toxics that must not change a byte, whenever they come and go.
func lossless(r *rand.Rand) proxy.Toxic {
	dir := []string{"upstream", "downstream"}[r.IntN(2)]
	switch r.IntN(8) {
	case 0:
		return toxicOf("latency", dir, map[string]any{"latency": r.IntN(5), "jitter": r.IntN(3)})
	case 1:
		return toxicOf("bandwidth", dir, map[string]any{"rate": 20_000 + r.IntN(100_000)})
	case 2:
		return toxicOf("slow_close", dir, map[string]any{"delay": r.IntN(20)})
	case 3:
		return toxicOf("slicer", dir, map[string]any{"average_size": 500 + r.IntN(20_000), "size_variation": r.IntN(400)})
	case 4:
		return toxicOf("limit_data", dir, map[string]any{"bytes": 1 << 50})
	case 5:
		return toxicOf("reset_peer", dir, map[string]any{"timeout": 3_600_000}) // removed long before
	case 6:
		return toxicOf("latency", dir, map[string]any{"latency": 3_600_000}) // holds everything until it is removed
	default:
		return proxy.Toxic{Type: "timeout", Stream: dir, Toxicity: 0}
	}
}

// churn makes n random changes to the link's toxics, and ends with none.
func churn(ctx context.Context, l *proxy.Link, seed uint64, n int) error { //nolint:gocognit // a table of random changes
	r := rand.New(rand.NewPCG(seed, 2))
	var active []proxy.Toxic
	for i := range n {
		k := r.IntN(len(active) + 1)
		var err error
		switch {
		case len(active) == 0 || len(active) < 4 && r.IntN(3) == 0:
			x := lossless(r)
			x.Name = fmt.Sprint(x.Type, i)
			if r.IntN(3) == 0 && x.Type != "timeout" {
				x.Toxicity = 0.5
			}
			x, err = l.AddToxic(ctx, x)
			active = append(active, x)
		case k < len(active) && r.IntN(2) == 0:
			u := proxy.Update{}
			if active[k].Type == "latency" {
				u.Attributes = map[string]any{"latency": r.IntN(5)}
			}
			_, err = l.UpdateToxic(active[k].Name, u)
		default:
			k %= len(active)
			err = l.RemoveToxic(active[k].Name)
			active = append(active[:k], active[k+1:]...)
		}
		if err != nil {
			return err
		}
		if r.IntN(4) == 0 { // let bytes flow under this set of toxics
			select {
			case <-time.After(time.Duration(r.IntN(2000)) * time.Microsecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for _, x := range active {
		if err := l.RemoveToxic(x.Name); err != nil {
			return err
		}
	}
	return nil
}

// duplex sends noise both ways through conns connections while changes are made, and compares every byte.
func duplex(t *testing.T, conns, changes int, perStream int64, seed uint64) {
	t.Helper()
	r := newRig(t, proxy.Options{Name: "a->b:1", Seed: seed, Window: 256 << 10})
	var all sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	var total int64
	for i := range conns {
		client, server := r.connect()
		for j, pair := range [][2]*net.TCPConn{{client, server}, {server, client}} {
			s := seed<<16 + uint64(2*i+j)
			all.Go(func() {
				if err := sendUntil(pair[0], s, perStream, stop); err != nil {
					t.Errorf("stream %d: %v", s, err)
				}
			})
			all.Go(func() {
				n, err := expectNoise(pair[1], s)
				if err != nil {
					t.Errorf("stream %d: %v", s, err)
				}
				mu.Lock()
				total += n
				mu.Unlock()
			})
		}
	}
	if err := churn(t.Context(), r.link, seed, changes); err != nil {
		t.Error(err)
	}
	close(stop)
	all.Wait()
	r.eventually("all connections have ended", func() bool { return r.link.Snapshot().Open == 0 })
	s := r.link.Snapshot()
	if s.Upstream.Bytes+s.Downstream.Bytes != total || total == 0 {
		t.Errorf("the link counted %d + %d bytes, %d arrived", s.Upstream.Bytes, s.Downstream.Bytes, total)
	}
	if len(s.Closed) > 0 || s.PassedRST > 0 {
		t.Errorf("connections were closed by the link: %+v", s)
	}
	t.Logf("%d MB through %d connections under %d changes", total>>20, conns, changes)
}

func TestStreamsSurviveThousandChanges(t *testing.T) { duplex(t, 4, 1000, 1<<62, 1) }

func TestTwoHundredConnectionsSurviveChanges(t *testing.T) { duplex(t, 200, 40, 512<<10, 2) }

// TestSoak runs for DISCOMPOSE_SOAK_SECONDS with one seed after another.
func TestSoak(t *testing.T) {
	seconds, _ := strconv.Atoi(os.Getenv("DISCOMPOSE_SOAK_SECONDS"))
	if seconds == 0 {
		t.Skip("set DISCOMPOSE_SOAK_SECONDS")
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for seed := uint64(100); time.Now().Before(end) && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { duplex(t, 1+int(seed%20), 500, 1<<62, seed) })
	}
}

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
	go func() { done <- churn(t.Context(), r.link, 5, 150) }()
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
	go func() { done <- churn(t.Context(), r.link, 11, 200) }()
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
