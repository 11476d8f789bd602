// Package process provides the faults of a container's process: pause, stop, kill and restart.
//
// They share one piece, the desired state of a container as a function of the active records: any stop keeps it down;
// while a kill is active nothing of ours starts it; otherwise it runs, paused while any pause is active. Every revert
// computes that state anew, so the faults overlap in any combination, end in any order, and leave the container running
// and not paused. Effects hold no state and are safe for concurrent use; changes to one container are serialised by
// Journal.Lock, which the caller holds. The package imports only faults and internal/units of this module.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// The kinds of this package.
const (
	kindPause   faults.Kind = "pause"
	kindStop    faults.Kind = "stop"
	kindKill    faults.Kind = "kill"
	kindRestart faults.Kind = "restart"
)

// look is the time between two observations while a witness is awaited.
const look = 10 * time.Millisecond

// want is what every process record carries.
type want struct {
	PID       int           `json:"pid"` // PID 1 when the fault was prepared; 0 if it was down, by another fault
	StartedAt time.Time     `json:"started_at"`
	Restarts  int           `json:"restarts"`            // by the restart policy, before
	Policy    string        `json:"policy,omitempty"`    // the restart policy
	Signal    string        `json:"signal,omitempty"`    // kill
	FromHost  bool          `json:"from_host,omitempty"` // kill: sent from the host's pid namespace
	Grace     time.Duration `json:"grace_ns,omitempty"`  // stop, restart: before SIGKILL; negative is the container's own
	Down      time.Duration `json:"down_ns,omitempty"`   // stop, kill
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
	pause *faults.Record // keeps it paused while it runs
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
		case kindPause:
			d.pause = &r
		}
	}
	return d
}

// down is the record that explains why the container may be down, or nil.
func (d desired) down() *faults.Record {
	if d.stop != nil {
		return d.stop
	}
	return d.kill
}

// mismatch says in what way c differs from the desired state; "" if it does not.
func (d desired) mismatch(c faults.Container) string {
	switch up := c.Running && !c.Restarting; {
	case d.stop != nil && (c.Running || c.Restarting):
		return "is running"
	case d.stop == nil && d.kill == nil && !up:
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
	if !c.Running && !c.Restarting && d.kill == nil {
		if err := do(ctx, env, on, faults.Action{Verb: faults.DoStart}); err != nil {
			return err
		}
		if c, err = env.Engine.Inspect(ctx, on.Container); err != nil {
			return fmt.Errorf("inspect %s: %w", on, err)
		}
	}
	return reachPause(ctx, env, on, c, d.pause != nil)
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

// ending is how long prepare waits for another fault on the target to end: its record is released before its undo is done,
// and until then nothing explains the state.
const ending = 3 * time.Second

// prepare reads the state of the target and makes the record. It refuses a target that is not running or is paused,
// unless an active record explains it.
func prepare(ctx context.Context, env faults.Env, kind faults.Kind, on faults.Target, w want) (faults.Record, error) {
	var c faults.Container
	for waited := time.Duration(0); ; waited += look {
		var err error
		if c, err = env.Engine.Inspect(ctx, on.Container); err != nil {
			return faults.Record{}, fmt.Errorf("inspect %s: %w", on, err)
		}
		refusal := unexplained(c, desire(env.Journal, on.Container, ""))
		if refusal == nil {
			break
		}
		if waited >= ending {
			return faults.Record{}, fmt.Errorf("%s %s: %w: %w", kind, on, faults.ErrUnsupported, refusal)
		}
		if err := faults.Pause(ctx, look); err != nil {
			return faults.Record{}, fmt.Errorf("%s %s: %w: %w", kind, on, refusal, err)
		}
	}
	if c.Running && !c.Restarting {
		w.PID, w.StartedAt = c.PID, c.StartedAt
	}
	w.Restarts, w.Policy = c.RestartCount, c.RestartPolicy
	return faults.NewRecord(kind, on, w)
}

// unexplained says why a container can have no process fault: it is in a state that no active record asks for.
func unexplained(c faults.Container, d desired) error {
	switch {
	case (!c.Running || c.Restarting) && d.down() == nil:
		return fmt.Errorf("it is not running (exit code %d); start it first", c.ExitCode)
	case c.Paused && d.pause == nil:
		return errors.New("it is paused, and not by discompose; unpause it first")
	}
	return nil
}

// effect is what the four kinds have in common: undo is to compute the desired state without the record.
type effect struct{}

// Revert brings the container to the state that the other active records ask for. A container that is gone needs none.
func (effect) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	err := reach(ctx, env, r.On, desire(env.Journal, r.On.Container, r.ID))
	if errors.Is(err, faults.ErrGone) {
		return nil
	}
	return err
}

// instant is the effect of the instantaneous kinds.
type instant struct{ effect }

// Settled reports whether the container runs and is ready, or is down with nothing but Revert to start it. A pause that
// is active at the same time keeps it from getting ready, so then it need only run.
func (instant) Settled(ctx context.Context, env faults.Env, r faults.Record) (bool, error) {
	c, err := env.Engine.Inspect(ctx, r.On.Container)
	if err != nil {
		return false, fmt.Errorf("inspect %s: %w", r.On, err)
	}
	d := desire(env.Journal, r.On.Container, "")
	if c.Running && !c.Restarting {
		return c.Ready() || (c.Paused && d.pause != nil), nil
	}
	if d.stop != nil {
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
