package reports_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs from the golden file (-want +got):\n%s", name, diff)
	}
}

func cases() map[string]func(*testing.T) *reports.Record {
	return map[string]func(*testing.T) *reports.Record{
		"degraded": degraded, "data_loss": dataLoss, "no_witness": noWitness, "fallback": fallback, "nasty": nasty, "unstarted": unstarted,
		"links": links, "leak": leak,
	}
}

func write(t *testing.T, f reports.Writer, r *reports.Record) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormatsMatchTheirGoldenFiles(t *testing.T) {
	for name, record := range cases() {
		for _, f := range reports.Formats() {
			if f.Name == "json" && name != "data_loss" && name != "unstarted" && name != "links" {
				continue // these records show every field
			}
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				golden(t, name+"."+f.Name, write(t, f.Write, record(t)))
			})
		}
	}
}

func TestGoldenFilesAreAllUsed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d golden files: %v", len(files), err)
	}
	for _, f := range files {
		name, _, _ := strings.Cut(filepath.Base(f), ".")
		if _, ok := cases()[name]; !ok && !slices.Contains([]string{"summary", "series", "github", "color"}, name) {
			t.Errorf("%s belongs to no test", f)
		}
	}
}

func TestColourChangesNothingButEscapeSequences(t *testing.T) {
	r := degraded(t)
	got := write(t, reports.TextOptions{Color: true}.Write, r)
	golden(t, "color.text", strings.ReplaceAll(got[:strings.Index(got, "\n")], "\x1b", "ESC")+"\n")
	_, body, _ := strings.Cut(got, "\n")
	_, plain, _ := strings.Cut(write(t, reports.Text, r), "\n")
	if body != plain {
		t.Errorf("the text below the first line differs:\n%s", cmp.Diff(plain, body))
	}
}

func TestForeignTextsCannotBreakAReport(t *testing.T) {
	for _, f := range reports.Formats() {
		text := write(t, f.Write, nasty(t))
		for _, c := range text {
			if c < ' ' && c != '\n' || c == 0x7f || c == '\u202e' && f.Name != "json" { // JSON keeps the data as it is
				t.Errorf("%s has the control character %U", f.Name, c)
			}
		}
		if f.Name == "json" && !json.Valid([]byte(text)) {
			t.Error("report.json is no JSON")
		}
	}
	checkMarkdown(t, write(t, reports.Markdown, nasty(t)))
}

// checkMarkdown follows the blocks of a report that is full of foreign texts: none of them may end a cell, a table or a
// fence, or become markup.
func checkMarkdown(t *testing.T, text string) {
	t.Helper()
	tables, columns := 0, 0
	fence := ""
	for i, line := range strings.Split(text, "\n") {
		switch {
		case fence != "":
			if line == fence {
				fence = ""
			}
		case strings.HasPrefix(line, "```"):
			fence = strings.TrimSuffix(line, "text")
		case strings.HasPrefix(line, "|"):
			cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
			if columns == 0 {
				tables++
				columns = cells
			}
			if cells != columns {
				t.Errorf("line %d has %d column edges in a table of %d: %s", i+1, cells, columns, line)
			}
		default:
			columns = 0
			if strings.Contains(line, "<script") || strings.Contains(line, "@anna") || strings.HasPrefix(line, "# no") || strings.HasPrefix(line, "## not") {
				t.Errorf("line %d lets markup through: %s", i+1, line)
			}
		}
	}
	if tables < 8 || fence != "" {
		t.Errorf("found %d tables, open fence %q", tables, fence)
	}
}

func TestReportsNameWhatTheyMust(t *testing.T) {
	text := write(t, reports.Markdown, dataLoss(t))
	for _, want := range []string{
		"# FAIL (data-loss): kafka_broker_pause\n", "apache/kafka:3.9.1", "sha256:feed5eed", "its CPU time stood still", "4 of 4 mutants convicted",
		"588 acknowledged", "--seed 7", "And 4 more violations", "die exit code 137", "was gone 40 ms before", "±180 µs",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("report.md does not say %q", want)
		}
	}
	if n := strings.Count(text, "\n### "); n != 10 {
		t.Errorf("%d violations are shown, want 10", n)
	}
	if strings.Contains(text, "/home/anna") {
		t.Error("report.md shows a private path")
	}
}

func TestLogLinesOfProblemsComeBeforeNearerOnes(t *testing.T) {
	r := dataLoss(t)
	v := r.Judgement.Results[0].Violations[0]
	lines := []reports.LogLine{{At: baseWall().Add(14900 * time.Millisecond), Text: "ERROR disk is gone"}}
	for i := range 8 {
		lines = append(lines, reports.LogLine{At: baseWall().Add(time.Duration(v.At-base) + time.Duration(i)*time.Millisecond), Text: fmt.Sprintf("idle %d", i)})
	}
	r.LogServices, r.Logs = []string{"kafka"}, logs(map[string][]reports.LogLine{"kafka": lines})
	_, text, _ := strings.Cut(write(t, reports.Markdown, r), "### 1. ")
	text, _, _ = strings.Cut(text, "### 2. ")
	if !strings.Contains(text, "ERROR disk is gone") || !strings.Contains(text, "idle 3") || strings.Contains(text, "idle 4") {
		t.Errorf("want the error and the four nearest lines:\n%s", text)
	}
}

func TestFirstLineNamesTheWeaknessThatWasExpected(t *testing.T) {
	r := dataLoss(t)
	r.Judgement.Verdict, r.Judgement.Primary, r.Rules.Expect = oracle.Pass, oracle.AsExpected, "data-loss"
	if got, want := r.Title(), "PASS (as expected: data-loss): kafka_broker_pause"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	r.Judgement.Verdict, r.Judgement.Primary, r.Run.Fallbacks = oracle.Fail, oracle.DataLoss, []string{"embedded broker, not Apache Kafka"}
	if got, want := r.Title(), "FAIL (data-loss; embedded broker, not Apache Kafka): kafka_broker_pause"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
}

func TestJSONIsADocumentOfTheSchema(t *testing.T) {
	var d reports.Document
	if err := json.Unmarshal([]byte(write(t, reports.JSON, dataLoss(t))), &d); err != nil {
		t.Fatal(err)
	}
	if d.Schema != reports.DocumentSchema || d.Verdict != oracle.Fail || d.Primary != oracle.DataLoss || d.Mutants.Tried != 4 || len(d.Faults) != 1 {
		t.Errorf("schema %d, verdict %s, primary %s, mutants %v, %d faults", d.Schema, d.Verdict, d.Primary, d.Mutants, len(d.Faults))
	}
	if f := d.Faults[0]; f.AtS == nil || *f.AtS != 5.0021 || f.Fault.Gone != at(13.26) || f.Gone == nil {
		t.Errorf("fault %+v", f)
	}
	if strings.Contains(write(t, reports.JSON, unstarted(t)), ": null") != true {
		t.Error("an availability of nothing is not null")
	}
}

func TestWriteAllWritesEveryFileWhole(t *testing.T) {
	dir := t.TempDir()
	if err := reports.WriteAll(dir, degraded(t)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	if diff := cmp.Diff([]string{"junit.xml", "report.json", "report.md", "verdict"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(dir, "verdict"))
	if err != nil || string(data) != "PASS degraded\n" {
		t.Errorf("verdict %q, %v", data, err)
	}
	if err := reports.WriteAll(filepath.Join(dir, "missing"), degraded(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestAPhaseFromBeforeTheClockWasKnownIsLeftOut(t *testing.T) {
	r := degraded(t)
	r.Run.Phases = append([]ledger.Phase{{Name: "prepare", From: 12, To: at(-13)}}, r.Run.Phases...)
	if text := write(t, reports.Markdown, r); strings.Contains(text, "prepare") || !strings.Contains(text, "took 51 s") {
		t.Errorf("the report shows a phase as long as the host is up:\n%s", text[:2500])
	}
}

var errFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrorsAreReturned(t *testing.T) {
	for _, f := range reports.Formats() {
		if err := f.Write(fullDisk{}, degraded(t)); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v", f.Name, err)
		}
	}
	entries := []reports.Entry{{Scenario: "a", Record: dataLoss(t)}}
	for name, write := range map[string]func(io.Writer) error{
		"summary":     func(w io.Writer) error { return reports.Summary(w, entries) },
		"summary.md":  func(w io.Writer) error { return reports.SummaryMarkdown(w, entries, "") },
		"junit":       func(w io.Writer) error { return reports.JUnitSuite(w, entries) },
		"annotations": func(w io.Writer) error { return reports.GitHub{}.Annotate(w, entries) },
	} {
		if err := write(fullDisk{}); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestAnyErrorTextFillsExactlyOneCell(t *testing.T) {
	r := degraded(t)
	r.History.Ops = r.History.Ops[:0:0]
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("ab|\\`<*_[ \n\x1b[31m@é"))), rapid.Custom(func(rt *rapid.T) string {
			return string(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes"))
		})).Draw(rt, "text")
		r.History.Ops = []ledger.Op{{ID: 1, Workload: "w", Func: ledger.FuncProduce, Invoke: at(1), Complete: at(2), Outcome: ledger.Unknown, Error: text}}
		report := write(t, reports.Markdown, r)
		_, report, _ = strings.Cut(report, "in a fault's window or recovery |\n")
		lines := strings.SplitN(report, "\n", 3)
		row := lines[1]
		// GFM splits cells at pipes that no backslash precedes.
		var edges []int
		for i := range row {
			if row[i] == '|' && (i == 0 || row[i-1] != '\\') {
				edges = append(edges, i)
			}
		}
		if len(edges) != 8 || lines[2][0] != '\n' || !strings.HasSuffix(row, " 0 |") || !utf8.ValidString(row) {
			rt.Fatalf("%q makes the row %q", text, row)
		}
		// The code span ends with the fence that it starts with, and nothing in it is as long.
		cell := strings.TrimSpace(row[edges[3]+1 : edges[4]])
		if cell == "–" {
			return
		}
		fence := cell[:len(cell)-len(strings.TrimLeft(cell, "`"))]
		inner, ok := strings.CutSuffix(strings.TrimPrefix(cell, fence), fence)
		if fence == "" || !ok || strings.Contains(inner, fence) {
			rt.Fatalf("%q makes the cell %q", text, cell)
		}
	})
}
