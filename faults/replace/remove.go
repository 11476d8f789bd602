package replace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Remove removes a container and makes a new one of its name after DownFor.
//
// Grace is in whole seconds, as the engine takes it; without one the container is killed at once, as docker rm -f does.
type Remove struct {
	DownFor units.Duration  `toml:"down" doc:"how long there is no container before a new one is made; without one it is made at once"`
	Grace   *units.Duration `toml:"grace" doc:"time between the container's stop signal and SIGKILL, in whole seconds, at most 15s; default: SIGKILL at once"`
}

// RemoveSpec describes the kind.
func RemoveSpec() faults.Spec {
	s := spec(kindRemove, "The container is stopped and removed, and after the down time one of its name is made as it was and started: what the old one had written outside its volumes is lost, its volumes, also those without a name, are back. "+
		"Witness: the engine knows the container no more and none of its name, and, through the agent, its process is gone. "+
		"Undo: make a container as the first one was and start it, unless another remove is active; the fault has ended when it is ready. "+
		"A container that another fault acts on is refused, and so is one whose network, or volumes, another container uses.")
	s.Summary, s.Instant = "remove a container and make it again after a time", true
	s.New, s.Effect = func() faults.Fault { return &Remove{} }, remove{}
	return s
}

// Validate wants a down time that is not negative and a grace of whole seconds.
func (f *Remove) Validate() error {
	var err error
	if f.DownFor < 0 {
		err = &faults.ParamError{Key: "down", Err: errors.New("must not be negative"), Hint: `down = "5s"`}
	}
	return errors.Join(err, validGrace(f.Grace))
}

// Prepare journals what the container was made of, and refuses one that is not running or that another fault acts on.
func (f *Remove) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return prepare(ctx, env, kindRemove, on, want{Down: f.DownFor.Std(), Grace: grace(f.Grace, 0)})
}

// Down is how long there is no container.
func (f *Remove) Down() time.Duration { return f.DownFor.Std() }

type remove struct{ effect }

// Confirm measures that the container is gone, or that there is a new one.
func (remove) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return gone(ctx, env, r)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	w, err := decode[want](r)
	if err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		c, err := env.Engine.Inspect(ctx, r.On.Container)
		switch {
		case err == nil:
			return faults.Witness{}, noWitness("the engine knows the container %.12s of %s still", c.ID, r.On)
		case !errors.Is(err, faults.ErrGone):
			return faults.Witness{}, fmt.Errorf("inspect %s: %w", r.On, err)
		}
		if c, there, err := named(ctx, env, w.Name); err != nil || there {
			return faults.Witness{}, errors.Join(err, noWitness("somebody has made a container %s: %.12s", w.Name, c.ID))
		}
		if err := ended(ctx, env, w.PID); err != nil {
			return faults.Witness{}, err
		}
		return faults.Witness{
			What: "process ended", Value: float64(w.PID), Unit: "pid",
			Note: fmt.Sprintf("the engine knows container %.12s of %s no more, nor any of its name, and process %d has ended", r.On.Container, r.On, w.PID),
		}, nil
	})
}
