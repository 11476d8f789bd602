package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// patience is how long gone waits for the engine to notice; after it the caller reverts once more.
const patience = 500 * time.Millisecond

// gone measures that the record no longer has an effect: the container is in the state that the others ask for.
func gone(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w, err := faults.Await(soon, look, func() (faults.Witness, error) { return goneNow(soon, env, r) })
	if err != nil || r.Kind == kindPause {
		return w, err
	}
	return w, outlived(ctx, env, r)
}

func goneNow(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	c, err := env.Engine.Inspect(ctx, r.On.Container)
	if errors.Is(err, faults.ErrGone) {
		return faults.Witness{What: "state", Note: fmt.Sprintf("the container of %s is gone", r.On)}, nil
	}
	if err != nil {
		return faults.Witness{}, fmt.Errorf("inspect %s: %w", r.On, err)
	}
	d := desire(env.Journal, r.On.Container, r.ID)
	if wrong := d.mismatch(c); wrong != "" {
		return faults.Witness{}, noWitness("%s %s", r.On, wrong)
	}
	if err := thawed(ctx, env, c); err != nil {
		return faults.Witness{}, err
	}
	w, err := decode(r)
	if err != nil {
		return faults.Witness{}, err
	}
	return faults.Witness{What: "state", Value: float64(c.PID), Unit: "pid", Note: state(r, w, c, d)}, nil
}

// How long after a kill, a stop or a restart that may have got through or not a process that is still there counts as one
// that will stay: a SIGKILL acts at once, a process that is asked to end takes its time.
const (
	afterKill = 100 * time.Millisecond
	afterStop = time.Second
)

// outlived fails if the process that the fault was aimed at ends after all: the call was still on its way, or the engine
// had not noticed the end yet. It waits only where that process is still there, which is after a failed apply.
func outlived(ctx context.Context, env faults.Env, r faults.Record) error {
	w, err := decode(r)
	if err != nil {
		return err
	}
	after := afterStop
	if r.Kind == kindKill && w.Signal == "SIGKILL" {
		after = afterKill
	}
	for waited := time.Duration(0); ; waited += look {
		c, err := env.Engine.Inspect(ctx, r.On.Container)
		switch {
		case errors.Is(err, faults.ErrGone):
			return nil
		case err != nil:
			return fmt.Errorf("inspect %s: %w", r.On, err)
		case waited == 0 && (w.PID == 0 || c.PID != w.PID):
			return nil
		case c.PID != w.PID || (env.Host != nil && ended(ctx, env, w.PID) == nil):
			return noWitness("process %d of %s is ending", w.PID, r.On)
		case waited >= after:
			return nil
		}
		if err := faults.Pause(ctx, look); err != nil {
			return err
		}
	}
}

// state is the sentence about a container whose fault r has ended.
func state(r faults.Record, w want, c faults.Container, d desired) string {
	switch {
	case !c.Running || c.Restarting:
		return fmt.Sprintf("%s is still down, by %s %q", r.On, d.down().Kind, d.down().ID)
	case c.Paused:
		return fmt.Sprintf("%s is still paused, by %s %q", r.On, d.pause.Kind, d.pause.ID)
	case r.Kind == kindCrashLoop:
		return fmt.Sprintf("%s runs as pid %d", r.On, c.PID)
	case r.Kind == kindKill && c.RestartCount > w.Restarts && w.Down > 0:
		return fmt.Sprintf("%s runs as pid %d; its restart policy started it before the down time of %s had passed", r.On, c.PID, w.Down)
	case r.Kind == kindKill && c.RestartCount > w.Restarts:
		return fmt.Sprintf("%s runs as pid %d, started by its restart policy", r.On, c.PID)
	}
	return fmt.Sprintf("%s runs as pid %d and is not paused", r.On, c.PID)
}

// wanted fails if r is not active: a fault that was reverted has no witness.
func wanted(env faults.Env, r faults.Record) error {
	for _, a := range env.Journal.Active(r.On.Container) {
		if a.ID == r.ID {
			return nil
		}
	}
	return noWitness("%s %q is not active on %s", r.Kind, r.ID, r.On)
}

// ended fails while a process of the host is still there. Without an agent it knows nothing and does not fail.
func ended(ctx context.Context, env faults.Env, pid int) error {
	if env.Host == nil || pid == 0 {
		return nil
	}
	var a faults.AliveResult
	if err := env.Host.Call(ctx, faults.OpAlive, faults.Alive{PID: pid}, &a); err != nil {
		return fmt.Errorf("look for process %d: %w", pid, err)
	}
	if a.Alive {
		return noWitness("process %d is still there", pid)
	}
	return nil
}

// freezer reads whether the kernel has frozen the container; known is false where that cannot be read.
func freezer(ctx context.Context, env faults.Env, container string) (frozen, known bool, err error) {
	facts := env.Facts()
	if !facts.Can(faults.CapCgroupFreezer) {
		return false, false, nil
	}
	f := faults.CgroupFile{Container: container, Controller: "freezer", File: "freezer.state"}
	if facts.CgroupVersion == 2 {
		f.File = "cgroup.events"
	}
	var v faults.CgroupValue
	if err := env.Host.Call(ctx, faults.OpCgroupRead, f, &v); err != nil {
		return false, false, fmt.Errorf("read %s: %w", f.File, err)
	}
	if facts.CgroupVersion == 2 {
		return strings.Contains("\n"+v.Value+"\n", "\nfrozen 1\n"), true, nil
	}
	return strings.TrimSpace(v.Value) == "FROZEN", true, nil
}

// thawed fails if the engine says that the container runs and the kernel says that it is frozen.
func thawed(ctx context.Context, env faults.Env, c faults.Container) error {
	if !c.Running || c.Restarting || c.Paused {
		return nil
	}
	frozen, _, err := freezer(ctx, env, c.ID)
	if err != nil {
		return err
	}
	if frozen {
		return noWitness("the kernel still has %s frozen", c.Name)
	}
	return nil
}

func noWitness(format string, args ...any) error {
	return fmt.Errorf("%w: %s", faults.ErrNoWitness, fmt.Sprintf(format, args...))
}
