package replace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// look is the time between two observations while something is awaited.
const look = 20 * time.Millisecond

// prepare reads the state of a container, journals what it was made of, and makes the record. It refuses one that is not
// running, or that another kind of fault acts on.
func prepare(ctx context.Context, env faults.Env, kind faults.Kind, on faults.Target, w want) (faults.Record, error) {
	rep, err := replacer(env)
	if err != nil {
		return faults.Record{}, fmt.Errorf("%s on %s: %w", kind, on, err)
	}
	var c faults.Container
	err = faults.Settle(ctx, kind, on, look, func() (refusal, err error) {
		if c, err = env.Engine.Inspect(ctx, on.Container); err != nil {
			return nil, fmt.Errorf("inspect %s: %w", on, err)
		}
		if refusal := unfit(c); refusal != nil {
			return refusal, nil
		}
		if refusal := busy(env.Journal, on, c.ID); refusal != nil {
			return refusal, nil
		}
		d, err := desire(env.Journal, c.Name, "")
		if err == nil && !d.fits(c) {
			return fmt.Errorf("it %s", d.mismatch(c, true)), nil
		}
		return nil, err
	})
	if err != nil {
		return faults.Record{}, err
	}
	b, err := base(env, c.Name, func() (faults.Blueprint, error) { return rep.Blueprint(ctx, c.ID) })
	if err != nil {
		return faults.Record{}, fmt.Errorf("%s on %s: %w", kind, on, err)
	}
	if err := resolve(ctx, rep, &w); err != nil {
		return faults.Record{}, fmt.Errorf("%s on %s: %w", kind, on, err)
	}
	w.Name, w.PID, w.StartedAt = b.Was.Name, c.PID, c.StartedAt
	return faults.NewRecord(kind, on, w)
}

// unfit says why a container can have no fault of this package.
func unfit(c faults.Container) error {
	switch {
	case !c.Running || c.Restarting:
		return fmt.Errorf("it is not running (exit code %d); start it first", c.ExitCode)
	case c.Paused:
		return errors.New("it is paused; unpause it first")
	}
	return nil
}

// busy says which fault keeps a container from being replaced: one that would be lost with it, or a scale of its service,
// which may take it away itself. One that is being undone still does.
func busy(j faults.Journal, on faults.Target, container string) error {
	if err := loses(j, container); err != nil {
		return err
	}
	for _, r := range j.Owed() {
		if r.Kind == kindScale && r.On.Service == on.Service {
			return fmt.Errorf("scale %q of its service is active", r.ID)
		}
	}
	return nil
}

// loses says which fault of another kind would be lost with a container.
func loses(j faults.Journal, container string) error {
	for _, r := range j.Owed() {
		if r.On.Key() == container && !isReplacing(r.Kind) {
			return fmt.Errorf("%s %q is active on it and would be lost with the container", r.Kind, r.ID)
		}
	}
	return nil
}

// shared reports whether a fault of another kind acts on a container: how it is otherwise is that fault's to give back.
func shared(j faults.Journal, container string) bool { return loses(j, container) != nil }

// still fails if a fault that began after r was prepared keeps its container from being replaced.
func still(env faults.Env, r faults.Record) error {
	if err := busy(env.Journal, r.On, r.On.Container); err != nil {
		return fmt.Errorf("%w: %w", faults.ErrUnsupported, err)
	}
	return nil
}

func validGrace(g *units.Duration) error {
	switch {
	case g == nil:
		return nil
	case *g < 0 || g.Std()%time.Second != 0:
		return &faults.ParamError{Key: "grace", Err: fmt.Errorf("%s is not a whole number of seconds, which is all that the engine takes", g), Hint: `grace = "1s", or "0s" for SIGKILL at once`}
	case g.Std() > mostGrace:
		return &faults.ParamError{Key: "grace", Err: fmt.Errorf("%s is longer than one attempt to undo the fault may take", g), Hint: fmt.Sprintf(`at most "%s"`, mostGrace)}
	}
	return nil
}

// mostGrace leaves an undo, which faults.Undo gives 20 s, time for the rest of it.
const mostGrace = 15 * time.Second

// grace is the record's form of a parameter that may be unset.
func grace(g *units.Duration, unset time.Duration) time.Duration {
	if g == nil {
		return unset
	}
	return g.Std()
}
