package faulttest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/discompose/discompose/faults"
)

// Wire is what a fake link is like: so many connections in a second, each with a request, a response and an end. The zero
// value carries nothing.
type Wire struct {
	Name        string  // "app->web:80"
	Connections float64 // that clients open per second
	Request     int64   // bytes of each, client to server
	Response    int64   // bytes of each, server to client
	Idle        int64   // connections that stay open and say nothing
	Bypassed    bool    // its toxics are listed and its traffic goes past them
	Uncounted   bool    // nobody counts the connections that it refuses
}

// WireState is what a fault may change of a link and must give back.
type WireState struct {
	Routed bool
	Toxics int
	Downs  int // names that have it disabled
}

// Wire adds a link to the world.
func (w *World) Wire(x Wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wires[x.Name] = &wire{Wire: x, at: time.Now(), downs: map[string]bool{}, closed: map[faults.LinkClosed]float64{}}
}

// Unwire takes a link out of the world.
func (w *World) Unwire(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.wires, name)
}

// WireState observes a link.
func (w *World) WireState(name string) WireState {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.wires[name]
	if x == nil {
		return WireState{}
	}
	return WireState{Routed: true, Toxics: len(x.toxics), Downs: len(x.downs)}
}

// links is the world's proxy.
type links struct{ w *World }

func (l links) AddToxic(ctx context.Context, link string, t faults.Toxic) error {
	return l.change(ctx, link, func(x *wire) error {
		x.drop(t.Name)
		x.toxics = append(x.toxics, &wireToxic{Toxic: t})
		x.flow(t.Stream).begin(time.Now())
		return nil
	})
}

func (l links) RemoveToxic(ctx context.Context, link, name string) error {
	return l.change(ctx, link, func(x *wire) error {
		x.drop(name)
		return nil
	})
}

func (l links) Disable(ctx context.Context, link, by string) error {
	return l.change(ctx, link, func(x *wire) error {
		if len(x.downs) == 0 {
			x.closed[faults.LinkClosed{By: "down", Type: "down", How: "fin"}] += float64(x.Idle)
		}
		x.downs[by] = true
		return nil
	})
}

func (l links) Enable(ctx context.Context, link, by string) error {
	return l.change(ctx, link, func(x *wire) error {
		delete(x.downs, by)
		return nil
	})
}

func (l links) State(ctx context.Context, link string) (faults.LinkState, error) {
	if err := context.Cause(ctx); err != nil {
		return faults.LinkState{}, err
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	x, err := l.w.wire(link)
	if err != nil {
		return faults.LinkState{}, err
	}
	return x.state(), nil
}

func (l links) change(ctx context.Context, link string, f func(*wire) error) error {
	return l.w.act(ctx, func() (func() error, error) {
		x, err := l.w.wire(link)
		return func() error { return f(x) }, err
	})
}

// wire finds a link and lets time pass for it.
func (w *World) wire(name string) (*wire, error) {
	x := w.wires[name]
	if x == nil {
		return nil, fmt.Errorf("%w: %s", faults.ErrNoLink, name)
	}
	x.count(time.Now())
	return x, nil
}

type wire struct {
	Wire
	at                time.Time
	due               float64 // share of the next connection
	toxics            []*wireToxic
	past              []faults.ToxicState
	downs             map[string]bool
	closed            map[faults.LinkClosed]float64 // with Count 0
	accepted, refused float64
	up, down          wireFlow
}

// wireToxic is a toxic and what it did.
type wireToxic struct {
	faults.Toxic
	acted, chunksIn, chunksOut, bytesIn, bytesOut, ends, fin, rst float64
}

// wireFlow is what crossed in one direction since its toxics last changed.
type wireFlow struct {
	since              time.Time
	samples            float64
	busyBytes, busyFor float64 // for in seconds
}

func (f *wireFlow) begin(now time.Time) { *f = wireFlow{since: now} }

func (x *wire) flow(stream string) *wireFlow {
	if stream == "upstream" {
		return &x.up
	}
	return &x.down
}

// drop removes a toxic.
func (x *wire) drop(name string) {
	i := slices.IndexFunc(x.toxics, func(t *wireToxic) bool { return t.Name == name })
	if i < 0 {
		return
	}
	t := x.toxics[i]
	x.toxics = slices.Delete(x.toxics, i, i+1)
	if s := t.state(0); s.Acted > 0 {
		s.Active = false
		x.past = append(x.past, s)
	}
	x.flow(t.Stream).begin(time.Now())
}

// count moves the counters on by the traffic since the last look.
func (x *wire) count(now time.Time) {
	n, due := math.Modf(x.due + x.Connections*now.Sub(x.at).Seconds())
	x.at, x.due = now, due
	if len(x.downs) > 0 {
		x.refused += n
		return
	}
	x.accepted += n
	if !x.Bypassed {
		n = x.cross("upstream", n, x.Request)
		x.cross("downstream", n, x.Response)
	}
}

// cross lets n connections send their bytes in one direction and returns how many of them get all the way.
func (x *wire) cross(stream string, n float64, size int64) float64 {
	size0, chain := size, false
	for _, t := range x.toxics {
		if t.Stream != stream {
			continue
		}
		chain = true
		drawn := n * t.Toxicity
		t.acted += drawn
		t.chunksIn += drawn
		t.bytesIn += drawn * float64(size)
		switch t.Type {
		case "timeout":
			n -= drawn
			if t.attribute("timeout") > 0 {
				t.fin += drawn
				x.closed[faults.LinkClosed{By: t.Name, Type: t.Type, How: "fin"}] += drawn
			}
			continue
		case "reset_peer":
			n -= drawn
			t.rst += drawn
			x.closed[faults.LinkClosed{By: t.Name, Type: t.Type, How: "rst"}] += drawn
			continue
		case "limit_data":
			if limit := t.attribute("bytes"); limit < size {
				size = limit
				t.fin += drawn
				x.closed[faults.LinkClosed{By: t.Name, Type: t.Type, How: "fin"}] += drawn
			}
		case "slicer":
			t.chunksOut += drawn * max(0, float64(size)/float64(t.attribute("average_size"))-1)
		}
		t.chunksOut += drawn
		t.bytesOut += drawn * float64(size)
		t.ends += drawn
	}
	if f := x.flow(stream); chain {
		_, most := x.residence(stream, size0)
		f.samples += n
		f.busyBytes += n * float64(size)
		f.busyFor += n * most.Seconds()
	}
	return n
}

func (t *wireToxic) attribute(name string) int64 {
	v, _ := t.Attributes[name].(int64)
	return v
}

// residence is how long bytes are held in one direction: half of the connections no longer than median, none longer than
// most.
func (x *wire) residence(stream string, size int64) (median, most time.Duration) {
	for _, t := range x.toxics {
		if t.Stream != stream {
			continue
		}
		var d time.Duration
		switch t.Type {
		case "latency":
			d = time.Duration(t.attribute("latency")) * time.Millisecond
		case "bandwidth":
			d = time.Duration(size) * time.Millisecond / time.Duration(t.attribute("rate"))
		}
		if most += d; t.Toxicity > 0.5 {
			median += d
		}
	}
	return median, most
}

func (x *wire) state() faults.LinkState {
	s := faults.LinkState{
		Name: x.Name, Enabled: len(x.downs) == 0, Disabled: slices.Sorted(maps.Keys(x.downs)),
		Accepted: int64(x.accepted), Dialled: int64(x.accepted), Refused: int64(x.refused), At: x.at,
		Upstream: x.shown("upstream", x.Request), Downstream: x.shown("downstream", x.Response),
	}
	if x.Uncounted {
		s.Refused = 0
	}
	if s.Enabled {
		s.Open = x.Idle
	}
	for _, t := range x.toxics {
		_, most := x.residence(t.Stream, 0)
		s.Toxics = append(s.Toxics, t.state(x.Connections*most.Seconds()))
	}
	s.Toxics = append(s.Toxics, x.past...)
	for c, n := range x.closed {
		if c.Count = int64(n); c.Count > 0 {
			s.Closed = append(s.Closed, c)
		}
	}
	return s
}

// shown is one direction. What is still on its way through the chain is no sample yet.
func (x *wire) shown(stream string, size int64) faults.LinkFlow {
	f := x.flow(stream)
	s := faults.LinkFlow{Since: f.since}
	if slices.ContainsFunc(x.toxics, func(t *wireToxic) bool { return t.Stream == stream }) {
		median, most := x.residence(stream, size)
		inside := x.Connections * most.Seconds()
		s.Held = int64(inside * float64(size))
		s.Chained = x.Idle + int64(inside)
		s.Samples = int(max(0, f.samples-inside))
		if s.Samples > 0 {
			s.Residence, s.Longest = median, most
		}
		s.BusyBytes, s.BusyTime = int64(f.busyBytes), time.Duration(f.busyFor*float64(time.Second))
		if s.BusyTime > 0 {
			s.Rate = float64(s.BusyBytes) / s.BusyTime.Seconds()
		}
	}
	return s
}

// state is what the toxic did; inside is how many chunks are in it.
func (t *wireToxic) state(inside float64) faults.ToxicState {
	out := int64(max(0, t.chunksOut-inside))
	return faults.ToxicState{
		Name: t.Name, Type: t.Type, Stream: t.Stream, Toxicity: t.Toxicity, Active: true, Acted: int64(t.acted),
		ChunksIn: int64(t.chunksIn), ChunksOut: out, BytesIn: int64(t.bytesIn), BytesOut: int64(t.bytesOut),
		Ends: int64(t.ends), FIN: int64(t.fin), RST: int64(t.rst),
	}
}
