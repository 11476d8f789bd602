// Package engine provides the faults' view of a Docker engine over the official client.
//
// It is safe for concurrent use, as the client is. It imports only faults of this module.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/faults"
)

// Engine is a faults.Engine, StatsReader, Networker, Replacer and Execer over a Docker client.
type Engine struct {
	docker   *client.Client
	removing func(ctx context.Context, container string)
}

var (
	_ faults.Engine      = (*Engine)(nil)
	_ faults.StatsReader = (*Engine)(nil)
)

// New uses a client that is connected to the engine; the caller closes it.
func New(docker *client.Client) *Engine { return &Engine{docker: docker} }

// BeforeRemove is an Engine that calls f with each container that it is about to remove, when that has stopped: what it
// has logged is there for the last time. f must be safe for concurrent use; its context is that of the removal.
func (e *Engine) BeforeRemove(f func(ctx context.Context, container string)) *Engine {
	return &Engine{docker: e.docker, removing: f}
}

// Inspect observes a container; the error wraps faults.ErrGone if there is none of that id.
func (e *Engine) Inspect(ctx context.Context, id string) (faults.Container, error) {
	in, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return faults.Container{}, gone(err)
	}
	return observe(in)
}

// observe reads the engine's answer.
func observe(in container.InspectResponse) (c faults.Container, err error) {
	if in.ContainerJSONBase == nil || in.State == nil || in.HostConfig == nil {
		return faults.Container{}, errors.New("inspect container: the engine's answer has no state")
	}
	c = faults.Container{
		ID: in.ID, Name: strings.TrimPrefix(in.Name, "/"), Image: in.Image, ImageID: in.Image,
		Running: in.State.Running && !in.State.Restarting, Paused: in.State.Paused, Restarting: in.State.Restarting,
		PID: in.State.Pid, ExitCode: in.State.ExitCode, RestartCount: in.RestartCount,
		RestartPolicy: string(in.HostConfig.RestartPolicy.Name),
	}
	if c.RestartPolicy == "" {
		c.RestartPolicy = "no"
	}
	if in.Config != nil {
		c.Image, c.Env, c.Entrypoint, c.Command = in.Config.Image, in.Config.Env, in.Config.Entrypoint, in.Config.Cmd
		c.Number, c.Record = number(in.Config.Labels), in.Config.Labels[faults.LabelRecord]
	}
	if in.State.Health != nil && in.State.Health.Status != "none" {
		c.Health = in.State.Health.Status
	}
	if c.StartedAt, err = instant(in.State.StartedAt); err != nil {
		return faults.Container{}, err
	}
	if c.FinishedAt, err = instant(in.State.FinishedAt); err != nil {
		return faults.Container{}, err
	}
	r := in.HostConfig.Resources
	c.Limits = faults.Limits{CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota, NanoCPUs: r.NanoCPUs, MemoryBytes: r.Memory, SwapBytes: r.MemorySwap}
	if r.PidsLimit != nil {
		c.Limits.PIDs = max(*r.PidsLimit, 0)
	}
	return c, nil
}

// pauseTries is how often a pause is tried where the kernel does not freeze all processes within the runtime's patience: on
// a busy machine with cgroup version 1 it often does at the second try. The runtime thaws what it could not freeze whole.
const pauseTries = 4

func (e *Engine) pause(ctx context.Context, id string) error {
	for try := 1; ; try++ {
		err := e.docker.ContainerPause(ctx, id)
		if err == nil || try == pauseTries || !strings.Contains(err.Error(), "unable to freeze") || ctx.Err() != nil {
			return err
		}
	}
}

// instant reads a time of the engine; its "never" is the zero time.
func instant(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("read time of the engine: %w", err)
	}
	return t, nil
}

// Do carries an action out. An error of the engine counts for nothing if the container is in the wanted state all the
// same: "already paused", "not running".
func (e *Engine) Do(ctx context.Context, id string, a faults.Action) error {
	err := gone(e.call(ctx, id, a))
	if err == nil || errors.Is(err, faults.ErrGone) || ctx.Err() != nil {
		return err
	}
	c, ierr := e.Inspect(ctx, id)
	if ierr == nil && reached(a.Verb, c) {
		return nil
	}
	return err
}

func (e *Engine) call(ctx context.Context, id string, a faults.Action) error {
	switch a.Verb {
	case faults.DoPause:
		return e.pause(ctx, id)
	case faults.DoUnpause:
		return e.docker.ContainerUnpause(ctx, id)
	case faults.DoStart:
		return e.docker.ContainerStart(ctx, id, container.StartOptions{})
	case faults.DoStop:
		return e.docker.ContainerStop(ctx, id, stopOptions(a))
	case faults.DoRestart:
		return e.docker.ContainerRestart(ctx, id, stopOptions(a))
	case faults.DoKill:
		signal := a.Signal
		if signal == "" {
			signal = "SIGKILL"
		}
		return e.docker.ContainerKill(ctx, id, signal)
	}
	return fmt.Errorf("unknown verb %q", a.Verb)
}

// stopOptions rounds the grace up to whole seconds, which is what the engine takes.
func stopOptions(a faults.Action) container.StopOptions {
	o := container.StopOptions{Signal: a.Signal}
	if a.Grace >= 0 {
		seconds := int((a.Grace + time.Second - 1) / time.Second)
		o.Timeout = &seconds
	}
	return o
}

// reached reports whether a container is in the state that a verb leads to. Restart and kill are events: they never are.
func reached(v faults.Verb, c faults.Container) bool {
	switch v {
	case faults.DoPause:
		return c.Paused
	case faults.DoUnpause, faults.DoStart:
		return c.Running && !c.Paused
	case faults.DoStop:
		return !c.Running && !c.Restarting
	case faults.DoRestart, faults.DoKill:
	}
	return false
}

// Update changes limits that are set, and no others.
func (e *Engine) Update(ctx context.Context, id string, l faults.Limits) error {
	u := container.UpdateConfig{Resources: container.Resources{
		CPUPeriod: l.CPUPeriod, CPUQuota: l.CPUQuota, NanoCPUs: l.NanoCPUs, Memory: l.MemoryBytes, MemorySwap: l.SwapBytes,
	}}
	if l.PIDs != 0 {
		u.PidsLimit = &l.PIDs
	}
	if _, err := e.docker.ContainerUpdate(ctx, id, u); err != nil {
		return gone(err)
	}
	return nil
}

// Stats reads a container's counters once.
func (e *Engine) Stats(ctx context.Context, id string) (s faults.Stats, err error) {
	answer, err := e.docker.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return faults.Stats{}, gone(err)
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	var r container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
		return faults.Stats{}, fmt.Errorf("decode stats of %.12s: %w", id, err)
	}
	m := r.MemoryStats
	inactive, ok := m.Stats["total_inactive_file"]
	if !ok {
		inactive = m.Stats["inactive_file"]
	}
	return faults.Stats{
		Periods: int64(r.CPUStats.ThrottlingData.Periods), Throttled: int64(r.CPUStats.ThrottlingData.ThrottledPeriods), //nolint:gosec // counters stay below 2^63
		MemoryBytes: int64(m.Usage), InactiveFileBytes: int64(inactive), MemoryFails: int64(m.Failcnt), PIDs: int64(r.PidsStats.Current), //nolint:gosec // as above
	}, nil
}

// gone marks the engine's "not found" as faults.ErrGone.
func gone(err error) error {
	if err != nil && cerrdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %w", faults.ErrGone, err)
	}
	return err
}
