package faults

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Await looks again and again, every interval, until look returns a witness. An error of look that wraps ErrNoWitness
// means "not yet"; any other error ends the wait. When ctx ends, the last "not yet" is returned, so that the report
// says what was missing.
func Await(ctx context.Context, every time.Duration, look func() (Witness, error)) (Witness, error) {
	var last error
	for {
		w, err := look()
		switch {
		case err == nil:
			return w, nil
		case errors.Is(err, ErrNoWitness):
			last = err
		case ctx.Err() != nil && last != nil:
			return Witness{}, fmt.Errorf("%w (%w)", last, context.Cause(ctx))
		default:
			return Witness{}, err
		}
		if err := Pause(ctx, every); err != nil {
			return Witness{}, fmt.Errorf("%w (%w)", last, err)
		}
	}
}

// Pause waits for d, or until ctx ends; then it returns the cause.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Settle waits until ask neither fails nor refuses, for as long as another fault on the target may take to end: its record is
// released before its undo is done, and until then nothing explains the target's state. It asks every so often. A refusal that
// stays becomes the error, with ErrUnsupported.
func Settle(ctx context.Context, kind Kind, on Target, every time.Duration, ask func() (refusal, err error)) error {
	for waited := time.Duration(0); ; waited += every {
		refusal, err := ask()
		switch {
		case err != nil:
			return err
		case refusal == nil:
			return nil
		case waited >= ending:
			return fmt.Errorf("%s on %s: %w: %w", kind, on, ErrUnsupported, refusal)
		}
		if err := Pause(ctx, every); err != nil {
			return fmt.Errorf("%s on %s: %w: %w", kind, on, refusal, err)
		}
	}
}

// ending is how long Settle waits for another fault to end.
const ending = 3 * time.Second
