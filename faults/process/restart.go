package process

import (
	"context"
	"fmt"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Restart stops a container in good order and starts it again at once.
//
// Grace is in whole seconds, as the engine takes it; without one the container's own counts.
type Restart struct {
	Grace *units.Duration `toml:"grace" doc:"time between the container's stop signal and SIGKILL, in whole seconds; default: the container's own"`
}

// RestartSpec describes the kind.
func RestartSpec() faults.Spec {
	return faults.Spec{
		Kind: kindRestart, Family: faults.Process, Instant: true,
		Summary: "stop a container in good order and start it again at once",
		Doc: "The engine sends the container's stop signal and, after the grace time, SIGKILL; then it starts the container. " +
			"Witness: the container has a new start time and a new process, and the old one is gone. " +
			"Undo: start it if it does not run; the fault has ended when it is ready again.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "Docker API"}},
		New:        func() faults.Fault { return &Restart{} },
		Effect:     restart{},
		Cuts:       true,
	}
}

// Validate wants a grace of whole seconds.
func (s *Restart) Validate() error { return validGrace(s.Grace) }

// Prepare refuses a target that is not running or is paused by somebody else, and notes which process is to end.
func (s *Restart) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return s.prepare(ctx, env, kindRestart, on)
}

func (s *Restart) prepare(ctx context.Context, env faults.Env, kind faults.Kind, on faults.Target) (faults.Record, error) {
	return prepare(ctx, env, kind, on, want{Grace: grace(s.Grace)})
}

// restart is the effect of restart and of rolling_restart, which differ in the order of their targets alone.
type restart struct{ instant }

// Apply restarts the container and pauses it again where a pause is active. One that was already down stays so.
func (restart) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	w, _, err := event(ctx, env, r)
	if err != nil || w.PID == 0 {
		return err
	}
	if err := do(ctx, env, r.On, faults.Action{Verb: faults.DoRestart, Grace: w.Grace}); err != nil {
		return err
	}
	return reach(ctx, env, r.On, desire(env.Journal, r.On.Container, ""))
}

// Confirm measures that another process runs, or that the container is up.
func (restart) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return gone(ctx, env, r)
	}
	w, err := happened(env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		c, err := env.Engine.Inspect(ctx, r.On.Container)
		if err != nil {
			return faults.Witness{}, fmt.Errorf("inspect %s: %w", r.On, err)
		}
		if !c.Running || c.Restarting {
			return faults.Witness{}, noWitness("%s has not been started again", r.On)
		}
		if c.StartedAt.Equal(w.StartedAt) || c.PID == w.PID {
			return faults.Witness{}, noWitness("%s still runs as process %d", r.On, w.PID)
		}
		if err := ended(ctx, env, w.PID); err != nil {
			return faults.Witness{}, err
		}
		return faults.Witness{
			What: "new process", Value: float64(c.PID), Unit: "pid",
			Note: fmt.Sprintf("%s was restarted: process %d is gone, %d runs since %s", r.On, w.PID, c.PID, c.StartedAt.UTC().Format("15:04:05.000")),
		}, nil
	})
}
