package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
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

// churn makes n random changes to the link's toxics, and ends with none. Now and then an attachment comes and goes.
func churn(ctx context.Context, on *rig, seed uint64, n int) error { //nolint:gocognit // a table of random changes
	l, r := on.link, rand.New(rand.NewPCG(seed, 2))
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
		if r.IntN(10) == 0 {
			a, aerr := l.Attach(ctx, loopback{to: addr(on.server.Addr())})
			if aerr != nil {
				return aerr
			}
			_ = a.Close(ctx)
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

// duplex is many connections with noise both ways.
type duplex struct {
	*rig
	seed      uint64
	perStream int64
	stop      chan struct{}
	all       sync.WaitGroup
	total     atomic.Int64 // bytes that came
}

// stream sends noise from one end to the other and compares every byte. What it receives waits for thaw.
func (d *duplex) stream(n int, from, to *net.TCPConn, as io.Reader, until, thaw <-chan struct{}) {
	s := d.seed<<16 + uint64(n)
	d.all.Go(func() {
		if err := sendUntil(from, s, d.perStream, until); err != nil {
			d.t.Errorf("stream %d: %v", s, err)
		}
	})
	d.all.Go(func() {
		<-thaw
		n, err := expectNoise(as, s)
		if err != nil {
			d.t.Errorf("stream %d: %v", s, err)
			to.Close() // so that the sender ends too
		}
		d.total.Add(n)
	})
}

// connection opens connection i. The server of the first is frozen until stop, that of the second reads slowly, and the
// client of the third half-closes early.
func (d *duplex) connection(i int) {
	a := d.attach()
	client, server := d.through(a)
	if i%2 == 0 { // its connection goes on without it
		d.all.Go(func() { _ = a.Close(d.t.Context()) })
	}
	now := make(chan struct{})
	close(now)
	var as io.Reader = server
	until, thaw := d.stop, now
	switch i {
	case 0:
		thaw = d.stop
	case 1:
		as = slow{server}
	case 2:
		until = now
	}
	d.stream(2*i, client, server, as, until, thaw)
	d.stream(2*i+1, server, client, client, d.stop, now)
}

// survive sends noise both ways through conns connections while changes are made to toxics and attachments, and while
// others are reset in flight.
func survive(t *testing.T, conns, changes int, perStream int64, seed uint64) {
	t.Helper()
	r := newRig(t, proxy.Options{Name: "a->b:1", Seed: seed, Window: 256 << 10})
	d := &duplex{rig: r, seed: seed, perStream: perStream, stop: make(chan struct{})}
	for i := range conns {
		d.connection(i)
	}
	d.all.Go(func() { r.resets(d.stop) })
	if err := churn(t.Context(), r, seed, changes); err != nil {
		t.Error(err)
	}
	close(d.stop)
	d.all.Wait()
	r.eventually("all connections have ended", func() bool { return r.link.Snapshot().Open == 0 })
	s := r.link.Snapshot()
	if sum := s.Upstream.Bytes + s.Downstream.Bytes; sum < d.total.Load() || d.total.Load() == 0 {
		t.Errorf("the link counted %d bytes, %d arrived", sum, d.total.Load())
	}
	for _, c := range s.Closed {
		if c.By != "dial" { // a connection of resets may be reset while it is being dialled
			t.Errorf("connections were closed by the link: %+v", c)
		}
	}
	t.Logf("%d MB through %d connections under %d changes, %d resets", d.total.Load()>>20, conns, changes, s.PassedRST)
}

// resets opens connections to a server of its own through the link, and resets them in mid-stream, until stop.
func (r *rig) resets(stop <-chan struct{}) {
	ls, err := loopback{}.Listen(r.t.Context())
	if err != nil {
		r.t.Error(err)
		return
	}
	defer ls[0].Close()
	a, err := r.link.Attach(r.t.Context(), loopback{to: addr(ls[0].Addr())})
	if err != nil {
		r.t.Error(err)
		return
	}
	defer a.Close(r.t.Context())
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		c, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(a.Addrs()[0]))
		if err != nil {
			r.t.Error(err)
			return
		}
		s, err := ls[0].AcceptTCP()
		if err != nil {
			r.t.Error(err)
			return
		}
		_, _ = c.Write(make([]byte, 1+i%3*50_000))
		_, _ = s.Write(make([]byte, 1+i%4*30_000))
		first, second := c, s
		if i%2 == 0 {
			first, second = s, c
		}
		_ = first.SetLinger(0)
		first.Close()
		second.Close()
	}
}

func TestStreamsSurviveThousandChanges(t *testing.T) { survive(t, 4, 1000, 1<<62, 1) }

func TestTwoHundredConnectionsSurviveChanges(t *testing.T) { survive(t, 200, 40, 512<<10, 2) }

// TestSoak runs for DISCOMPOSE_SOAK_SECONDS with one seed after another.
func TestSoak(t *testing.T) {
	seconds, _ := strconv.Atoi(os.Getenv("DISCOMPOSE_SOAK_SECONDS"))
	if seconds == 0 {
		t.Skip("set DISCOMPOSE_SOAK_SECONDS")
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for seed := uint64(100); time.Now().Before(end) && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { survive(t, 1+int(seed%20), 500, 1<<62, seed) })
	}
}
