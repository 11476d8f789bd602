package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/discompose/discompose/faults"
)

const (
	// look is the time between two observations while a witness is awaited.
	look = 25 * time.Millisecond
	// drains is how long bytes that a removed toxic let go may take to leave the proxy. What is left then waits for a
	// receiver that does not read, which is no fault of the toxic's.
	drains = time.Second
)

// seen is one look at a toxic and at its direction of the link.
type seen struct {
	on     faults.Target
	want   toxic
	did    faults.ToxicState // since it was added, over all clients
	flow   faults.LinkFlow   // since the toxics of this direction last changed
	period time.Duration     // how long ago that was
	others int               // toxics of other records on this direction
}

// see finds a toxic of a record in the state of its link.
func (w want) see(state faults.LinkState, r faults.Record, t toxic) (seen, error) {
	s := seen{on: r.On, want: t, flow: flow(state, t.Stream)}
	if !s.flow.Since.IsZero() {
		s.period = state.At.Sub(s.flow.Since)
	}
	name, found := w.name(r, t), false
	for _, x := range state.Toxics {
		switch {
		case !x.Active || x.Stream != t.Stream:
		case x.Name != name:
			s.others++
		default:
			found = true
			s.did.Acted += x.Acted
			s.did.ChunksIn += x.ChunksIn
			s.did.ChunksOut += x.ChunksOut
			s.did.BytesIn += x.BytesIn
			s.did.BytesOut += x.BytesOut
			s.did.Ends += x.Ends
			s.did.FIN += x.FIN
			s.did.RST += x.RST
		}
	}
	if !found {
		return seen{}, noWitness("toxic %s is not on %s", name, r.On)
	}
	return s, nil
}

// way names the direction for people: "web->db:5432 downstream".
func (s seen) way() string { return s.on.String() + " " + s.want.Stream }

// millis is an attribute of the toxic that Toxiproxy counts in milliseconds.
func (s seen) millis(attribute string) time.Duration {
	return time.Duration(s.want.Attributes[attribute]) * time.Millisecond
}

// missing says why there is no witness yet: no connection, no byte, or what the kind itself did not see.
func (s seen) missing(format string, args ...any) error {
	since := s.period.Round(time.Millisecond)
	switch {
	case s.did.Acted == 0 && s.want.Toxicity < 1:
		return noWitness("no connection of %s was drawn in %s, at a toxicity of %v", s.way(), since, s.want.Toxicity)
	case s.did.Acted == 0:
		return noWitness("%s had no connection in %s", s.way(), since)
	case s.did.ChunksIn == 0 && s.did.Ends == 0:
		return noWitness("no byte crossed %s in %s", s.way(), since)
	}
	return noWitness("%s: %s", s.way(), fmt.Sprintf(format, args...))
}

// read is the state of a link that a record is active on.
func read(ctx context.Context, env faults.Env, r faults.Record) (faults.LinkState, error) {
	if env.Links == nil {
		return faults.LinkState{}, noWitness("the agent that serves %s is gone", r.On)
	}
	state, err := env.Links.State(ctx, r.On.Link)
	if err != nil {
		return faults.LinkState{}, fmt.Errorf("read link %s: %w", r.On, err)
	}
	return state, nil
}

// ended is the witness where nothing is left to look at; ok is false where there is.
func ended(env faults.Env, r faults.Record, err error) (w faults.Witness, ok bool) {
	switch {
	case env.Links == nil:
		return faults.Witness{What: "proxy", Note: fmt.Sprintf("no agent serves %s any more: what its proxy did has ended with it", r.On)}, true
	case errors.Is(err, faults.ErrNoLink):
		return faults.Witness{What: "proxy", Note: fmt.Sprintf("%s is routed no longer: what its proxy did has ended with it", r.On)}, true
	}
	return faults.Witness{}, false
}

// gone measures that the record's toxics are out of every connection and that nothing they held is left, as far as other
// toxics do not hold it.
func (w want) gone(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	for begun := time.Now(); ; {
		state, err := read(ctx, env, r)
		if over, ok := ended(env, r, err); ok {
			return over, nil
		}
		if err != nil {
			return faults.Witness{}, err
		}
		left, err := w.left(state, r)
		if err != nil {
			return faults.Witness{}, err
		}
		waited := time.Since(begun)
		switch {
		case left.Chained == 0 && left.Held == 0:
			return w.over(state, r, ""), nil
		case waited < drains:
		case left.Held > 0:
			return w.over(state, r, fmt.Sprintf("; %s wait for a receiver that does not read", many(left.Held, "byte"))), nil
		default:
			return faults.Witness{}, noWitness("%s of %s had no toxic and were not given back to the kernel in %s", many(left.Chained, "connection"), r.On, waited)
		}
		if err := faults.Pause(ctx, look); err != nil {
			return faults.Witness{}, noWitness("%d bytes of %s are still held (%v)", left.Held, r.On, err)
		}
	}
}

// left sums what the directions of the record's toxics hold where no other toxic is on them. It is an error if one of the
// record's own is.
func (w want) left(state faults.LinkState, r faults.Record) (faults.LinkFlow, error) {
	var sum faults.LinkFlow
	for _, t := range w.Toxics {
		name, busy := w.name(r, t), false
		for _, x := range state.Toxics {
			if !x.Active || x.Stream != t.Stream {
				continue
			}
			if x.Name == name {
				return sum, noWitness("toxic %s is still on %s", name, r.On)
			}
			busy = true
		}
		if f := flow(state, t.Stream); !busy {
			sum.Chained += f.Chained
			sum.Held += f.Held
		}
	}
	return sum, nil
}

// over is the witness that the toxics are gone.
func (w want) over(state faults.LinkState, r faults.Record, but string) faults.Witness {
	var acted int64
	others := int64(0)
	for _, x := range state.Toxics {
		own := slices.ContainsFunc(w.Toxics, func(t toxic) bool { return w.name(r, t) == x.Name })
		switch {
		case x.Active:
			others++
		case own:
			acted = max(acted, x.Acted) // with both directions a connection has two
		}
	}
	note := fmt.Sprintf("%s is off %s, where %s had it", r.Kind, r.On, many(acted, "connection"))
	if others > 0 {
		note += "; beside it: " + many(others, "other toxic")
	} else if but == "" {
		note += "; no byte is held and the kernel moves all of them"
	}
	return faults.Witness{What: "bytes held by the proxy", Value: float64(flow(state, w.Toxics[0].Stream).Held), Unit: "bytes", Note: note + but}
}

func flow(state faults.LinkState, stream string) faults.LinkFlow {
	if stream == upstream {
		return state.Upstream
	}
	return state.Downstream
}
