package faulttest

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// Every container of the world is in the networks "front" and "back" and exchanges packets with every other one that runs.
const (
	packets = 200 // per second, in each direction
	volley  = 3   // datagrams that one reach sends to an address
)

// cut is what the agent keeps of a faults.Cut.
type cut struct {
	faults.Cut
	at      time.Time
	in, out float64
}

// place is a container's place in one network of the world.
func place(b *box, i int) faults.Endpoint {
	key := networkKeys()[i]
	e := faults.Endpoint{Network: "id-" + key, Name: "fake_" + key, Key: key, Aliases: []string{b.service()}}
	if b.running {
		e.Addresses = []string{fmt.Sprintf("10.0.%d.%d", i, b.number)}
	}
	e.Raw, _ = json.Marshal(map[string]any{"aliases": e.Aliases}) // of strings: it cannot fail
	return e
}

func networkKeys() []string { return []string{"back", "front"} }

// service is the name that cuts know a container by, without its number.
func (b *box) service() string {
	name, _, _ := strings.Cut(b.Name, "[")
	return name
}

// named reports whether one of the names of a cut stands for the container.
func (b *box) named(names []string) bool {
	return b.Name != "" && slices.ContainsFunc(names, func(pattern string) bool {
		ok, err := path.Match(pattern, b.service())
		return (ok && err == nil) || (pattern == "workload" && strings.HasPrefix(b.Name, "workload."))
	})
}

// alive reports whether the container has a network namespace.
func (b *box) alive() bool { return b.running && b.dead.IsZero() }

func (e engine) Endpoints(ctx context.Context, id string) ([]faults.Endpoint, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	b, err := e.w.find(id)
	if err != nil {
		return nil, err
	}
	return b.endpoints(), nil
}

func (b *box) endpoints() []faults.Endpoint {
	var out []faults.Endpoint
	for i, key := range networkKeys() {
		if !b.out[key] {
			out = append(out, place(b, i))
		}
	}
	return out
}

func (e engine) Disconnect(ctx context.Context, id, network string) error {
	return e.plug(ctx, id, network, true)
}

func (e engine) Connect(ctx context.Context, id string, to faults.Endpoint) error {
	return e.plug(ctx, id, to.Network, false)
}

func (e engine) plug(ctx context.Context, id, network string, out bool) error {
	return e.w.change(ctx, id, func(b *box) error {
		key, ok := strings.CutPrefix(network, "id-")
		if !ok || !slices.Contains(networkKeys(), key) {
			return fmt.Errorf("network %s not found", network)
		}
		if delete(b.out, key); out {
			b.out[key] = true
		}
		return nil
	})
}

// net carries out the agent's operations on networks; ok is false for any other.
func (h host) net(ctx context.Context, op string, raw json.RawMessage) (answer any, ok bool, err error) {
	switch op {
	case faults.OpCut:
		c, err := parse[faults.Cut](raw)
		if err != nil {
			return nil, true, err
		}
		return nil, true, h.w.change(ctx, c.Container, func(*box) error {
			h.w.cuts[c.ID] = &cut{Cut: c, at: time.Now()}
			return nil
		})
	case faults.OpUncut:
		c, err := parse[faults.CutID](raw)
		if err != nil {
			return nil, true, err
		}
		return nil, true, h.w.act(ctx, func() (func() error, error) {
			return func() error { delete(h.w.cuts, c.ID); return nil }, nil
		})
	case faults.OpCutState:
		c, err := parse[faults.CutID](raw)
		return h.w.cutCount(c.ID), true, err
	case faults.OpReach:
		r, err := parse[faults.Reach](raw)
		return h.w.reach(r), true, err
	case faults.OpPeers:
		p, err := parse[faults.Peers](raw)
		return h.w.peers(p), true, err
	}
	return nil, false, nil
}

func parse[T any](raw json.RawMessage) (v T, err error) {
	err = json.Unmarshal(raw, &v)
	return v, err
}

// others lists the running containers that names stand for, but one, by name.
func (w *World) others(than string, names []string) []*box {
	var out []*box
	for id := range w.boxes {
		if b, err := w.find(id); err == nil && id != than && b.alive() && b.named(names) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *box) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (w *World) peers(p faults.Peers) faults.PeerList {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := faults.PeerList{Peers: []faults.Peer{}}
	for _, b := range w.others(p.Container, p.Against) {
		list.Peers = append(list.Peers, faults.Peer{Container: b.ID, Name: b.Name})
	}
	return list
}

func (w *World) cutCount(id string) faults.CutCount {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.cuts[id]
	if c == nil {
		return faults.CutCount{}
	}
	since := time.Since(c.at)
	c.at = time.Now()
	if b, err := w.find(c.Container); err == nil && b.alive() {
		n := packets * since.Seconds() * float64(len(w.others(c.Container, c.Against)))
		if c.In && !w.deaf {
			c.in += n
		}
		if c.Out && !w.deaf && !b.paused {
			c.out += n
		}
	}
	return faults.CutCount{Active: true, In: int64(c.in), Out: int64(c.out)}
}

// between lists the cuts that stop packets from one container to another, by id.
func (w *World) between(from, to *box) []*cut {
	var out []*cut
	for _, id := range sorted(w.cuts) {
		c := w.cuts[id]
		if (c.In && c.Container == to.ID && from.named(c.Against)) || (c.Out && c.Container == from.ID && to.named(c.Against)) {
			out = append(out, c)
		}
	}
	return out
}

// reach sends datagrams. In a deaf world cuts are kept and stop none.
func (w *World) reach(r faults.Reach) (got faults.ReachResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, ferr := w.find(r.From)
	to, terr := w.find(r.To)
	if ferr != nil || terr != nil || from == to || !from.alive() || !to.alive() {
		return got
	}
	var shared []string
	for i, key := range networkKeys() {
		if !from.out[key] && !to.out[key] {
			shared = append(shared, place(to, i).Addresses...)
		}
	}
	stop := w.between(from, to)
	for _, c := range stop {
		got.Cuts = append(got.Cuts, c.ID)
	}
	asked := r.Addresses
	if len(asked) == 0 {
		asked = shared
	}
	for _, a := range asked {
		got.Sent += volley
		switch {
		case !slices.Contains(shared, a):
		case len(stop) == 0 || w.deaf:
			got.Arrived += volley
		default:
			for _, c := range stop {
				if c.Container == to.ID {
					c.in += volley
				} else {
					c.out += volley
				}
			}
		}
	}
	return got
}
