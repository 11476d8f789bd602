package reports_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/discompose/discompose/reports"
)

func annotations(t *testing.T, g reports.GitHub, entries []reports.Entry) string {
	t.Helper()
	var b bytes.Buffer
	if err := g.Annotate(&b, entries); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAnnotationsMatchTheirGoldenFile(t *testing.T) {
	g := reports.GitHub{Workspace: "/work/repo", Folder: "/work/repo/services"}
	golden(t, "github.annotations", annotations(t, g, append(mixed(t), repeated(t)...)))
}

func TestAnnotationsAreEscaped(t *testing.T) {
	got := annotations(t, reports.GitHub{Workspace: "/w", Folder: "/w"}, []reports.Entry{
		{Scenario: "100%: a,b", File: "a,b:c%.toml", Class: "environment", Reason: "50 % of it\r\n::error::forged"},
	})
	want := "::warning file=a%2Cb%3Ac%25.toml,line=1,title=NO VERDICT (environment)%3A 100%25%3A a%2Cb::50 %25 of it ::error::forged%0Aagain: discompose run a,b:c%25.toml\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestAnnotationsNameOnlyFilesOfTheCheckout(t *testing.T) {
	for _, c := range []struct{ workspace, folder, file, want string }{
		{"/w", "/w", "a.toml", "file=a.toml,line=7,"},
		{"/w", "/w/sub", "../a.toml", "file=a.toml,line=7,"},
		{"/w", "/w/sub", "/w/b/a.toml", "file=b/a.toml,line=7,"},
		{"/w", "/w", "../a.toml", ""},
		{"/w", "/else", "a.toml", ""},
		{"", "/w", "a.toml", ""},
		{"/w", "/w", "", ""},
	} {
		got := annotations(t, reports.GitHub{Workspace: c.workspace, Folder: c.folder}, []reports.Entry{{Scenario: "x", File: c.file, Line: 7}})
		if !strings.HasPrefix(got, "::warning "+c.want+"title=") {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestAnnotationsBeyondGitHubsLimitAreNamedInTheLast(t *testing.T) {
	var entries []reports.Entry
	for i := range 12 {
		entries = append(entries, reports.Entry{Scenario: fmt.Sprintf("s%02d", i), Class: "environment"})
	}
	if n := strings.Count(annotations(t, reports.GitHub{}, entries[:10]), "::warning "); n != 10 {
		t.Errorf("10 scenarios have %d annotations", n)
	}
	lines := strings.Split(strings.TrimSpace(annotations(t, reports.GitHub{}, entries)), "\n")
	if len(lines) != 10 || !strings.Contains(lines[9], "title=and 3 more scenarios::") || !strings.Contains(lines[9], "s09%0A") || !strings.Contains(lines[9], "s11%0A") {
		t.Errorf("%d annotations, the last %s", len(lines), lines[len(lines)-1])
	}
}

func TestJobSummaryIsAppendedAndFits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "step_summary")
	g := reports.GitHub{Summary: path}
	appended := func(before int) string {
		t.Helper()
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), before), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := g.AppendSummary(mixed(t)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) > 1<<20 || strings.Trim(string(data[:before]), "x") != "" {
			t.Fatalf("%d bytes of which %d were there: %v", len(data), before, err)
		}
		return string(data[before:])
	}
	whole := appended(10)
	if !strings.HasPrefix(whole, "# discompose: 7 scenarios: ") || !strings.Contains(whole, "\n## FAIL (data-loss)") || strings.Contains(whole, "](") {
		t.Errorf("summary:\n%s", whole)
	}
	if text := appended(1<<20 - len(whole) + 1); strings.Contains(text, "\n## FAIL") || !strings.Contains(text, "| kafka_broker_pause_2 ") {
		t.Errorf("without room for details:\n%s", text)
	}
	if text := appended(1<<20 - 300); strings.Contains(text, "|") || !strings.HasPrefix(text, "# discompose: 7 scenarios: ") {
		t.Errorf("without room for the table:\n%s", text)
	}
	if text := appended(1<<20 - 10); text != "" {
		t.Errorf("without any room: %q", text)
	}
}

func TestJobSummaryWithoutAFile(t *testing.T) {
	if err := (reports.GitHub{}).AppendSummary(mixed(t)); err != nil {
		t.Error(err)
	}
	if err := (reports.GitHub{Summary: filepath.Join(t.TempDir(), "no", "file")}).AppendSummary(mixed(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
