package reports

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// Entry is one run among those of one call, as Summary, SummaryMarkdown, JUnitSuite and GitHub tell it. Only Scenario is
// needed. An Entry is read-only and safe for concurrent use.
type Entry struct {
	Scenario string
	Seed     *int64  // of the run, nil where it is not known; a Record's own goes first
	Runs     int     // how many runs of the scenario the call has, each with a seed of its own; 0 is 1
	File     string  // the scenario's file as it was named; empty for a shipped one
	Line     int     // where in File the scenario names itself, from 1; 0 is unknown
	Record   *Record // nil where the run came to no verdict
	Dir      string  // run directory of a run without a Record; empty where there is none
	Class    string  // why there is no verdict, in a word: "environment"
	Reason   string  // the same in a sentence
	Skipped  bool    // the run never began
	Before   bool    // Record is of an earlier call, which this one did not make again
	Dirty    string  // what could not be undone; empty where everything was
}

// WithoutOps is the record without its operations, which are most of its size. Text, Summary, JUnit and GitHub need none.
func (r *Record) WithoutOps() *Record {
	slim := *r
	if r.History != nil {
		slim.History = &ledger.History{Run: r.History.Run, Faults: r.History.Faults, Witnesses: r.History.Witnesses, Events: r.History.Events, Gates: r.History.Gates}
	}
	return &slim
}

// status is how a run ended, as people count runs.
type status uint8

const (
	noVerdict status = iota
	passed
	failed
	inconclusive
	skipped
)

func (e *Entry) status() status {
	switch {
	case e.Skipped:
		return skipped
	case e.Record == nil:
		return noVerdict
	}
	switch e.Record.Judgement.Verdict {
	case oracle.Pass:
		return passed
	case oracle.Fail:
		return failed
	case oracle.Inconclusive:
		return inconclusive
	}
	return noVerdict
}

// verdict is the verdict as the summary shows it.
func (e *Entry) verdict() string {
	switch {
	case e.Skipped:
		return "NOT RUN"
	case e.Record == nil:
		return "NO VERDICT"
	}
	return e.Record.Judgement.Verdict.String()
}

// class is why the run ended as it did, in a word.
func (e *Entry) class() string {
	if e.Record == nil {
		return clean(cmp.Or(e.Class, none), 40)
	}
	return string(e.Record.Judgement.Primary)
}

// title is the first line of what is told of the run.
func (e *Entry) title() string {
	title := fmt.Sprintf("%s (%s): %s", e.verdict(), e.class(), clean(e.Scenario, 120))
	if e.Record != nil {
		title = e.Record.Title()
	}
	if e.Dirty != "" {
		return "LEFT DIRTY, " + title
	}
	return title
}

// outcome is the run in one sentence.
func (e *Entry) outcome() string {
	if e.Record != nil {
		return e.Record.outcome()
	}
	return clean(cmp.Or(e.Reason, "Nothing is known of it."), maxProse)
}

// seed is that of the run; ok is whether it is known.
func (e *Entry) seed() (seed int64, ok bool) {
	switch {
	case e.Record != nil:
		return e.Record.Run.Seed, true
	case e.Seed != nil:
		return *e.Seed, true
	}
	return 0, false
}

// seedCell is the seed as tables have it.
func (e *Entry) seedCell() string {
	if seed, ok := e.seed(); ok {
		return strconv.FormatInt(seed, 10)
	}
	return none
}

// seeded reports whether the run is one of several that differ in their seeds.
func (e *Entry) seeded() bool { return e.Runs > 1 }

// command runs the scenario again, with the seed of this run.
func (e *Entry) command() string {
	text := "discompose run " + shellQuote(clean(cmp.Or(e.File, e.Scenario), 300))
	if seed, ok := e.seed(); ok {
		text += fmt.Sprintf(" --seed %d", seed)
	}
	return text
}

// dir is the run as far as its place is concerned; ok is whether it has one.
func (e *Entry) dir() (r *Record, ok bool) {
	if e.Record != nil {
		return e.Record, true
	}
	return &Record{Dir: e.Dir}, e.Dir != ""
}

// reasons are the lines that explain the verdict: what could not be undone, every class, the first violations.
func (e *Entry) reasons() []string {
	var lines []string
	if e.Dirty != "" {
		lines = append(lines, "dirty: something could not be undone: "+clean(e.Dirty, maxProse))
	}
	if e.Record == nil {
		return lines
	}
	for _, f := range e.Record.Judgement.Findings {
		lines = append(lines, string(f.Class)+": "+clean(f.Reason, maxProse))
	}
	for i, v := range e.Record.violations() {
		if i == textViolations {
			lines = append(lines, "more violations are in the report")
			break
		}
		lines = append(lines, fmt.Sprintf("violation: %s at %s: %s", v.Class, e.Record.offset(v.At, 3), clean(v.Note, 200)))
	}
	return lines
}

// file is the name of the scenario's file; a run that was loaded alone knows its source only.
func (e *Entry) file() string {
	if e.File == "" && e.Record != nil {
		return e.Record.file()
	}
	return e.File
}

// file is the scenario's file as it was named; empty for a shipped one.
func (r *Record) file() string {
	if strings.HasSuffix(r.Run.Source, ".toml") && !strings.HasPrefix(r.Run.Source, "shipped:") {
		return r.Run.Source
	}
	return ""
}
