package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/workload/program"
)

// Labels of everything that a run makes, and of services whose output is read.
const (
	LabelRun      = "io.discompose.run"
	labelOps      = "io.discompose.ops"      // <workload>: the service prints operations as JSON lines
	labelAttached = "io.discompose.attached" // of an agent: the project is not the run's own
)

// run is one run in progress.
type run struct {
	o      Options
	dir    *Dir
	info   ledger.Run
	plan   *Plan
	image  string // of the binary itself
	clock  *hostClock
	store  *ledger.Store
	track  *tracker
	polled *positions
	held   *holdings // before the faults; nil where nobody asks
	live
	undo
	sharing
}

// sharing is what a run needs to use an environment that another has started, or to leave its own to another.
type sharing struct {
	taken  *Lent              // the environment that it uses, where another run has started it
	was    []compose.Standing // its containers when they were ready; empty where no other run will ask
	lent   *Lent              // the environment, left to another run
	whyNot string             // why it was not left to another run
	dirty  error              // what is left of an environment that could not be used
}

// live is what a run has running.
type live struct {
	engine        *compose.Engine
	env           *compose.Environment
	fallbacks     []compose.Fallback
	host          *session // nil in API-only mode
	links         *links   // nil where nothing is routed
	fleet         *fleet
	background    sync.WaitGroup
	backgroundCtx context.Context // what follows the engine outlives the story and ends at teardown
	stopBack      context.CancelFunc
	abort         context.CancelCauseFunc // ends the story
	early         bool                    // the story ended early: calls that were cancelled may still land on the engine
}

// undo is what healing needs.
type undo struct {
	state *faults.State
	fenv  faults.Env
	file  *os.File
}

// Run carries a scenario out and judges it. It returns when everything that it made is removed, whatever happened;
// cancel ctx with a cause (ErrInterrupted, ErrTimeout) to end it early.
func Run(ctx context.Context, o Options) (out Outcome) {
	out.Scenario = o.Scenario.Name
	if o.RunsDir == "" {
		o.RunsDir = "runs"
	}
	dir, err := beginDir(o)
	if dir != nil {
		out.Dir = dir.Path
	}
	if err != nil {
		out.Err = err
		if o.Take != nil {
			out.Dirty = o.Take.Close(ctx)
		}
		return out
	}
	r := &run{o: o, dir: dir, clock: newHostClock(), track: newTracker(), polled: &positions{}}
	r.undo.state = &faults.State{}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.Timeout > 0 {
		t := time.AfterFunc(max(o.Timeout-healBudget, o.Timeout/2), func() { cancel(ErrTimeout) })
		defer t.Stop()
	}
	r.abort = cancel
	stage := r.story(ctx, cancel)
	r.early = stage != nil
	out.Dirty = r.healAll(context.WithoutCancel(ctx))
	if out.Dirty == nil && dirtyOf(stage) != nil { // undone by now, but not when the plan said
		stage = errors.Join(stage, faults.ErrNoWitness)
	}
	out.Judgement, out.Judged, out.Err = r.conclude(ctx, stage)
	out.Dirty = errors.Join(out.Dirty, r.dirty)
	out.Dirty = errors.Join(out.Dirty, r.teardown(context.WithoutCancel(ctx), r.lends(stage, out)))
	out.Lent, out.NotLent = r.lent, r.whyNot
	return out
}

// beginDir makes the run's directory, registers the run and points to it.
func beginDir(o Options) (*Dir, error) {
	dir, err := NewDir(o.RunsDir, o.Scenario.Name, time.Now())
	if err != nil {
		return nil, err
	}
	if err := errors.Join(register(dir), dir.PointLatest()); err != nil {
		return dir, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// story is the run up to the last final read. Its error says why it ended early; nil means that all stages were reached.
func (r *run) story(ctx context.Context, cancel context.CancelCauseFunc) error {
	for _, stage := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"prepare", func(ctx context.Context) error { return r.prepare(ctx, cancel) }},
		{"up", r.up},
		{"setup", r.setUp},
		{"steady state", r.steadyState},
		{"timeline", r.faultsOnTime},
		{"recovery", r.recovery},
		{"drain", r.drain},
	} {
		r.phase(stage.name)
		if err := stage.do(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return fmt.Errorf("%s: %w", stage.name, errors.Join(cause, dirtyOf(err)))
			}
			return fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	return nil
}

// dirtyOf is the part of an error that says that an undo failed.
func dirtyOf(err error) error {
	var heal *faults.HealError
	if errors.As(err, &heal) {
		return heal
	}
	return nil
}

// phase ends the current phase and begins the next.
func (r *run) phase(name string) {
	now := r.clock.now()
	if n := len(r.info.Phases); n > 0 && r.info.Phases[n-1].To == 0 {
		r.info.Phases[n-1].To = now
	}
	r.info.Phases = append(r.info.Phases, ledger.Phase{Name: name, From: now})
	r.say(Event{Kind: EventStage, Name: name})
}

// say tells whoever watches.
func (r *run) say(e Event) {
	if r.info.Base > 0 {
		e.Offset = time.Duration(r.clock.now() - r.info.Base)
	} else {
		e.Offset = -1
	}
	r.o.Observe(e)
}

// note writes an event into the ledger.
func (r *run) note(source, kind, service, detail string) {
	r.event(ledger.Event{At: r.clock.now(), Source: source, Type: kind, Service: service, Detail: detail})
}

// event keeps one event, in the ledger and as a line of events.jsonl.
func (r *run) event(e ledger.Event) {
	if r.store == nil {
		return
	}
	err := r.store.AddEvent(e)
	if line, merr := json.Marshal(e); merr == nil && r.dir != nil {
		err = errors.Join(err, r.dir.Append(fileEvents, append(line, '\n')))
	}
	if err != nil {
		r.o.Log.Error("record event", "type", e.Type, "err", err)
	}
}

// steadyState starts the clients and waits until nothing fails.
func (r *run) steadyState(ctx context.Context) error {
	if err := r.fleet.start(ctx); err != nil {
		return err
	}
	r.background.Go(func() { r.tick(r.backgroundCtx) })
	return r.waitSteady(ctx)
}

// tick tells the counters while the run lives.
func (r *run) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			ok, bad := r.track.totals()
			r.say(Event{Kind: EventTick, OK: ok, Bad: bad})
		case <-ctx.Done():
			return
		}
	}
}

// faultsOnTime runs the timeline.
func (r *run) faultsOnTime(ctx context.Context) error {
	r.info.Base, r.info.BaseWall = r.clock.now(), time.Now().UnixNano()
	if err := ledger.WriteRun(r.dir.Path, r.info); err != nil {
		return err
	}
	r.background.Go(func() { r.snapshot(r.backgroundCtx, "before") })
	r.held = r.holdings(ctx)
	return r.timeline(ctx, r.plan, r.info.Base)
}

func (r *run) recovery(ctx context.Context) error {
	if err := r.waitRecovered(ctx, r.clock.now()); err != nil {
		return err
	}
	r.snapshot(ctx, "after")
	return r.leaks(ctx)
}

// snapshot keeps every container's counters in metrics/. Its failure costs a table of the report, not the run.
func (r *run) snapshot(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, snapshotBudget)
	defer cancel()
	stats, err := r.env.Stats(ctx)
	if err != nil {
		r.o.Log.Debug("take a snapshot of the containers", "name", name, "err", err)
		return
	}
	raw, err := json.MarshalIndent(stats, "", " ")
	if err == nil {
		err = r.dir.Write(filepath.Join("metrics", name+".json"), raw)
	}
	if err != nil {
		r.o.Log.Error("keep a snapshot of the containers", "name", name, "err", err)
	}
}

// drain ends the workloads, makes the final reads, and waits until the consumers that are followed caught up.
func (r *run) drain(ctx context.Context) error {
	if err := r.fleet.drain(ctx); err != nil {
		return err
	}
	r.phase(ledger.PhaseFinal)
	fctx, cancel := context.WithTimeout(ctx, finalBudget)
	defer cancel()
	if err := r.fleet.final(fctx); err != nil {
		if errors.Is(err, program.ErrBroken) {
			return err
		}
		r.say(Event{Kind: EventWarn, Text: "final read: " + err.Error()})
		r.note("runner", "note", "", "final read: "+err.Error())
	}
	for {
		behind := r.polled.behind()
		if len(behind) == 0 {
			return nil
		}
		r.say(Event{Kind: EventProgress, Text: fmt.Sprintf("waiting for consumers to catch up: %v", behind)})
		if err := sleep(fctx, pollEvery); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.note("runner", "note", "", fmt.Sprintf("consumers did not catch up: %v", behind))
			return nil
		}
	}
}

// healAll undoes what the journal still owes. Its error says what is left.
func (r *run) healAll(ctx context.Context) error {
	owed := r.undo.state.Owed()
	if len(owed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, healBudget)
	defer cancel()
	if r.host != nil && r.host.lost() {
		return r.healWithout(ctx)
	}
	_, err := faults.Heal(ctx, r.fenv, owed, effectOf(r.o.Kinds))
	return err
}

// healWithout heals where the run's own agent is gone: once that has left, another one is started, as `heal` would.
func (r *run) healWithout(ctx context.Context) error {
	docker := r.engine.Docker()
	if err := awaitAgent(ctx, docker, r.info.ID); err != nil {
		return err
	}
	state, err := ReadJournal(r.dir.Path)
	if err != nil {
		return err
	}
	say := func(text string) { r.say(Event{Kind: EventStep, Text: text}) }
	return healOwed(ctx, docker, r.dir, state, HealOptions{Kinds: r.o.Kinds, Log: r.o.Log, Say: say})
}

func effectOf(kinds []faults.Spec) func(faults.Kind) (faults.Effect, faults.Family, bool) {
	return func(k faults.Kind) (faults.Effect, faults.Family, bool) {
		for _, s := range kinds {
			if s.Kind == k {
				return s.Effect, s.Family, true
			}
		}
		return nil, "", false
	}
}

// classOf maps what ended a run early to the class of its verdict; ok is false for an error without a verdict.
func classOf(err error) (class oracle.Class, ok bool) {
	for _, c := range []struct {
		err   error
		class oracle.Class
	}{
		{ErrInterrupted, oracle.Interrupted},
		{ErrTimeout, oracle.Interrupted},
		{ErrAgentLost, oracle.AgentLost},
		{errNotSteady, oracle.NoSteadyState},
		{program.ErrBroken, oracle.NotSupported},
		{faults.ErrUnsupported, oracle.NotSupported},
		{faults.ErrNoWitness, oracle.NoWitness},
	} {
		if errors.Is(err, c.err) {
			return c.class, true
		}
	}
	return "", false
}
