package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
)

// ending is how a job ended; the zero value never began.
type ending struct {
	begun   bool
	before  bool // in an earlier call
	outcome runner.Outcome
	record  *reports.Record // without operations; nil where there is none
}

// entry is what summaries tell of a job.
func (e ending) entry(j job, cause error) reports.Entry {
	s := j.Scenario
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
	out.Before = e.before
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
		name := all[i].Name
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
