package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/discompose/discompose/faults"
)

// way is what datagrams in one direction have met.
type way struct{ faults.ReachResult }

// open reports whether nothing but cuts keeps datagrams from arriving.
func (w way) open() bool { return w.Sent > 0 && (w.Arrived > 0 || len(w.Cuts) > 0) }

func (w way) whole() bool { return w.Sent > 0 && w.Arrived == w.Sent }

// meeting is an exchange of datagrams with one peer.
type meeting struct{ in, out way }

// both reports whether datagrams could be sent at all: the two run and share a network.
func (m meeting) both() bool { return m.in.Sent > 0 && m.out.Sent > 0 }

// meet exchanges datagrams with peers, in both directions.
func meet(ctx context.Context, env faults.Env, on faults.Target, with []faults.Peer) ([]meeting, error) {
	var questions []faults.Reach
	for _, p := range with {
		questions = append(questions, faults.Reach{From: p.Container, To: on.Container}, faults.Reach{From: on.Container, To: p.Container})
	}
	answers, err := reach(ctx, env, questions)
	if err != nil {
		return nil, err
	}
	out := make([]meeting, len(with))
	for i := range out {
		out[i] = meeting{way{answers[2*i]}, way{answers[2*i+1]}}
	}
	return out, nil
}

func (w parted) people() []faults.Peer {
	out := make([]faults.Peer, 0, len(w.Peers))
	for _, p := range w.Peers {
		out = append(out, faults.Peer{Container: p.Container, Name: p.Name})
	}
	return out
}

// Confirm measures that no datagram crosses the cut, or that they arrive again.
func (p partition) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	w, err := decode[parted](r)
	if err != nil {
		return faults.Witness{}, err
	}
	if !active {
		soon, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return faults.Await(soon, look, func() (faults.Witness, error) { return p.gone(ctx, env, r, w) })
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) { return p.bites(ctx, env, r, w) })
}

func (partition) bites(ctx context.Context, env faults.Env, r faults.Record, w parted) (faults.Witness, error) {
	before, err := counted(ctx, env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	met, err := meet(ctx, env, r.On, w.people())
	if err != nil {
		return faults.Witness{}, errors.Join(down(ctx, env, r.On), err)
	}
	after, err := counted(ctx, env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	var names []string
	lost := 0
	for i, m := range met {
		if !m.both() {
			continue
		}
		names = append(names, w.Peers[i].Name)
		n, err := w.crossed(m, r.On, w.Peers[i].Name)
		if err != nil {
			return faults.Witness{}, err
		}
		lost += n
	}
	if len(names) == 0 {
		return faults.Witness{}, noWitness("no datagram could be sent between %s and %s: they are down, or share no network", r.On, list(w.names()))
	}
	in, out := since(before.In, after.In), since(before.Out, after.Out)
	if (w.In && in == 0) || (w.Out && out == 0) {
		return faults.Witness{}, noWitness("the cut of %s stopped %d packets to it and %d from it", r.On, in, out)
	}
	return faults.Witness{
		What: "datagrams across the cut that arrived", Value: 0, Unit: "datagrams",
		Note: fmt.Sprintf("%s is cut off from %s%s: none of %d datagrams arrived, and the cut counted %d packets", r.On, list(names), w.oneWay(r.On), lost, in+out),
	}, nil
}

// crossed counts the datagrams of a meeting that the cut stopped. It fails where one crossed it, or where none arrived in a
// direction that is not cut.
func (w parted) crossed(m meeting, on faults.Target, name string) (lost int, err error) {
	for _, d := range []struct {
		way
		cut      bool
		from, to string
	}{{m.in, w.In, name, on.String()}, {m.out, w.Out, on.String(), name}} {
		switch {
		case d.cut && d.Arrived > 0:
			return 0, noWitness("%d of %d datagrams from %s to %s arrived", d.Arrived, d.Sent, d.from, d.to)
		case !d.cut && !d.open():
			return 0, noWitness("no datagram from %s to %s arrived, and that direction is not cut", d.from, d.to)
		case d.cut:
			lost += d.Sent
		}
	}
	return lost, nil
}

func (w parted) names() []string {
	var out []string
	for _, p := range w.Peers {
		out = append(out, p.Name)
	}
	return out
}

// oneWay is the part of a sentence that names the direction; "" if both are cut.
func (w parted) oneWay(on faults.Target) string {
	switch {
	case !w.In:
		return fmt.Sprintf(" in the direction from %s, and in no other", on)
	case !w.Out:
		return fmt.Sprintf(" in the direction to %s, and in no other", on)
	}
	return ""
}

// counted reads the counters of the active cut.
func counted(ctx context.Context, env faults.Env, r faults.Record) (faults.CutCount, error) {
	c, err := state(ctx, env, r)
	if err == nil && !c.Active {
		err = noWitness("the agent knows no cut of %s", r.On)
	}
	return c, err
}

func state(ctx context.Context, env faults.Env, r faults.Record) (c faults.CutCount, err error) {
	if env.Host == nil {
		return c, nil
	}
	if err := env.Host.Call(ctx, faults.OpCutState, faults.CutID{ID: r.ID}, &c); err != nil {
		return c, fmt.Errorf("read the cut of %s: %w", r.On, err)
	}
	return c, nil
}

// since is how far a counter has moved; one that fell was begun anew.
func since(before, after int64) int64 {
	if after < before {
		return after
	}
	return after - before
}

func (partition) gone(ctx context.Context, env faults.Env, r faults.Record, w parted) (faults.Witness, error) {
	if env.Host == nil {
		return faults.Witness{What: "cut", Note: fmt.Sprintf("there is no agent, and the rules that cut %s off ended with it", r.On)}, nil
	}
	if c, err := state(ctx, env, r); err != nil {
		return faults.Witness{}, err
	} else if c.Active {
		return faults.Witness{}, noWitness("the agent still keeps the cut of %s", r.On)
	}
	if w, ok, err := removed(ctx, env, r.On); ok || err != nil {
		return w, err
	}
	met, err := meet(ctx, env, r.On, w.people())
	if err != nil {
		return faults.Witness{}, errors.Join(down(ctx, env, r.On), err)
	}
	arrived, others := 0, []string(nil)
	for i, m := range met {
		for _, d := range []way{m.in, m.out} {
			switch {
			case d.Sent == 0: // one of them is down or out of the network, which is another fault's
			case len(d.Cuts) > 0:
				others = append(others, d.Cuts...)
			case d.Arrived == 0 || (w.Peers[i].Whole && d.Arrived < d.Sent):
				return faults.Witness{}, noWitness("%d of %d datagrams between %s and %s arrived", d.Arrived, d.Sent, r.On, w.Peers[i].Name)
			}
			arrived += d.Arrived
		}
	}
	note := fmt.Sprintf("the cut of %s is gone", r.On)
	slices.Sort(others)
	others = slices.Compact(others)
	switch {
	case arrived > 0:
		note += fmt.Sprintf(" and %d datagrams between it and its peers arrived", arrived)
	case len(others) == 0:
		note += "; no datagram could be sent to prove it"
	}
	if len(others) > 0 {
		note += fmt.Sprintf("; %s still stops some", list(others))
	}
	return faults.Witness{What: "datagrams between the target and its peers that arrived", Value: float64(arrived), Unit: "datagrams", Note: note}, nil
}
