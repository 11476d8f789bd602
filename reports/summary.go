package reports

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/discompose/discompose/oracle"
)

// Summary writes a table over several runs, one row each in the given order, a line that counts them, for each scenario that
// ran several times one with the share of runs that failed, and one with the time that all of them took. The table is
// Markdown that reads well on a terminal.
func Summary(w io.Writer, entries []Entry) error {
	text := summaryTable(entries, func(s string) string { return s }, (*Record).shortDir) + "\n" + counted(entries) + "\n"
	for _, s := range seriesOf(entries) {
		text += s.text() + "\n"
	}
	if spent := spentText(entries); spent != "" {
		text += spent + "\n"
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// SummaryMarkdown writes summary.md: what Summary has, and for each run that did not pass why, and how to run it again.
// folder is where the file will stand: links to the run directories are relative to it. Where it is empty there is no link.
func SummaryMarkdown(w io.Writer, entries []Entry, folder string) error {
	text := summaryHead(entries, folder) + summaryDetails(entries)
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// summaryHead is the part of summary.md that has every run in a line.
func summaryHead(entries []Entry, folder string) string {
	text := "# discompose: " + counted(entries) + "\n\n" + summaryTable(entries, prose, func(r *Record) string { return r.dirLink(folder) })
	lines := ""
	for _, s := range seriesOf(entries) {
		lines += "- " + prose(s.text()) + "\n"
	}
	if spent := spentText(entries); spent != "" {
		lines += "- " + prose(spent) + "\n"
	}
	if lines != "" {
		text += "\n" + lines
	}
	return text
}

// maxDetails bounds the runs that summary.md explains: a catalogue that fails as a whole is not read run by run.
const maxDetails = 30

// summaryDetails is the part of summary.md about runs that did not pass, or left something behind.
func summaryDetails(entries []Entry) string {
	var b strings.Builder
	told, more := 0, 0
	for i := range entries {
		e := &entries[i]
		if e.Skipped || e.status() == passed && e.Dirty == "" {
			continue
		}
		if told == maxDetails {
			more++
			continue
		}
		told++
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", prose(e.title()), prose(e.outcome()))
		reasons := e.reasons()
		for _, line := range reasons {
			b.WriteString("- " + prose(line) + "\n")
		}
		if len(reasons) > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "```text\n%s\n```\n", strings.ReplaceAll(e.command(), "```", "` ` `"))
	}
	if more > 0 {
		fmt.Fprintf(&b, "\nAnd %s more, in the table above.\n", countOf(more, "run"))
	}
	return b.String()
}

// summaryTable is the table of the runs; foreign writes a text from elsewhere, and dir the run directory of a record.
func summaryTable(entries []Entry, foreign func(string) string, dir func(*Record) string) string {
	head := []string{"scenario", "verdict", "class", ">available", ">recovery", "mutants", ">violations", ">took", ">waiting", "run"}
	seeds := slices.ContainsFunc(entries, func(e Entry) bool { return e.seeded() })
	if seeds {
		head = slices.Insert(head, 1, ">seed")
	}
	t := newTable(head...)
	t.pad = 100
	for i := range entries {
		e := &entries[i]
		class := e.class()
		cells := slices.Repeat([]string{none}, 7)
		if r := e.Record; r != nil {
			for _, f := range r.Run.Fallbacks {
				class += ", " + clean(f, 60)
			}
			j := r.Judgement
			total := 0
			for _, res := range j.Results {
				total += res.Total
			}
			cells = []string{
				availabilityCell(j.Overall), r.recoveryCell(), fmt.Sprintf("%d of %d", j.Convicted, j.Tried), count(total),
				round(r.spent().wall), round(r.spent().waiting), none,
			}
		}
		if r, ok := e.dir(); ok {
			cells[len(cells)-1] = dir(r)
		}
		if e.Dirty != "" {
			class += ", left dirty"
		}
		if e.Before {
			class += ", before"
		}
		row := []string{foreign(clean(e.Scenario, 60))}
		if seeds {
			row = append(row, e.seedCell())
		}
		t.row(append(append(row, e.verdict(), foreign(class)), cells...)...)
	}
	return t.String()
}

// dirLink is the run directory as a Markdown link to its report, or to itself where it has none, for a file in folder.
func (r *Record) dirLink(folder string) string {
	short := code(r.shortDir(), 200)
	if folder == "" {
		return short
	}
	from, err1 := filepath.Abs(folder)
	name := "report.md"
	if r.Judgement.Primary == "" {
		name = ""
	}
	to, err2 := filepath.Abs(filepath.Join(r.Dir, name))
	rel, err3 := filepath.Rel(from, to)
	if err1 != nil || err2 != nil || err3 != nil {
		return short
	}
	return "[" + short + "](" + (&url.URL{Path: filepath.ToSlash(rel)}).EscapedPath() + ")"
}

func availabilityCell(s oracle.Stats) string {
	if s.Invoked == 0 {
		return none
	}
	return percent(s.Available())
}

// recoveryCell is the slowest recovery of a run.
func (r *Record) recoveryCell() string {
	if len(r.Judgement.Windows) == 0 {
		return none
	}
	worst := int64(0)
	for _, w := range r.Judgement.Windows {
		if w.Recovery < 0 {
			return "never"
		}
		worst = max(worst, w.Recovery)
	}
	return length(worst)
}
