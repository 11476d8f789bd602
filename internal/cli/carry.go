package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
)

// carryOut runs the jobs that are not done, up to a number at a time. Whatever one comes to, the next one runs; only ctx ends
// it early.
func (a *app) carryOut(ctx context.Context, all []job, done []ending, o runOptions) {
	s := newSchedule(all, done, o.anyOrder)
	if o.lanes == 1 {
		(&lane{app: a, schedule: s, o: o, done: done, voice: func(job) voice { return a.alone() }}).run(ctx)
		return
	}
	together := &choir{a: a}
	voice := func(j job) voice { return together.voice(j.label()) }
	sideBySide(ctx, o.lanes, func(ctx context.Context) {
		(&lane{app: a, schedule: s, o: o, done: done, voice: voice}).run(ctx)
	})
}

// errPanic ends the others where one of several panics.
var errPanic = errors.New("another run has panicked")

// sideBySide calls a function n times at once and waits for all. A panic of one ends the contexts of the others, and comes
// back from here: only the caller's goroutine turns it into an exit code.
func sideBySide(ctx context.Context, n int, do func(context.Context)) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	panics := make(chan string, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics <- fmt.Sprintf("%v\n%s", p, debug.Stack())
					cancel(errPanic)
				}
			}()
			do(ctx)
		})
	}
	all.Wait()
	select {
	case p := <-panics:
		panic(p)
	default:
	}
}

// label is the name of a run among those that go on at the same time.
func (j job) label() string {
	if j.runs > 1 {
		return fmt.Sprintf("%s/%d", j.Name, j.index)
	}
	return j.Name
}

// lane carries out one job after the other. The environment of one may be that of the next.
type lane struct {
	*app
	schedule *schedule
	o        runOptions
	done     []ending
	voice    func(job) voice

	lent    *runner.Lent // for the job that was claimed
	claimed bool
	at      int    // the job that runs, and the one that was claimed
	key     string // of the environment that was not left to the next job, and why
	why     string
}

func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !l.claimed {
			var ok bool
			if l.at, ok = l.schedule.next(); !ok {
				return
			}
		}
		l.claimed = false
		i, j := l.at, l.schedule.jobs[l.at]
		v := l.voice(j)
		if j.runs > 1 {
			fmt.Fprintf(v.err, "%s: run %d of %d, --seed %d\n", j.Name, j.index, j.runs, *j.Seed)
		}
		l.done[i] = l.one(ctx, j, v)
		v.close()
	}
	if l.lent != nil { // the job that it was for does not begin any more
		if err := l.lent.Close(ctx); err != nil {
			fmt.Fprintf(l.Err, "discompose: the environment is left dirty: %v\ndiscompose: run: discompose heal %s\n", err, l.lent.Dir())
			l.done[l.at] = ending{begun: true, outcome: runner.Outcome{Dirty: err, Dir: l.lent.Dir(), Err: context.Cause(ctx)}}
		}
	}
}

// claim is asked by a run whether another one wants its environment.
func (l *lane) claim(ctx context.Context, j job) bool {
	if ctx.Err() != nil {
		return false
	}
	if i, ok := l.schedule.claim(j.environment); ok {
		l.at, l.claimed = i, true
	}
	return l.claimed
}

// one carries out one job.
func (l *lane) one(ctx context.Context, j job, v voice) ending {
	o, s := l.o, j.Scenario
	live := newLive(ctx, v.ui)
	defer live.Close()
	options := runner.Options{
		Scenario: s, Kinds: catalogue.All(), RunsDir: l.runsDir, Keep: o.keep, Pull: o.pull, Fallback: !o.noFallback, NoAgent: o.noAgent, Timeout: o.timeout,
		ToxiproxyAPI: o.toxiproxy, Take: l.lent, Image: l.image,
		Version: Version(), Digest: j.digest, Args: os.Args, Observe: live.Observe, Log: l.logger(v.err), Hurry: l.hurry,
	}
	if j.environment != "" && !o.keep && len(l.schedule.jobs) > 1 {
		options.Lend = func() bool { return l.claim(ctx, j) }
	}
	if j.environment != "" && j.environment == l.key {
		options.Fresh = l.why
	}
	out := runner.Run(ctx, options)
	l.lent, l.key, l.why = out.Lent, j.environment, out.NotLent
	live.Close()
	done := ending{begun: true}
	var rec *reports.Record // nil where the run directory tells nothing
	if out.Dir != "" {
		if r, err := reports.LoadContext(context.WithoutCancel(ctx), out.Dir); err == nil {
			rec, done.record = r, r.WithoutOps() // many runs may follow
		}
	}
	switch {
	case out.Judged && out.Err == nil && rec != nil:
		out.Err = reports.TextOptions{Color: v.color}.Write(v.out, rec)
	case out.Judged && out.Err == nil:
		fmt.Fprintf(v.out, "%s (%s): %s\n", out.Judgement.Verdict, out.Judgement.Primary, s.Name)
	case out.Err != nil:
		fmt.Fprintf(v.err, "discompose: %s: %v\n", s.Name, out.Err)
	}
	if out.Dir != "" {
		fmt.Fprintf(v.err, "run directory: %s\n", out.Dir)
	}
	if o.keep && out.Dirty == nil && out.Dir != "" {
		fmt.Fprintf(v.err, "its environment is kept; to remove it: discompose heal %s\n", out.Dir)
	}
	if out.Dirty != nil {
		fmt.Fprintf(v.err, "discompose: the environment is left dirty: %v\ndiscompose: run: discompose heal %s\n", out.Dirty, out.Dir)
	}
	done.outcome = out
	return done
}
