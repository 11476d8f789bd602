package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// rolling is one injection that goes over its targets one after the other. Whatever does not go as it should on one of them
// ends it: nothing is applied any more, and what was is undone at once, without gates.
type rolling struct {
	*nemesis
	Injection
	over  bool    // nothing is applied any more, and nothing is waited for
	dirty []error // what could not be undone, or not be recorded
}

// roll carries a rolling injection out on all its targets, from an instant on, and returns when it was undone on each.
func (n *nemesis) roll(ctx context.Context, in Injection, at int64) error {
	r := &rolling{nemesis: n, Injection: in}
	if in.Fault.Spec.Instant {
		r.each(ctx, at)
	} else {
		r.nest(ctx, in.Targets, at)
	}
	return errors.Join(r.dirty...)
}

// each goes over the targets of an instantaneous kind: each is over, and its target ready again, before the next.
func (r *rolling) each(ctx context.Context, at int64) {
	for i, ref := range r.Targets {
		if i > 0 && !r.open(ctx, r.step(ref), r.Targets[i-1]) {
			return
		}
		if i > 0 {
			at = r.soon()
		}
		if !r.take(ctx, turn{Injection: r.Injection, on: ref, at: at}) {
			return
		}
	}
}

// nest applies a kind that lasts to the first of the targets, and inside its hold to the others, so that every path undoes
// them in the opposite order.
func (r *rolling) nest(ctx context.Context, targets []scenarios.Ref, at int64) {
	first, rest := targets[0], targets[1:]
	r.take(ctx, turn{Injection: r.Injection, on: first, at: at, hold: func(ctx context.Context, _ *ledger.Fault, record faults.Record) error {
		if err := r.settle(ctx, r.Fault.Spec.Effect, record); err != nil {
			return err
		}
		if len(rest) == 0 {
			return r.last(ctx, r.Injection, r.r.clock.now(), record)
		}
		if r.open(ctx, r.step(rest[0]), first) {
			r.nest(ctx, rest, r.soon())
			r.open(ctx, "the undo of "+r.step(first), rest[0])
		}
		return nil
	}})
}

// take carries the injection out on one target and reports whether all went as it should.
func (r *rolling) take(ctx context.Context, t turn) bool {
	failed, err := r.one(ctx, t)
	if err != nil {
		r.dirty = append(r.dirty, err)
	}
	if failed != nil {
		r.over = true
	}
	if errors.Is(failed, errUnready) {
		r.r.note("runner", string(oracle.Hang), t.on.Service, fmt.Sprintf("%s ended at %s: %v", r.ID, refText(t.on), failed))
	}
	return !r.over && ctx.Err() == nil
}

// open waits for the fault's gates between two of its steps, and reports whether it may go on.
func (r *rolling) open(ctx context.Context, next string, last scenarios.Ref) bool {
	if r.over || ctx.Err() != nil {
		return false
	}
	now := r.r.clock.now()
	r.activity.end(now)
	defer r.activity.begin()
	g := gatekeeper{nemesis: r.nemesis, gates: r.Fault.Gate, within: r.within, from: now, next: next, ended: func() string {
		return fmt.Sprintf("%s ended before %s: within %s of %s", r.ID, next, r.within, refText(last))
	}}
	how, err := g.wait(ctx)
	if err != nil {
		r.dirty = append(r.dirty, err)
	}
	r.over = r.over || how != opened
	return how == opened
}

// step names the injection on one target.
func (r *rolling) step(ref scenarios.Ref) string { return r.ID + " on " + refText(ref) }

// soon is when the next step is due: as soon as it is prepared.
func (r *rolling) soon() int64 { return r.r.clock.now() + int64(prepareLead) }
