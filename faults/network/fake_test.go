package network_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
)

// box is a container of the fake world.
type box struct {
	name     string
	down     bool
	networks map[string]faults.Endpoint // by id
	own      error                      // why it has no networks of its own
}

// world is an engine and an agent over a few containers.
type world struct {
	mu    sync.Mutex
	boxes map[string]*box
	cuts  map[string]*cut

	lost      func(from, to string) int // how many of three datagrams are lost for no reason that the agent knows
	leaky     string                    // "in" or "out": a direction in which cuts stop nothing
	uncounted bool                      // cuts stop packets and count none
	stuck     bool                      // a disconnected container is still reached at its old addresses
	moved     string                    // the address that a connected container gets instead of its old one
	bare      bool                      // a connected container has no aliases
	calls     []string
}

type cut struct {
	faults.Cut
	count faults.CutCount
}

// volley is how many datagrams go to each address.
const volley = 3

// newWorld has web in front and back, db in back, cache in front, and lone in a network of its own.
func newWorld() *world {
	w := &world{boxes: map[string]*box{}, cuts: map[string]*cut{}, lost: func(string, string) int { return 0 }}
	for i, b := range []struct {
		name     string
		networks []string
	}{{"web", []string{"back", "front"}}, {"db", []string{"back"}}, {"cache", []string{"front"}}, {"lone", []string{"far"}}} {
		x := &box{name: b.name, networks: map[string]faults.Endpoint{}}
		for _, key := range b.networks {
			x.networks["id-"+key] = faults.Endpoint{
				Network: "id-" + key, Name: "shop_" + key, Key: key, Aliases: []string{b.name},
				Addresses: []string{fmt.Sprintf("10.0.%d.%d", len(key), i+2)}, Raw: json.RawMessage(`{"of":"` + key + `"}`),
			}
		}
		w.boxes[b.name] = x
	}
	return w
}

func (w *world) env(j faults.Journal) faults.Env {
	return faults.Env{Engine: w, Host: host{w}, Journal: j}
}

func (w *world) note(format string, args ...any) {
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

// set changes the world.
func (w *world) find(id string) (*box, error) {
	if b := w.boxes[id]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("%w: %s", faults.ErrGone, id)
}

func (w *world) Inspect(_ context.Context, id string) (faults.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.find(id)
	if err != nil {
		return faults.Container{}, err
	}
	return faults.Container{ID: id, Running: !b.down}, nil
}

func (*world) Do(context.Context, string, faults.Action) error { return errors.New("no such call") }

func (*world) Update(context.Context, string, faults.Limits) error { return errors.New("no such call") }

func (w *world) Endpoints(_ context.Context, id string) ([]faults.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.find(id)
	if err != nil {
		return nil, err
	}
	if b.own != nil {
		return nil, b.own
	}
	var out []faults.Endpoint
	for _, n := range slices.Sorted(maps.Keys(b.networks)) {
		out = append(out, b.networks[n])
	}
	return out, nil
}

func (w *world) Disconnect(_ context.Context, id, network string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.find(id)
	if err == nil {
		w.note("- %s %s", id, network)
		delete(b.networks, network)
	}
	return err
}

func (w *world) Connect(_ context.Context, id string, e faults.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.find(id)
	if err != nil {
		return err
	}
	w.note("+ %s %s %s", id, e.Network, e.Raw)
	if _, in := b.networks[e.Network]; in {
		return nil
	}
	if w.moved != "" {
		e.Addresses = []string{w.moved}
	}
	if w.bare {
		e.Aliases = nil
	}
	b.networks[e.Network] = e
	return nil
}

// host is the world's agent.
type host struct{ w *world }

func (host) Facts() faults.Facts {
	return faults.Facts{Has: []faults.Capability{faults.CapAgent, faults.CapPackets}}
}

func (h host) Call(_ context.Context, op string, args, out any) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	var answer any
	switch a := args.(type) {
	case faults.Cut:
		h.w.note("cut %s in=%t out=%t reject=%t %v", a.ID, a.In, a.Out, a.Reject, a.Against)
		h.w.cuts[a.ID] = &cut{Cut: a, count: faults.CutCount{Active: true}}
	case faults.CutID:
		if op == faults.OpUncut {
			delete(h.w.cuts, a.ID)
		} else if c := h.w.cuts[a.ID]; c != nil {
			answer = c.count
		}
	case faults.Reach:
		answer = h.w.reach(a)
	case faults.Peers:
		answer = h.w.peers(a)
	default:
		return fmt.Errorf("unknown operation %s", op)
	}
	raw, err := json.Marshal(answer)
	if err != nil || out == nil || answer == nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func (w *world) peers(p faults.Peers) (list faults.PeerList) {
	for _, id := range slices.Sorted(maps.Keys(w.boxes)) {
		if id != p.Container && !w.boxes[id].down && named(p.Against, id) {
			list.Peers = append(list.Peers, faults.Peer{Container: id, Name: w.boxes[id].name})
		}
	}
	return list
}

func named(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok })
}

func (w *world) reach(r faults.Reach) (out faults.ReachResult) { //nolint:gocognit // a fake kernel: one case after the other
	from, to := w.boxes[r.From], w.boxes[r.To]
	if from == nil || to == nil || from.down || to.down {
		return out
	}
	var shared []string
	for n, e := range to.networks {
		if _, ok := from.networks[n]; ok {
			shared = append(shared, e.Addresses...)
		}
	}
	asked := shared
	if len(r.Addresses) > 0 {
		asked = r.Addresses
	}
	out.Sent = volley * len(asked)
	stopped := false
	for _, id := range slices.Sorted(maps.Keys(w.cuts)) {
		c := w.cuts[id]
		in, outward := c.In && c.Container == r.To && named(c.Against, r.From), c.Out && c.Container == r.From && named(c.Against, r.To)
		if in && !w.uncounted {
			c.count.In += int64(out.Sent)
		}
		if outward && !w.uncounted {
			c.count.Out += int64(out.Sent)
		}
		if in || outward {
			out.Cuts = append(out.Cuts, id)
			stopped = stopped || (in && w.leaky != "in") || (outward && w.leaky != "out")
		}
	}
	for _, a := range asked {
		if !stopped && (slices.Contains(shared, a) || w.stuck) {
			out.Arrived += volley - w.lost(r.From, r.To)
		}
	}
	return out
}

// scene is a world with a journal, as the nemesis sees it.
type scene struct {
	t     *testing.T
	w     *world
	state *faults.State
	env   faults.Env
}

func open(t *testing.T) scene {
	t.Helper()
	s := scene{t: t, w: newWorld(), state: &faults.State{}}
	s.env = s.w.env(s.state)
	return s
}

func target(name string) faults.Target {
	return faults.Target{Service: name, Number: 1, Container: name, Name: name}
}

// begin does what Hold does up to the witness.
func (s scene) begin(id string, spec faults.Spec, f faults.Fault, on string) faults.Record {
	s.t.Helper()
	r, err := f.Prepare(s.t.Context(), s.env, target(on))
	if err != nil {
		s.t.Fatal(err)
	}
	r.ID = id
	if err := s.state.Intend(r); err != nil {
		s.t.Fatal(err)
	}
	if err := spec.Effect.Apply(s.t.Context(), s.env, r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s scene) confirm(spec faults.Spec, r faults.Record) (faults.Witness, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	return spec.Effect.Confirm(ctx, s.env, r, true)
}

// gone asks once for the witness that r is gone.
func (s scene) gone(spec faults.Spec, r faults.Record) (faults.Witness, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	return spec.Effect.Confirm(ctx, s.env, r, false)
}

func (s scene) end(spec faults.Spec, r faults.Record) faults.Witness {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	w, err := faults.Undo(ctx, s.env, spec.Effect, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// other makes the journal say that a fault of another package is active on a container.
func (s scene) other(kind faults.Kind, on string) faults.Record {
	s.t.Helper()
	r := faults.Record{V: faults.RecordVersion, ID: "other-" + on, Kind: kind, On: target(on), Want: json.RawMessage(`{}`)}
	if err := s.state.Intend(r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// bubble runs a subtest in a bubble of its own, where time passes at once.
func bubble(t *testing.T, name string, test func(s scene)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(open(t)) }) })
}
