package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
)

const (
	killBar  = 5000.0 // ms
	killRuns = 10
	killSeed = 7
)

// kills measures what is left of a run whose runner is killed, and for how long.
func (b *bench) kills(ctx context.Context, s *section) error {
	s.title = "Heal after SIGKILL of the runner"
	s.text = fmt.Sprintf("%d runs of the binary; each is killed with SIGKILL at a random instant (seed %d) of the first 1.5 s of a pause of 60 s. *Thawed*: until the engine no longer says paused. *Nothing left*: until no "+
		"container, network or volume carries the run's label, the agent included.", killRuns, killSeed)
	r := rand.New(rand.NewPCG(killSeed, 1)) //nolint:gosec // reproducible on purpose
	var thawed, clean series
	for range killRuns {
		after := time.Duration(r.Int64N(int64(1500 * time.Millisecond)))
		one, two, err := b.kill(ctx, after)
		if err != nil {
			return err
		}
		b.say("killed %s into the pause: thawed after %s, nothing left after %s", after.Round(time.Millisecond), millis(float64(one)/1e6), millis(float64(two)/1e6))
		thawed.add(one)
		clean.add(two)
	}
	t := table{head: []string{"after SIGKILL", "n", "median", "p99", "max"}}
	t.add(append([]string{"thawed"}, thawed.cells()...)...)
	t.add(append([]string{"nothing left"}, clean.cells()...)...)
	s.tables = append(s.tables, t)
	b.report.bar("heal after SIGKILL of the runner", "≤ 5 s, nothing left",
		fmt.Sprintf("thawed after %s, nothing left after %s, both at most", millis(thawed.max()), millis(clean.max())), yes(thawed.max() <= killBar && clean.max() <= killBar))
	return nil
}

// kill ends one run in its pause.
func (b *bench) kill(ctx context.Context, after time.Duration) (thawed, clean time.Duration, err error) {
	c, err := b.start(ctx, "held_pause")
	if err != nil {
		return 0, 0, err
	}
	killed := false
	defer func() {
		if !killed {
			err = errors.Join(err, c.cmd.Process.Kill())
		}
		_ = c.cmd.Wait() // it says that it was killed
		if _, id := c.dir(); id != "" {
			b.runs = append(b.runs, id)
		}
	}()
	id, run, err := b.paused(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, after); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := c.cmd.Process.Kill(); err != nil {
		return 0, 0, fmt.Errorf("kill the runner: %w", err)
	}
	killed = true
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not healed within a minute"))
	defer cancel()
	for thawed == 0 {
		state, err := b.docker.ContainerInspect(ctx, id)
		switch {
		case client.IsErrNotFound(err) || err == nil && !state.State.Paused:
			thawed = time.Since(began)
		case err != nil:
			return 0, 0, fmt.Errorf("inspect the target: %w", err)
		default:
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return 0, 0, err
			}
		}
	}
	for {
		left, err := compose.Left(ctx, b.docker, run)
		if err != nil {
			return 0, 0, err
		}
		if len(left) == 0 {
			return thawed, time.Since(began), nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, 0, fmt.Errorf("%v are left: %w", left, err)
		}
	}
}

// paused waits until a container of the call's run is paused.
func (b *bench) paused(ctx context.Context, c *call) (id, run string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("nothing was paused within a minute"))
	defer cancel()
	for {
		if _, run = c.dir(); run != "" {
			list, err := b.docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", agent.LabelRun+"="+run), filters.Arg("status", "paused"))})
			if err != nil {
				return "", "", fmt.Errorf("list containers: %w", err)
			}
			if len(list) > 0 {
				return list[0].ID, run, nil
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return "", "", err
		}
	}
}
