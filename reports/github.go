package reports

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// GitHub is what GitHub Actions tells a step about where it runs. The zero value is a step whose files have no place in a
// checkout and whose job has no summary.
type GitHub struct {
	Workspace string // GITHUB_WORKSPACE: the checkout, which the files of annotations are relative to
	Folder    string // working folder, which Entry.File is relative to
	Summary   string // GITHUB_STEP_SUMMARY: the file that a step appends its summary to
}

// GitHub takes no more than this of one step: bytes of its summary (a longer one is not shown at all), and annotations of
// one level (further ones are dropped).
// Source: docs.github.com, "Workflow commands" (step isolation and limits) and "Annotations" of the checks API.
const (
	githubSummary     = 1 << 20
	githubAnnotations = 10
)

// Annotate writes workflow commands that GitHub shows at the scenarios' lines: an error for a scenario with a run that
// failed or left something behind, a warning for one with a run that came to no verdict, a notice for one that passed
// degraded. The runs of one scenario share an annotation, and where there are too many of a level the last names the rest.
func (g GitHub) Annotate(w io.Writer, entries []Entry) error {
	levels := map[string][]annotation{}
	for _, s := range byScenario(entries) {
		if a := g.annotate(s); a.level != "" {
			levels[a.level] = append(levels[a.level], a)
		}
	}
	var b strings.Builder
	for _, level := range []string{"error", "warning", "notice"} {
		for _, a := range limited(levels[level]) {
			b.WriteString(a.String() + "\n")
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write annotations: %w", err)
	}
	return nil
}

// limited keeps what GitHub shows of one level.
func limited(all []annotation) []annotation {
	if len(all) <= githubAnnotations {
		return all
	}
	last := annotation{level: all[0].level, title: fmt.Sprintf("and %d more scenarios", len(all)-githubAnnotations+1)}
	for _, a := range all[githubAnnotations-1:] {
		last.text += a.title + "\n"
	}
	return append(slices.Clone(all[:githubAnnotations-1]), last)
}

// annotation is one workflow command.
type annotation struct {
	level, file string
	line        int
	title, text string
}

// annotate makes the annotation of one scenario; it has no level where there is nothing to say.
func (g GitHub) annotate(s series) annotation {
	worst, level := -1, 0
	for i := range s.runs {
		if l := s.runs[i].level(); l > level {
			worst, level = i, l
		}
	}
	if level == 0 {
		return annotation{}
	}
	e := &s.runs[worst]
	a := annotation{level: []string{"", "notice", "warning", "error"}[level], title: e.title(), text: e.outcome() + "\n" + strings.Join(e.reasons(), "\n")}
	if e.seeded() {
		a.title = s.text()
		a.text = e.title() + "\n" + a.text
	}
	a.text = strings.TrimSuffix(a.text, "\n") + "\nagain: " + e.command()
	if a.file = g.file(e.file()); a.file != "" {
		a.line = max(e.Line, 1)
	}
	return a
}

// level is how loud a run is: 0 silent, 1 a notice, 2 a warning, 3 an error.
func (e *Entry) level() int {
	if e.Dirty != "" {
		return 3
	}
	switch e.status() {
	case failed:
		return 3
	case inconclusive, noVerdict, skipped:
		return 2
	case passed:
		if e.class() == "degraded" {
			return 1
		}
	}
	return 0
}

// file is a scenario's file relative to the checkout; empty for one outside, which GitHub has no line of.
func (g GitHub) file(name string) string {
	if name == "" {
		return ""
	}
	path := filepath.FromSlash(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(g.Folder, path)
	}
	rel, err := filepath.Rel(g.Workspace, path)
	if err != nil || g.Workspace == "" || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// String is the command as the runner reads it from a step's output.
func (a annotation) String() string {
	var properties []string
	if a.file != "" {
		properties = append(properties, "file="+escapeProperty(a.file), fmt.Sprintf("line=%d", a.line))
	}
	properties = append(properties, "title="+escapeProperty(a.title))
	return "::" + a.level + " " + strings.Join(properties, ",") + "::" + escapeData(a.text)
}

// escapeData escapes a command's text. Source: actions/toolkit, packages/core/src/command.ts, escapeData.
func escapeData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// escapeProperty escapes a command's property. Source: the same file, escapeProperty.
func escapeProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// AppendSummary appends summary.md to the job's summary, without links: run directories are not on GitHub. Where it would
// be longer than GitHub takes, the runs' details are left out, and then the table.
func (g GitHub) AppendSummary(entries []Entry) error {
	if g.Summary == "" {
		return nil
	}
	f, err := os.OpenFile(g.Summary, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("append to job summary: %w", err)
	}
	defer f.Close() //nolint:errcheck // what matters is the write's error
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("append to job summary: %w", err)
	}
	head := summaryHead(entries, "")
	for _, text := range []string{head + summaryDetails(entries), head, "# discompose: " + counted(entries) + "\n"} {
		if text += "\n"; info.Size()+int64(len(text)) > githubSummary {
			continue
		}
		if _, err := f.WriteString(text); err != nil {
			return fmt.Errorf("append to job summary: %w", err)
		}
		return nil
	}
	return nil
}
