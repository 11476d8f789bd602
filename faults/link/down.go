package link

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/discompose/discompose/faults"
)

// Down takes a link down: its connections are closed and new ones refused. It has no parameters.
type Down struct{}

// DownSpec describes the kind.
func DownSpec() faults.Spec {
	return faults.Spec{
		Kind: "down", Family: faults.Link,
		Summary: "close the connections of a link and refuse new ones",
		Doc: "As Toxiproxy's disabled proxy: both ends of open connections get a FIN, and connect() fails with ECONNREFUSED, while the server itself goes on. " +
			"Witness: the proxy is down and counts connections that this closed, or that clients tried since. " +
			"Undo: the proxy accepts connections again, unless another down is active.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &Down{} },
		Effect:     down{},
	}
}

// Validate has nothing to check.
func (*Down) Validate() error { return nil }

// before is what the record of a down carries: the link's counters before it.
type before struct {
	Closed  int64 `json:"closed"`
	Refused int64 `json:"refused"`
}

func countDown(s faults.LinkState) before {
	b := before{Refused: s.Refused}
	for _, c := range s.Closed {
		if c.By == "down" {
			b.Closed += c.Count
		}
	}
	return b
}

// Prepare notes what was closed and refused so far, and refuses a link that is not routed.
func (*Down) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := DownSpec()
	state, err := routed(ctx, env, s, on)
	if err != nil {
		return faults.Record{}, err
	}
	return faults.NewRecord(s.Kind, on, countDown(state))
}

type down struct{}

// Apply disables the link.
func (down) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	if env.Links == nil {
		return fmt.Errorf("take %s down: %w: the agent is gone", r.On, faults.ErrUnsupported)
	}
	if err := env.Links.Disable(ctx, r.On.Link, r.ID); err != nil {
		return fmt.Errorf("take %s down: %w", r.On, err)
	}
	return nil
}

// Revert takes this record's part in the link's being down back.
func (down) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	if env.Links == nil {
		return nil
	}
	if err := env.Links.Enable(ctx, r.On.Link, r.ID); err != nil && !errors.Is(err, faults.ErrNoLink) {
		return fmt.Errorf("bring %s up: %w", r.On, err)
	}
	return nil
}

// Confirm measures that connections are closed or refused, or that the link is up again.
func (d down) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	was, err := decode[before](r)
	if err != nil {
		return faults.Witness{}, err
	}
	if !active {
		return d.up(ctx, env, r, was)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		state, err := read(ctx, env, r)
		if err != nil {
			return faults.Witness{}, err
		}
		if state.Enabled {
			return faults.Witness{}, noWitness("%s accepts connections", r.On)
		}
		closed, refused := since(state, was)
		if closed+refused == 0 {
			return faults.Witness{}, noWitness("%s is down, but no connection was open and none was tried", r.On)
		}
		return faults.Witness{
			What: "connections closed or refused", Value: float64(closed + refused), Unit: "connections",
			Note: fmt.Sprintf("%s is down: %s closed and %d refused", r.On, many(closed, "connection"), refused),
		}, nil
	})
}

// since counts from the record on. What is refused is the difference of two counters that are not read at one instant, so
// it may fall.
func since(state faults.LinkState, was before) (closed, refused int64) {
	now := countDown(state)
	return max(0, now.Closed-was.Closed), max(0, now.Refused-was.Refused)
}

// up measures that the link is up, or that it is down by others.
func (down) up(ctx context.Context, env faults.Env, r faults.Record, was before) (faults.Witness, error) {
	state, err := read(ctx, env, r)
	if over, ok := ended(env, r, err); ok {
		return over, nil
	}
	if err != nil {
		return faults.Witness{}, err
	}
	closed, refused := since(state, was)
	w := faults.Witness{
		What: "connections closed or refused", Value: float64(closed + refused), Unit: "connections",
		Note: fmt.Sprintf("%s is up again, after %s closed and %d refused", r.On, many(closed, "connection"), refused),
	}
	if state.Enabled {
		return w, nil
	}
	others := slices.ContainsFunc(env.Journal.Active(r.On.Key()), func(a faults.Record) bool { return a.Kind == r.Kind && a.ID != r.ID })
	if slices.Contains(state.Disabled, r.ID) || (len(state.Disabled) == 0 && !others) {
		return faults.Witness{}, noWitness("%s is still down", r.On)
	}
	w.Note = fmt.Sprintf("%s is down by another fault only", r.On)
	return w, nil
}
