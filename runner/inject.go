package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
)

// Injected is how a fault that was applied by hand ended. The zero value proves nothing.
type Injected struct {
	Dir     string         // absolute path of the run directory; empty if it never came to one
	Faults  []ledger.Fault // one for each target that was reached
	Left    Difference     // what became of the project
	Err     error          // what ended it early, or an ErrUnproven; nil where each witness was seen and is gone
	Dirty   error          // what could not be undone or removed; the environment needs `discompose heal`
	Project string
}

// ErrUnproven says that a fault by hand was undone, but has no witness.
var ErrUnproven = errors.New("not proven")

// ErrInjected says that a run directory is that of one fault by hand: nothing in it can be judged.
var ErrInjected = errors.New("it is one fault that was applied by hand (discompose inject), without workload, probes or checks")

// Inject applies the one fault of a scenario to the running project that the scenario attaches to, waits for its witness,
// holds it for its time, undoes it, and waits until its witness is gone. It is a run without workload, probes, verdict and
// report: journal, agent and lease are those of any run, so that it is healed whatever ends it. It returns when everything
// that it made is removed. Cancel ctx with a cause (ErrInterrupted) to end the fault early.
func Inject(ctx context.Context, o Options) (out Injected) {
	o.inject = true
	out.Project = o.Scenario.Environment.Attach
	dir, err := NewDir(o.RunsDir, o.Scenario.Name, time.Now())
	if err != nil {
		out.Err = err
		return out
	}
	out.Dir = dir.Path
	if err := errors.Join(register(dir), dir.PointLatest()); err != nil {
		out.Err = errors.Join(err, dir.Close())
		return out
	}
	r := &run{o: o, dir: dir, clock: newHostClock(), track: newTracker(), polled: &positions{}}
	r.undo.state = &faults.State{}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before, stage := r.byHand(ctx, cancel)
	r.early = stage != nil
	after := context.WithoutCancel(ctx)
	out.Dirty = r.healAll(after)
	if late := dirtyOf(stage); late != nil {
		stage = context.Cause(ctx) // out.Dirty tells the rest
		if out.Dirty == nil {
			stage = errors.Join(stage, fmt.Errorf("%w: it was undone in the end, but not at once: %s", ErrUnproven, late.Error()))
		}
	}
	if before != nil {
		out.Left = r.compare(after, before)
	}
	out.Faults, err = r.keep(after)
	out.Err = errors.Join(stage, err)
	if out.Err == nil && out.Dirty == nil {
		out.Err = unproven(out.Faults, r.plan.targets())
	}
	out.Dirty = errors.Join(out.Dirty, r.teardown(after, false))
	return out
}

// byHand is the story up to the end of the fault. before is what the project was like; nil where it was not reached.
func (r *run) byHand(ctx context.Context, cancel context.CancelCauseFunc) (before inventory, err error) {
	r.phase("prepare")
	if err := r.prepare(ctx, cancel); err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	r.backgroundCtx, r.stopBack = context.WithCancel(context.WithoutCancel(ctx))
	r.background.Go(func() {
		if err := r.env.Events(r.backgroundCtx, r.dockerEvent); err != nil && r.backgroundCtx.Err() == nil {
			r.say(Event{Kind: EventWarn, Text: "follow the engine's events: " + err.Error()})
		}
	})
	if before, err = r.inventory(ctx); err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	r.phase("timeline")
	r.info.Base, r.info.BaseWall = r.clock.now(), time.Now().UnixNano()
	if err := ledger.WriteRun(r.dir.Path, r.info); err != nil {
		return before, err
	}
	for _, in := range r.plan.Injections {
		r.say(Event{Kind: EventStage, Name: "inject", Text: in.byHand(r.plan.Services)})
	}
	return before, r.timeline(ctx, r.plan, r.info.Base)
}

// keep makes durable what was recorded, and returns what it says of the fault.
func (r *run) keep(ctx context.Context) ([]ledger.Fault, error) {
	ctx, cancel := context.WithTimeout(ctx, judgeBudget)
	defer cancel()
	r.info.Finished = time.Now().UTC().Format(time.RFC3339)
	if r.plan != nil {
		r.keepLinks(ctx)
		r.tellLinks(ctx)
	}
	err := ledger.WriteRun(r.dir.Path, r.info)
	if r.store == nil {
		return nil, err
	}
	if err := errors.Join(err, r.store.AddRun(r.info), r.store.Flush(ctx)); err != nil {
		return nil, err
	}
	history, err := r.store.Load(ctx, r.info)
	if err != nil {
		return nil, err
	}
	return history.Faults, nil
}

// tellLinks says which connections the fault cost beside what it did to them: those that were open before, and those that go
// through the proxy still, which ends with the agent.
func (r *run) tellLinks(ctx context.Context) {
	for _, l := range r.info.Links {
		for _, x := range l.Resets {
			r.say(Event{Kind: EventNote, Text: fmt.Sprintf("%s: reset once: %s (%s)", l.Name, connections(int64(x.Count)), x.Why)})
		}
		state, err := r.fenv.Links.State(ctx, l.Name)
		if err == nil && state.Open > 0 {
			r.say(Event{Kind: EventNote, Text: fmt.Sprintf("%s: ended with the proxy: %s that still went through it", l.Name, connections(state.Open))})
		}
	}
}

func connections(n int64) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// targets is how many containers and links the plan's injections are aimed at, all in all.
func (p *Plan) targets() int {
	n := 0
	for _, in := range p.Injections {
		n += len(in.Targets)
	}
	return n
}

// unproven is the error of a fault whose witness is missing on any of its targets.
func unproven(all []ledger.Fault, targets int) error {
	var errs []error
	for _, f := range all {
		switch {
		case f.Error != "":
			errs = append(errs, fmt.Errorf("%w: %s", ErrUnproven, f.Error))
		case f.Confirmed == 0 || f.Gone == 0:
			errs = append(errs, fmt.Errorf("%w: %s on %s was never seen", ErrUnproven, f.Kind, f.Target))
		}
	}
	if len(all) < max(targets, 1) {
		errs = append(errs, fmt.Errorf("%w: %d of %d targets were reached", ErrUnproven, len(all), targets))
	}
	return errors.Join(errs...)
}

// PlanInjection is what Inject would do, by the names of the running project alone: nothing is started or changed.
func PlanInjection(ctx context.Context, o Options) (plan *Plan, err error) {
	eng, err := compose.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	env, err := eng.Attach(ctx, o.Scenario.Environment.Attach)
	if err != nil {
		return nil, err
	}
	attached, err := env.Services(ctx)
	if err != nil {
		return nil, err
	}
	services := ServicesOf(attached)
	if err := o.Scenario.CheckServices(services); err != nil {
		return nil, err
	}
	var seed int64
	if o.Scenario.Seed != nil {
		seed = *o.Scenario.Seed
	}
	return NewPlan(o.Scenario, services, nil, nil, seed)
}
