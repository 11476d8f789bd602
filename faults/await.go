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
