package runner

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// Lead times before the planned instant of a fault: what is read and journalled by then does not delay the call.
const (
	prepareLead = 400 * time.Millisecond
	journalLead = 40 * time.Millisecond
)

// lookEvery is the time between two looks at whether a target is ready, or a fault at its end.
const lookEvery = 50 * time.Millisecond

// nemesis carries the plan's injections out: the fixed ones at their instants, and, in lanes, the random ones, each after
// the one before. It makes no choices.
type nemesis struct {
	r        *run
	target   func(context.Context, scenarios.Ref) (faults.Target, error)         // the container of a reference as it is now
	snapshot func(name string)                                                   // keeps the containers' counters, in the background
	exec     func(context.Context, scenarios.Ref, []string) (string, int, error) // runs a command in a container: output, exit code
	ended    map[string]chan struct{}                                            // injection id → closed when it has ended
	within   time.Duration                                                       // in which the gates of a rolling fault hold
	activity activity
}

// timeline runs every injection from base (host clock, ns) on and returns when all have ended and were undone. Its error
// joins the *faults.HealErrors; a fault that could not be applied or confirmed is recorded in the ledger instead.
func (r *run) timeline(ctx context.Context, plan *Plan, base int64) error {
	n := &nemesis{
		r: r, target: r.target, exec: r.exec,
		snapshot: func(name string) { r.background.Go(func() { r.snapshot(r.backgroundCtx, name) }) },
	}
	return n.run(ctx, plan, base)
}

func (n *nemesis) run(ctx context.Context, plan *Plan, base int64) error {
	fixed := plan.fixed()
	n.within = plan.schedule.within
	n.ended = map[string]chan struct{}{}
	for _, in := range fixed {
		n.ended[in.ID] = make(chan struct{})
	}
	err := together([]func() error{
		func() error {
			return together(fixed, func(in Injection) error {
				defer close(n.ended[in.ID])
				return n.inject(ctx, in, base)
			})
		},
		func() error { return n.drawn(ctx, plan, base) },
	}, func(part func() error) error { return part() })
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}

// together does all at the same time and joins their errors: one that fails does not end the others.
func together[T any](all []T, do func(T) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { errs[i] = do(one) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (n *nemesis) inject(ctx context.Context, in Injection, base int64) error {
	at := base + int64(in.At)
	if in.After != "" {
		select {
		case <-n.ended[in.After]:
			at = n.r.clock.now() + int64(in.At)
		case <-ctx.Done():
			return nil
		}
	}
	if n.r.clock.wait(ctx, at-int64(prepareLead)) != nil {
		return nil //nolint:nilerr // the cause is the caller's to report
	}
	if in.Behind != "" {
		select {
		case <-n.ended[in.Behind]:
			at = max(at, n.r.clock.now()+int64(prepareLead))
		case <-ctx.Done():
			return nil
		}
	}
	return n.act(ctx, in, at)
}

// act carries an injection out on all its targets and returns when it was undone on each.
func (n *nemesis) act(ctx context.Context, in Injection, at int64) error {
	n.activity.begin()
	defer func() { n.activity.end(n.r.clock.now()) }()
	if in.Fault.Asks() {
		refs, err := n.asked(ctx, in)
		if err != nil {
			return n.unnamed(ctx, in, at, err)
		}
		// The targets are asked for at the last moment; how long the user's own command takes is not the plan's to keep.
		in.Targets, at = refs, max(at, n.r.clock.now())
	}
	if in.Fault.Spec.Rolling {
		return n.roll(ctx, in, at)
	}
	return together(in.Targets, func(ref scenarios.Ref) error {
		_, err := n.one(ctx, turn{Injection: in, on: ref, at: at})
		return err
	})
}

// turn is an injection on one of its targets.
type turn struct {
	Injection
	on   scenarios.Ref
	at   int64                                                                        // when it is planned, host clock, ns
	hold func(ctx context.Context, f *ledger.Fault, record faults.Record) (err error) // until its undo; nil: as its kind does
}

// one carries an injection out on one target. Only what could not be undone is an error; failed is what else went wrong,
// which is in the ledger by then, or what ended the run.
func (n *nemesis) one(ctx context.Context, t turn) (failed, err error) {
	r := n.r
	f := &ledger.Fault{ID: t.Fault.ID, Record: recordID(t.Injection, t.on), Kind: string(t.Fault.Kind), Target: refText(t.on), Mechanism: t.Mechanism, Planned: t.at}
	failed = n.hold(ctx, t, f)
	var heal *faults.HealError
	// What ended the whole run is told elsewhere.
	if failed != nil && (errors.As(failed, &heal) || !errors.Is(failed, context.Cause(ctx))) {
		f.Error = failed.Error()
		r.say(Event{Kind: EventWarn, Name: t.ID, Text: failed.Error()})
		if errors.Is(failed, faults.ErrUnsupported) {
			r.note("runner", string(oracle.NotSupported), t.on.Service, failed.Error())
		}
	}
	if serr := r.store.UpdateFault(*f); serr != nil {
		return failed, fmt.Errorf("record fault %s: %w", t.ID, serr)
	}
	if heal != nil {
		return failed, failed
	}
	return failed, nil
}

// recordID is unique in the run.
func recordID(in Injection, ref scenarios.Ref) string {
	switch {
	case ref.Link != "":
		return in.ID + "/" + ref.Link
	case ref.Number == 0: // the whole service
		return in.ID + "/" + ref.Service
	}
	return in.ID + "/" + ref.Service + "-" + strconv.Itoa(ref.Number)
}

func (n *nemesis) hold(ctx context.Context, t turn, f *ledger.Fault) error {
	r, in := n.r, t.Injection
	target, err := n.target(ctx, t.on)
	if err != nil {
		return err
	}
	f.Container = target.Container
	record, err := in.Fault.Params.Prepare(ctx, r.fenv, target)
	if err != nil {
		return fmt.Errorf("prepare %s on %s: %w", in.Fault.Kind, target, err)
	}
	record.ID = f.Record
	if err := r.clock.wait(ctx, f.Planned-int64(journalLead)); err != nil {
		return err
	}
	effect := in.Fault.Spec.Effect
	r.direct(ctx, in, record, true)
	defer r.direct(context.WithoutCancel(ctx), in, record, false)
	body := func(ctx context.Context, _ faults.Witness) error {
		n.snapshot("during-" + safeName(f.Record))
		if t.hold != nil {
			return t.hold(ctx, f, record)
		}
		return n.body(ctx, in, f, record)
	}
	err = faults.Hold(ctx, r.fenv, effect, record, faults.Budgets{Confirm: confirmWithin(in), Heal: healBudget}, n.observer(in, f), body)
	if f.Gone == 0 {
		return err
	}
	return errors.Join(err, n.back(ctx, in, f, record))
}

// back waits until the target of a fault that was undone is ready again, where the kind can tell.
func (n *nemesis) back(ctx context.Context, in Injection, f *ledger.Fault, record faults.Record) error {
	_, tells := in.Fault.Spec.Effect.(faults.Settler)
	if !in.Fault.Spec.Instant && !tells {
		return nil
	}
	if in.Fault.Spec.Instant {
		ctx = context.WithoutCancel(ctx)
	}
	if err := n.settle(ctx, in.Fault.Spec.Effect, record); err != nil {
		return err
	}
	f.Settled = n.r.clock.now()
	return nil
}

// body holds a confirmed fault: for its time or to its own end, or, for an instantaneous kind, until its target is to be
// started or is ready again by itself.
func (n *nemesis) body(ctx context.Context, in Injection, f *ledger.Fault, record faults.Record) error {
	if !in.Fault.Spec.Instant {
		return n.last(ctx, in, f.Confirmed, record)
	}
	if d, ok := in.Fault.Params.(faults.Downtimer); ok && d.Down() > 0 {
		return n.r.clock.wait(ctx, f.Applied+d.Down().Nanoseconds())
	}
	return n.settle(ctx, in.Fault.Spec.Effect, record)
}

// last holds a fault from an instant on for its time, or until it has come to its own end, whichever is first.
func (n *nemesis) last(ctx context.Context, in Injection, from int64, record faults.Record) error {
	end, given := from+int64(finishBudget), in.Fault.For != nil
	if given {
		end = from + in.Fault.For.Std().Nanoseconds()
	}
	finite, ok := in.Fault.Params.(faults.Finite)
	finisher, tells := in.Fault.Spec.Effect.(faults.Finisher)
	if !ok || !finite.Finite() || !tells {
		return n.r.clock.wait(ctx, end)
	}
	for {
		done, err := finisher.Finished(ctx, n.r.fenv, record)
		now := n.r.clock.now()
		switch {
		case err == nil && done:
			return nil
		case now >= end && given:
			return nil
		case now >= end:
			text := fmt.Sprintf("%s of %s did not come to its own end within %s", in.Fault.Kind, record.On, finishBudget)
			n.r.note("runner", string(oracle.Hang), record.On.Service, text)
			return errors.Join(errors.New(text), err)
		}
		if err := n.r.clock.wait(ctx, min(end, now+int64(lookEvery))); err != nil {
			return err
		}
	}
}

// errUnready says that the target of a fault did not get ready in time.
var errUnready = errors.New("not ready")

// settle waits until the target of a fault is ready, or ready again.
func (n *nemesis) settle(ctx context.Context, effect faults.Effect, record faults.Record) error {
	s, ok := effect.(faults.Settler)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, settleBudget, fmt.Errorf("%w within %s", errUnready, settleBudget))
	defer cancel()
	for {
		ready, err := s.Settled(ctx, n.r.fenv, record)
		if err == nil && ready {
			return nil
		}
		if serr := sleep(ctx, lookEvery); serr != nil {
			return fmt.Errorf("wait until %s is ready again: %w", record.On, errors.Join(serr, err))
		}
	}
}

func (n *nemesis) observer(in Injection, f *ledger.Fault) faults.Observer {
	r := n.r
	witness := func(w faults.Witness, active bool) {
		err := r.store.AddWitness(ledger.Witness{Record: f.Record, Active: active, What: w.What, Value: w.Value, Unit: w.Unit, Note: w.Note, At: w.At})
		if err != nil {
			r.o.Log.Error("record witness", "fault", f.Record, "err", err)
		}
	}
	return faults.Observer{
		Ready: func(ctx context.Context) error {
			if err := r.clock.wait(ctx, f.Planned); err != nil {
				return err
			}
			r.say(Event{Kind: EventFault, Name: in.ID, On: true, Text: fmt.Sprintf("%s %s", in.Fault.Kind, f.Target), Wait: holdTime(in)})
			return nil
		},
		Calling: func(_ faults.Record, at int64) { f.Called = at },
		Applied: func(_ faults.Record, at int64) { f.Applied = at },
		Confirmed: func(_ faults.Record, w faults.Witness) {
			f.Confirmed = w.At
			witness(w, true)
			r.say(Event{Kind: EventWitness, Name: in.ID, On: true, Text: w.Note})
		},
		Reverting: func(_ faults.Record, at int64) { f.Released = at },
		Gone: func(_ faults.Record, w faults.Witness) {
			f.Gone = w.At
			witness(w, false)
			r.say(Event{Kind: EventFault, Name: in.ID, Text: fmt.Sprintf("%s %s is over", in.Fault.Kind, f.Target)})
			r.say(Event{Kind: EventWitness, Name: in.ID, Text: w.Note})
		},
	}
}

// confirmWithin is how long a witness is waited for: a fault without one must not stay much longer than it was planned to.
func confirmWithin(in Injection) time.Duration {
	if in.Fault.For == nil {
		return confirmBudget
	}
	return min(max(in.Fault.For.Std(), leastConfirm), confirmBudget)
}

// holdTime is how long an injection is planned to last; 0 where nobody knows.
func holdTime(in Injection) time.Duration {
	if in.Fault.For != nil {
		return in.Fault.For.Std()
	}
	if d, ok := in.Fault.Params.(faults.Downtimer); ok {
		return d.Down()
	}
	return 0
}
