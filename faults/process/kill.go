package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Kill ends a container's first process with a signal, as a crash does.
//
// The signal must be one that ends the process: the witness is that PID 1 is gone. (The kernel ignores a signal other
// than SIGKILL to a PID 1 that has no handler for it.)
type Kill struct {
	Signal  string         `toml:"signal" default:"SIGKILL" enum:"SIGKILL|SIGTERM|SIGINT|SIGQUIT|SIGABRT|SIGSEGV|SIGBUS|SIGFPE|SIGILL|SIGHUP|SIGUSR1|SIGUSR2|SIGPIPE|SIGALRM" doc:"the signal to PID 1; it must end it, or the fault has no witness"`
	DownFor units.Duration `toml:"down" doc:"how long discompose leaves the container down before it starts it; without one its restart policy starts it, or discompose at once where the policy does not"`
}

// signals are those whose default action ends a process; the enum tag of Kill.Signal lists the same.
func signals() []string {
	return []string{
		"SIGKILL", "SIGTERM", "SIGINT", "SIGQUIT", "SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGHUP",
		"SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM",
	}
}

const fromHost = "signal from the host's pid namespace"

// KillSpec describes the kind.
func KillSpec() faults.Spec {
	return faults.Spec{
		Kind: kindKill, Family: faults.Process, Instant: true,
		Summary: "send a signal that ends PID 1 of a container",
		Doc: "The signal comes from the host's pid namespace, so the engine sees a crash and the container's restart policy acts on it; while down lasts, discompose does not start the container. " +
			"A container whose policy starts it earlier is up earlier, and the report says so. " +
			"Witness: the process that was PID 1 is gone, and the engine says so, with its exit code. A signal that the process survives has no witness. " +
			"Undo: start the container if it does not run; the fault has ended when it is ready again.",
		Targets: []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{
			{Name: fromHost, Needs: []faults.Capability{faults.CapAgent, faults.CapSignal}},
			{Name: "Docker API", Note: "the engine does not apply the restart policy after docker kill, so discompose starts the target itself"},
		},
		New:    func() faults.Fault { return &Kill{} },
		Effect: kill{},
		Cuts:   true,
	}
}

// Validate wants a known signal.
func (k *Kill) Validate() error {
	if k.Signal == "" || slices.Contains(signals(), k.Signal) {
		return nil
	}
	e := &faults.ParamError{Key: "signal", Err: fmt.Errorf("%q is not a signal that ends a process", k.Signal), Hint: "one of " + strings.Join(signals(), ", ")}
	if name := "SIG" + strings.ToUpper(strings.TrimPrefix(strings.ToUpper(k.Signal), "SIG")); slices.Contains(signals(), name) {
		e.Hint = fmt.Sprintf("signal = %q", name)
	}
	return e
}

// Prepare refuses a target that is not running or is paused by somebody else, and notes which process is to end.
func (k *Kill) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	m, err := KillSpec().Mechanism(env.Facts())
	if err != nil {
		return faults.Record{}, err
	}
	w := want{Signal: k.Signal, Down: k.DownFor.Std(), FromHost: m.Name == fromHost}
	if w.Signal == "" {
		w.Signal = "SIGKILL"
	}
	return prepare(ctx, env, kindKill, on, w)
}

// Down is how long the container stays down; zero leaves its return to the restart policy.
func (k *Kill) Down() time.Duration { return k.DownFor.Std() }

// ByPolicy reports that only the restart policy starts the container again.
func (k *Kill) ByPolicy() bool { return k.DownFor == 0 }

type kill struct{ instant }

// Apply sends the signal to the process that was PID 1 when the fault was prepared. To a container that was already
// down it does nothing, and Confirm says so.
func (kill) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	w, c, err := event(ctx, env, r)
	if err != nil || w.PID == 0 {
		return err
	}
	if w.FromHost {
		if env.Host == nil {
			return fmt.Errorf("signal %s: %w: the agent is gone", r.On, faults.ErrUnsupported)
		}
		err = env.Host.Call(ctx, faults.OpSignal, faults.Signal{Container: r.On.Container, PID: w.PID, Signal: w.Signal}, nil)
	} else {
		err = env.Engine.Do(ctx, r.On.Container, faults.Action{Verb: faults.DoKill, Signal: w.Signal})
	}
	if err != nil {
		return fmt.Errorf("send %s to process %d of %s: %w", w.Signal, w.PID, r.On, err)
	}
	if !c.Paused {
		return nil
	}
	// A frozen process takes its signal only when it thaws (cgroup version 1). It runs no instruction before it dies.
	return thaw(ctx, env, r.On, w)
}

func thaw(ctx context.Context, env faults.Env, on faults.Target, w want) error {
	err := do(ctx, env, on, faults.Action{Verb: faults.DoUnpause})
	if err == nil {
		return nil
	}
	c, ierr := env.Engine.Inspect(ctx, on.Container)
	if ierr == nil && (!c.Running || c.PID != w.PID || !c.Paused) {
		return nil // it is dead, which is why it could not be thawed
	}
	return errors.Join(err, ierr)
}

// event decodes the record of an event and checks that it would happen to the process that it was prepared for.
func event(ctx context.Context, env faults.Env, r faults.Record) (want, faults.Container, error) {
	w, err := decode(r)
	if err != nil {
		return want{}, faults.Container{}, err
	}
	c, err := env.Engine.Inspect(ctx, r.On.Container)
	if err != nil {
		return want{}, faults.Container{}, fmt.Errorf("inspect %s: %w", r.On, err)
	}
	if w.PID == 0 {
		return w, c, nil
	}
	// The engine may not have noticed yet that it ended.
	over := !c.Running || c.PID != w.PID || (env.Host != nil && ended(ctx, env, w.PID) == nil)
	if over {
		return want{}, faults.Container{}, noWitness("process %d of %s ended before the %s: something else stopped or restarted it", w.PID, r.On, r.Kind)
	}
	return w, c, nil
}

// Confirm measures that the process is gone, or that the container is back.
func (kill) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
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
		if c.Running && !c.Restarting && c.StartedAt.Equal(w.StartedAt) {
			return faults.Witness{}, noWitness("process %d of %s is still there after %s (a PID 1 without a handler ignores every signal but SIGKILL)", w.PID, r.On, w.Signal)
		}
		if err := ended(ctx, env, w.PID); err != nil {
			return faults.Witness{}, err
		}
		note := fmt.Sprintf("%s ended process %d of %s", w.Signal, w.PID, r.On)
		switch {
		case c.RestartCount > w.Restarts:
			note += fmt.Sprintf("; its restart policy %q acted at once", w.Policy)
		case !c.Running:
			note += fmt.Sprintf(", exit code %d", c.ExitCode)
		}
		return faults.Witness{What: "process ended", Value: float64(w.PID), Unit: "pid", Note: note}, nil
	})
}

// happened decodes the record of an active event; it fails if there was no process for it to happen to.
func happened(env faults.Env, r faults.Record) (want, error) {
	if err := wanted(env, r); err != nil {
		return want{}, err
	}
	w, err := decode(r)
	if err != nil {
		return want{}, err
	}
	if w.PID == 0 {
		return want{}, noWitness("%s was down already, by another fault, when the %s was due", r.On, r.Kind)
	}
	return w, nil
}
