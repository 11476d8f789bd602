package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
)

// Confirm measures that nothing reaches the container where it was, or that it is back as it was.
func (d disconnect) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	n, err := networker(env)
	if err != nil {
		return faults.Witness{}, err
	}
	w, err := decode[detached](r)
	if err != nil {
		return faults.Witness{}, err
	}
	if !active {
		soon, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return faults.Await(soon, look, func() (faults.Witness, error) { return d.gone(ctx, env, n, r, w) })
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) { return d.bites(ctx, env, n, r, w) })
}

func (disconnect) bites(ctx context.Context, env faults.Env, n faults.Networker, r faults.Record, w detached) (faults.Witness, error) {
	before, err := known(env, r.On)
	if err != nil {
		return faults.Witness{}, err
	}
	now, err := n.Endpoints(ctx, r.On.Container)
	if err != nil {
		return faults.Witness{}, fmt.Errorf("read networks of %s: %w", r.On, err)
	}
	var names []string
	for _, id := range w.Networks {
		if ep, in := find(now, id); in {
			return faults.Witness{}, noWitness("the engine says that %s is in %s", r.On, ep.Name)
		}
		ep, _ := find(before, id)
		names = append(names, ep.Name)
	}
	said := fmt.Sprintf("the engine says that %s is out of %s", r.On, list(names))
	switch {
	case !probes(env):
		return faults.Witness{What: "networks", Value: float64(len(now)), Note: said + " (whether a datagram arrives cannot be tried without the agent)"}, nil
	case len(w.Peers) == 0:
		return faults.Witness{What: "networks", Value: float64(len(now)), Note: said + " (nobody in them had reached it before, so no datagram could tell)"}, nil
	}
	answers, err := ask(ctx, env, r.On, w.Peers, true)
	if err != nil {
		return faults.Witness{}, errors.Join(down(ctx, env, r.On), err)
	}
	sent, peers := 0, []string{}
	for i, a := range answers {
		if a.Arrived > 0 {
			return faults.Witness{}, noWitness("%s, but %d of %d datagrams from %s arrived", said, a.Arrived, a.Sent, w.Peers[i].Name)
		}
		if a.Sent > 0 {
			sent += a.Sent
			peers = append(peers, w.Peers[i].Name)
		}
	}
	if sent == 0 {
		return faults.Witness{}, noWitness("%s, but it is not running, or none of the peers that had reached it is", said)
	}
	return faults.Witness{
		What: "datagrams to the old addresses that arrived", Value: 0, Unit: "datagrams",
		Note: fmt.Sprintf("%s, and none of %d datagrams from %s to its old addresses arrived", said, sent, list(peers)),
	}, nil
}

func (disconnect) gone(ctx context.Context, env faults.Env, n faults.Networker, r faults.Record, w detached) (faults.Witness, error) {
	if w, ok, err := removed(ctx, env, r.On); ok || err != nil {
		return w, err
	}
	owed, notes, err := due(env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	now, err := n.Endpoints(ctx, r.On.Container)
	if err != nil {
		return faults.Witness{}, fmt.Errorf("read networks of %s: %w", r.On, err)
	}
	var back []string
	for _, ep := range owed {
		is, in := find(now, ep.Network)
		if !in {
			return faults.Witness{}, noWitness("%s is still out of %s", r.On, ep.Name)
		}
		if !slices.Equal(is.Aliases, ep.Aliases) {
			return faults.Witness{}, noWitness("%s has the aliases %v in %s and had %v", r.On, is.Aliases, ep.Name, ep.Aliases)
		}
		back = append(back, ep.Name)
		if len(ep.Addresses) > 0 && len(is.Addresses) > 0 && !slices.Equal(ep.Addresses, is.Addresses) {
			notes = append(notes, fmt.Sprintf("in %s it has %s now and had %s before", ep.Name, list(is.Addresses), list(ep.Addresses)))
		}
	}
	arrived, sent, err := arrivals(ctx, env, r, w)
	if err != nil {
		return faults.Witness{}, err
	}
	note := fmt.Sprintf("%s is connected as before", r.On)
	if len(back) > 0 {
		note = fmt.Sprintf("%s is back in %s", r.On, list(back))
	}
	if sent > 0 {
		note += fmt.Sprintf(", and %d of %d datagrams from its peers arrived", arrived, sent)
	}
	note = strings.Join(append([]string{note}, notes...), "; ")
	return faults.Witness{What: "networks", Value: float64(len(now)), Note: note}, nil
}

// arrivals counts datagrams from the peers that can send any. It fails if those of one do not arrive though no cut stops
// them.
func arrivals(ctx context.Context, env faults.Env, r faults.Record, w detached) (arrived, sent int, err error) {
	if !probes(env) || len(w.Peers) == 0 {
		return 0, 0, nil
	}
	answers, err := ask(ctx, env, r.On, w.Peers, false)
	if err != nil {
		return 0, 0, errors.Join(down(ctx, env, r.On), err)
	}
	for i, a := range answers {
		if a.Sent > 0 && !a.open() {
			return 0, 0, noWitness("no datagram from %s to %s arrives", w.Peers[i].Name, r.On)
		}
		arrived += a.Arrived
		sent += a.Sent
	}
	return arrived, sent, nil
}
