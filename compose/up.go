package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
)

// UpOptions says how an environment starts. The zero value starts everything and waits until ctx ends.
type UpOptions struct {
	Ready    time.Duration // deadline for Up as a whole, readiness included; 0: ctx alone
	Progress func(Event)   // may be nil; calls may come from several goroutines
	// Hold names services that are made but not started yet; whatever depends on them waits too. Start starts them.
	Hold []string
}

// Up makes the networks, volumes and containers of the project, fills the copies of bound folders, starts the services in
// the order that depends_on asks for, and waits until all of them are ready. A service that does not get ready is a
// *NotReadyError. Whatever Up has made when it fails, Down removes.
func (e *Environment) Up(ctx context.Context, o UpOptions) error {
	if e.attached {
		return fmt.Errorf("start project %s: it is attached", e.name)
	}
	if err := e.hold(o.Hold); err != nil {
		return err
	}
	if e.project.run == "" || e.project.run != e.run.Run {
		return fmt.Errorf("start project %s: it is not isolated for run %q", e.name, e.run.Run)
	}
	ctx, cancel := deadline(ctx, o.Ready)
	defer cancel()
	if err := e.copyFiles(); err != nil {
		return err
	}
	s, err := e.engine.service(o.Progress)
	if err != nil {
		return err
	}
	seen := listen()
	defer seen.stop()
	build := api.BuildOptions{Progress: "quiet", Quiet: true}
	if err := s.Create(ctx, e.project.active(), api.CreateOptions{Build: &build, IgnoreOrphans: true, QuietPull: true}); err != nil {
		return e.failed(ctx, "create", err)
	}
	e.mu.Lock()
	e.created = true
	e.mu.Unlock()
	if err := e.fill(ctx, "", o.Progress); err != nil {
		return e.failed(ctx, "fill volumes of", err)
	}
	return e.start(ctx, s, o.Progress)
}

// StartOptions says how held services start.
type StartOptions struct {
	Ready    time.Duration // as in UpOptions
	Progress func(Event)
}

// Start starts services that Up held back, and those that only waited for them, and waits until everything that has been
// started is ready.
func (e *Environment) Start(ctx context.Context, services []string) error {
	return e.StartWith(ctx, services, StartOptions{})
}

// StartWith is Start with options.
func (e *Environment) StartWith(ctx context.Context, services []string, o StartOptions) error {
	e.mu.Lock()
	created := e.created
	for _, name := range services {
		delete(e.held, name)
	}
	e.mu.Unlock()
	if !created {
		return fmt.Errorf("start %v of project %s: it is not up", services, e.name)
	}
	ctx, cancel := deadline(ctx, o.Ready)
	defer cancel()
	s, err := e.engine.service(o.Progress)
	if err != nil {
		return err
	}
	return e.start(ctx, s, o.Progress)
}

// start starts whatever is not held and has not ended in good order before, and waits.
func (e *Environment) start(ctx context.Context, s api.Compose, progress func(Event)) error {
	ended, err := e.ended(ctx)
	if err != nil {
		return err
	}
	var free []string
	for _, name := range e.project.p.ServiceNames() {
		if !e.isHeld(name) && !ended[name] {
			free = append(free, name)
		}
	}
	if len(free) == 0 {
		return nil
	}
	part, err := without(e.project.active(), ended).WithSelectedServices(free)
	if err != nil {
		return fmt.Errorf("select services of project %s: %w", e.name, err)
	}
	if err := s.Start(ctx, e.name, api.StartOptions{Project: part}); err != nil {
		return e.failed(ctx, "start", err)
	}
	if err := ctx.Err(); err != nil { // the SDK returns nil where a wait for a dependency was cancelled
		return e.failed(ctx, "start", context.Cause(ctx))
	}
	return e.waitReady(ctx, progress)
}

// ended names the one-shots whose containers have all exited with 0: a second stage must not run them again.
func (e *Environment) ended(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	containers, err := e.Containers(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		s, ok := e.project.Service(c.Service)
		if !ok || !s.OneShot || c.State != container.StateExited {
			continue
		}
		i, err := e.engine.docker.ContainerInspect(ctx, c.ID)
		if err != nil {
			return nil, fmt.Errorf("inspect %s: %w", c.Name, err)
		}
		if done, seen := out[c.Service]; !seen || done {
			out[c.Service] = i.State.ExitCode == 0
		}
	}
	maps.DeleteFunc(out, func(_ string, done bool) bool { return !done })
	return out, nil
}

// without is a project whose services no longer depend on those that have ended.
func without(p *types.Project, ended map[string]bool) *types.Project {
	if len(ended) == 0 {
		return p
	}
	out := *p
	out.Services = maps.Clone(p.Services)
	for name, s := range out.Services {
		s.DependsOn = maps.Clone(s.DependsOn)
		maps.DeleteFunc(s.DependsOn, func(dep string, _ types.ServiceDependency) bool { return ended[dep] })
		out.Services[name] = s
	}
	return &out
}

// SubnetTaken reports whether an environment could not be made because another network has got one of its subnets, after
// isolation had found it free.
func SubnetTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Pool overlaps with other one on this address space")
}

func (e *Environment) failed(ctx context.Context, verb string, err error) error {
	err = e.culprit(ctx, fmt.Errorf("%s project %s: %w", verb, e.name, err))
	if errors.Is(err, ErrNotReady) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotReady, err)
}

func deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not ready within %s: %w", d, context.DeadlineExceeded))
}

// hold remembers which services wait.
func (e *Environment) hold(names []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = map[string]bool{}
	for _, name := range names {
		if _, ok := e.project.p.Services[name]; !ok {
			return fmt.Errorf("hold service %q of project %s: there is no such service (there are: %v)", name, e.name, e.project.p.ServiceNames())
		}
		e.held[name] = true
	}
	return nil
}

// isHeld reports whether a service, or one that it depends on, is held.
func (e *Environment) isHeld(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.project == nil || len(e.held) == 0 {
		return false
	}
	return blocked(e.project.p, e.held, name, nil)
}

func blocked(p *types.Project, held map[string]bool, name string, path []string) bool {
	if held[name] {
		return true
	}
	if slices.Contains(path, name) {
		return false // a cycle: the loader refuses it
	}
	for dep := range p.Services[name].DependsOn {
		if blocked(p, held, dep, append(path, name)) {
			return true
		}
	}
	return false
}
