package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
)

// id is the container that the suite's faults act on.
const id = "0123456789abcdef"

var on = faults.Target{Service: "web", Number: 1, Container: id, Name: "web-1"} //nolint:gochecknoglobals // a constant

// stage is one world that the suite plays in.
type stage struct {
	name    string
	version int
	agent   bool
	box     Box
}

// stages are the hosts and containers that every kind must work on.
func stages() []stage {
	box := Box{ID: id, CPUs: 2, Resident: 4 << 20, Cache: 1 << 30, Processes: 3}
	crashes := box
	crashes.Policy = "always"
	limited := box
	limited.Limits = faults.Limits{NanoCPUs: 1_500_000_000, MemoryBytes: 512 << 20, PIDs: 100}
	quota := limited
	quota.Limits.NanoCPUs, quota.Limits.CPUQuota = 0, 150_000
	return []stage{
		{"cgroup v1", 1, true, box},
		{"cgroup v1 with a restart policy", 1, true, crashes},
		{"cgroup v1 with limits of its own", 1, true, limited},
		{"cgroup v2", 2, true, box},
		{"cgroup v2 with limits of its own", 2, true, limited},
		{"no agent", 1, false, limited},
		{"no agent, quota style", 1, false, quota},
	}
}

// play is one world with a journal whose entries are kept as their JSON.
type play struct {
	t       *testing.T
	stage   stage
	world   *World
	state   *faults.State
	env     faults.Env
	entries *[][]byte
	base    State
}

func open(t *testing.T, s stage) play {
	t.Helper()
	p := play{t: t, stage: s, world: NewWorld(s.version, s.box), entries: new([][]byte)}
	p.state = &faults.State{Commit: p.commit()}
	p.env, p.base = p.in(p.state), p.world.State(id)
	return p
}

func (p play) commit() func(faults.Entry) error {
	return func(e faults.Entry) error {
		line, err := json.Marshal(e)
		*p.entries = append(*p.entries, line)
		return err
	}
}

func (p play) in(j faults.Journal) faults.Env {
	if p.stage.agent {
		return p.world.Env(j)
	}
	return p.world.APIOnly(j)
}

// elsewhere is the same world as another process sees it that has only the journal's lines.
func (p play) elsewhere() (faults.Env, *faults.State) {
	p.t.Helper()
	s := &faults.State{}
	for _, line := range *p.entries {
		var e faults.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			p.t.Fatalf("decode journal line: %v", err)
		}
		if err := s.Replay(e); err != nil {
			p.t.Fatalf("replay: %v", err)
		}
	}
	return p.in(s), s
}

func (p play) prepare(f faults.Fault, name string) faults.Record {
	p.t.Helper()
	r, err := f.Prepare(p.t.Context(), p.env, on)
	if err != nil {
		p.t.Fatalf("prepare %s: %v", name, err)
	}
	r.ID = name
	return r
}

// apply journals and applies, as Hold does.
func (p play) apply(e faults.Effect, r faults.Record) error {
	p.t.Helper()
	if err := p.env.Journal.Intend(r); err != nil {
		p.t.Fatalf("intend: %v", err)
	}
	defer p.env.Journal.Lock(id)()
	return e.Apply(p.t.Context(), p.env, r)
}

func (p play) mustApply(e faults.Effect, r faults.Record) {
	p.t.Helper()
	if err := p.apply(e, r); err != nil {
		p.t.Fatalf("apply %s: %v", r.ID, err)
	}
}

// confirm measures, for at most five seconds, that the fault is active.
func (p play) confirm(env faults.Env, e faults.Effect, r faults.Record) (faults.Witness, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	return e.Confirm(ctx, env, r, true)
}

func (p play) undo(env faults.Env, e faults.Effect, r faults.Record) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	w, err := faults.Undo(ctx, env, e, r)
	if err != nil {
		p.t.Fatalf("undo %s: %v", r.ID, err)
	}
	if w.Note == "" || w.What == "" {
		p.t.Errorf("the witness that %s is gone says nothing: %+v", r.ID, w)
	}
}

func (p play) atBase(when string) {
	p.t.Helper()
	if diff := cmp.Diff(p.base, p.world.State(id)); diff != "" {
		p.t.Errorf("%s the container is not as it was (-was +is):\n%s", when, diff)
	}
}

// Run is the conformance suite of one kind. example makes valid parameters that the fake world's load can witness; nil
// takes those of scenarios/kinds/<kind>.toml.
func Run(t *testing.T, spec faults.Spec, example func() faults.Fault) {
	t.Helper()
	if example == nil {
		example = func() faults.Fault { return Example(t, spec) }
	}
	t.Run("describes itself", func(t *testing.T) { describes(t, spec) })
	t.Run("zero value fails validation where something is required", func(t *testing.T) { zero(t, spec) })
	t.Run("shipped scenario uses the kind", func(t *testing.T) { Example(t, spec) })
	t.Run("example is valid", func(t *testing.T) {
		if err := example().Validate(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range stages() {
		t.Run(s.name, func(t *testing.T) {
			for name, test := range map[string]func(play, faults.Spec, faults.Fault){
				"prepare changes nothing and the record survives JSON": prepares,
				"a held fault has a witness and ends at the base":      held,
				"revert twice is fine and leaves no active witness":    twice,
				"revert works though the journal still wants it":       unreleased,
				"a limit that holds nothing back has no witness":       unbound,
				"another process reverts from the journal alone":       another,
				"a half-failed apply is undone":                        halfFailed,
				"a call that does nothing has no witness":              lied,
				"a call that undoes nothing is not gone":               stuck,
				"a container that is gone needs no undo":               removed,
				"a target that is down is refused":                     refused,
				"overlap with itself ends at the base":                 itself,
			} {
				t.Run(name, func(t *testing.T) {
					f := example() // reads a file: outside the bubble
					synctest.Test(t, func(t *testing.T) { test(open(t, s), spec, f) })
				})
			}
		})
	}
}

func describes(t *testing.T, s faults.Spec) { //nolint:thelper // a test: a failure names its line
	if s.Kind == "" || s.Family == "" || s.Summary == "" || s.Doc == "" || s.Effect == nil || len(s.Targets) == 0 || len(s.Mechanisms) == 0 {
		t.Errorf("the spec of %q is not complete", s.Kind)
	}
	if strings.HasSuffix(s.Summary, ".") || !strings.HasSuffix(s.Doc, ".") || !strings.Contains(s.Doc, "Witness:") || !strings.Contains(s.Doc, "Undo:") {
		t.Errorf("summary has no full stop, doc has one and names witness and undo: %q, %q", s.Summary, s.Doc)
	}
	if _, ok := s.Effect.(faults.Settler); ok != s.Instant {
		t.Errorf("instant is %t and being a Settler is %t: a kind is both or neither", s.Instant, ok)
	}
	if _, ok := s.New().(faults.Downtimer); ok && !s.Instant {
		t.Error("only an instantaneous kind has a down time")
	}
	v := reflect.ValueOf(s.New())
	if v.Kind() != reflect.Pointer || !v.Elem().IsZero() || v.Elem().Kind() != reflect.Struct {
		t.Fatalf("New makes %T, not a pointer to zero parameters", s.New())
	}
	for i := range v.Elem().NumField() {
		f := v.Elem().Type().Field(i)
		if key := f.Tag.Get("toml"); key == "" || f.Tag.Get("doc") == "" {
			t.Errorf("field %s has no toml key or no doc", f.Name)
		}
	}
}

func zero(t *testing.T, s faults.Spec) { //nolint:thelper // a test: a failure names its line
	err := s.New().Validate()
	var keys []string
	needs := false
	typ := reflect.TypeOf(s.New()).Elem()
	for i := range typ.NumField() {
		doc := typ.Field(i).Tag.Get("doc")
		keys = append(keys, typ.Field(i).Tag.Get("toml"))
		needs = needs || strings.HasPrefix(doc, "required:") || strings.Contains(doc, "instead of")
	}
	if needs != (err != nil) {
		t.Fatalf("something is required: %t; the zero value's validation: %v", needs, err)
	}
	var pe *faults.ParamError
	if err != nil && (!errors.As(err, &pe) || !slices.Contains(keys, pe.Key) || pe.Hint == "") {
		t.Errorf("the error names no key of %v with a hint: %v", keys, err)
	}
}

func prepares(p play, s faults.Spec, f faults.Fault) {
	t := p.t
	p.prepare(f, "a")
	r := p.prepare(f, "a")
	if n := p.world.Changes(); n != 0 {
		t.Errorf("prepare made %d changing calls", n)
	}
	if r.V != faults.RecordVersion || r.Kind != s.Kind || r.On != on {
		t.Errorf("record is %+v", r)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back faults.Record
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("record after JSON (-before +after):\n%s", diff)
	}
	p.atBase("after prepare")
}

func held(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	var confirmed, gone faults.Witness
	o := faults.Observer{Confirmed: func(_ faults.Record, w faults.Witness) { confirmed = w }, Gone: func(_ faults.Record, w faults.Witness) { gone = w }}
	b := faults.Budgets{Confirm: 5 * time.Second, Heal: 10 * time.Second}
	err := faults.Hold(p.t.Context(), p.env, s.Effect, r, b, o, func(ctx context.Context, _ faults.Witness) error {
		return faults.Pause(ctx, 3*time.Second)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if confirmed.Note == "" || confirmed.What == "" || confirmed.At == 0 || gone.Note == "" || gone.At <= confirmed.At {
		p.t.Errorf("witnesses: %+v and %+v", confirmed, gone)
	}
	p.t.Logf("%s | %s", confirmed.Note, gone.Note)
	p.atBase("after the hold")
	if len(p.state.Owed()) != 0 {
		p.t.Errorf("still owed: %v", p.state.Owed())
	}
	if settler, ok := s.Effect.(faults.Settler); ok {
		if done, err := settler.Settled(p.t.Context(), p.env, r); err != nil || !done {
			p.t.Errorf("settled after the undo: %t, %v", done, err)
		}
	}
}

func twice(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if _, err := p.confirm(p.env, s.Effect, r); err != nil {
		p.t.Fatalf("confirm: %v", err)
	}
	p.undo(p.env, s.Effect, r)
	p.undo(p.env, s.Effect, r)
	p.atBase("after two reverts")
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("a reverted fault has a witness: %v, %v", w, err)
	}
}

// unreleased reverts while the journal still lists the record, as where the release could not be written.
func unreleased(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	_, err := faults.Await(ctx, 50*time.Millisecond, func() (faults.Witness, error) {
		defer p.env.Journal.Lock(id)()
		if err := s.Effect.Revert(ctx, p.env, r); err != nil {
			return faults.Witness{}, err
		}
		return s.Effect.Confirm(ctx, p.env, r, false)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.atBase("after the revert")
}

// unbound applies a fault to a container whose kernel takes limits and does not keep them.
func unbound(p play, s faults.Spec, f faults.Fault) {
	if s.Family != faults.Resource || !p.stage.agent {
		p.t.Skip("only the counters of the kernel can tell")
	}
	p.stage.box.Unbound = true
	p = open(p.t, p.stage)
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("nothing is held back and the witness is %+v, %v", w, err)
	}
	p.undo(p.env, s.Effect, r)
	p.atBase("after the undo")
}

func another(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	env, state := p.elsewhere()
	owed := state.Owed()
	if len(owed) != 1 || owed[0].ID != r.ID {
		p.t.Fatalf("the journal owes %v", owed)
	}
	p.undo(env, s.Effect, owed[0])
	p.atBase("after the other process's undo")
	if len(state.Owed()) != 0 {
		p.t.Error("the undo is still owed")
	}
}

func halfFailed(p play, s faults.Spec, f faults.Fault) {
	broken := errors.New("connection lost")
	for _, effect := range []bool{true, false} {
		r := p.prepare(f, "a")
		p.world.FailNext(effect, broken)
		if err := p.apply(s.Effect, r); !errors.Is(err, broken) {
			p.t.Fatalf("apply over a broken call: %v", err)
		}
		p.undo(p.env, s.Effect, r)
		p.atBase("after a half-failed apply")
	}
}

func lied(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.world.Lie(true)
	p.mustApply(s.Effect, r)
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("nothing happened and the witness is %+v, %v", w, err)
	}
	p.world.Lie(false)
	p.undo(p.env, s.Effect, r)
	p.atBase("after the undo of nothing")
}

func stuck(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if s.Instant && p.world.settledAlone(id) {
		return // it comes back without us
	}
	p.world.Lie(true)
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	_, err := faults.Undo(ctx, p.env, s.Effect, r)
	var dirty *faults.HealError
	if !errors.As(err, &dirty) || len(p.state.Owed()) != 1 {
		p.t.Errorf("nothing was undone and the error is %v, owed %v", err, p.state.Owed())
	}
	p.world.Lie(false)
	p.undo(p.env, s.Effect, r)
	p.atBase("after the second undo")
}

// settledAlone reports whether a container runs, or is about to by its restart policy.
func (w *World) settledAlone(id string) bool {
	time.Sleep(2 * backOff) //nolint:forbidigo // in a bubble of synctest
	s := w.State(id)
	return s.Running && !s.Paused
}

func removed(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	p.world.Remove(id)
	p.undo(p.env, s.Effect, r)
	if _, err := f.Prepare(p.t.Context(), p.env, faults.Target{Service: "web", Number: 1, Container: "none"}); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("prepare on a container that does not exist: %v", err)
	}
}

func refused(p play, _ faults.Spec, f faults.Fault) {
	if p.stage.box.Policy != "" {
		p.t.Skip("its restart policy does not leave it down")
	}
	p.world.Exit(id, 1)
	time.Sleep(2 * notices) //nolint:forbidigo // in a bubble of synctest
	if _, err := f.Prepare(p.t.Context(), p.env, on); !errors.Is(err, faults.ErrUnsupported) {
		p.t.Errorf("prepare on a container that is down: %v", err)
	}
}

func itself(p play, s faults.Spec, f faults.Fault) { pair(p, s, f, s, f) }
