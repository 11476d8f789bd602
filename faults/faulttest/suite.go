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

// id is the container that the suite's faults act on, and link the link.
const (
	id   = "0123456789abcdef"
	link = "app->web:80"
)

// target is what the suite aims a kind at.
func target(s faults.Spec) faults.Target {
	if s.Whole {
		return faults.Target{Service: "web", Project: project, Name: "web"}
	}
	if slices.Contains(s.Targets, faults.OnLink) {
		return faults.Target{Service: "web", Number: 1, Link: link, Name: link}
	}
	return faults.Target{Service: "web", Number: 1, Container: id, Name: "web-1"}
}

// stage is one world that the suite plays in.
type stage struct {
	name    string
	version int
	agent   bool
	box     Box
	wire    Wire
}

// hosts reports whether a fault has a mechanism in the stage's world, and a restart policy where it cannot do without.
func (s stage) hosts(spec faults.Spec, f faults.Fault) bool {
	if f, ok := f.(faults.PolicyBound); ok && f.ByPolicy() && s.box.Policy == "" {
		return false
	}
	w := NewWorld(s.version)
	env := w.APIOnly(nil)
	if s.agent {
		env = w.Env(nil)
	}
	_, err := spec.Mechanism(env.Facts())
	return err == nil
}

// stages are the hosts, containers and links that a kind must work on.
func stages(s faults.Spec) []stage {
	if target(s).Link != "" {
		return linkStages()
	}
	return boxStages()
}

func linkStages() []stage {
	box := Box{ID: id, Name: "web"}
	busy := Wire{Name: link, Connections: 20, Request: 200, Response: 850, Idle: 2}
	few := busy
	few.Connections, few.Idle = 5, 0
	uncounted := busy
	uncounted.Uncounted = true
	return []stage{
		{"busy link", 1, true, box, busy},
		{"link with few connections", 2, true, box, few},
		{"link whose refusals nobody counts", 2, true, box, uncounted},
		{"no agent", 1, false, box, busy},
	}
}

func boxStages() []stage {
	box := Box{ID: id, Name: "web", CPUs: 2, Resident: 4 << 20, Cache: 1 << 30, Processes: 3}
	box.Environ, box.Command = []string{"LEVEL=info"}, []string{"serve"}
	crashes, fails := box, box
	crashes.Policy, fails.Policy = "always", "on-failure"
	limited := box
	limited.Limits = faults.Limits{NanoCPUs: 1_500_000_000, MemoryBytes: 512 << 20, PIDs: 100}
	quota := limited
	quota.Limits.NanoCPUs, quota.Limits.CPUQuota = 0, 150_000
	return []stage{
		{"cgroup v1", 1, true, box, Wire{}},
		{"cgroup v1 with a restart policy", 1, true, crashes, Wire{}},
		{"cgroup v1 with limits of its own", 1, true, limited, Wire{}},
		{"cgroup v2", 2, true, box, Wire{}},
		{"cgroup v2 with limits of its own", 2, true, limited, Wire{}},
		{"cgroup v2 with a restart policy for failures", 2, true, fails, Wire{}},
		{"no agent", 1, false, limited, Wire{}},
		{"no agent, quota style", 1, false, quota, Wire{}},
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
	on      faults.Target
	base    base
}

// base is what faults must give back.
type base struct {
	Box     State
	Wire    WireState
	Service string
}

// open makes the world of a stage anew, for faults on one target.
func open(t *testing.T, s stage, on faults.Target) play {
	t.Helper()
	others := []Box{{ID: "db-1", Name: "db"}, {ID: "probes-1", Name: "probes"}, {ID: "orders-1", Name: "workload.orders"}}
	p := play{t: t, stage: s, world: NewWorld(s.version, append(others, s.box)...), entries: new([][]byte), on: on}
	if s.wire.Name != "" {
		p.world.Wire(s.wire)
	}
	p.state = &faults.State{Commit: p.commit()}
	p.env, p.base = p.in(p.state), p.now()
	return p
}

// again opens the same stage once more.
func (p play) again() play { return open(p.t, p.stage, p.on) }

// now is what faults may have changed.
func (p play) now() base {
	return base{p.world.State(p.world.Current("web")), p.world.WireState(link), p.world.Service("web")}
}

// target is what faults are aimed at now: the container of the name, as the runner finds it. It has none while there is none.
func (p play) target() (on faults.Target, there bool) {
	on = p.on
	if on.Container != "" {
		on.Container = p.world.Current("web")
		return on, on.Container != ""
	}
	return on, true
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
	on, _ := p.target()
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
	defer p.env.Journal.Lock(r.On.Key())()
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
	if diff := cmp.Diff(p.base, p.now()); diff != "" {
		p.t.Errorf("%s the target is not as it was (-was +is):\n%s", when, diff)
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
	for _, s := range stages(spec) {
		t.Run(s.name, func(t *testing.T) {
			tests := rules()
			if !s.hosts(spec, example()) {
				tests = map[string]rule{"a host that cannot is refused": unhosted}
			}
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					f := example() // reads a file: outside the bubble
					synctest.Test(t, func(t *testing.T) { test(open(t, s, target(spec)), spec, f) })
				})
			}
		})
	}
}

// rule is one test of a kind.
type rule func(play, faults.Spec, faults.Fault)

// rules are what every kind keeps on every stage that can host it.
func rules() map[string]rule {
	return map[string]rule{
		"prepare changes nothing and the record survives JSON": prepares,
		"a held fault has a witness and ends at the base":      held,
		"revert twice is fine and leaves no active witness":    twice,
		"revert works though the journal still wants it":       unreleased,
		"a fault that holds nothing back has no witness":       unbound,
		"a target without traffic has no witness":              idle,
		"another process reverts from the journal alone":       another,
		"a half-failed apply is undone":                        halfFailed,
		"a half-failed revert is repeated elsewhere":           halfReverted,
		"a call that does nothing has no witness":              lied,
		"a call that undoes nothing is not gone":               stuck,
		"a target that is gone needs no undo":                  removed,
		"a project that was taken down needs no undo":          takenDown,
		"rules that ended with their agent need no undo":       orphaned,
		"a target that is down is refused":                     refused,
		"overlap with itself ends at the base":                 itself,
	}
}

func describes(t *testing.T, s faults.Spec) { //nolint:thelper // a test: a failure names its line
	if s.Kind == "" || s.Family == "" || s.Summary == "" || s.Doc == "" || s.Effect == nil || len(s.Targets) == 0 || len(s.Mechanisms) == 0 {
		t.Errorf("the spec of %q is not complete", s.Kind)
	}
	if strings.HasSuffix(s.Summary, ".") || !strings.HasSuffix(s.Doc, ".") || !strings.Contains(s.Doc, "Witness:") || !strings.Contains(s.Doc, "Undo:") {
		t.Errorf("summary has no full stop, doc has one and names witness and undo: %q, %q", s.Summary, s.Doc)
	}
	if _, ok := s.Effect.(faults.Settler); ok != (s.Instant || s.Rolling || s.Replaces) {
		t.Errorf("instant, rolling, replacing are %t, %t, %t and being a Settler is %t: all that waits for a target is one, and nothing else", s.Instant, s.Rolling, s.Replaces, ok)
	}
	_, finite := s.New().(faults.Finite)
	if _, ok := s.Effect.(faults.Finisher); ok != finite || (finite && s.Instant) {
		t.Errorf("its faults may be finite is %t, and its effect is a Finisher %t: a kind that holds for a time is both or neither", finite, ok)
	}
	if _, ok := s.New().(faults.Downtimer); ok && !s.Instant {
		t.Error("only an instantaneous kind has a down time")
	}
	v := reflect.ValueOf(s.New())
	if v.Kind() != reflect.Pointer || !v.Elem().IsZero() || v.Elem().Kind() != reflect.Struct {
		t.Fatalf("New makes %T, not a pointer to zero parameters", s.New())
	}
	for _, f := range keys(s.New()) {
		if key := f.Tag.Get("toml"); key == "" || f.Tag.Get("doc") == "" {
			t.Errorf("field %s has no toml key or no doc", f.Name)
		}
	}
}

func zero(t *testing.T, s faults.Spec) { //nolint:thelper // a test: a failure names its line
	err := s.New().Validate()
	var names []string
	needs := false
	for _, f := range keys(s.New()) {
		doc := f.Tag.Get("doc")
		names = append(names, f.Tag.Get("toml"))
		needs = needs || strings.HasPrefix(doc, "required:") || strings.Contains(doc, "instead of")
	}
	if needs != (err != nil) {
		t.Fatalf("something is required: %t; the zero value's validation: %v", needs, err)
	}
	var pe *faults.ParamError
	if err != nil && (!errors.As(err, &pe) || !slices.Contains(names, pe.Key) || pe.Hint == "") {
		t.Errorf("the error names no key of %v with a hint: %v", names, err)
	}
}

// keys are the fields of a kind's parameters, those of embedded structs included.
func keys(f faults.Fault) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(reflect.TypeOf(f).Elem()), func(f reflect.StructField) bool { return f.Anonymous })
}
