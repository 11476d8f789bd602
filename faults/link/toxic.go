// Package link provides the faults of TCP links: latency, bandwidth, slow_close, timeout, reset_peer, slicer and
// limit_data, which are Toxiproxy's toxics, and down.
//
// They share one piece: a record holds the toxics that it wants on its link, one per direction, and any number of records
// put theirs side by side, so there is no base value to keep. A witness is what the proxy did to real traffic, never the
// toxic read back. Effects hold no state and are safe for concurrent use. The package imports only faults and
// internal/units of this module.
package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/discompose/discompose/faults"
)

// The directions of a link, as Toxiproxy calls them.
const (
	upstream   = "upstream"
	downstream = "downstream"
	both       = "both"
)

// Scope says which bytes and which connections of a link a toxic acts on. The zero value is what the server sends, on
// every connection.
type Scope struct {
	Direction string   `toml:"direction" default:"downstream" enum:"upstream|downstream|both" doc:"whose bytes it acts on: upstream is client to server, downstream server to client"`
	Toxicity  *float64 `toml:"toxicity" default:"1" doc:"share of the connections that it acts on, above 0 and at most 1; drawn once per connection"`
}

// validate reports every problem.
func (s Scope) validate() []error {
	var errs []error
	if !slices.Contains([]string{"", upstream, downstream, both}, s.Direction) {
		errs = append(errs, &faults.ParamError{
			Key: "direction", Err: fmt.Errorf("%q is no direction", s.Direction), Hint: `direction = "upstream", "downstream" or "both"`,
		})
	}
	if s.Toxicity != nil && !(*s.Toxicity > 0 && *s.Toxicity <= 1) {
		errs = append(errs, &faults.ParamError{
			Key: "toxicity", Err: fmt.Errorf("%v is not above 0 and at most 1", *s.Toxicity), Hint: "toxicity = 0.5 for every second connection",
		})
	}
	return errs
}

// toxic is one toxic as a record keeps it: without its name, which follows from the record's id.
type toxic struct {
	Type       string           `json:"type"`
	Stream     string           `json:"stream"`
	Toxicity   float64          `json:"toxicity"`
	Attributes map[string]int64 `json:"attributes"` // in Toxiproxy's units
}

// want is what a record carries.
type want struct {
	Toxics []toxic `json:"toxics"`
}

// toxics makes the toxics of a kind within its scope, the upstream one first.
func (s Scope) toxics(kind faults.Kind, attributes map[string]int64) want {
	t := toxic{Type: string(kind), Stream: s.Direction, Toxicity: 1, Attributes: attributes}
	if s.Toxicity != nil {
		t.Toxicity = *s.Toxicity
	}
	switch s.Direction {
	case "":
		t.Stream = downstream
	case both:
		up, down := t, t
		up.Stream, down.Stream = upstream, downstream
		return want{[]toxic{up, down}}
	}
	return want{[]toxic{t}}
}

// name is a toxic's name in Toxiproxy's API, where it is a part of a path. Records of one link differ in what stands before
// the first "/" of their ids, which begins with a fault's id and keeps its letters: so the names differ too.
func (w want) name(r faults.Record, t toxic) string {
	safe := faults.ToxicName(r.ID)
	if len(w.Toxics) > 1 {
		return safe + "_" + t.Stream
	}
	return safe
}

func (w want) toxic(r faults.Record, t toxic) faults.Toxic {
	out := faults.Toxic{Name: w.name(r, t), Type: t.Type, Stream: t.Stream, Toxicity: t.Toxicity, Attributes: map[string]any{}}
	for k, v := range t.Attributes {
		out.Attributes[k] = v
	}
	return out
}

// mechanisms is the one way to carry any of these kinds out.
func mechanisms() []faults.Mechanism {
	return []faults.Mechanism{{Name: "proxy in the client's network namespace", Needs: []faults.Capability{faults.CapAgent, faults.CapLinks}}}
}

// routed reads the state of a link; it refuses one that no proxy serves.
func routed(ctx context.Context, env faults.Env, s faults.Spec, on faults.Target) (faults.LinkState, error) {
	if _, err := s.Mechanism(env.Facts()); err != nil {
		return faults.LinkState{}, err
	}
	if env.Links == nil || on.Link == "" {
		return faults.LinkState{}, fmt.Errorf("%s on %s: %w: no connection to it is routed through a proxy", s.Kind, on, faults.ErrUnsupported)
	}
	state, err := env.Links.State(ctx, on.Link)
	if errors.Is(err, faults.ErrNoLink) {
		return faults.LinkState{}, fmt.Errorf("%s on %s: %w: %w", s.Kind, on, faults.ErrUnsupported, err)
	}
	if err != nil {
		return faults.LinkState{}, fmt.Errorf("read link %s: %w", on, err)
	}
	return state, nil
}

// prepare makes the record of a kind that is toxics.
func prepare(ctx context.Context, env faults.Env, s faults.Spec, on faults.Target, w want) (faults.Record, error) {
	if _, err := routed(ctx, env, s, on); err != nil {
		return faults.Record{}, err
	}
	return faults.NewRecord(s.Kind, on, w)
}

// effect carries out the records of one kind that is toxics.
type effect struct {
	// bites is the kind's witness for one direction.
	bites func(s seen) (faults.Witness, error)
}

// Apply adds the record's toxics.
func (effect) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	w, err := decode[want](r)
	if err != nil {
		return err
	}
	if env.Links == nil {
		return fmt.Errorf("add toxics to %s: %w: the agent is gone", r.On, faults.ErrUnsupported)
	}
	for _, t := range w.Toxics {
		if err := env.Links.AddToxic(ctx, r.On.Link, w.toxic(r, t)); err != nil {
			return fmt.Errorf("add %s toxic to %s: %w", t.Stream, r.On, err)
		}
	}
	return nil
}

// Revert removes the record's toxics. A link that is gone, and an agent that is, took them along.
func (effect) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	w, err := decode[want](r)
	if err != nil || env.Links == nil {
		return err
	}
	var errs []error
	for _, t := range w.Toxics {
		if err := env.Links.RemoveToxic(ctx, r.On.Link, w.name(r, t)); err != nil && !errors.Is(err, faults.ErrNoLink) {
			errs = append(errs, fmt.Errorf("remove %s toxic from %s: %w", t.Stream, r.On, err))
		}
	}
	return errors.Join(errs...)
}

// Confirm measures that every toxic of the record acts on traffic, or that none is left.
func (e effect) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	w, err := decode[want](r)
	if err != nil {
		return faults.Witness{}, err
	}
	if !active {
		return w.gone(ctx, env, r)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	proofs := make([]proof, len(w.Toxics))
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		state, err := read(ctx, env, r)
		if err != nil {
			return faults.Witness{}, err
		}
		var missing error
		for i, t := range w.Toxics {
			s, err := w.see(state, r, t)
			if err != nil {
				return faults.Witness{}, err
			}
			if err := proofs[i].add(s, e.bites); err != nil && missing == nil {
				missing = err
			}
		}
		if missing != nil {
			return faults.Witness{}, missing
		}
		all := proofs[0].w
		for _, p := range proofs[1:] {
			all.Note += "; " + p.w.Note
		}
		return all, nil
	})
}

// proof is what one Confirm has seen of a toxic. Once complete it stays so: two directions need not show at one instant.
type proof struct {
	w     faults.Witness
	looks int
}

// enough looks in a row make a proof: counters are not read at one instant, so a single one may see a chunk between two of
// them.
const enough = 2

func (p *proof) add(s seen, bites func(seen) (faults.Witness, error)) error {
	if p.looks == enough {
		return nil
	}
	w, err := bites(s)
	if err != nil {
		p.looks = 0
		return err
	}
	p.w = w
	if p.looks++; p.looks < enough {
		return noWitness("seen only once: %s", w.Note)
	}
	return nil
}

func decode[T any](r faults.Record) (T, error) {
	var w T
	if err := json.Unmarshal(r.Want, &w); err != nil {
		return w, fmt.Errorf("decode %s record %q: %w", r.Kind, r.ID, err)
	}
	return w, nil
}

// wanted fails if r is not active: a fault that was reverted has no witness.
func wanted(env faults.Env, r faults.Record) error {
	for _, a := range env.Journal.Active(r.On.Key()) {
		if a.ID == r.ID {
			return nil
		}
	}
	return noWitness("%s %q is not active on %s", r.Kind, r.ID, r.On)
}

func noWitness(format string, args ...any) error {
	return fmt.Errorf("%w: %s", faults.ErrNoWitness, fmt.Sprintf(format, args...))
}

// many counts for people: "1 connection", "2 connections".
func many(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
