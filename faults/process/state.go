// Package process provides the faults of a container's process: pause, stop, kill, crash_loop, restart and rolling_restart.
//
// They share one piece, the desired state of a container as a function of the active records: any stop keeps it down;
// while a kill or a crash loop is active nothing of ours starts it, but for the end of a stop under a loop; otherwise it
// runs, paused while any pause is active. Every revert computes that state anew, so the faults overlap in any combination,
// end in any order, and leave the container running and not paused. Effects hold no state and are safe for concurrent use; changes to one container are serialised by
// Journal.Lock, which the caller holds. The package imports only faults and internal/units of this module.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
)

// The kinds of this package.
const (
	kindPause          faults.Kind = "pause"
	kindStop           faults.Kind = "stop"
	kindKill           faults.Kind = "kill"
	kindCrashLoop      faults.Kind = "crash_loop"
	kindRestart        faults.Kind = "restart"
	kindRollingRestart faults.Kind = "rolling_restart"
)

// look is the time between two observations while a witness is awaited.
const look = 10 * time.Millisecond

// want is what every process record carries.
type want struct {
	PID       int           `json:"pid"` // PID 1 when the fault was prepared; 0 if it was down, by another fault
	StartedAt time.Time     `json:"started_at"`
	Restarts  int           `json:"restarts"`            // by the restart policy, before
	Policy    string        `json:"policy,omitempty"`    // the restart policy
	Signal    string        `json:"signal,omitempty"`    // kill, crash_loop
	FromHost  bool          `json:"from_host,omitempty"` // kill: sent from the host's pid namespace
	Grace     time.Duration `json:"grace_ns,omitempty"`  // stop, restart: before SIGKILL; negative is the container's own
	Down      time.Duration `json:"down_ns,omitempty"`   // stop, kill
	Uptime    time.Duration `json:"uptime_ns,omitempty"` // crash_loop: of each process
	Count     int           `json:"count,omitempty"`     // crash_loop: kills; 0 is no end
}

func decode(r faults.Record) (want, error) {
	var w want
	if err := json.Unmarshal(r.Want, &w); err != nil {
		return want{}, fmt.Errorf("decode %s record %q: %w", r.Kind, r.ID, err)
	}
	return w, nil
}

// desired is what the active records ask of a container. The zero value is the base: running and not paused.
type desired struct {
	stop  *faults.Record // keeps it down: the newest stop
	kill  *faults.Record // as long as it is active, the container is not started by us
	loop  *faults.Record // the same
	pause *faults.Record // keeps it paused while it runs

	// unstop says that a stop ends: its policy does not start what the engine has stopped, so a loop goes on only if we do.
	unstop bool
}

// desire computes the desired state from the active records, leaving one out ("" for none).
func desire(j faults.Journal, container, without string) desired {
	var d desired
	for _, r := range j.Active(container) {
		if r.ID == without {
			continue
		}
		switch r.Kind {
		case kindStop:
			d.stop = &r
		case kindKill:
			d.kill = &r
		case kindCrashLoop:
			d.loop = &r
		case kindPause:
			d.pause = &r
		}
	}
	return d
}

// down is the record that explains why the container may be down, or nil.
func (d desired) down() *faults.Record {
	switch {
	case d.stop != nil:
		return d.stop
	case d.kill != nil:
		return d.kill
	}
	return d.loop
}

// mismatch says in what way c differs from the desired state; "" if it does not.
func (d desired) mismatch(c faults.Container) string {
	switch up := c.Running && !c.Restarting; {
	case d.stop != nil && (c.Running || c.Restarting):
		return "is running"
	case d.down() == nil && !up:
		return "is not running"
	case up && d.pause == nil && c.Paused:
		return "is paused"
	case up && d.pause != nil && !c.Paused:
		return "is not paused"
	}
	return ""
}

// reach brings the container to the desired state.
func reach(ctx context.Context, env faults.Env, on faults.Target, d desired) error {
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", on, err)
	}
	if d.stop != nil {
		return reachStop(ctx, env, on, c, *d.stop)
	}
	if d.starts(c) {
		if err := do(ctx, env, on, bringUp(c)); err != nil {
			return err
		}
		if c, err = env.Engine.Inspect(ctx, on.Container); err != nil {
			return fmt.Errorf("inspect %s: %w", on, err)
		}
	}
	return reachPause(ctx, env, on, c, d.pause != nil)
}

// starts reports whether we are to start a container.
func (d desired) starts(c faults.Container) bool {
	switch {
	case d.down() == nil:
		return !c.Running || c.Restarting
	case d.unstop && d.kill == nil:
		return !c.Running && !c.Restarting
	}
	return false
}

// bringUp is the call that starts a container which is down. One that its restart policy keeps waiting, for up to a minute
// after several crashes, is started at once only by a restart: to the engine it is running, so that a start does nothing.
func bringUp(c faults.Container) faults.Action {
	if c.Restarting {
		return faults.Action{Verb: faults.DoRestart}
	}
	return faults.Action{Verb: faults.DoStart}
}

func reachStop(ctx context.Context, env faults.Env, on faults.Target, c faults.Container, stop faults.Record) error {
	if !c.Running && !c.Restarting {
		return nil
	}
	w, err := decode(stop)
	if err != nil {
		return err
	}
	return do(ctx, env, on, faults.Action{Verb: faults.DoStop, Grace: w.Grace})
}

func reachPause(ctx context.Context, env faults.Env, on faults.Target, c faults.Container, paused bool) (err error) {
	switch {
	case !c.Running || c.Restarting:
		return nil
	case paused && !c.Paused:
		err = do(ctx, env, on, faults.Action{Verb: faults.DoPause})
	case !paused && c.Paused:
		err = do(ctx, env, on, faults.Action{Verb: faults.DoUnpause})
	}
	if err != nil {
		if c, ierr := env.Engine.Inspect(ctx, on.Container); ierr == nil && (!c.Running || c.Restarting) {
			return nil // it ended meanwhile: there is nothing to pause
		}
	}
	return err
}

func do(ctx context.Context, env faults.Env, on faults.Target, a faults.Action) error {
	if err := env.Engine.Do(ctx, on.Container, a); err != nil {
		return fmt.Errorf("%s %s: %w", a.Verb, on, err)
	}
	return nil
}

// prepare reads the state of the target and makes the record. It refuses a target that is not running or is paused,
// unless an active record explains it.
func prepare(ctx context.Context, env faults.Env, kind faults.Kind, on faults.Target, w want) (faults.Record, error) {
	var c faults.Container
	err := faults.Settle(ctx, kind, on, look, func() (refusal, err error) {
		if c, err = env.Engine.Inspect(ctx, on.Container); err != nil {
			return nil, fmt.Errorf("inspect %s: %w", on, err)
		}
		return unexplained(c, desire(env.Journal, on.Container, "")), nil
	})
	if err != nil {
		return faults.Record{}, err
	}
	if c.Running && !c.Restarting {
		w.PID, w.StartedAt = c.PID, c.StartedAt
	}
	w.Restarts, w.Policy = c.RestartCount, c.RestartPolicy
	return faults.NewRecord(kind, on, w)
}

// unexplained says why a container can have no process fault: it is in a state that no active record asks for.
func unexplained(c faults.Container, d desired) error {
	if err := c.Transient(); err != nil {
		return err
	}
	switch {
	case (!c.Running || c.Restarting) && d.down() == nil:
		return fmt.Errorf("it is not running (exit code %d); start it first", c.ExitCode)
	case c.Paused && d.pause == nil:
		return errors.New("it is paused, and not by discompose; unpause it first")
	}
	return nil
}

// effect is what the kinds have in common: undo is to compute the desired state without the record.
type effect struct{}

// Revert brings the container to the state that the other active records ask for. A container that is gone needs none.
func (effect) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	d := desire(env.Journal, r.On.Container, r.ID)
	d.unstop = r.Kind == kindStop
	err := reach(ctx, env, r.On, d)
	if errors.Is(err, faults.ErrGone) {
		return nil
	}
	return err
}

// instant is the effect of the instantaneous kinds.
type instant struct{ effect }

// Settled reports whether the container runs and is ready, or is down with nothing but Revert to start it. A pause that
// is active at the same time keeps it from getting ready, so then it need only run; a crash loop leaves nothing to wait for.
func (instant) Settled(ctx context.Context, env faults.Env, r faults.Record) (bool, error) {
	c, err := env.Engine.Inspect(ctx, r.On.Container)
	if err != nil {
		return false, fmt.Errorf("inspect %s: %w", r.On, err)
	}
	d := desire(env.Journal, r.On.Container, "")
	if c.Running && !c.Restarting {
		return c.Ready() || (c.Paused && d.pause != nil) || d.loop != nil, nil
	}
	if d.stop != nil || d.loop != nil {
		return true, nil
	}
	w, err := decode(r)
	if err != nil {
		return false, err
	}
	active := d.kill != nil && d.kill.ID == r.ID
	return active && !c.Restarting && !policyActs(w, c), nil
}

// policyActs reports whether the restart policy will start a container that has exited.
func policyActs(w want, c faults.Container) bool {
	if !w.FromHost { // the engine does not apply the policy after its own stop and kill
		return false
	}
	switch c.RestartPolicy {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return c.ExitCode != 0
	}
	return false
}
