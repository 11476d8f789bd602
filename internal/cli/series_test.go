package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

func scenario(name string, seed *int64) *scenarios.Scenario {
	return &scenarios.Scenario{
		Name: name, Seed: seed, Origin: scenarios.Origin{Path: "chaos/" + name + ".toml"},
		Places: map[string]scenarios.Place{"name": {File: "chaos/" + name + ".toml", Row: 2, Col: 1}},
	}
}

func TestEachRunHasASeedOfItsOwn(t *testing.T) {
	t.Parallel()
	fixed, free := scenario("fixed", new(int64(7))), scenario("free", nil)
	var got []string
	for _, j := range jobs([]given{{Scenario: fixed}, {Scenario: free}}, 3, func() int64 { return 40 }) {
		got = append(got, fmt.Sprintf("%s %d of %d: %d", j.Name, j.index, j.runs, *j.Seed))
	}
	a, b := runner.Seeds(7, 3), runner.Seeds(40, 3)
	want := []string{
		"fixed 1 of 3: 7", fmt.Sprintf("fixed 2 of 3: %d", a[1]), fmt.Sprintf("fixed 3 of 3: %d", a[2]),
		"free 1 of 3: 40", fmt.Sprintf("free 2 of 3: %d", b[1]), fmt.Sprintf("free 3 of 3: %d", b[2]),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if *fixed.Seed != 7 || free.Seed != nil {
		t.Error("the scenarios themselves were changed")
	}
	if once := jobs([]given{{Scenario: free}}, 1, nil); len(once) != 1 || once[0].Scenario != free {
		t.Errorf("one run: %+v", once)
	}
}

// judged is a run that came to a verdict; its run directory cannot be read.
func judged(class oracle.Class) ending {
	return ending{begun: true, outcome: runner.Outcome{Judged: true, Dir: "/w/runs/20260314T092640Z-x-5eed1234", Judgement: oracle.Judgement{Verdict: class.Verdict(), Primary: class}}}
}

func TestSeveralRunsAreSummedUpEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	a := &app{Streams: Streams{Out: &stdout, Err: &stderr}, runsDir: dir}
	a.github = &reports.GitHub{Workspace: "/w", Folder: "/w", Summary: filepath.Join(dir, "step")}
	all := jobs([]given{{Scenario: scenario("a", new(int64(7)))}, {Scenario: scenario("b", new(int64(8)))}}, 3, nil)
	dirty := judged(oracle.Clean)
	dirty.outcome.Dirty = errors.New("a network is left")
	done := []ending{judged(oracle.Clean), judged(oracle.DataLoss), judged(oracle.NoWitness), {begun: true, outcome: runner.Outcome{Err: compose.ErrNotReady}}, judged(oracle.Clean), {}}
	o := runOptions{junit: filepath.Join(dir, "junit.xml")}
	if err := a.summarise(all, done, o, runner.ErrInterrupted); err != nil {
		t.Fatal(err)
	}
	if a.exit != ExitFail {
		t.Errorf("exit code %d, want that of the failure", a.exit)
	}
	for what, want := range map[string]string{
		"a": fmt.Sprintf("a: 1 of 2 failed (50 %%, 95 %% Wilson interval 9.5 %% to 90.5 %%), with --seed %d; counted apart: 1 inconclusive\n", *all[1].Seed),
		"b": "b: 0 of 1 failed (0 %, 95 % Wilson interval 0 % to 79.3 %); counted apart: 1 without a verdict, 1 not run\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: want %s in:\n%s", what, want, &stdout)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "summary-*.md"))
	if err != nil || len(files) != 1 {
		t.Fatalf("summaries %v: %v", files, err)
	}
	for _, f := range append(files, o.junit, a.github.Summary) {
		if data, err := os.ReadFile(f); err != nil || !bytes.Contains(data, []byte("FAIL (data-loss): a")) {
			t.Errorf("%s: %v\n%s", f, err, data)
		}
	}
	if want := "::error file=chaos/a.toml,line=2,title="; !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "::warning file=chaos/b.toml,line=2,title=") {
		t.Errorf("want %s in:\n%s", want, &stderr)
	}
	done[4] = dirty
	if err := a.summarise(all, done, runOptions{}, runner.ErrInterrupted); err != nil || a.exit != ExitDirty {
		t.Errorf("exit code %d, want that of what is left dirty: %v", a.exit, err)
	}
	if err, want := didNotRun(all, done, runner.ErrInterrupted), "b: 1 of 3 runs did not begin: interrupted"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestTheVerdictStandsWhereAFileCannotBeWritten needs the failure's code to outrank that of the bad path.
func TestTheVerdictStandsWhereAFileCannotBeWritten(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	a := &app{Streams: Streams{Out: &stdout, Err: &stderr}, github: &reports.GitHub{Summary: "/proc/none"}}
	all := jobs([]given{{Scenario: scenario("a", nil)}}, 1, nil)
	done := []ending{judged(oracle.DataLoss)}
	err := a.summarise(all, done, runOptions{junit: "/proc/none/junit.xml"}, nil)
	if usage := new(usageError); !errors.As(err, &usage) || Worst(exitOf(err), a.exit) != ExitFail {
		t.Errorf("exit code %d, error %v", a.exit, err)
	}
	if !strings.Contains(stderr.String(), "append to job summary: ") || stdout.Len() > 0 {
		t.Errorf("stdout:\n%s\nstderr:\n%s", &stdout, &stderr)
	}
	if err := a.summarise(all, done, runOptions{}, nil); err != nil || a.exit != ExitFail {
		t.Errorf("without GitHub's file: exit code %d, error %v", a.exit, err)
	}
}

func TestAnEntryNamesTheLineOfTheScenarioItself(t *testing.T) {
	t.Parallel()
	included := scenario("a", nil)
	included.Places["name"] = scenarios.Place{File: "chaos/_shared.toml", Row: 9}
	shipped := scenario("a", nil)
	shipped.Origin.Shipped = true
	for name, c := range map[string]struct {
		s    *scenarios.Scenario
		file string
		line int
	}{
		"its own":  {scenario("a", nil), "chaos/a.toml", 2},
		"included": {included, "chaos/a.toml", 1},
		"shipped":  {shipped, "", 0},
	} {
		if e := (ending{}).entry(job{given: given{Scenario: c.s}, index: 1, runs: 1}, runner.ErrInterrupted); e.File != c.file || e.Line != c.line || !e.Skipped || e.Class != "interrupted" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
