package runner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/oracle"
)

// labelOwner is on the agent of a run that uses another run's environment: the id of the run that started it, whose label
// everything in that environment carries. While such an agent runs the environment is in use.
const labelOwner = "io.discompose.owner"

// Lent is an environment that a run has left up for the next one of the same process: as it was when the run that started it
// found it ready, with nothing owed, no rule, no proxy and no client of that run, and with its agent, which takes it down
// when this process ends. It belongs to whoever has it: Run uses it up, however that run ends, and Close takes it down. It
// is not safe for concurrent use.
//
// Everything in it carries the label of the run that started it, its owner. The owner's directory stays locked, and the owner
// registered, until the environment is gone, so that nobody heals the owner meanwhile; a run that uses the environment
// writes the owner into its journal and on its agent's label, so that whoever cleans up after that run removes both.
type Lent struct {
	owner *Dir // of the run that started it
	last  *Dir // of the run that used it last, whose agent holds it: locked and registered too. The owner's after the first
	uses  int

	engine *compose.Engine
	env    *compose.Environment
	host   *session           // the last run's agent; nil in API-only mode, and once another run's holds the environment
	was    []compose.Standing // its containers, as the first run found them
	idle   []string           // services that the next run starts anew

	fallbacks []compose.Fallback
	notices   []string // of the fallbacks
	isolation []string

	leaving sync.WaitGroup // the agent that was relieved
	left    error          // why it has not left; to be read after leaving
}

// From is the name of the run directory of the run that started it.
func (l *Lent) From() string { return filepath.Base(l.owner.Path) }

// Dir is the absolute path of that directory: the argument of `discompose heal` where Close fails.
func (l *Lent) Dir() string { return l.owner.Path }

// Close takes the environment down. Its error says what is left.
func (l *Lent) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardownBudget)
	defer cancel()
	return errors.Join(l.remove(ctx), l.engine.Close())
}

// remove takes down the environment, and the agent that holds it.
func (l *Lent) remove(ctx context.Context) error {
	errs := []error{l.settle()}
	if err := l.env.Down(ctx); err != nil {
		errs = append(errs, fmt.Errorf("take the environment down: %w", err))
	}
	docker := l.engine.Docker()
	if l.host != nil {
		_ = l.host.bye(ctx) // it is removed below
		errs = append(errs, compose.RemoveRun(ctx, docker, l.last.ID))
	}
	errs = append(errs, compose.RemoveRun(ctx, docker, l.owner.ID))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return l.release()
}

// release gives back what kept the environment from being healed: it is gone.
func (l *Lent) release() error {
	err := unregister(l.owner.ID)
	if l.last != l.owner {
		err = errors.Join(err, unregister(l.last.ID), l.last.Close())
	}
	return errors.Join(err, l.owner.Close())
}

// standing is nil if the environment is as it was, but for services that are to be started anew.
func (l *Lent) standing(ctx context.Context) ([]compose.Standing, error) {
	if l.host != nil && l.host.lost() {
		return nil, errors.New("its agent was lost")
	}
	is, err := l.env.Standing(ctx)
	if err != nil {
		return nil, err
	}
	if what := compose.Differ(l.was, is, l.idle...); what != "" {
		return nil, errors.New(what)
	}
	what, err := l.env.Outdated(ctx, is)
	if err == nil && what != "" {
		err = errors.New(what)
	}
	return is, err
}

// lendSettle bounds the wait until services that have started again are healthy: a fresh environment takes some time too.
const lendSettle = 10 * time.Second

// settled waits until no service is on its way to another state.
func (l *Lent) settled(ctx context.Context) error {
	for began := time.Now(); ; {
		is, err := l.env.Standing(ctx)
		if err != nil || compose.Settled(is) || time.Since(began) > lendSettle {
			return err
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// relieve lets the last run's agent go: that of another run holds the environment by now. It is gone when settle returns.
func (l *Lent) relieve(ctx context.Context) error {
	host, last := l.host, l.last
	if host != nil {
		if host.lost() {
			return fmt.Errorf("%w: that of the run which used the environment before", ErrAgentLost)
		}
		if err := host.bye(ctx); err != nil {
			return fmt.Errorf("end the agent of the run before: %w", err)
		}
	}
	l.host, l.last = nil, l.owner
	l.leaving.Go(func() {
		l.left = awaitAgent(context.WithoutCancel(ctx), l.engine.Docker(), last.ID)
		if last != l.owner {
			l.left = errors.Join(l.left, unregister(last.ID), last.Close())
		}
	})
	return nil
}

// settle waits until an agent that was relieved has left.
func (l *Lent) settle() error {
	l.leaving.Wait()
	return l.left
}

// takeOver uses the environment that Options offer, where it stands as it did; else it is taken down, and this run starts
// its own. Only what is left of it then is an error.
func (r *run) takeOver(ctx context.Context) error {
	l := r.o.Take
	r.info.Environment.Why = r.o.Fresh
	if l == nil {
		return nil
	}
	is, err := l.standing(ctx)
	if err == nil {
		err = l.env.BeginAnew(ctx)
	}
	if err != nil {
		r.info.Environment.Why = fmt.Sprintf("that of %s cannot be used again: %v", l.From(), err)
		r.say(Event{Kind: EventWarn, Text: "environment: started afresh, because " + r.info.Environment.Why})
		if cerr := l.Close(ctx); cerr != nil {
			r.dirty = fmt.Errorf("take down the environment of %s (discompose heal %s): %w", l.From(), l.Dir(), cerr)
			return r.dirty
		}
		return nil
	}
	r.taken, r.engine, r.env = l, l.engine, l.env
	r.info.Project, r.info.Isolation = l.env.Name(), l.isolation
	r.fallbacks, r.info.Fallbacks = l.fallbacks, l.notices
	r.was = l.was
	e := &r.info.Environment
	e.From, e.Uses, e.Why = l.From(), l.uses, "fresh = false, and it stands as it was started"
	for _, s := range is {
		if s.Restarts > 0 {
			if e.Restarts == nil {
				e.Restarts = map[string]int{}
			}
			e.Restarts[s.String()] = s.Restarts
		}
	}
	r.say(Event{Kind: EventStep, Text: fmt.Sprintf("environment: that of %s is used again", e.From)})
	return nil
}

// upAgain readies an environment that another run has started.
func (r *run) upAgain(ctx context.Context) error {
	rendered, err := r.env.Render()
	if err != nil {
		return err
	}
	if err := r.dir.Write(fileRendered, rendered); err != nil {
		return err
	}
	s := r.o.Scenario
	if len(r.taken.idle) > 0 { // else all of it stands, which was looked at
		err := r.env.Resume(ctx, compose.StartOptions{Ready: s.Environment.Ready.Std(), Progress: r.composeProgress})
		if err != nil {
			return err
		}
	}
	return r.steps(ctx, s.Setup, "setup")
}

// remember keeps how the environment stands, for a later run to find it so.
func (r *run) remember(ctx context.Context) {
	if r.o.Lend == nil || r.info.Attached || r.o.Keep {
		return
	}
	was, err := r.env.Standing(ctx)
	if err != nil {
		r.o.Log.Debug("describe the environment for later runs", "err", err)
		return
	}
	r.was = was
}

// lends reports whether the environment may go to another run: this one came to its end, and nothing was wrong with it.
func (r *run) lends(stage error, out Outcome) bool {
	switch {
	case r.o.Lend == nil || r.info.Attached || r.o.Keep || len(r.was) == 0:
		return false
	case stage != nil || !out.Judged || out.Err != nil || out.Dirty != nil || out.Judgement.Verdict != oracle.Pass:
		r.whyNot = fmt.Sprintf("%s did not pass", filepath.Base(r.dir.Path))
		return false
	}
	return r.o.Lend()
}

// lendBudget bounds what readies an environment for another run; a service may take ten seconds to stop.
const lendBudget = 30 * time.Second

// lend readies the environment for another run. Where that cannot be done the error says why, and the environment is to be
// taken down as ever.
func (r *run) lend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lendBudget)
	defer cancel()
	services, err := r.env.Services(ctx)
	if err != nil {
		return err
	}
	idle := compose.Followed(services, labelOps)
	if err := r.env.StopServices(ctx, idle); err != nil {
		return err
	}
	if err := r.fleet.clean(ctx); err != nil {
		return err
	}
	r.fleet.close()
	docker := r.engine.Docker()
	if err := errors.Join(compose.RemoveClients(ctx, docker, r.info.ID), r.env.Tidy(ctx)); err != nil {
		return err
	}
	if owed := r.undo.state.Owed(); len(owed) > 0 {
		return fmt.Errorf("the undo of %d faults is owed", len(owed))
	}
	if err := r.unroute(ctx); err != nil {
		return err
	}
	l := &Lent{
		owner: r.dir, last: r.dir, uses: 1, engine: r.engine, env: r.env, host: r.host, was: r.was, idle: idle,
		fallbacks: r.fallbacks, notices: r.info.Fallbacks, isolation: r.info.Isolation,
	}
	if r.taken != nil {
		if err := r.taken.settle(); err != nil {
			return err
		}
		l.owner, l.uses = r.taken.owner, r.taken.uses+1
	}
	if err := l.settled(ctx); err != nil {
		return err
	}
	if _, err := l.standing(ctx); err != nil {
		return err
	}
	if r.host != nil { // the next run's agent has this name
		name := AgentName(r.info.Project)
		if err := docker.ContainerRename(ctx, name, name+"-"+r.info.ID); err != nil {
			return fmt.Errorf("rename the agent: %w", err)
		}
	}
	r.lent = l
	return nil
}

// unroute ends every rule and proxy of the run, and makes sure that none is left.
func (r *run) unroute(ctx context.Context) error {
	r.closeLinks()
	r.links = nil
	if r.host == nil || !r.host.facts.Can(faults.CapPackets) {
		return nil
	}
	if err := r.host.Call(ctx, agent.OpNetStop, nil, nil); err != nil {
		return fmt.Errorf("end the links: %w", err)
	}
	var left []string
	if err := r.host.Call(ctx, agent.OpNetLeft, agent.NetLeft{Project: r.info.Project}, &left); err != nil {
		return fmt.Errorf("look for rules that are left: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("rules are left: %s", strings.Join(left, ", "))
	}
	if err := r.host.Call(ctx, agent.OpNetStop, nil, nil); err != nil {
		return fmt.Errorf("end the links: %w", err)
	}
	return nil
}
