package proxy_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/discompose/discompose/agent/proxy"
)

// swap returns the ends of a connection as sender and receiver of a direction.
func swap(dir string, client, server *net.TCPConn) (from, to *net.TCPConn) {
	if dir == "downstream" {
		return server, client
	}
	return client, server
}

func count(t *testing.T, l *proxy.Link, name string) proxy.ToxicCount {
	t.Helper()
	for _, x := range l.Snapshot().Toxics {
		if x.Name == name {
			return x
		}
	}
	t.Fatalf("no toxic %s in %+v", name, l.Snapshot().Toxics)
	return proxy.ToxicCount{}
}

// each runs f for both directions, with the toxic added before and after the connection is opened.
func each(t *testing.T, x proxy.Toxic, f func(t *testing.T, r *rig, name string, from, to *net.TCPConn)) {
	for _, dir := range []string{"upstream", "downstream"} {
		for _, when := range []string{"new", "open"} {
			t.Run(dir+"/"+when, func(t *testing.T) {
				r := newRig(t, proxy.Options{})
				x.Stream, x.Name = dir, "x"
				if when == "new" {
					r.add(x)
				}
				client, server := r.connect()
				if when == "open" {
					r.add(x)
				}
				from, to := swap(dir, client, server)
				f(t, r, "x", from, to)
			})
		}
	}
}

func write(t *testing.T, c *net.TCPConn, n int) {
	t.Helper()
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

func TestLatency(t *testing.T) {
	x := toxicOf("latency", "", map[string]any{"latency": 200, "jitter": 50})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		start := time.Now()
		write(t, from, 10)
		if _, err := io.ReadFull(to, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 150*time.Millisecond {
			t.Errorf("10 bytes took %v", took)
		}
		// The other direction is not delayed: its bytes do not even enter a chain.
		write(t, to, 10)
		if _, err := io.ReadFull(from, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		flows := func() (flow, other proxy.Flow) {
			s := r.link.Snapshot()
			if count(t, r.link, name).Stream == "downstream" {
				return s.Downstream, s.Upstream
			}
			return s.Upstream, s.Downstream
		}
		r.eventually("both writes are counted", func() bool {
			flow, other := flows()
			return flow.Bytes == 10 && other.Bytes == 10
		})
		flow, other := flows()
		if flow.Samples != 1 || flow.Residence < 150*time.Millisecond || flow.Longest < flow.Residence {
			t.Errorf("residence: %+v", flow)
		}
		if other.Samples != 0 || other.Chained != 0 {
			t.Errorf("the other direction: %+v", other)
		}
		r.remove(name)
		if f := r.link.Snapshot(); f.Upstream.Samples != 0 || f.Downstream.Samples != 0 {
			t.Error("residences of the removed toxic are still shown")
		}
	})
}

func TestBandwidth(t *testing.T) {
	x := toxicOf("bandwidth", "", map[string]any{"rate": 1000})
	each(t, x, func(t *testing.T, r *rig, _ string, from, to *net.TCPConn) {
		start := time.Now()
		go func() { _ = sendNoise(from, 1, 300_000) }()
		if n, err := expectNoise(to, 1); n != 300_000 || err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if took := time.Since(start); took < 250*time.Millisecond {
			t.Errorf("300 kB at 1 MB/s took %v", took)
		}
		r.eventually("the last write is counted", func() bool {
			s := r.link.Snapshot()
			return s.Upstream.Bytes+s.Downstream.Bytes == 300_000
		})
		s := r.link.Snapshot()
		if f := max(s.Upstream.Rate, s.Downstream.Rate); f > 1.1e6 || f == 0 {
			t.Errorf("rate %v: %+v", f, s)
		}
	})
}

func TestSlicer(t *testing.T) {
	x := toxicOf("slicer", "", map[string]any{"average_size": 100, "size_variation": 10, "delay": 50})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		go func() { _ = sendNoise(from, 1, 20_000) }()
		if n, err := expectNoise(to, 1); n != 20_000 || err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if c := count(t, r.link, name); c.ChunksOut < 100 || c.ChunksOut <= c.ChunksIn || c.BytesOut != 20_000 {
			t.Errorf("slices: %+v", c)
		}
	})
}

func TestSlowClose(t *testing.T) {
	x := toxicOf("slow_close", "", map[string]any{"delay": 200})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		if err := sendNoise(from, 1, 1000); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if n, err := expectNoise(to, 1); n != 1000 || err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if took := time.Since(start); took < 150*time.Millisecond {
			t.Errorf("the end came after %v", took)
		}
		if c := count(t, r.link, name); c.Ends != 1 {
			t.Errorf("ends: %+v", c)
		}
	})
}

func TestTimeoutClosesAfterSilence(t *testing.T) {
	x := toxicOf("timeout", "", map[string]any{"timeout": 100})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		write(t, from, 1000)
		if n, err := io.Copy(io.Discard, to); n != 0 || err != nil {
			t.Errorf("%d bytes came, then %v", n, err)
		}
		if n, err := io.Copy(io.Discard, from); n != 0 || err != nil {
			t.Errorf("the sender got %d bytes, then %v", n, err)
		}
		r.eventually("it is counted", func() bool { return count(t, r.link, name).FIN == 1 })
		if c := count(t, r.link, name); c.FIN != 1 || c.BytesOut != 0 {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestTimeoutClosesWhenRemoved(t *testing.T) {
	x := toxicOf("timeout", "", map[string]any{"timeout": 0})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		write(t, from, 1000)
		r.eventually("the bytes are dropped", func() bool { return count(t, r.link, name).BytesIn == 1000 })
		r.remove(name)
		if n, err := io.Copy(io.Discard, to); n != 0 || err != nil {
			t.Errorf("%d bytes came, then %v", n, err)
		}
		r.eventually("it is counted", func() bool { return len(r.link.Snapshot().Closed) == 1 })
		want := proxy.Closed{By: name, Type: "timeout", How: "fin", Count: 1}
		if got := r.link.Snapshot().Closed; len(got) != 1 || got[0] != want {
			t.Errorf("closed: %+v", got)
		}
	})
}

func TestTimeoutLeavesNoHoleWhenRedrawn(t *testing.T) {
	r := newRig(t, proxy.Options{})
	r.add(proxy.Toxic{Name: "x", Type: "timeout", Stream: "upstream"})
	client, server := r.connect()
	write(t, client, 1000)
	r.eventually("the bytes are dropped", func() bool { return count(t, r.link, "x").BytesIn == 1000 })
	none := float32(0)
	if _, err := r.link.UpdateToxic("x", proxy.Update{Toxicity: &none}); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Write(make([]byte, 10))
	if n, err := io.Copy(io.Discard, server); n != 0 || err != nil {
		t.Errorf("%d bytes came after a hole, then %v", n, err)
	}
}

func TestResetPeer(t *testing.T) {
	x := toxicOf("reset_peer", "", map[string]any{"timeout": 20})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		write(t, from, 1000)
		for _, c := range []*net.TCPConn{to, from} {
			if n, err := io.Copy(io.Discard, c); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%d bytes came, then %v", n, err)
			}
		}
		r.eventually("it is counted", func() bool { return count(t, r.link, name).RST == 1 })
		if c := count(t, r.link, name); c.RST != 1 {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestLimitData(t *testing.T) {
	x := toxicOf("limit_data", "", map[string]any{"bytes": 100_000})
	each(t, x, func(t *testing.T, r *rig, name string, from, to *net.TCPConn) {
		go func() { _ = sendNoise(from, 1, 1<<20) }()
		if n, err := expectNoise(to, 1); n != 100_000 || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		r.eventually("it is counted", func() bool { return count(t, r.link, name).FIN == 1 })
		if c := count(t, r.link, name); c.FIN != 1 || c.BytesOut != 100_000 {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestDown(t *testing.T) {
	r := newRig(t, proxy.Options{})
	client, server := r.connect()
	for range 3 {
		if err := r.link.SetEnabled(false); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*net.TCPConn{client, server} {
			if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("an open connection got %d bytes, %v", n, err)
			}
		}
		at := net.TCPAddrFromAddrPort(r.link.Addrs()[0])
		if c, err := net.DialTCP("tcp4", nil, at); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection got %v, %v", c, err)
		}
		if err := r.link.SetEnabled(true); err != nil {
			t.Fatal(err)
		}
		client, server = r.connect()
		write(t, client, 10)
		if _, err := io.ReadFull(server, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	want := proxy.Closed{By: "down", Type: "down", How: "fin", Count: 3}
	if got := r.link.Snapshot().Closed; len(got) != 1 || got[0] != want {
		t.Errorf("closed: %+v", got)
	}
}

func TestDialError(t *testing.T) {
	for how, want := range map[proxy.Hangup]error{proxy.RST: syscall.ECONNRESET, proxy.FIN: io.EOF} {
		t.Run(how.String(), func(t *testing.T) {
			refused := errors.New("refused")
			r := newRig(t, proxy.Options{
				Network:     loopback{dialErr: refused},
				OnDialError: func(error) proxy.Hangup { return how },
			})
			c, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(r.link.Addrs()[0]))
			if err == nil { // else the reset was faster than connect's return
				defer c.Close()
				_, err = c.Read(make([]byte, 1))
			}
			if !errors.Is(err, want) {
				t.Errorf("the client got %v", err)
			}
			r.eventually("it is counted", func() bool {
				s := r.link.Snapshot()
				return s.Accepted == 1 && s.DialFailed == 1 && s.Dialled == 0 && s.Open == 0
			})
		})
	}
}

func TestToxicityIsDrawnPerConnectionFromSeed(t *testing.T) {
	draw := func(seed uint64) (acted int64, which []bool) {
		r := newRig(t, proxy.Options{Name: "l", Seed: seed})
		r.add(proxy.Toxic{Name: "x", Type: "latency", Toxicity: 0.5, Attributes: map[string]any{"latency": 1}})
		for i := range int64(60) {
			before := count(t, r.link, "x").Acted
			r.connect()
			r.eventually("the connection has its toxics", func() bool { return r.link.Snapshot().Downstream.Chained == i+1 })
			which = append(which, count(t, r.link, "x").Acted > before)
		}
		return count(t, r.link, "x").Acted, which
	}
	n, one := draw(1)
	if n < 10 || n > 50 {
		t.Errorf("%d of 60 connections were drawn", n)
	}
	_, again := draw(1)
	_, other := draw(2)
	same := func(a, b []bool) bool {
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	if !same(one, again) || same(one, other) {
		t.Errorf("draws do not follow the seed:\n%v\n%v\n%v", one, again, other)
	}
}

func TestBadToxicsAreRefused(t *testing.T) {
	r := newRig(t, proxy.Options{})
	for name, x := range map[string]proxy.Toxic{
		"type":             toxicOf("noop", "upstream", nil),
		"stream":           toxicOf("latency", "sideways", nil),
		"attribute":        toxicOf("latency", "upstream", map[string]any{"delay": 1}),
		"negative":         toxicOf("bandwidth", "upstream", map[string]any{"rate": -1}),
		"endless slices":   toxicOf("slicer", "upstream", map[string]any{"average_size": 0}),
		"slices too wide":  toxicOf("slicer", "upstream", map[string]any{"average_size": 10, "size_variation": 10}),
		"jitter overflows": toxicOf("latency", "upstream", map[string]any{"jitter": 1 << 62}),
		"toxicity":         {Type: "latency", Toxicity: 2},
	} {
		var api *proxy.APIError
		if _, err := r.link.AddToxic(t.Context(), x); !errors.As(err, &api) || api.Status != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := r.link.Toxics(); len(got) != 0 {
		t.Errorf("toxics: %+v", got)
	}
}
