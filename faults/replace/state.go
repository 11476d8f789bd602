// Package replace provides the faults that replace containers: remove, recreate, rolling_update and scale.
//
// They share one piece, the desired state of a container's name as a function of the active records: no container while
// any remove is active, else one made with the changes of the newest recreate or rolling_update, else one as it was at
// first. A service that is scaled has as many containers as its newest scale says, else as many as it had. What each was
// made of is journalled once, before anything changes; every revert computes the state anew, so the faults overlap, end in
// any order, and leave containers of the old names that are made as the old ones were. A scale does not overlap with the
// others on one service, and no other fault acts on a container while one of these is due on it, for it would be lost with
// the container. Effects hold no state and are safe for concurrent use; changes to one name are serialised by Journal.Lock.
// The package imports only faults and internal/units of this module.
package replace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/discompose/discompose/faults"
)

// The kinds of this package.
const (
	kindRemove   faults.Kind = "remove"
	kindRecreate faults.Kind = "recreate"
	kindRolling  faults.Kind = "rolling_update"
	kindScale    faults.Kind = "scale"
)

// isReplacing reports whether a kind is one of those that act on one name.
func isReplacing(k faults.Kind) bool { return k == kindRemove || k == kindRecreate || k == kindRolling }

// want is what a record of one name carries.
type want struct {
	Name      string          `json:"name"` // the container's
	PID       int             `json:"pid"`  // PID 1 when the fault was prepared
	StartedAt time.Time       `json:"started_at"`
	Grace     time.Duration   `json:"grace_ns,omitempty"` // before SIGKILL; negative is the container's own
	Down      time.Duration   `json:"down_ns,omitempty"`  // remove
	Changes   *faults.Changes `json:"changes,omitempty"`  // recreate, rolling_update
	ImageID   string          `json:"image_id,omitempty"` // of the changed image
}

func decode[W any](r faults.Record) (w W, err error) {
	if err := json.Unmarshal(r.Want, &w); err != nil {
		return w, fmt.Errorf("decode %s record %q: %w", r.Kind, r.ID, err)
	}
	return w, nil
}

// desired is what the active records ask of a name. The zero value is the base.
type desired struct {
	absent  bool
	changes faults.Changes // of the container that is to be there
	by      *faults.Record // whose absence or changes these are; nil where none asks for anything
	replica bool           // it is there only while a scale is
}

// desire computes what the active records ask of a name, leaving one out ("" for none).
func desire(j faults.Journal, name, without string) (d desired, err error) {
	for _, r := range j.Wanted() {
		if r.ID == without || !isReplacing(r.Kind) {
			continue
		}
		w, err := decode[want](r)
		if err != nil {
			return d, err
		}
		switch {
		case w.Name != name:
		case r.Kind == kindRemove:
			d.absent, d.by = true, &r
		case !d.absent && w.Changes != nil:
			d.changes, d.by = *w.Changes, &r
			d.changes.Record = r.ID
		}
	}
	return d, nil
}

// fits reports whether a container is the one that is asked for. One that was never started may lack a part: whoever made
// it did not get further.
func (d desired) fits(c faults.Container) bool {
	switch {
	case d.absent || c.StartedAt.IsZero():
		return false
	case d.replica:
		return c.Record != ""
	}
	return c.Record == d.changes.Record
}

// mismatch says in what way what there is under a name differs from what is asked for; "" if it does not. there is false
// where there is no container.
func (d desired) mismatch(c faults.Container, there bool) string {
	switch {
	case d.absent && there:
		return "is there"
	case d.absent:
		return ""
	case !there:
		return "is not there"
	case d.fits(c) && c.Running && !c.Restarting:
		return ""
	case d.fits(c), c.StartedAt.IsZero():
		return "is not running"
	case c.Record != "":
		return fmt.Sprintf("is the one that was made for %q", c.Record)
	}
	return "is the one that it was at first"
}

// resource is the journal's name for what a container was at first.
const resource = "blueprint"

// base is the journalled blueprint of a name. read is called where the journal has none.
func base(env faults.Env, name string, read func() (faults.Blueprint, error)) (faults.Blueprint, error) {
	var b faults.Blueprint
	raw, err := env.Journal.Base(name, resource, func() (json.RawMessage, error) {
		b, err := read()
		if err != nil {
			return nil, err
		}
		return json.Marshal(b)
	})
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("decode blueprint of %s: %w", name, err)
	}
	return b, nil
}

// known is the base that is in the journal already.
func known(env faults.Env, name string) (faults.Blueprint, error) {
	return base(env, name, func() (faults.Blueprint, error) {
		return faults.Blueprint{}, errors.New("the journal does not know what it was made of")
	})
}

func replacer(env faults.Env) (faults.Replacer, error) {
	r, ok := env.Engine.(faults.Replacer)
	if !ok {
		return nil, fmt.Errorf("%w: the engine cannot make containers", faults.ErrUnsupported)
	}
	return r, nil
}

// named observes what there is under a name; there is false for nothing.
func named(ctx context.Context, env faults.Env, name string) (c faults.Container, there bool, err error) {
	rep, err := replacer(env)
	if err != nil {
		return c, false, err
	}
	c, err = rep.Named(ctx, name)
	switch {
	case errors.Is(err, faults.ErrGone):
		return c, false, nil
	case err != nil:
		return c, false, fmt.Errorf("inspect %s: %w", name, err)
	}
	return c, true, nil
}

// slot is a name with what belongs there.
type slot struct {
	name  string
	base  faults.Blueprint
	want  desired
	grace time.Duration // for a container that has to go
	undo  bool          // an undo waits no longer than mostGrace for it
}

// reach brings a name to its desired state from whatever is there: the old container, none, or a new one that was not
// started.
func (s slot) reach(ctx context.Context, env faults.Env) error {
	defer env.Journal.Lock("name " + s.name)()
	c, there, err := named(ctx, env, s.name)
	if err != nil {
		return err
	}
	if there && s.want.fits(c) {
		if c.Running || c.Restarting || shared(env.Journal, c.ID) { // the other fault may be why it is down
			return nil
		}
		return start(ctx, env, c.ID, s.name)
	}
	if there {
		if err := s.take(ctx, env, c); err != nil {
			return err
		}
	}
	if s.want.absent {
		return nil
	}
	rep, err := replacer(env)
	if err != nil {
		return err
	}
	if what, err := s.lost(ctx, env); err != nil || what != "" {
		return err
	}
	id, err := rep.Create(ctx, s.base, s.want.changes)
	if err != nil {
		return fmt.Errorf("make %s: %w", s.name, err)
	}
	return start(ctx, env, id, s.name)
}

// lost names what a container of this name would stand on and that is not there any more: the project was taken down, by
// another process that healed before this one, say, and there is nothing to give back. "" for nothing.
func (s slot) lost(ctx context.Context, env faults.Env) (string, error) {
	rep, err := replacer(env)
	if err != nil {
		return "", err
	}
	what, err := rep.Missing(ctx, s.base)
	if err != nil {
		return "", fmt.Errorf("look for what %s stood on: %w", s.name, err)
	}
	return what, nil
}

// take stops a container in good order and removes it.
func (s slot) take(ctx context.Context, env faults.Env, c faults.Container) error {
	if s.grace != 0 && (c.Running || c.Restarting) {
		if err := s.stop(ctx, env, c); err != nil && !errors.Is(err, faults.ErrGone) {
			return fmt.Errorf("stop %s: %w", s.name, err)
		}
	}
	rep, err := replacer(env)
	if err != nil {
		return err
	}
	// A further replica's own volumes go with it.
	if err := rep.Remove(ctx, c.ID, s.want.replica); err != nil {
		return fmt.Errorf("remove %s: %w", s.name, err)
	}
	return nil
}

// stop gives a container the time that it has, or what an undo has of it: the removal then kills it.
func (s slot) stop(ctx context.Context, env faults.Env, c faults.Container) error {
	a := faults.Action{Verb: faults.DoStop, Grace: s.grace}
	if !s.undo {
		return env.Engine.Do(ctx, c.ID, a)
	}
	within, cancel := context.WithTimeout(ctx, mostGrace)
	defer cancel()
	err := env.Engine.Do(within, c.ID, a)
	if within.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

func start(ctx context.Context, env faults.Env, id, name string) error {
	if err := env.Engine.Do(ctx, id, faults.Action{Verb: faults.DoStart}); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// slotOf is the name of a record with what belongs there, one record left out.
func slotOf(env faults.Env, r faults.Record, without string) (slot, want, error) {
	w, err := decode[want](r)
	if err != nil {
		return slot{}, w, err
	}
	b, err := known(env, w.Name)
	if err != nil {
		return slot{}, w, err
	}
	d, err := desire(env.Journal, w.Name, without)
	return slot{name: w.Name, base: b, want: d, grace: w.Grace}, w, err
}

// wanted fails if r is not active: a fault that was reverted has no witness.
func wanted(env faults.Env, r faults.Record) error {
	if slices.ContainsFunc(env.Journal.Wanted(), func(a faults.Record) bool { return a.ID == r.ID }) {
		return nil
	}
	return noWitness("%s %q is not active on %s", r.Kind, r.ID, r.On)
}

func noWitness(format string, args ...any) error {
	return fmt.Errorf("%w: %s", faults.ErrNoWitness, fmt.Sprintf(format, args...))
}
