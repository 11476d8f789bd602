package faults

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// HealError says that a fault could not be undone: the environment is dirty.
type HealError struct {
	Record Record
	Err    error
}

// Error names the fault, its target and the cause.
func (e *HealError) Error() string {
	return fmt.Sprintf("heal %s on %s: %v", e.Record.Kind, e.Record.On, e.Err)
}

// Unwrap is the cause.
func (e *HealError) Unwrap() error { return e.Err }

// Observer is told the instants of one fault, for the ledger and the live timeline. Every function may be nil.
type Observer struct {
	Ready     func(ctx context.Context) error // blocks until the planned instant; the undo is journalled by then
	Calling   func(r Record, at int64)        // just before the call; host boot-time clock, ns, as every at
	Applied   func(r Record, at int64)        // the call answered
	Confirmed func(r Record, w Witness)
	Reverting func(r Record, at int64)
	Gone      func(r Record, w Witness)
}

// Budgets bound the parts of Hold that are not the hold itself.
type Budgets struct {
	Confirm time.Duration // from the answered call to a witness
	Heal    time.Duration // revert and its witness, whatever happened before
}

// Hold applies r, proves that it bites, runs body, and reverts on every path: a cancelled ctx, a failed Confirm, a
// panic. The heal budget does not depend on how long the fault was held. A failed undo is a *HealError, joined to
// whatever else went wrong.
func Hold(ctx context.Context, env Env, e Effect, r Record, b Budgets, o Observer, body func(context.Context, Witness) error) (err error) {
	if err := env.Journal.Intend(r); err != nil {
		return fmt.Errorf("journal %s: %w", r.Kind, err)
	}
	defer func() {
		hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.Heal)
		defer cancel()
		if o.Reverting != nil {
			o.Reverting(r, env.now())
		}
		w, herr := Undo(hctx, env, e, r)
		if herr != nil {
			err = errors.Join(err, herr)
			return
		}
		if o.Gone != nil {
			o.Gone(r, w)
		}
	}()
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return fmt.Errorf("wait to apply %s: %w", r.Kind, err)
		}
	}
	err = locked(env, r, func() error {
		if o.Calling != nil {
			o.Calling(r, env.now())
		}
		return e.Apply(ctx, env, r)
	})
	if err != nil { // it may have taken effect all the same
		return fmt.Errorf("apply %s to %s: %w", r.Kind, r.On, err)
	}
	if o.Applied != nil {
		o.Applied(r, env.now())
	}
	cctx, cancel := context.WithTimeout(ctx, b.Confirm)
	w, err := e.Confirm(cctx, env, r, true)
	cancel()
	if err != nil {
		return fmt.Errorf("confirm %s on %s: %w", r.Kind, r.On, err)
	}
	w.At = env.now()
	if o.Confirmed != nil {
		o.Confirmed(r, w)
	}
	return body(ctx, w)
}

// Undo releases r and reverts it until its witness is gone or ctx ends: a call that a dead runner sent may still land
// after the first revert. The error is a *HealError.
func Undo(ctx context.Context, env Env, e Effect, r Record) (Witness, error) {
	if err := env.Journal.Release(r); err != nil {
		// The release is not durable, but the environment matters more: undo all the same.
		w, uerr := revertOnce(ctx, env, e, r)
		return w, &HealError{r, errors.Join(err, uerr)}
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		w, err := revertOnce(ctx, env, e, r)
		if err == nil {
			if err := env.Journal.Done(r); err != nil {
				return w, &HealError{r, err}
			}
			return w, nil
		}
		select {
		case <-ctx.Done():
			return Witness{}, &HealError{r, err}
		case <-time.After(wait):
		}
	}
}

// attempt bounds one revert and its witness, so that one hanging call does not eat the whole heal budget.
const attempt = 20 * time.Second

func revertOnce(ctx context.Context, env Env, e Effect, r Record) (Witness, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if err := locked(env, r, func() error { return e.Revert(ctx, env, r) }); err != nil {
		return Witness{}, fmt.Errorf("revert: %w", err)
	}
	w, err := e.Confirm(ctx, env, r, false)
	if err != nil {
		return Witness{}, fmt.Errorf("confirm gone: %w", err)
	}
	w.At = env.now()
	return w, nil
}

func locked(env Env, r Record, f func() error) error {
	defer env.Journal.Lock(r.On.Key())()
	return f()
}

func (e Env) now() int64 {
	if e.Now == nil {
		return 0
	}
	return e.Now()
}

// Heal undoes every record that state still owes: those whose effect thaws or starts a process first, then the rest,
// newest first. It goes on after a failure and joins all errors (each a *HealError). No record gets more than its share
// of the time that ctx has left, so that one that hangs leaves time for the others. effect finds a kind's Effect.
func Heal(ctx context.Context, env Env, owed []Record, effect func(Kind) (Effect, Family, bool)) (healed []Record, err error) {
	var errs []error
	left := len(owed)
	for _, processFirst := range []bool{true, false} {
		for i := len(owed) - 1; i >= 0; i-- {
			r := owed[i]
			e, family, ok := effect(r.Kind)
			if !ok {
				if processFirst {
					left--
					errs = append(errs, &HealError{r, fmt.Errorf("this build does not know kind %q", r.Kind)})
				}
				continue
			}
			if (family == Process) != processFirst {
				continue
			}
			if err := undoWithin(ctx, left, env, e, r); err != nil {
				errs = append(errs, err)
			} else {
				healed = append(healed, r)
			}
			left--
		}
	}
	return healed, errors.Join(errs...)
}

// undoWithin undoes one of several records in its share of the time that is left; without a deadline it gets one attempt's.
func undoWithin(ctx context.Context, left int, env Env, e Effect, r Record) error {
	share := attempt
	if deadline, ok := ctx.Deadline(); ok {
		share = time.Until(deadline) / time.Duration(left)
	}
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	_, err := Undo(ctx, env, e, r)
	return err
}
