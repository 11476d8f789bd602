package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/discompose/discompose/faults"
)

// effect carries execs out.
type effect struct{}

// patience is how long an undo that has ended well may take to show; after it the caller reverts once more.
const patience = 2 * time.Second

// Apply runs the apply command. Its id is journalled before it starts: whoever undoes the fault waits for its end.
func (effect) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	s, err := at(env, r)
	if err != nil {
		return err
	}
	return s.must(ctx, s.Apply, func(id string) error {
		_, err := note(env, r, applied, id)
		return err
	})
}

// Confirm runs the witness until it holds, or no longer holds.
func (effect) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	s, err := at(env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	if !active {
		soon, cancel := context.WithTimeout(ctx, max(patience, s.Timeout))
		defer cancel()
		return faults.Await(soon, look, func() (faults.Witness, error) { return s.gone(soon) })
	}
	if !slices.ContainsFunc(env.Journal.Active(r.On.Container), func(a faults.Record) bool { return a.ID == r.ID }) {
		return faults.Witness{}, fmt.Errorf("%w: %s %q is not active on %s", faults.ErrNoWitness, r.Kind, r.ID, r.On)
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		c, a, err := s.look(ctx)
		switch {
		case err != nil:
			return faults.Witness{}, err
		case !a.holds:
			return faults.Witness{}, fmt.Errorf("%w: %s", faults.ErrNoWitness, a)
		}
		// From here on there is something to undo, as long as this run of the target lasts.
		if _, err := note(env, r, seen(c), ""); err != nil {
			return faults.Witness{}, err
		}
		return faults.Witness{What: "witness command", Value: 1, Note: a.text}, nil
	})
}

// look runs the witness where the target can run it. An error that wraps ErrNoWitness says that it cannot now.
func (s site) look(ctx context.Context) (faults.Container, answer, error) {
	c, err := s.env.Engine.Inspect(ctx, s.on.Container)
	if err != nil {
		return c, answer{}, fmt.Errorf("inspect %s: %w", s.on, err)
	}
	if state := unable(c); state != "" {
		return c, answer{}, fmt.Errorf("%w: %s is %s: nothing can be run in it", faults.ErrNoWitness, s.on, state)
	}
	a, err := s.witness(ctx)
	return c, a, err
}

func (s site) gone(ctx context.Context) (faults.Witness, error) {
	_, a, err := s.look(ctx)
	switch {
	case errors.Is(err, faults.ErrGone):
		return faults.Witness{What: "state", Note: fmt.Sprintf("the container of %s is gone", s.on)}, nil
	case err != nil:
		return faults.Witness{}, err
	case a.holds:
		return faults.Witness{}, fmt.Errorf("%w: still so: %s", faults.ErrNoWitness, a)
	}
	return faults.Witness{What: "witness command", Note: a.text}, nil
}

// Revert runs the undo command, unless that was done and the witness does not hold. A container that is gone needs none.
func (effect) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	s, err := at(env, r)
	if err != nil {
		return err
	}
	if err := s.revert(ctx, r); !errors.Is(err, faults.ErrGone) {
		return err
	}
	return nil
}

func (s site) revert(ctx context.Context, r faults.Record) error {
	c, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if exec, ok := noted(s.env, r, applied); ok {
		if err := s.finish(ctx, exec); err != nil {
			return err
		}
	}
	if _, done := noted(s.env, r, undone); done {
		if a, err := s.witness(ctx); err == nil && !a.holds {
			return nil
		}
	}
	err = s.must(ctx, s.Undo, nil)
	var exit *exitError
	if err == nil || !errors.As(err, &exit) {
		return s.after(r, err)
	}
	// It counts for nothing where there was nothing to undo: apply did nothing that could be seen, or it went with a process.
	if _, held := noted(s.env, r, seen(c)); !held {
		if a, err := s.witness(ctx); err == nil && !a.holds {
			return nil
		}
	}
	return s.after(r, err)
}

// after notes that the undo command has ended well, or says that it has not.
func (s site) after(r faults.Record, err error) error {
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	_, err = note(s.env, r, undone, "")
	return err
}

// keepsDown reports whether a kind keeps a container down while it is active.
func keepsDown(k faults.Kind) bool {
	return slices.Contains([]faults.Kind{"stop", "kill", "crash_loop"}, k)
}

// ready inspects a target that can run the undo. It fails where the target is paused, or where another fault or the wait of
// its restart policy keeps it down: the caller comes again. One that is down by itself is started.
func (s site) ready(ctx context.Context) (faults.Container, error) {
	c, err := s.env.Engine.Inspect(ctx, s.on.Container)
	if err != nil {
		return c, fmt.Errorf("inspect %s: %w", s.on, err)
	}
	state := unable(c)
	if state == "" {
		return c, nil
	}
	kept := slices.ContainsFunc(s.env.Journal.Active(s.on.Container), func(a faults.Record) bool { return keepsDown(a.Kind) })
	if c.Paused || c.Restarting || kept {
		return c, fmt.Errorf("%w: %s is %s: the undo waits until it runs", faults.ErrNoWitness, s.on, state)
	}
	if err := s.env.Engine.Do(ctx, s.on.Container, faults.Action{Verb: faults.DoStart}); err != nil {
		return c, fmt.Errorf("start %s, which is %s: %w", s.on, state, err)
	}
	return s.env.Engine.Inspect(ctx, s.on.Container)
}

// What the journal keeps of a record.
const (
	applied = "apply"  // the id of the apply command
	undone  = "undone" // the undo command has ended well
)

// seen is the note that the witness held in one run of the target.
func seen(c faults.Container) string {
	return "seen in the run since " + c.StartedAt.UTC().Format(time.RFC3339Nano)
}

// note keeps a value of a record in the journal, once: what another process must know that undoes it.
func note(env faults.Env, r faults.Record, what, value string) (string, error) {
	return recall(env, r, what, func() (json.RawMessage, error) { return json.Marshal(value) })
}

// errUnknown says that the journal has no such note.
var errUnknown = errors.New("not in the journal")

func noted(env faults.Env, r faults.Record, what string) (value string, ok bool) {
	value, err := recall(env, r, what, func() (json.RawMessage, error) { return nil, errUnknown })
	return value, err == nil
}

func recall(env faults.Env, r faults.Record, what string, read func() (json.RawMessage, error)) (value string, err error) {
	raw, err := env.Journal.Base(r.On.Container, "exec "+r.ID+" "+what, read)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("decode note %q of %s: %w", what, r.ID, err)
	}
	return value, nil
}
