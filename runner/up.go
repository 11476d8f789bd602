package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
)

// up brings the environment up and waits until it is ready, running the setup steps where services wait for them.
func (r *run) up(ctx context.Context) error {
	s := r.o.Scenario
	r.backgroundCtx, r.stopBack = context.WithCancel(context.WithoutCancel(ctx))
	if images := faultImages(s); len(images) > 0 {
		if err := r.env.HaveImages(ctx, compose.PreflightOptions{Pull: r.o.Pull, Progress: r.composeProgress}, images); err != nil {
			return err
		}
	}
	if !r.info.Attached && r.taken == nil {
		if err := r.preflight(ctx); err != nil {
			return err
		}
	}
	if err := refuseStandIns(s, r.fallbacks); err != nil { // also in an environment that another run has started
		return err
	}
	env := r.env
	r.background.Go(func() {
		err := env.Events(r.backgroundCtx, r.dockerEvent)
		if err != nil && r.backgroundCtx.Err() == nil {
			r.say(Event{Kind: EventWarn, Text: "follow the engine's events: " + err.Error()})
		}
	})
	switch {
	case r.info.Attached:
		return r.steps(ctx, s.Setup, "setup")
	case r.taken != nil:
		return r.upAgain(ctx)
	}
	ready := s.Environment.Ready.Std()
	ctx, cancel := context.WithTimeoutCause(ctx, ready, fmt.Errorf("%w: not ready within %s (environment.ready sets this)", compose.ErrNotReady, s.Environment.Ready))
	defer cancel()
	stage := stageSetup(s.Setup)
	if err := r.make(ctx, compose.UpOptions{Hold: stage.hold, Ready: ready, Progress: r.composeProgress}); err != nil {
		return err
	}
	if err := r.steps(ctx, stage.early, "setup"); err != nil {
		return err
	}
	if len(stage.start) > 0 {
		if err := r.env.StartWith(ctx, stage.start, compose.StartOptions{Ready: ready, Progress: r.composeProgress}); err != nil {
			return err
		}
	}
	if err := r.steps(ctx, stage.late, "setup-late"); err != nil {
		return err
	}
	r.remember(ctx)
	return nil
}

// mostMoves is how often an environment is made with other subnets because its own were taken in the last moment.
const mostMoves = 5

// make brings the environment up. Where another one, which starts at the same time, has taken a subnet that was free when the
// run looked, the environment is isolated anew.
func (r *run) make(ctx context.Context, o compose.UpOptions) error {
	for moves := 0; ; moves++ {
		err := r.env.Up(ctx, o)
		if !compose.SubnetTaken(err) || moves == mostMoves || ctx.Err() != nil {
			return err
		}
		r.say(Event{Kind: EventStep, Text: "another network has taken a subnet meanwhile: starting again with others"})
		if err := r.env.Down(ctx); err != nil {
			return err
		}
		r.info.Isolation, r.info.Fallbacks = nil, nil
		if _, err := r.loadProject(ctx); err != nil {
			return err
		}
		if err := r.preflight(ctx); err != nil {
			return err
		}
	}
}

// preflight checks what the environment needs, and keeps the Compose file as it is started.
func (r *run) preflight(ctx context.Context) error {
	fallback := r.o.Scenario.Environment.Fallback
	pre, err := r.env.Preflight(ctx, compose.PreflightOptions{
		Pull: r.o.Pull, Fallback: r.o.Fallback && (fallback == nil || *fallback), SelfImage: r.image, Progress: r.composeProgress,
	})
	if err != nil {
		return err
	}
	r.fallbacks = pre.Fallbacks
	for _, f := range pre.Fallbacks {
		r.info.Fallbacks = append(r.info.Fallbacks, f.Notice)
		r.say(Event{Kind: EventWarn, Text: fmt.Sprintf("%s: %s (%s: %s)", f.Service, f.Notice, f.Image, f.Reason)})
	}
	for _, w := range pre.Warnings {
		r.say(Event{Kind: EventWarn, Text: w})
	}
	rendered, err := r.env.Render()
	if err != nil {
		return err
	}
	return r.dir.Write(fileRendered, rendered)
}

// refuseStandIns is an error where a workload's target is an embedded default that does not do what the workload judges: the
// verdict would be about the stand-in. It wraps compose.ErrImage.
func refuseStandIns(s *scenarios.Scenario, fallbacks []compose.Fallback) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.Workload)) {
		w := s.Workload[name]
		o, picky := w.Options.(workload.ImageNeeder)
		if !picky || o.NeedsImage() == "" {
			continue
		}
		service, _, _ := strings.Cut(w.Target, ":")
		for _, f := range fallbacks {
			if f.Service == service {
				errs = append(errs, fmt.Errorf("workload %s: %w: %s of service %s (%s), and an embedded default takes its place; %s", name, compose.ErrImage, f.Image, f.Service, f.Reason, o.NeedsImage()))
			}
		}
	}
	return errors.Join(errs...)
}

// faultImages lists the images that faults will make containers from, each once, sorted.
func faultImages(s *scenarios.Scenario) []string {
	var out []string
	for _, f := range s.Faults() {
		if n, ok := f.Params.(faults.ImageNamer); ok {
			out = append(out, n.Images()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// setupStages says when each setup step runs.
type setupStages struct {
	hold  []string         // services that up does not start: those that wait for a step, and those that are steps themselves
	early []scenarios.Step // before the held services start
	start []string         // the held services that are then started
	late  []scenarios.Step // those that need a service that was held
}

// stageSetup lays the setup steps out around the services that wait for them.
func stageSetup(steps []scenarios.Step) setupStages {
	var out setupStages
	for _, step := range steps {
		out.start = append(out.start, step.Before...)
		if len(step.Exec) == 0 && len(step.Command) == 0 {
			out.hold = append(out.hold, step.Service)
		}
	}
	slices.Sort(out.start)
	out.start = slices.Compact(out.start)
	out.hold = append(out.hold, out.start...)
	slices.Sort(out.hold)
	out.hold = slices.Compact(out.hold)
	for _, step := range steps {
		if len(step.Exec) > 0 && slices.Contains(out.start, step.Service) {
			out.late = append(out.late, step)
			continue
		}
		out.early = append(out.early, step)
	}
	return out
}

// composeProgress tells what Compose is doing.
func (r *run) composeProgress(e compose.Event) {
	r.say(Event{Kind: EventProgress, Text: strings.TrimSpace(e.Name + " " + cmp.Or(e.Detail, e.Action))})
}

// dockerEvent takes one event of the engine. Its time is the engine's wall clock: the age that it has by this machine's is
// subtracted from now, where the two clocks agree well enough.
func (r *run) dockerEvent(e compose.Event) {
	at := r.clock.now()
	if age := time.Now().UnixNano() - e.Time; age > 0 && age < int64(5*time.Second) {
		at -= age
	}
	r.event(ledger.Event{At: at, Source: "docker", Type: e.Action, Service: e.Service, Detail: e.Detail})
}

// steps runs setup or teardown steps in order, keeping their output in commands/.
func (r *run) steps(ctx context.Context, steps []scenarios.Step, what string) error {
	for i, step := range steps {
		name := fmt.Sprintf("%s-%d", what, i+1)
		r.say(Event{Kind: EventStep, Text: name + ": " + stepText(step)})
		sctx, cancel := context.WithTimeout(ctx, step.Timeout.Std())
		out, code, err := r.step(sctx, step)
		cancel()
		if werr := r.dir.Write(filepath.Join("commands", name+".log"), []byte(fmt.Sprintf("$ %s\n%s\nexit code %d\n", stepText(step), out, code))); werr != nil {
			return werr
		}
		if err != nil {
			return fmt.Errorf("%s (%s): %w", name, stepText(step), err)
		}
		if code != 0 {
			return fmt.Errorf("%s (%s): exit code %d: %s", name, stepText(step), code, lastLine(out))
		}
	}
	return nil
}

func (r *run) step(ctx context.Context, step scenarios.Step) (out string, code int, err error) {
	switch {
	case len(step.Command) > 0:
		return hostCommand(ctx, r.o.Scenario.Origin.Dir, step.Command)
	case len(step.Exec) > 0:
		res, err := r.env.Exec(ctx, step.Service, 1, step.Exec)
		return string(res.Out), res.Code, err
	}
	res, err := r.env.RunOneShot(ctx, step.Service)
	return string(res.Out), res.Code, err
}

func stepText(s scenarios.Step) string {
	switch {
	case len(s.Command) > 0:
		return fmt.Sprintf("%q on the host", s.Command)
	case len(s.Exec) > 0:
		return fmt.Sprintf("%q in %s", s.Exec, s.Service)
	}
	return "run " + s.Service
}
