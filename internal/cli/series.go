package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

// job is one run that the command line asks for. Jobs know nothing of each other, so that they may be carried out in any
// order.
type job struct {
	scenario *scenarios.Scenario // with the seed of this run
	index    int                 // from 1, among the runs of the scenario
	runs     int                 // of the scenario
}

// jobs are the runs of each scenario, with seeds that differ. base draws the first seed where the scenario fixes none.
func jobs(all []*scenarios.Scenario, runs int, base func() int64) []job {
	var out []job
	for _, s := range all {
		if runs == 1 {
			out = append(out, job{s, 1, 1})
			continue
		}
		first := s.Seed
		if first == nil {
			drawn := base()
			first = &drawn
		}
		for i, seed := range runner.Seeds(*first, runs) {
			one := *s // a run changes nothing of its scenario, so that the rest may be shared
			one.Seed = &seed
			out = append(out, job{&one, i + 1, runs})
		}
	}
	return out
}

// ending is how a job ended; the zero value never began.
type ending struct {
	begun   bool
	outcome runner.Outcome
	record  *reports.Record // without operations; nil where there is none
}

// entry is what summaries tell of a job.
func (e ending) entry(j job, cause error) reports.Entry {
	s := j.scenario
	out := reports.Entry{Scenario: s.Name, Seed: s.Seed, Runs: j.runs}
	if !s.Origin.Shipped {
		out.File, out.Line = s.Origin.Path, 1
		if p, ok := s.Places["name"]; ok && p.File == s.Origin.Path { // it may be in a file that is included
			out.Line = p.Row
		}
	}
	if !e.begun {
		out.Skipped, out.Class = true, reasonClass(exitOf(cause))
		if cause != nil {
			out.Reason = cause.Error()
		}
		return out
	}
	if e.outcome.Dirty != nil {
		out.Dirty = fmt.Sprintf("%v; run: discompose heal %s", e.outcome.Dirty, e.outcome.Dir)
	}
	switch {
	case e.outcome.Judged && e.record != nil:
		out.Record = e.record
	case e.outcome.Judged: // its files cannot be read, but what it came to is known
		out.Record = &reports.Record{Dir: e.outcome.Dir, Judgement: e.outcome.Judgement}
		out.Record.Run.Scenario = s.Name
		if s.Seed != nil {
			out.Record.Run.Seed = *s.Seed
		}
	default:
		if e.record != nil {
			out.Seed = &e.record.Run.Seed
		}
		out.Class, out.Dir = reasonClass(exitOf(e.outcome.Err)), e.outcome.Dir
		if e.outcome.Err != nil {
			out.Reason = e.outcome.Err.Error()
		}
	}
	return out
}

// reasonClass is why a run came to no verdict, in a word.
func reasonClass(code Exit) string {
	switch code {
	case ExitUsage:
		return "scenario"
	case ExitUnavailable:
		return "environment"
	case ExitInterrupted:
		return "interrupted"
	case ExitDirty:
		return "dirty"
	case ExitPass, ExitFail, ExitInconclusive, ExitBug:
		return "bug"
	}
	return "bug"
}

// summarise sets the exit code, tells of all runs together where there are several, and writes the files that were asked
// for. cause is why some never began.
func (a *app) summarise(all []job, done []ending, o runOptions, cause error) error {
	var codes []Exit
	var entries []reports.Entry
	for i, e := range done {
		if e.begun {
			codes = append(codes, exitOfOutcome(e.outcome))
		}
		entries = append(entries, e.entry(all[i], cause))
	}
	a.exit = Worst(codes...)
	var errs []error
	if len(entries) > 1 {
		errs = append(errs, reports.Summary(a.Out, entries))
	}
	if path := o.summary; path != "" || len(entries) > 1 {
		if path == "" {
			path = filepath.Join(a.runsDir, "summary-"+time.Now().UTC().Format("20060102T150405Z")+".md")
		}
		errs = append(errs, a.save(path, "summary", func(w io.Writer) error { return reports.SummaryMarkdown(w, entries, filepath.Dir(path)) }))
	}
	if o.junit != "" {
		errs = append(errs, a.save(o.junit, "junit", func(w io.Writer) error { return reports.JUnitSuite(w, entries) }))
	}
	if g := a.github; g != nil {
		// Neither is what the user asked for: the verdict stands without them.
		if err := errors.Join(g.Annotate(a.Err, entries), g.AppendSummary(entries)); err != nil {
			fmt.Fprintf(a.Err, "discompose: %v\n", err)
		}
	}
	return errors.Join(errs...)
}

// save writes a file that the user named, and says where it is.
func (a *app) save(path, what string, write func(io.Writer) error) error {
	if err := reports.WriteFile(path, write); err != nil {
		return &usageError{fmt.Errorf("write %s: %w", what, err)}
	}
	fmt.Fprintf(a.Err, "%s: %s\n", what, path)
	return nil
}

// makeFolders makes the folders of files that are written at the end, so that a bad path is found at the start.
func makeFolders(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return &usageError{fmt.Errorf("make folder: %w", err)}
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return &usageError{fmt.Errorf("%s is a folder: name a file", path)}
		}
	}
	return nil
}

// didNotRun is an error for each scenario that has runs which never began.
func didNotRun(all []job, done []ending, cause error) error {
	var errs []error
	for i := 0; i < len(all); i += all[i].runs {
		missing := 0
		for _, e := range done[i : i+all[i].runs] {
			if !e.begun {
				missing++
			}
		}
		name := all[i].scenario.Name
		switch missing {
		case 0:
		case all[i].runs:
			errs = append(errs, fmt.Errorf("%s did not run: %w", name, cause))
		default:
			errs = append(errs, fmt.Errorf("%s: %d of %d runs did not begin: %w", name, missing, all[i].runs, cause))
		}
	}
	return errors.Join(errs...)
}

// carryOut runs the jobs one after the other. Whatever one comes to, the next one runs; only ctx ends it early.
func (a *app) carryOut(ctx context.Context, all []job, o runOptions) []ending {
	done := make([]ending, len(all))
	for i, j := range all {
		if ctx.Err() != nil {
			break
		}
		if j.runs > 1 {
			fmt.Fprintf(a.Err, "%s: run %d of %d, --seed %d\n", j.scenario.Name, j.index, j.runs, *j.scenario.Seed)
		}
		done[i] = a.runOne(ctx, j.scenario, o)
	}
	return done
}
