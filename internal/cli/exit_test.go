package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

// errorClasses is one error of each class, wrapped as a command would wrap it.
func errorClasses() []struct {
	name string
	err  error
} {
	broken := errors.New("broken")
	return []struct {
		name string
		err  error
	}{
		{"no error", nil},
		{"usage", &usageError{broken}},
		{"scenario", &scenarios.Error{File: "x.toml", Row: 1, Col: 1, Key: "name"}},
		{"several of a scenario", errors.Join(&scenarios.Error{}, &scenarios.Error{})},
		{"refused by isolation", &compose.RefusedError{Item: "volume x"}},
		{"format of a newer build", &ledger.VersionError{What: "run.json"}},
		{"no place for the run directory", runner.ErrRunsDir},
		{"no engine", compose.ErrEngine},
		{"no engine, with its endpoint", &compose.EngineError{Endpoint: "unix:///x", Err: broken}},
		{"not ready", compose.ErrNotReady},
		{"not ready, with its service", &compose.NotReadyError{Service: "db"}},
		{"no image", compose.ErrImage},
		{"no Linux build", agent.ErrPayload},
		{"project in use", &agent.BusyError{Run: "0000000a"}},
		{"no agent allowed", agent.ErrRefused},
		{"interrupted", runner.ErrInterrupted},
		{"interrupted while the engine went", errors.Join(compose.ErrEngine, runner.ErrInterrupted)},
		{"not undone", &faults.HealError{Err: broken}},
		{"not undone and interrupted", errors.Join(runner.ErrInterrupted, &faults.HealError{Err: broken})},
		{"cancelled by nobody", context.Canceled},
		{"anything else", broken},
	}
}

func TestEveryErrorClassHasItsExitCode(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, c := range errorClasses() {
		err := c.err
		if err != nil {
			err = fmt.Errorf("do this: %w", fmt.Errorf("do that: %w", err))
		}
		fmt.Fprintf(&b, "%-40s %d\n", c.name, exitOf(err))
	}
	b.WriteString("\n")
	for _, class := range oracle.Classes() {
		out := runner.Outcome{Judged: true, Judgement: oracle.Judgement{Verdict: class.Verdict(), Primary: class}}
		fmt.Fprintf(&b, "%-40s %d\n", class, exitOfOutcome(out))
	}
	fmt.Fprintf(&b, "%-40s %d\n", "nothing judged", exitOfOutcome(runner.Outcome{Judged: true}))
	golden(t, "testdata/exit.golden", b.Bytes())
}

func TestADirtyEnvironmentOutranksTheVerdictAndTheError(t *testing.T) {
	t.Parallel()
	dirty := errors.New("a network is left")
	for _, out := range []runner.Outcome{
		{Judged: true, Judgement: oracle.Judgement{Verdict: oracle.Pass, Primary: oracle.Clean}, Dirty: dirty},
		{Judged: true, Judgement: oracle.Judgement{Verdict: oracle.Fail, Primary: oracle.DataLoss}, Dirty: dirty},
		{Err: compose.ErrEngine, Dirty: dirty},
	} {
		if got := exitOfOutcome(out); got != ExitDirty {
			t.Errorf("%+v: exit code %d, want %d", out, got, ExitDirty)
		}
	}
	if got := exitOfOutcome(runner.Outcome{Err: compose.ErrNotReady}); got != ExitUnavailable {
		t.Errorf("an error without a verdict: exit code %d, want %d", got, ExitUnavailable)
	}
}

func TestWorstKeepsTheOrder(t *testing.T) {
	t.Parallel()
	want := []Exit{75, 70, 130, 1, 2, 69, 64, 0}
	for i, high := range want {
		for _, low := range want[i:] {
			if a, b := Worst(high, low), Worst(low, high); a != high || b != high {
				t.Errorf("of %d and %d the worst is %d and %d", high, low, a, b)
			}
		}
	}
	if got := Worst(); got != ExitPass {
		t.Errorf("of none the worst is %d", got)
	}
	if got := Worst(want...); got != 75 {
		t.Errorf("of all the worst is %d", got)
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" || len(got) == 0 {
		t.Errorf("%s (-file +got):\n%s", file, diff)
	}
}
