package reports_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

// mixed is a call of scenarios that ended in every way.
func mixed(t *testing.T) []reports.Entry {
	t.Helper()
	var all []reports.Entry
	for i, r := range []*reports.Record{degraded(t), dataLoss(t), noWitness(t), fallback(t), unstarted(t)} {
		r.Run.Scenario = fmt.Sprintf("%s_%d", r.Run.Scenario, i+1) // or they were runs of one scenario
		all = append(all, reports.Entry{Scenario: r.Run.Scenario, Record: r})
	}
	all[1].File, all[1].Line = "chaos, and more/100%.toml", 3
	all[3].Dirty = "network dc5eed1234_default: has active endpoints"
	all[4].Record.Dir = "/home/anna/shop/runs/x"
	return append(
		all,
		reports.Entry{
			Scenario: "web_pause", Seed: new(int64(3)), File: "scenarios/web_pause.toml", Class: "environment", Reason: "docker engine is not available",
			Dir: "/home/anna/shop/runs/web",
		},
		reports.Entry{Scenario: "web_kill", Seed: new(int64(4)), File: "/elsewhere/web_kill.toml", Skipped: true, Class: "interrupted", Reason: "interrupted"},
	)
}

// repeated is 20 runs of one scenario, of which two fail, beside others that prove nothing.
func repeated(t *testing.T) []reports.Entry {
	t.Helper()
	var all []reports.Entry
	add := func(r *reports.Record) {
		r.Run.Seed = int64(100 + len(all))
		all = append(all, reports.Entry{Scenario: r.Run.Scenario, Runs: 23, Record: r, File: "pause.toml", Line: 1})
	}
	for i := range 20 {
		if i == 3 || i == 11 {
			add(dataLoss(t))
		} else {
			add(degraded(t))
		}
	}
	add(noWitness(t))
	name := all[0].Scenario
	return append(
		all,
		reports.Entry{Scenario: name, Seed: new(int64(121)), Runs: 23, File: "pause.toml", Line: 1, Class: "environment", Reason: "docker engine is not available"},
		reports.Entry{Scenario: name, Seed: new(int64(122)), Runs: 23, File: "pause.toml", Line: 1, Skipped: true, Class: "interrupted", Reason: "interrupted"},
	)
}

func TestSummariesMatchTheirGoldenFiles(t *testing.T) {
	for name, entries := range map[string][]reports.Entry{"summary": mixed(t), "series": repeated(t)} {
		var text, markdown, junit bytes.Buffer
		if err := errors.Join(reports.Summary(&text, entries), reports.SummaryMarkdown(&markdown, entries, "/home/anna"), reports.JUnitSuite(&junit, entries)); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".text", text.String())
		golden(t, name+".markdown", markdown.String())
		if name == "summary" { // the other one would only be longer
			golden(t, name+".junit", junit.String())
		}
	}
}

// TestTheShareOfFailedRunsLeavesOutWhatProvesNothing would fail if an inconclusive run counted as one that held.
func TestTheShareOfFailedRunsLeavesOutWhatProvesNothing(t *testing.T) {
	text := summary(t, repeated(t))
	want := "kafka_broker_pause: 2 of 20 failed (10 %, 95 % Wilson interval 2.8 % to 30.1 %), with --seed 103, 111; counted apart: " +
		"1 inconclusive, 1 without a verdict, 1 not run\n"
	if !strings.Contains(text, want) {
		t.Errorf("want:\n%s\nin:\n%s", want, text)
	}
	if want := "1 scenario, 23 runs: 18 passed, 2 failed, 1 inconclusive, 1 without a verdict, 1 not run\n"; !strings.Contains(text, want) {
		t.Errorf("want %q in:\n%s", want, text)
	}
	proveNothing := repeated(t)[20:]
	if text := summary(t, proveNothing); !strings.Contains(text, "kafka_broker_pause: no run passed or failed; counted apart: 1 inconclusive") {
		t.Errorf("of runs that prove nothing:\n%s", text)
	}
	many := repeated(t)
	for i := range many[:20] {
		many[i].Record.Judgement.Verdict = oracle.Fail
	}
	if text := summary(t, many); !strings.Contains(text, "20 of 20 failed (100 %, 95 % Wilson interval 83.9 % to 100 %), with --seed 100, 101, 102, 103, 104, …;") {
		t.Errorf("of 20 that fail:\n%s", text)
	}
}

func summary(t *testing.T, entries []reports.Entry) string {
	t.Helper()
	var b bytes.Buffer
	if err := reports.Summary(&b, entries); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSummaryLinksLeadToTheReports(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "my runs", "20260314T092640Z-x-5eed1234")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := degraded(t)
	r.Dir = dir
	for folder, want := range map[string]string{
		filepath.Join(root, "my runs"): "(20260314T092640Z-x-5eed1234/report.md)",
		root:                           "(my%20runs/20260314T092640Z-x-5eed1234/report.md)",
		filepath.Join(root, "out"):     "(../my%20runs/20260314T092640Z-x-5eed1234/report.md)",
	} {
		var b bytes.Buffer
		if err := reports.SummaryMarkdown(&b, []reports.Entry{{Scenario: "x", Record: r}}, folder); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("from %s there is no link %s:\n%s", folder, want, &b)
		}
	}
}

func TestForeignTextsCannotBreakASummary(t *testing.T) {
	r := nasty(t)
	evil := "a | b <script> @anna\n# no\x1b[31m"
	entries := []reports.Entry{
		{Scenario: evil, Record: r, Dirty: evil},
		{Scenario: evil, Seed: new(int64(1)), Runs: 2, Class: evil, Reason: evil, File: "``` " + evil},
		{Scenario: evil, Seed: new(int64(2)), Runs: 2, Skipped: true, Reason: evil},
	}
	var b bytes.Buffer
	if err := reports.SummaryMarkdown(&b, entries, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("an escape sequence comes through")
	}
	inFence, columns := false, 0
	for i, line := range strings.Split(b.String(), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inFence = !inFence
		case inFence:
		case strings.HasPrefix(line, "|"):
			if n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); columns == 0 {
				columns = n
			} else if n != columns {
				t.Errorf("line %d has %d column edges, the table has %d: %s", i+1, n, columns, line)
			}
			fallthrough
		default:
			if strings.Contains(line, "<script") || strings.Contains(line, "@anna") || strings.HasPrefix(line, "# no") {
				t.Errorf("line %d lets markup through: %s", i+1, line)
			}
		}
	}
	if inFence || columns != 12 {
		t.Errorf("an open fence: %t; %d column edges", inFence, columns)
	}
}

// TestSummariesNeedNoOperations lets a caller keep many records.
func TestSummariesNeedNoOperations(t *testing.T) {
	for name, record := range cases() {
		whole := record(t)
		slim := whole.WithoutOps()
		if whole.History != nil && (len(slim.History.Ops) > 0 || len(whole.History.Ops) == 0) {
			t.Fatalf("%s: %d operations are left of %d", name, len(slim.History.Ops), len(whole.History.Ops))
		}
		if diff := cmp.Diff(write(t, reports.Text, whole), write(t, reports.Text, slim)); diff != "" {
			t.Errorf("%s: the text differs:\n%s", name, diff)
		}
		if diff := cmp.Diff(write(t, reports.JUnit, whole), write(t, reports.JUnit, slim)); diff != "" {
			t.Errorf("%s: junit.xml differs:\n%s", name, diff)
		}
	}
}
