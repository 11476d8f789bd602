package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Stop shuts a container down in good order and starts it again after DownFor.
//
// Grace is in whole seconds, as the engine takes it; without one the container's own counts.
type Stop struct {
	DownFor units.Duration  `toml:"down" doc:"required: how long the container stays down before it is started again"`
	Grace   *units.Duration `toml:"grace" doc:"time between the container's stop signal and SIGKILL, in whole seconds; default: the container's own"`
}

// StopSpec describes the kind.
func StopSpec() faults.Spec {
	return faults.Spec{
		Kind: kindStop, Family: faults.Process, Instant: true,
		Summary: "stop a container in good order and start it again after a time",
		Doc: "The engine sends the container's stop signal and, after the grace time, SIGKILL. The restart policy does not act. " +
			"Witness: the engine says that it is not running, with its exit code, and, through the agent, its process is gone. " +
			"Undo: start it, unless another stop or kill is active; the fault has ended when it is ready again.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "Docker API"}},
		New:        func() faults.Fault { return &Stop{} },
		Effect:     stop{},
		Cuts:       true,
	}
}

// Validate wants a down time and a grace of whole seconds.
func (s *Stop) Validate() error {
	var errs []error
	if s.DownFor <= 0 {
		errs = append(errs, &faults.ParamError{Key: "down", Err: errors.New("is required and must be longer than 0s"), Hint: `down = "5s"`})
	}
	return errors.Join(append(errs, validGrace(s.Grace))...)
}

// Prepare refuses a target that is not running or is paused by somebody else.
func (s *Stop) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return prepare(ctx, env, kindStop, on, want{Down: s.DownFor.Std(), Grace: grace(s.Grace)})
}

// Down is how long the container stays down.
func (s *Stop) Down() time.Duration { return s.DownFor.Std() }

type stop struct{ instant }

// Apply stops the container if it runs.
func (stop) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	return reach(ctx, env, r.On, desire(env.Journal, r.On.Container, ""))
}

// Confirm measures that the container is down, or that it runs again.
func (stop) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return gone(ctx, env, r)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	w, err := decode(r)
	if err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		c, err := env.Engine.Inspect(ctx, r.On.Container)
		if err != nil {
			return faults.Witness{}, fmt.Errorf("inspect %s: %w", r.On, err)
		}
		if c.Running || c.Restarting {
			return faults.Witness{}, noWitness("%s is running", r.On)
		}
		if err := ended(ctx, env, w.PID); err != nil {
			return faults.Witness{}, err
		}
		note := fmt.Sprintf("%s is down: process %d has ended, exit code %d", r.On, w.PID, c.ExitCode)
		if w.PID == 0 {
			note = fmt.Sprintf("%s is down, and was already when this fault began", r.On)
		}
		return faults.Witness{What: "exit code", Value: float64(c.ExitCode), Note: note}, nil
	})
}

// grace is the record's form of a parameter that may be unset.
func grace(g *units.Duration) time.Duration {
	if g == nil {
		return -1
	}
	return g.Std()
}

func validGrace(g *units.Duration) error {
	if g != nil && g.Std()%time.Second != 0 {
		return &faults.ParamError{Key: "grace", Err: fmt.Errorf("%s is not a whole number of seconds, which is all that the engine takes", g), Hint: `grace = "1s", or "0s" for SIGKILL at once`}
	}
	return nil
}
