package compose

import (
	"context"
	"errors"
	"fmt"
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
	return remover{docker: e.engine.docker, run: e.run.Run}.removeContainers(ctx, list)
}

// agents are the ids of the run's agent containers: they end after the environment, by themselves.
func (e *Environment) agents(ctx context.Context) ([]string, error) {
	return remover{docker: e.engine.docker, run: e.run.Run}.agents(ctx)
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
	r := remover{docker: docker, run: runID, keep: keep}
	for {
		left, err := r.sweep(ctx)
		if err == nil && len(left) == 0 {
			return nil
		}
		if !wait(ctx, 200*time.Millisecond) {
			return errors.Join(fmt.Errorf("remove run %s: %s are left: %w", runID, strings.Join(left, ", "), context.Cause(ctx)), err)
		}
	}
}

// settled is how long nothing of a dead run must have turned up: the engine finishes what it was asked for.
const settled = 2 * time.Second

// RemoveDeadRun is RemoveRun after the death of a runner, for that run's agent. The engine may still be at work on the last
// calls of the dead, so it looks again until nothing has turned up for two seconds. Agent containers go last of all, the
// caller's own among them, so it need not return.
func RemoveDeadRun(ctx context.Context, docker Remover, runID string) error {
	r := remover{docker: docker, run: runID}
	agents, err := r.agents(ctx)
	if err != nil {
		return errors.Join(err, RemoveRun(ctx, docker, runID))
	}
	for quiet := time.Duration(0); quiet < settled; quiet += lookAgain {
		left, err := r.left(ctx)
		if err != nil || len(left) > len(agents) {
			quiet = 0
			if err := RemoveRun(ctx, docker, runID, agents...); err != nil {
				return err
			}
		}
		if !wait(ctx, lookAgain) {
			return fmt.Errorf("remove run %s: %w", runID, context.Cause(ctx))
		}
	}
	return RemoveRun(ctx, docker, runID)
}

// lookAgain is the time between two looks for what a dead run has left.
const lookAgain = 100 * time.Millisecond

type remover struct {
	docker Remover
	run    string
	keep   []string
}

// agents are the ids of the run's agent containers.
func (r remover) agents(ctx context.Context) ([]string, error) {
	role := r.filter()
	role.Add("label", LabelRole+"=agent")
	list, err := r.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: role})
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, nil
}

func (r remover) filter() filters.Args {
	return filters.NewArgs(filters.Arg("label", LabelRun+"="+r.run))
}

// sweep removes once what it finds, and lists what is there afterwards.
func (r remover) sweep(ctx context.Context) ([]string, error) {
	list, err := r.containers(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b container.Summary) int { return rank(a) - rank(b) })
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
	list, err := r.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: r.filter()})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return slices.DeleteFunc(list, func(c container.Summary) bool { return slices.Contains(r.keep, c.ID) }), nil
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
	list, err := r.docker.NetworkList(ctx, network.ListOptions{Filters: r.filter()})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	var errs []error
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
	list, err := r.docker.VolumeList(ctx, volume.ListOptions{Filters: r.filter()})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	var errs []error
	for _, v := range list.Volumes {
		if err := r.docker.VolumeRemove(ctx, v.Name, true); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove volume %s: %w", v.Name, err))
		}
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
	networks, err := r.docker.NetworkList(ctx, network.ListOptions{Filters: r.filter()})
	if err != nil {
		return out, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks {
		out = append(out, "network "+n.Name)
	}
	volumes, err := r.docker.VolumeList(ctx, volume.ListOptions{Filters: r.filter()})
	if err != nil {
		return out, fmt.Errorf("list volumes: %w", err)
	}
	for _, v := range volumes.Volumes {
		out = append(out, "volume "+v.Name)
	}
	return out, nil
}

// Left names what carries a run's label: "container x", "network y", "volume z". Empty is clean.
func Left(ctx context.Context, docker Remover, runID string) ([]string, error) {
	return remover{docker: docker, run: runID}.left(ctx)
}
