package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
)

const (
	killBar     = 5000.0 // ms
	pauseKills  = 10
	runKills    = 6
	killSeed    = 7
	intoPause   = 1500 * time.Millisecond
	intoRun     = 4 * time.Second
	killPatient = 20 * time.Second // after which what is left will stay
)

// kills measures what is left of a run whose runner is killed, and for how long.
func (b *bench) kills(ctx context.Context, s *section) error {
	s.title = "Heal after SIGKILL of the runner"
	s.text = fmt.Sprintf("Runs of the binary on a web server that are killed with SIGKILL at random instants (seed %d): %d in the first %s of a pause of 60 s, %d in the first %s of their life, which "+
		"is image, agent, up, steady state and the start of the pause. *Thawed*: until the engine no longer says paused. *Nothing left*: the last instant at which a container, network or volume "+
		"carried the run's label, the agent's own included; it holds the two seconds for which the agent looks for what the engine still makes on the last calls of the dead. A limit that few random instants hit: killed in "+
		"the milliseconds between creating and starting its agent, a run leaves that container, which never ran, to the next run or to `discompose heal`.", killSeed, pauseKills, intoPause, runKills, intoRun)
	r := rand.New(rand.NewPCG(killSeed, 1))
	var thawed, clean, anywhere series
	missed := 0
	for range pauseKills {
		after := time.Duration(r.Int64N(int64(intoPause)))
		one, two, err := b.killPaused(ctx, after)
		if err != nil {
			return err
		}
		b.say("killed %s into the pause: thawed after %s, nothing left after %s", after.Round(time.Millisecond), millis(float64(one)/1e6), millis(float64(two)/1e6))
		thawed.add(one)
		clean.add(two)
	}
	for range runKills {
		after := time.Duration(r.Int64N(int64(intoRun)))
		took, err := b.killRun(ctx, after)
		var left *leftError
		if errors.As(err, &left) {
			s.note("Killed %s after its start, the run left behind: %s.", after.Round(time.Millisecond), left)
			missed++
			took = killPatient
		} else if err != nil {
			return err
		}
		b.say("killed %s into the run: nothing left after %s", after.Round(time.Millisecond), millis(float64(took)/1e6))
		anywhere.add(took)
	}
	t := table{head: []string{"after SIGKILL", "n", "median", "p99", "max"}}
	t.add(append([]string{"in a pause: thawed"}, thawed.cells()...)...)
	t.add(append([]string{"in a pause: nothing left"}, clean.cells()...)...)
	t.add(append([]string{"anywhere in the run: nothing left"}, anywhere.cells()...)...)
	s.tables = append(s.tables, t)
	b.report.bar("heal after SIGKILL of the runner in a pause", "≤ 5 s, nothing left",
		fmt.Sprintf("thawed after %s, nothing left after %s, both at most", millis(thawed.max()), millis(clean.max())), yes(thawed.max() <= killBar && clean.max() <= killBar))
	said := fmt.Sprintf("nothing left after %s at most", millis(anywhere.max()))
	if missed > 0 {
		said = fmt.Sprintf("%d of %d left something for the next run to remove", missed, runKills)
	}
	b.report.bar("the same, anywhere in its run", "≤ 5 s, nothing left", said, yes(missed == 0 && anywhere.max() <= killBar))
	return nil
}

// killPaused ends one run in its pause.
func (b *bench) killPaused(ctx context.Context, after time.Duration) (thawed, clean time.Duration, err error) {
	c, err := b.start(ctx, "held_pause")
	if err != nil {
		return 0, 0, err
	}
	id, err := b.paused(ctx, c)
	if err == nil {
		err = pause(ctx, after)
	}
	began, err := b.kill(c, err)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, killPatient, fmt.Errorf("still paused %s after SIGKILL", killPatient))
	defer cancel()
	for thawed == 0 {
		state, err := b.docker.ContainerInspect(ctx, id)
		switch {
		case errdefs.IsNotFound(err) || err == nil && !state.State.Paused:
			thawed = time.Since(began)
		case err != nil:
			return 0, 0, fmt.Errorf("inspect the target: %w", err)
		default:
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return 0, 0, err
			}
		}
	}
	clean, err = b.clean(ctx, c, began)
	return thawed, clean, err
}

// killRun ends one run anywhere.
func (b *bench) killRun(ctx context.Context, after time.Duration) (clean time.Duration, err error) {
	c, err := b.start(ctx, "held_pause")
	if err != nil {
		return 0, err
	}
	began, err := b.kill(c, pause(ctx, after))
	if err != nil {
		return 0, err
	}
	return b.clean(ctx, c, began)
}

// kill ends a call's process at once, and tells when. A cause is handed on.
func (b *bench) kill(c *call, cause error) (at time.Time, err error) {
	at = time.Now()
	if err := c.cmd.Process.Kill(); err != nil {
		return at, errors.Join(cause, fmt.Errorf("kill the runner: %w: %s", err, lastLines(c.output.String(), 5)))
	}
	_ = c.cmd.Wait() // it says that it was killed
	if _, id := c.dir(); id != "" {
		b.runs = append(b.runs, id)
	}
	return at, cause
}

// leftError says what a killed run has left for good.
type leftError struct{ what []string }

// Error lists what is left.
func (e *leftError) Error() string { return strings.Join(e.what, ", ") }

// clean waits until nothing of a killed run has been there for a second, since the engine may still be at work on its last
// call, and returns when something was last there.
func (b *bench) clean(ctx context.Context, c *call, killed time.Time) (time.Duration, error) {
	_, run := c.dir()
	if run == "" {
		return 0, nil // it had not come to an id
	}
	last := killed
	for time.Since(last) < time.Second {
		left, err := compose.Left(ctx, b.docker, run)
		if err != nil {
			return 0, err
		}
		if len(left) > 0 {
			last = time.Now()
		}
		if time.Since(killed) > killPatient {
			return 0, errors.Join(&leftError{left}, compose.RemoveRun(ctx, b.docker, run))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return last.Sub(killed), nil
}

// paused waits until a container of the call's run is paused.
func (b *bench) paused(ctx context.Context, c *call) (id string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("nothing was paused within a minute"))
	defer cancel()
	for {
		if _, run := c.dir(); run != "" {
			list, err := b.docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", agent.LabelRun+"="+run), filters.Arg("status", "paused"))})
			if err != nil {
				return "", fmt.Errorf("list containers: %w", err)
			}
			if len(list) > 0 {
				return list[0].ID, nil
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
}
