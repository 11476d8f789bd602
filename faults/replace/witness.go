package replace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// effect is what the kinds that act on one name have in common: undo is to compute the desired state without the record.
type effect struct{}

// Apply brings the container to what the active faults ask for.
func (effect) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	if err := still(env, r); err != nil {
		return err
	}
	s, _, err := slotOf(env, r, "")
	if err != nil {
		return err
	}
	return s.reach(ctx, env)
}

// Revert brings the container's name to what the other active records ask for, whatever there is.
func (effect) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	s, _, err := slotOf(env, r, r.ID)
	if err != nil {
		return err
	}
	s.undo = true
	return s.reach(ctx, env)
}

// Settled reports whether there is what the active records ask for, and is ready.
func (effect) Settled(ctx context.Context, env faults.Env, r faults.Record) (bool, error) {
	s, w, err := slotOf(env, r, "")
	if err != nil {
		return false, err
	}
	return s.ready(ctx, env, w.Name)
}

// ready reports whether there is what is asked for, and is ready.
func (s slot) ready(ctx context.Context, env faults.Env, name string) (bool, error) {
	c, there, err := named(ctx, env, name)
	if err != nil {
		return false, err
	}
	if there && s.want.fits(c) && shared(env.Journal, c.ID) { // the other fault may be why it is not ready
		return true, nil
	}
	return s.want.mismatch(c, there) == "" && (s.want.absent || c.Ready()), nil
}

// patience is how long gone waits for the engine to notice; after it the caller reverts once more.
const patience = 500 * time.Millisecond

// gone measures that the record no longer has an effect: under its name there is what the others ask for.
func gone(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	s, w, err := slotOf(env, r, r.ID)
	if err != nil {
		return faults.Witness{}, err
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var c faults.Container
	seen, err := faults.Await(soon, look, func() (seen faults.Witness, err error) {
		if seen, err = s.down(soon, env, r); err != nil || seen.What != "" {
			return seen, err
		}
		c, err = s.back(soon, env)
		return faults.Witness{What: "state", Value: float64(c.PID), Unit: "pid", Note: s.state(r, w, c)}, err
	})
	if err != nil {
		return seen, err
	}
	return seen, outlived(ctx, env, s.name, c, w)
}

// down is the witness that a fault is gone with its project; it says nothing where that is still there.
func (s slot) down(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	_, there, err := named(ctx, env, s.name)
	if err != nil || there {
		return faults.Witness{}, err
	}
	what, err := s.lost(ctx, env)
	if err != nil || what == "" {
		return faults.Witness{}, err
	}
	return faults.Witness{What: "state", Note: fmt.Sprintf("%s and its %s are gone: the project was taken down", r.On, what)}, nil
}

// back fails unless there is what is asked for; where that is the base, it has to be what it was.
func (s slot) back(ctx context.Context, env faults.Env) (faults.Container, error) {
	c, there, err := named(ctx, env, s.name)
	if err != nil {
		return c, err
	}
	if there && s.want.fits(c) && shared(env.Journal, c.ID) {
		return c, nil
	}
	if wrong := s.want.mismatch(c, there); wrong != "" {
		return c, noWitness("%s %s", s.name, wrong)
	}
	if s.want.absent || s.want.by != nil || s.want.replica {
		return c, nil
	}
	if wrong := unlike(s.base.Was, c); wrong != "" {
		return c, noWitness("%s has another %s than it had", s.name, wrong)
	}
	if len(s.base.Networks) == 0 {
		return c, nil
	}
	n, ok := env.Engine.(faults.Networker)
	if !ok {
		return c, nil
	}
	now, err := n.Endpoints(ctx, c.ID)
	if err != nil {
		return c, fmt.Errorf("read networks of %s: %w", s.name, err)
	}
	if is, was := places(now), places(s.base.Networks); is != was {
		return c, noWitness("%s is in %s and was in %s", s.name, is, was)
	}
	return c, nil
}

// unlike says in what a container differs from what it was; "" for nothing that matters.
func unlike(was, is faults.Container) string {
	switch {
	case is.ImageID != was.ImageID:
		return "image"
	case !slices.Equal(slices.Sorted(slices.Values(is.Env)), slices.Sorted(slices.Values(was.Env))):
		return "environment"
	case !slices.Equal(is.Entrypoint, was.Entrypoint):
		return "entrypoint"
	case !slices.Equal(is.Command, was.Command):
		return "command"
	case is.Limits != was.Limits:
		return "limit"
	case is.RestartPolicy != was.RestartPolicy:
		return "restart policy"
	}
	return ""
}

// places is the networks and the names in them as one text.
func places(eps []faults.Endpoint) string {
	var out []string
	for _, ep := range eps {
		out = append(out, fmt.Sprintf("%s as %s", ep.Name, strings.Join(ep.Aliases, ", ")))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// state is the sentence about a name when fault r has ended on it.
func (s slot) state(r faults.Record, w want, c faults.Container) string {
	switch {
	case s.want.absent:
		return fmt.Sprintf("%s stays away, by %s %q", r.On, s.want.by.Kind, s.want.by.ID)
	case s.want.by != nil:
		return fmt.Sprintf("%s runs as pid %d with the changes of %s %q", r.On, c.PID, s.want.by.Kind, s.want.by.ID)
	case c.PID == w.PID:
		return fmt.Sprintf("%s runs as pid %d and was not replaced", r.On, c.PID)
	case c.ID == s.base.Was.ID:
		return fmt.Sprintf("%s runs as pid %d in the container that it was", r.On, c.PID)
	}
	return fmt.Sprintf("%s runs as pid %d in a new container %.12s, made as the first one was", r.On, c.PID, c.ID)
}

// afterStop is how long after a stop that may have got through or not a process that is still there counts as one that will
// stay.
const afterStop = time.Second

// outlived fails if the process that the fault was aimed at ends after all: the call was still on its way. It waits only
// where that process is still there, which is after a failed apply.
func outlived(ctx context.Context, env faults.Env, name string, c faults.Container, w want) error {
	if w.PID == 0 || c.PID != w.PID {
		return nil
	}
	for waited := time.Duration(0); waited < afterStop; waited += look {
		if err := faults.Pause(ctx, look); err != nil {
			return err
		}
		now, err := env.Engine.Inspect(ctx, c.ID)
		if err != nil && !errors.Is(err, faults.ErrGone) {
			return fmt.Errorf("inspect %s: %w", name, err)
		}
		if err != nil || now.PID != w.PID || (env.Host != nil && ended(ctx, env, w.PID) == nil) {
			return noWitness("process %d of %s is ending", w.PID, name)
		}
	}
	return nil
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
