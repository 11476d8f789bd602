// Package resource provides the faults that limit a container's resources: cpu_limit, memory_limit and pids_limit.
//
// They share one piece: the smallest value that the active records of a container ask for is in force; with none active
// the base is. The base is read from the cgroup file and journalled once per container and resource, before the first
// change. Effects hold no state and are safe for concurrent use; changes to one container are serialised by
// Journal.Lock, which the caller holds. The package imports only faults and internal/units of this module.
package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// unlimited is the value of a limit that is not set.
const unlimited = math.MaxInt64

// look is the time between two observations while a witness is awaited.
const look = 25 * time.Millisecond

// The mechanisms, as they are named in specs and bases.
const (
	byCgroup = "cgroup file"
	byEngine = "docker update"
)

// limit is one limit of a container: where the kernel and the engine keep it and how they write it.
type limit struct {
	kind       faults.Kind
	controller string    // of cgroup version 1; also the name of the base in the journal
	files      [3]string // by cgroup version
	capability faults.Capability
	render     func(value, period int64, version int) string // the file's text for a value
	parse      func(text string) (value, period int64, err error)
	engine     func(base faults.Limits, value int64) faults.Limits // what docker update is asked for, or the base itself
	set        func(l faults.Limits) (value, period int64)         // what the engine keeps; 0 if it is not set
}

// want is what a record carries.
type want struct {
	Value  int64  `json:"value"`            // µs per period, bytes, or processes
	Usage  int64  `json:"usage,omitempty"`  // in use before
	PID    int    `json:"pid,omitempty"`    // memory: the process that used it
	Events *int64 `json:"events,omitempty"` // how often the limit had been hit before; nil where others could hit it
}

// base is the journalled state of the limit before the first change.
type base struct {
	By      string        `json:"by"`      // the mechanism that it was read through and is given back by
	Version int           `json:"version"` // of cgroups
	Text    string        `json:"text,omitempty"`
	Value   int64         `json:"value"`
	Period  int64         `json:"period,omitempty"` // cpu: µs
	Limits  faults.Limits `json:"limits,omitzero"`  // docker update
}

func (l limit) mechanisms(note string) []faults.Mechanism {
	return []faults.Mechanism{
		{Name: byCgroup, Needs: []faults.Capability{faults.CapAgent, l.capability}},
		{Name: byEngine, Note: note},
	}
}

const updateNote = "only where the container has such a limit already, for docker update cannot give back \"unset\""

// base reads the base value of a running container; the first call for it journals the value.
func (l limit) base(ctx context.Context, env faults.Env, on faults.Target) (base, error) {
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return base{}, fmt.Errorf("inspect %s: %w", on, err)
	}
	if !c.Running || c.Restarting {
		return base{}, fmt.Errorf("%s on %s: %w: it is not running, so it has no cgroup to limit", l.kind, on, faults.ErrUnsupported)
	}
	if refusal := c.Transient(); refusal != nil {
		return base{}, fmt.Errorf("%s on %s: %w: %w", l.kind, on, faults.ErrUnsupported, refusal)
	}
	raw, err := env.Journal.Base(on.Container, l.controller, func() (json.RawMessage, error) {
		b, err := l.read(ctx, env, on, c)
		if err != nil {
			return nil, err
		}
		return json.Marshal(b)
	})
	if err != nil {
		return base{}, err
	}
	return decodeBase(raw)
}

// known is the base that is in the journal already.
func (l limit) known(env faults.Env, on faults.Target) (base, error) {
	raw, err := env.Journal.Base(on.Container, l.controller, func() (json.RawMessage, error) {
		return nil, errors.New("the journal has no base value for it")
	})
	if err != nil {
		return base{}, err
	}
	return decodeBase(raw)
}

func decodeBase(raw json.RawMessage) (base, error) {
	var b base
	if err := json.Unmarshal(raw, &b); err != nil {
		return base{}, fmt.Errorf("decode base value: %w", err)
	}
	return b, nil
}

func (l limit) read(ctx context.Context, env faults.Env, on faults.Target, c faults.Container) (b base, err error) {
	facts := env.Facts()
	if !facts.Can(faults.CapAgent) || !facts.Can(l.capability) {
		v, period := l.set(c.Limits)
		if v == 0 {
			return base{}, fmt.Errorf("%w: %s has no %s limit, and docker update could not take one away again; it needs the agent, or a limit in the Compose file", faults.ErrUnsupported, on, l.controller)
		}
		return base{By: byEngine, Value: v, Period: period, Limits: c.Limits}, nil
	}
	b = base{By: byCgroup, Version: facts.CgroupVersion}
	if b.Text, err = cgroup(ctx, env, on, l.controller, l.files[b.Version]); err != nil {
		return base{}, err
	}
	if b.Value, b.Period, err = l.parse(b.Text); err != nil {
		return base{}, fmt.Errorf("read %s: %w", l.files[b.Version], err)
	}
	if l.controller != "cpu" || b.Version == 2 {
		return b, nil
	}
	text, err := cgroup(ctx, env, on, l.controller, "cpu.cfs_period_us") // version 1 has a file of its own for it
	if err != nil {
		return base{}, err
	}
	if b.Period, err = number(text); err != nil {
		return base{}, fmt.Errorf("read cpu.cfs_period_us: %w", err)
	}
	return b, nil
}

// record makes a record for a value; it refuses one that would change nothing.
func (l limit) record(b base, on faults.Target, w want, key string) (faults.Record, error) {
	if w.Value >= b.Value {
		return faults.Record{}, fmt.Errorf("%s on %s: %w: %w", l.kind, on, faults.ErrUnsupported, &faults.ParamError{
			Key: key, Err: fmt.Errorf("the container is limited to %s already, so this would change nothing", l.text(b.Value, b)), Hint: "ask for less",
		})
	}
	return faults.NewRecord(l.kind, on, w)
}

// text is a value for people.
func (l limit) text(value int64, b base) string {
	switch {
	case value == unlimited:
		return "no limit"
	case l.controller == "cpu":
		return fmt.Sprintf("%.3g cpus", float64(value)/float64(b.Period))
	case l.controller == "memory":
		return units.Size(value).String()
	}
	return strconv.FormatInt(value, 10) + " processes"
}

// inForce is the value that should be in force, leaving one record out ("" for none), and whether it is the base.
func (l limit) inForce(env faults.Env, on faults.Target, b base, without string) (value int64, isBase bool, err error) {
	value, isBase = b.Value, true
	for _, r := range env.Journal.Active(on.Container) {
		if r.Kind != l.kind || r.ID == without {
			continue
		}
		w, err := decode(r)
		if err != nil {
			return 0, false, err
		}
		if w.Value < value {
			value, isBase = w.Value, false
		}
	}
	return value, isBase, nil
}

// others reports whether another record of this limit is active.
func (l limit) others(env faults.Env, on faults.Target, than string) bool {
	for _, r := range env.Journal.Active(on.Container) {
		if r.Kind == l.kind && r.ID != than {
			return true
		}
	}
	return false
}

// Apply puts the smallest active value in force.
func (l limit) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	return l.put(ctx, env, r, "")
}

// Revert puts the smallest value of the other active records in force, or the base. A container that is gone needs none.
func (l limit) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	err := l.put(ctx, env, r, r.ID)
	if err == nil {
		return nil
	}
	if _, ierr := env.Engine.Inspect(ctx, r.On.Container); errors.Is(ierr, faults.ErrGone) {
		return nil
	}
	return err
}

func (l limit) put(ctx context.Context, env faults.Env, r faults.Record, without string) error {
	b, err := l.known(env, r.On)
	if err != nil {
		return err
	}
	value, isBase, err := l.inForce(env, r.On, b, without)
	if err != nil {
		return err
	}
	if b.By == byEngine {
		if err := env.Engine.Update(ctx, r.On.Container, l.engine(b.Limits, value)); err != nil {
			return fmt.Errorf("update %s limit of %s: %w", l.controller, r.On, err)
		}
		return nil
	}
	if env.Host == nil {
		return fmt.Errorf("set %s limit of %s: %w: the agent set it and only the agent can give it back", l.controller, r.On, faults.ErrUnsupported)
	}
	op, f := faults.OpCgroupHold, faults.CgroupFile{Container: r.On.Container, Controller: l.controller, File: l.files[b.Version]}
	if f.Value = l.render(value, b.Period, b.Version); isBase {
		op, f.Value = faults.OpCgroupRelease, b.Text
	}
	if err := env.Host.Call(ctx, op, f, nil); err != nil {
		return fmt.Errorf("write %q to %s of %s: %w", f.Value, f.File, r.On, err)
	}
	return nil
}

// present reads the value that is in force now. up is false while the container is not running.
func (l limit) present(ctx context.Context, env faults.Env, on faults.Target, b base) (value int64, up bool, err error) {
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return 0, false, fmt.Errorf("inspect %s: %w", on, err)
	}
	if !c.Running || c.Restarting {
		return 0, false, nil
	}
	if b.By == byEngine {
		value, _ = l.set(c.Limits)
		return value, true, nil
	}
	if env.Host == nil {
		return 0, false, fmt.Errorf("read %s limit of %s: %w: it needs the agent", l.controller, on, faults.ErrUnsupported)
	}
	text, err := cgroup(ctx, env, on, l.controller, l.files[b.Version])
	if err != nil {
		return 0, false, err
	}
	value, _, err = l.parse(text)
	return value, true, err
}

// page is the largest page size: the kernel rounds memory limits down to whole pages.
const page = 64 << 10

// reads fails unless the value in force is the one that the active records ask for. This alone is no witness.
func (l limit) reads(ctx context.Context, env faults.Env, r faults.Record, without string) (b base, value int64, up bool, err error) {
	if b, err = l.known(env, r.On); err != nil {
		return b, 0, false, err
	}
	should, _, err := l.inForce(env, r.On, b, without)
	if err != nil {
		return b, 0, false, err
	}
	value, up, err = l.present(ctx, env, r.On, b)
	if err != nil || !up {
		return b, 0, up, err
	}
	if d := should - value; d != 0 && (l.controller != "memory" || d < 0 || d >= page) {
		return b, 0, true, noWitness("the %s limit of %s reads %s and should be %s", l.controller, r.On, l.text(value, b), l.text(should, b))
	}
	return b, value, true, nil
}

// active fails unless r is wanted, the container runs and its limit reads as it should.
func (l limit) active(ctx context.Context, env faults.Env, r faults.Record) (base, int64, error) {
	if err := wanted(env, r); err != nil {
		return base{}, 0, err
	}
	b, value, up, err := l.reads(ctx, env, r, "")
	if err == nil && !up {
		err = noWitness("%s is not running", r.On)
	}
	return b, value, err
}

// await looks until the active limit shows its effect. A reading that fails because the container has just ended, and
// its cgroup with it, counts as "not yet".
func (l limit) await(ctx context.Context, env faults.Env, r faults.Record, effect func(base, int64) (faults.Witness, error)) (faults.Witness, error) {
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		b, value, err := l.active(ctx, env, r)
		if err != nil {
			return faults.Witness{}, err
		}
		w, err := effect(b, value)
		if err == nil || errors.Is(err, faults.ErrNoWitness) {
			return w, err
		}
		if c, ierr := env.Engine.Inspect(ctx, r.On.Container); ierr == nil && (!c.Running || c.Restarting) {
			return faults.Witness{}, noWitness("%s is not running", r.On)
		}
		return faults.Witness{}, err
	})
}

// back measures that the limit reads as the other active records ask for; effect then measures that it no longer bites.
// It returns a witness of its own where the container is not running: its next cgroup is born with the base.
func (l limit) back(ctx context.Context, env faults.Env, r faults.Record, effect func(base, int64) (faults.Witness, error)) (faults.Witness, error) {
	b, value, up, err := l.reads(ctx, env, r, r.ID)
	switch {
	case errors.Is(err, faults.ErrGone):
		return faults.Witness{What: "limit", Note: fmt.Sprintf("the container of %s is gone", r.On)}, nil
	case err != nil:
		return faults.Witness{}, err
	case !up:
		return faults.Witness{What: "limit", Note: fmt.Sprintf("%s is not running; its %s limit will be %s", r.On, l.controller, l.text(b.Value, b))}, nil
	}
	return effect(b, value)
}

func decode(r faults.Record) (want, error) {
	var w want
	if err := json.Unmarshal(r.Want, &w); err != nil {
		return want{}, fmt.Errorf("decode %s record %q: %w", r.Kind, r.ID, err)
	}
	return w, nil
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

func cgroup(ctx context.Context, env faults.Env, on faults.Target, controller, file string) (string, error) {
	var v faults.CgroupValue
	f := faults.CgroupFile{Container: on.Container, Controller: controller, File: file}
	if err := env.Host.Call(ctx, faults.OpCgroupRead, f, &v); err != nil {
		return "", fmt.Errorf("read %s of %s: %w", file, on, err)
	}
	return strings.TrimSpace(v.Value), nil
}

// field reads one "name number" line of a cgroup file.
func field(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("it has no line %q", name)
}

// number reads a limit of which "max" or -1 means none.
func number(text string) (int64, error) {
	if text == "max" || text == "-1" {
		return unlimited, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

func noWitness(format string, args ...any) error {
	return fmt.Errorf("%w: %s", faults.ErrNoWitness, fmt.Sprintf(format, args...))
}
