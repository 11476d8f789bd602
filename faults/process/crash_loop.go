package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// CrashLoop ends a container's first process again and again, each time that its restart policy has started it.
//
// Uptime is how long each process runs before that, from the start that the engine notes. With Count the fault ends by
// itself; zero leaves the end to the fault's time.
type CrashLoop struct {
	Signal string         `toml:"signal" default:"SIGKILL" enum:"SIGKILL|SIGTERM|SIGINT|SIGQUIT|SIGABRT|SIGSEGV|SIGBUS|SIGFPE|SIGILL|SIGHUP|SIGUSR1|SIGUSR2|SIGPIPE|SIGALRM" doc:"the signal to PID 1; it must end it, or the fault has no witness"`
	Uptime units.Duration `toml:"uptime" default:"0s" doc:"how long it runs after each start before it is killed; 0s: as soon as it runs"`
	Count  int            `toml:"count" doc:"how many times it is killed; with for, what comes first ends the fault; at least one of the two is needed"`
}

// CrashLoopSpec describes the kind.
func CrashLoopSpec() faults.Spec {
	return faults.Spec{
		Kind: kindCrashLoop, Family: faults.Process,
		Summary: "kill a container's PID 1 each time its restart policy has started it",
		Doc: "The agent sends the signal from the host's pid namespace as soon as the process has run for `uptime`, so the engine sees crash after crash and the restart policy acts with its own back-off " +
			"(Docker: 100 ms, doubled with each crash up to 1 minute, from the beginning after a run of 10 s). A target without a restart policy is refused. A process that is paused is killed when it is thawed. " +
			"With `count` the fault ends when the policy has started the container after the last kill, or has given up. " +
			"Witness: a process ended by the loop's signal, and the engine's restart count rose. " +
			"Undo: the loop ends, and a container that waits for its policy's next start is started at once. The loop ends with the agent, too.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: fromHost, Needs: []faults.Capability{faults.CapAgent, faults.CapSignal}}},
		New:        func() faults.Fault { return &CrashLoop{} },
		Effect:     crashLoop{},
		Cuts:       true,
	}
}

// Validate wants a known signal and a number of kills that is not negative.
func (f *CrashLoop) Validate() error {
	errs := []error{(&Kill{Signal: f.Signal}).Validate()}
	if f.Uptime < 0 {
		errs = append(errs, &faults.ParamError{Key: "uptime", Err: errors.New("must not be negative"), Hint: `uptime = "1s"`})
	}
	if f.Count < 0 {
		errs = append(errs, &faults.ParamError{Key: "count", Err: errors.New("must not be negative"), Hint: "count = 5"})
	}
	return errors.Join(errs...)
}

// ByPolicy is true: nothing but its policy starts the container between two kills.
func (*CrashLoop) ByPolicy() bool { return true }

// Finite reports whether the number of kills ends the fault.
func (f *CrashLoop) Finite() bool { return f.Count > 0 }

// Prepare refuses a target that is not running, is paused by somebody else or has no restart policy.
func (f *CrashLoop) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	if _, err := CrashLoopSpec().Mechanism(env.Facts()); err != nil {
		return faults.Record{}, err
	}
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return faults.Record{}, fmt.Errorf("inspect %s: %w", on, err)
	}
	if c.RestartPolicy == "" || c.RestartPolicy == "no" {
		return faults.Record{}, fmt.Errorf("%s %s: %w: it has no restart policy, so nothing would start it again", kindCrashLoop, on, faults.ErrUnsupported)
	}
	w := want{Signal: f.Signal, Uptime: f.Uptime.Std(), Count: f.Count}
	if w.Signal == "" {
		w.Signal = "SIGKILL"
	}
	return prepare(ctx, env, kindCrashLoop, on, w)
}

type crashLoop struct{ effect }

// Apply begins the loop.
func (crashLoop) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	w, err := decode(r)
	if err != nil {
		return err
	}
	if env.Host == nil {
		return fmt.Errorf("crash %s: %w: the agent is gone", r.On, faults.ErrUnsupported)
	}
	l := faults.CrashLoop{ID: r.ID, Container: r.On.Container, Signal: w.Signal, Uptime: w.Uptime, Count: w.Count}
	if err := env.Host.Call(ctx, faults.OpCrashLoop, l, nil); err != nil {
		return fmt.Errorf("begin the crash loop of %s: %w", r.On, err)
	}
	return nil
}

// Finished reports whether the loop has killed as often as it should and the policy has acted for the last time, or the
// policy has given up, so that there is nothing left to kill.
func (crashLoop) Finished(ctx context.Context, env faults.Env, r faults.Record) (bool, error) {
	s, err := loopState(ctx, env, r)
	if err != nil || !s.Active {
		return err == nil, err
	}
	c, err := env.Engine.Inspect(ctx, r.On.Container)
	if err != nil {
		return false, fmt.Errorf("inspect %s: %w", r.On, err)
	}
	d := desire(env.Journal, r.On.Container, r.ID)
	d.loop = nil // two loops on one target wait for the same policy
	return s.Kills > 0 && !c.Running && !c.Restarting && d.down() == nil, nil
}

// Confirm measures that the loop kills and the policy starts, or that the loop has ended and the container is up.
func (crashLoop) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return loopGone(ctx, env, r)
	}
	w, err := decode(r)
	if err != nil {
		return faults.Witness{}, err
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		s, err := loopState(ctx, env, r)
		if err != nil {
			return faults.Witness{}, err
		}
		c, err := env.Engine.Inspect(ctx, r.On.Container)
		if err != nil {
			return faults.Witness{}, fmt.Errorf("inspect %s: %w", r.On, err)
		}
		switch {
		case s.Kills == 0 && s.Error != "":
			return faults.Witness{}, noWitness("nothing of %s was killed: %s", r.On, s.Error)
		case s.Kills == 0 && s.Ending != 0:
			return faults.Witness{}, noWitness("process %d of %s is still there after %s (a PID 1 without a handler ignores every signal but SIGKILL)", s.Ending, r.On, w.Signal)
		case s.Kills == 0:
			return faults.Witness{}, noWitness("nothing of %s was killed yet (each process runs for %s before)", r.On, w.Uptime)
		case s.Starts == 0 || (c.RestartCount <= w.Restarts && !c.StartedAt.After(w.StartedAt)):
			return faults.Witness{}, noWitness("%s was killed %s, and its restart policy %q has not started it again (exit code %d)", r.On, times(s.Kills), w.Policy, c.ExitCode)
		}
		return faults.Witness{
			What: "kills", Value: float64(s.Kills), Unit: "times",
			Note: fmt.Sprintf("%s crashes in a loop: %s so far", r.On, tally(w, s)),
		}, nil
	})
}

// Revert ends the loop and brings the container to the state that the other active records ask for.
func (e crashLoop) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	if env.Host != nil { // else the loop has ended with its agent
		if err := env.Host.Call(ctx, faults.OpCrashLoopEnd, faults.CrashLoopID{ID: r.ID}, nil); err != nil {
			return fmt.Errorf("end the crash loop of %s: %w", r.On, err)
		}
		if err := noticed(ctx, env, r.On); err != nil {
			return err
		}
	}
	return e.effect.Revert(ctx, env, r)
}

// noticed waits, for a moment, until the engine knows that the process which it calls running has ended: only then does it
// tell whether the restart policy waits.
func noticed(ctx context.Context, env faults.Env, on faults.Target) error {
	for waited := time.Duration(0); waited < patience; waited += look {
		c, err := env.Engine.Inspect(ctx, on.Container)
		if errors.Is(err, faults.ErrGone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inspect %s: %w", on, err)
		}
		if err := ended(ctx, env, c.PID); c.PID == 0 || err != nil {
			return ignore(err, faults.ErrNoWitness)
		}
		if err := faults.Pause(ctx, look); err != nil {
			return err
		}
	}
	return nil
}

// ignore drops an error that wraps target.
func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

func loopState(ctx context.Context, env faults.Env, r faults.Record) (s faults.CrashLoopState, err error) {
	if env.Host == nil {
		return s, nil
	}
	if err := env.Host.Call(ctx, faults.OpCrashLoopState, faults.CrashLoopID{ID: r.ID}, &s); err != nil {
		return s, fmt.Errorf("ask for the crash loop of %s: %w", r.On, err)
	}
	return s, nil
}

// loopGone measures that the loop kills nothing any more, that what it has signalled last has ended, and that the
// container is in the state that the others ask for.
func loopGone(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	record, err := decode(r)
	if err != nil {
		return faults.Witness{}, err
	}
	soon, cancel := context.WithTimeout(ctx, patience+afterStop)
	defer cancel()
	var s faults.CrashLoopState
	waited := -look
	w, err := faults.Await(soon, look, func() (w faults.Witness, err error) {
		if s, err = loopState(soon, env, r); err != nil {
			return w, err
		}
		waited += look
		return loopGoneNow(soon, env, r, s, waited)
	})
	if err == nil && s.Kills > 0 {
		w.Note += "; it was " + tally(record, s)
	}
	return w, err
}

func loopGoneNow(ctx context.Context, env faults.Env, r faults.Record, s faults.CrashLoopState, waited time.Duration) (faults.Witness, error) {
	if s.Active {
		return faults.Witness{}, noWitness("the crash loop of %s goes on", r.On)
	}
	w, err := goneNow(ctx, env, r)
	pid := int(w.Value) // 0 where none runs
	switch {
	case err != nil || pid == 0:
		return w, err
	case env.Host == nil && waited < afterKill: // nobody but the engine can tell, and it takes a moment to notice
		return w, noWitness("process %d of %s was killed a moment ago, perhaps", pid, r.On)
	case env.Host == nil:
		return w, nil
	case s.Ending == pid && (s.Kills > 0 || waited < afterStop):
		// A process that takes its time to end on such a signal is waited for; one that has outlived the first stays.
		return w, noWitness("process %d of %s is ending", pid, r.On)
	}
	if err := ended(ctx, env, pid); !errors.Is(err, faults.ErrNoWitness) {
		return w, cmp.Or(err, noWitness("process %d of %s has ended", pid, r.On))
	}
	return w, nil
}

// tally is the sentence about what a loop did.
func tally(w want, s faults.CrashLoopState) string {
	text := fmt.Sprintf("killed %s, restarted %s by policy %s", times(s.Kills), times(s.Starts), w.Policy)
	if s.Error != "" {
		text += " (" + s.Error + ")"
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
