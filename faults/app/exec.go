// Package app provides the faults that a service is asked for itself: exec.
//
// An exec is a command of the user's own that runs in the target, with one to undo it and one to witness it. Effects hold no
// state and are safe for concurrent use; changes to one container are serialised by Journal.Lock, which the caller holds. The
// package imports only faults and internal/units of this module.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

const kindExec faults.Kind = "exec"

// Exec runs a command in a container, which does what the user says, and another one that undoes it.
//
// Timeout bounds each run of a command; the zero value stands for 10 s.
type Exec struct {
	Apply   []string       `toml:"apply" doc:"required: the command that begins the fault; it must exit 0"`
	Undo    []string       `toml:"undo" doc:"required: the command that ends it; it must exit 0"`
	Witness []string       `toml:"witness" doc:"required: a command that only looks: the fault is active when it exits 0, and its output matches matches; else it is gone"`
	Matches string         `toml:"matches" doc:"a regular expression over the witness' output; without one the exit code alone counts"`
	Timeout units.Duration `toml:"timeout" default:"10s" doc:"after which a run of a command has failed"`
}

// ExecSpec describes the kind.
func ExecSpec() faults.Spec {
	return faults.Spec{
		Kind: kindExec, Family: faults.App,
		Summary: "run a command in a container, and another one that undoes it",
		Doc: "The commands run in the target through the engine's exec API, as the container's user and without a shell; the record carries them, so that the agent can undo the fault after the runner's death. " +
			"A target whose witness holds before the fault, or cannot run there, is refused: it would prove nothing. A command that runs longer than `timeout` is killed (through the agent). " +
			"Witness: the witness command exits 0 and its output matches. " +
			"Undo: the undo command exits 0, and the witness no longer holds. It runs once apply's command has ended. A target that another fault keeps down or paused is waited for; one that is down by itself is started. " +
			"Where apply did nothing that the witness could see, or the effect went with the process when the target was restarted, an undo that exits with another code counts for nothing. " +
			"Two such faults on one target each run their own commands.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "Docker exec"}},
		New:        func() faults.Fault { return &Exec{} },
		Effect:     effect{},
	}
}

// Validate wants three commands.
func (f *Exec) Validate() error {
	var errs []error
	for _, c := range []struct {
		key     string
		argv    []string
		example string
	}{
		{"apply", f.Apply, `apply = ["mv", "/app/config", "/app/config.away"]`},
		{"undo", f.Undo, `undo = ["mv", "/app/config.away", "/app/config"]`},
		{"witness", f.Witness, `witness = ["test", "-e", "/app/config.away"]`},
	} {
		switch {
		case len(c.argv) == 0:
			errs = append(errs, &faults.ParamError{Key: c.key, Err: errors.New("is required: a command"), Hint: c.example})
		case c.argv[0] == "":
			errs = append(errs, &faults.ParamError{Key: c.key, Err: errors.New("names no program"), Hint: c.example})
		}
	}
	if _, err := regexp.Compile(f.Matches); err != nil {
		errs = append(errs, &faults.ParamError{Key: "matches", Err: err, Hint: `matches = "^503"`})
	}
	if f.Timeout < 0 {
		errs = append(errs, &faults.ParamError{Key: "timeout", Err: errors.New("must not be negative"), Hint: `timeout = "10s"`})
	}
	return errors.Join(errs...)
}

const (
	defaultTimeout = 10 * time.Second
	look           = 100 * time.Millisecond // between two observations: each of the witness starts a process
)

// want is what a record carries.
type want struct {
	Apply   []string      `json:"apply"`
	Undo    []string      `json:"undo"`
	Witness []string      `json:"witness"`
	Matches string        `json:"matches,omitempty"`
	Timeout time.Duration `json:"timeout_ns"`
}

// Prepare runs the witness. It refuses a target that is down or paused, and one whose witness holds or cannot run.
func (f *Exec) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	w := want{Apply: f.Apply, Undo: f.Undo, Witness: f.Witness, Matches: f.Matches, Timeout: f.Timeout.Std()}
	if w.Timeout == 0 {
		w.Timeout = defaultTimeout
	}
	s, err := open(env, on, w)
	if err != nil {
		return faults.Record{}, err
	}
	err = faults.Settle(ctx, kindExec, on, look, func() (refusal, err error) {
		c, a, err := s.look(ctx)
		switch {
		case c.Transient() != nil:
			return c.Transient(), nil
		case errors.Is(err, faults.ErrNoWitness):
			return err, nil
		case err != nil:
			return nil, err
		case a.holds:
			return fmt.Errorf("already so before: %s", a), nil
		}
		return nil, nil
	})
	if err != nil {
		return faults.Record{}, err
	}
	return faults.NewRecord(kindExec, on, w)
}

// unable says why nothing can be run in a container now; "" if something can.
func unable(c faults.Container) string {
	switch {
	case c.Restarting:
		return "waiting for its restart"
	case !c.Running:
		return fmt.Sprintf("down (exit code %d)", c.ExitCode)
	case c.Paused:
		return "paused"
	}
	return ""
}

// site is where the commands of a record run.
type site struct {
	want
	env  faults.Env
	x    faults.Execer
	on   faults.Target
	text *regexp.Regexp
}

func open(env faults.Env, on faults.Target, w want) (site, error) {
	x, ok := env.Engine.(faults.Execer)
	if !ok {
		return site{}, fmt.Errorf("%s on %s: %w: the engine cannot run commands in containers", kindExec, on, faults.ErrUnsupported)
	}
	text, err := regexp.Compile(w.Matches)
	if err != nil {
		return site{}, fmt.Errorf("%s on %s: matches: %w", kindExec, on, err)
	}
	return site{want: w, env: env, x: x, on: on, text: text}, nil
}

func at(env faults.Env, r faults.Record) (site, error) {
	var w want
	if err := json.Unmarshal(r.Want, &w); err != nil {
		return site{}, fmt.Errorf("decode %s record %q: %w", r.Kind, r.ID, err)
	}
	return open(env, r.On, w)
}
