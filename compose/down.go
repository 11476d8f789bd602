package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// Remover is the part of the Docker client that removes what a run has made.
type Remover interface {
	client.ContainerAPIClient
	client.NetworkAPIClient
	client.VolumeAPIClient
}

// Down removes what the run has made, and nothing else: containers, networks and volumes with its label, except the
// run's agent. It works after an Up that failed half way, and where there is nothing. Where something cannot be removed
// until ctx ends the error names it. For an attached project it does nothing.
func (e *Environment) Down(ctx context.Context) error {
	if e.attached {
		return nil
	}
	agents, err := e.agents(ctx)
	if err != nil {
		return err
	}
	if err := e.removeHooks(ctx); err != nil {
		return err
	}
	if err := RemoveRun(ctx, e.engine.docker, e.run.Run, agents...); err != nil {
		return fmt.Errorf("take down project %s: %w", e.name, err)
	}
	return nil
}

// removeHooks removes containers of pre_start hooks that an interrupted start has left: the SDK gives them no label of
// ours, but the project's name, which is the run's alone.
func (e *Environment) removeHooks(ctx context.Context) error {
	list, err := e.engine.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", api.ProjectLabel+"="+e.name), filters.Arg("label", api.HookLabel))})
	if err != nil {
		return fmt.Errorf("list hooks of project %s: %w", e.name, err)
	}
	return remover{docker: e.engine.docker}.removeContainers(ctx, list)
}

// agents are the ids of the run's agent containers: they end after the environment, by themselves.
func (e *Environment) agents(ctx context.Context) ([]string, error) {
	return remover{docker: e.engine.docker, runs: []string{e.run.Run}}.agents(ctx)
}

// RemoveRun removes every container, network and volume that carries the run's label, and again until none is left or ctx
// ends; ctx without a deadline ends after 60 s. Containers whose id is in keep stay. Agent containers go last, so that an
// agent may call it. It is safe to call at any time, twice, and from several processes at once.
func RemoveRun(ctx context.Context, docker Remover, runID string, keep ...string) error {
	if runID == "" {
		return errors.New("remove run: its id is empty")
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Minute)
		defer cancel()
	}
	return remover{docker: docker, runs: []string{runID}, keep: keep}.untilNone(ctx)
}

// untilNone sweeps until nothing is left or ctx ends.
func (r remover) untilNone(ctx context.Context) error {
	r.carried = map[string]bool{}
	for {
		left, err := r.sweep(ctx)
		if err == nil && len(left) == 0 {
			return nil
		}
		if !wait(ctx, 200*time.Millisecond) {
			return errors.Join(fmt.Errorf("remove run %s: %s are left: %w", r, strings.Join(left, ", "), context.Cause(ctx)), err)
		}
	}
}

// settled is how long nothing of a dead run must have turned up: the engine finishes what it was asked for.
const settled = 2 * time.Second

// RemoveDeadRun is RemoveRun after the death of a runner, for the agent of one of its runs, and at once for all the runs
// whose things that agent answers for: its own, and the one whose environment it used. The engine may still be at work on
// the last calls of the dead, so it looks again until nothing has turned up for two seconds. Agent containers go last of
// all, the caller's own among them, so it need not return. An empty id is left out; without any there is an error.
func RemoveDeadRun(ctx context.Context, docker Remover, runIDs ...string) error {
	runIDs = slices.DeleteFunc(slices.Clone(runIDs), func(id string) bool { return id == "" })
	if len(runIDs) == 0 {
		return errors.New("remove run: its id is empty")
	}
	all := remover{docker: docker, runs: runIDs}
	agents, err := all.agents(ctx)
	if err != nil {
		return errors.Join(err, all.untilNone(ctx))
	}
	others := all
	others.keep = agents
	for quiet := time.Duration(0); quiet < settled; quiet += lookAgain {
		left, err := others.left(ctx)
		if err != nil || len(left) > 0 {
			quiet = 0
			if err := others.untilNone(ctx); err != nil {
				return err
			}
		}
		if !wait(ctx, lookAgain) {
			return fmt.Errorf("remove run %s: %w", all, context.Cause(ctx))
		}
	}
	return all.untilNone(ctx)
}

// lookAgain is the time between two looks for what a dead run has left.
const lookAgain = 100 * time.Millisecond

// remover removes what carries the label of one of some runs.
type remover struct {
	docker Remover
	runs   []string
	keep   []string // ids of containers that stay
	// carried are the volumes that go with containers (LabelVolumes): they carry no label of their own.
	carried map[string]bool
}

// String names the runs.
func (r remover) String() string { return strings.Join(r.runs, " and ") }

// agents are the ids of the runs' agent containers.
func (r remover) agents(ctx context.Context) ([]string, error) {
	list, err := r.withRole(ctx, "agent")
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, err
}

// withRole lists the runs' containers of one role: "agent" or "client".
func (r remover) withRole(ctx context.Context, role string) ([]container.Summary, error) {
	all, err := r.containers(ctx)
	return slices.DeleteFunc(all, func(c container.Summary) bool { return c.Labels[LabelRole] != role }), err
}

// filters selects by the label of each run: the engine has no "or" for labels.
func (r remover) filters() []filters.Args {
	var out []filters.Args
	for _, run := range r.runs {
		out = append(out, filters.NewArgs(filters.Arg("label", LabelRun+"="+run)))
	}
	return out
}

// sweep removes once what it finds, and lists what is there afterwards.
func (r remover) sweep(ctx context.Context) ([]string, error) {
	list, err := r.containers(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b container.Summary) int { return rank(a) - rank(b) })
	for _, c := range list {
		for name := range strings.SplitSeq(c.Labels[LabelVolumes], ",") {
			if name != "" {
				r.carried[name] = true
			}
		}
	}
	agents := slices.IndexFunc(list, func(c container.Summary) bool { return rank(c) > 0 })
	if agents < 0 {
		agents = len(list)
	}
	errs := []error{r.removeContainers(ctx, list[:agents]), r.removeNetworks(ctx), r.removeVolumes(ctx)}
	errs = append(errs, r.removeContainers(ctx, list[agents:]))
	left, err := r.left(ctx)
	return left, errors.Join(append(errs, err)...)
}

func rank(c container.Summary) int {
	if c.Labels[LabelRole] == "agent" {
		return 1
	}
	return 0
}

func (r remover) containers(ctx context.Context) ([]container.Summary, error) {
	var out []container.Summary
	for _, f := range r.filters() {
		list, err := r.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: f})
		if err != nil {
			return nil, fmt.Errorf("list containers: %w", err)
		}
		out = append(out, list...)
	}
	return slices.DeleteFunc(out, func(c container.Summary) bool { return slices.Contains(r.keep, c.ID) }), nil
}

func (r remover) networks(ctx context.Context) ([]network.Summary, error) {
	var out []network.Summary
	for _, f := range r.filters() {
		list, err := r.docker.NetworkList(ctx, network.ListOptions{Filters: f})
		if err != nil {
			return out, fmt.Errorf("list networks: %w", err)
		}
		out = append(out, list...)
	}
	return out, nil
}

func (r remover) volumes(ctx context.Context) ([]*volume.Volume, error) {
	var out []*volume.Volume
	for _, f := range r.filters() {
		list, err := r.docker.VolumeList(ctx, volume.ListOptions{Filters: f})
		if err != nil {
			return out, fmt.Errorf("list volumes: %w", err)
		}
		out = append(out, list.Volumes...)
	}
	return out, nil
}

// removeContainers removes them all at once: each takes the engine about 100 ms.
func (r remover) removeContainers(ctx context.Context, list []container.Summary) error {
	results := make(chan error)
	for _, c := range list {
		go func() {
			err := r.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
			if gone(err) {
				err = nil
			}
			if err != nil {
				err = fmt.Errorf("remove container %s: %w", containerName(c.Names), err)
			}
			results <- err
		}()
	}
	var errs []error
	for range list {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// gone tells errors that mean: removed already, or another removal is under way.
func gone(err error) bool {
	return errdefs.IsNotFound(err) || (err != nil && strings.Contains(err.Error(), "is already in progress"))
}

func (r remover) removeNetworks(ctx context.Context) error {
	list, err := r.networks(ctx)
	errs := []error{err}
	for _, n := range list {
		r.disconnect(ctx, n.ID)
		if err := r.docker.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove network %s: %w", n.Name, err))
		}
	}
	return errors.Join(errs...)
}

// disconnect takes containers that are kept, or are somebody else's, off a network that is about to be removed.
func (r remover) disconnect(ctx context.Context, id string) {
	n, err := r.docker.NetworkInspect(ctx, id, network.InspectOptions{})
	if err != nil {
		return // the removal reports it
	}
	for c := range n.Containers {
		_ = r.docker.NetworkDisconnect(ctx, id, c, true) // the removal reports it
	}
}

func (r remover) removeVolumes(ctx context.Context) error {
	list, err := r.volumes(ctx)
	errs := []error{err}
	for _, v := range list {
		r.carried[v.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(r.carried)) {
		if err := r.docker.VolumeRemove(ctx, name, true); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove volume %s: %w", name, err))
			continue
		}
		delete(r.carried, name)
	}
	return errors.Join(errs...)
}

// left names what carries the label still.
func (r remover) left(ctx context.Context) ([]string, error) {
	var out []string
	containers, err := r.containers(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		out = append(out, "container "+containerName(c.Names))
	}
	networks, err := r.networks(ctx)
	if err != nil {
		return out, err
	}
	for _, n := range networks {
		out = append(out, "network "+n.Name)
	}
	volumes, err := r.volumes(ctx)
	for _, v := range volumes {
		out = append(out, "volume "+v.Name)
	}
	return out, err
}

// Left names what carries a run's label: "container x", "network y", "volume z". Empty is clean.
func Left(ctx context.Context, docker Remover, runID string) ([]string, error) {
	return remover{docker: docker, runs: []string{runID}}.left(ctx)
}
