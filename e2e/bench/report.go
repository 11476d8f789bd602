package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// bar is one line of the table at the top.
type bar struct {
	what, limit, measured string
	met                   string // "yes", "no", or why there is no answer
}

func yes(met bool) string {
	if met {
		return "yes"
	}
	return "**no**"
}

// table is rows under a head.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// section is what one part of the program found.
type section struct {
	title  string
	text   string // how it was measured; a paragraph
	tables []table
	notes  []string // what the numbers say, one sentence each
}

func (s *section) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// report is docs/BENCHMARKS.md.
type report struct {
	machine  []string
	bars     []bar
	sections []*section
	took     time.Duration
}

func (r *report) bar(what, limit, measured, met string) {
	r.bars = append(r.bars, bar{what, limit, measured, met})
}

// write renders the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`; do not edit. It measures on the machine where it runs, in about ")
	fmt.Fprintf(&b, "%s here, and leaves nothing behind.\n\n", r.took.Round(time.Second))
	top := table{head: []string{"what", "bar", "measured", "met"}}
	for _, x := range r.bars {
		top.add(x.what, x.limit, x.measured, x.met)
	}
	top.write(&b)
	b.WriteString("\n## The machine\n\n")
	for _, m := range r.machine {
		b.WriteString("- " + m + "\n")
	}
	b.WriteString("\nPercentiles are nearest-rank; of fewer than 100 values only the maximum is given. A ratio is that of the medians of two\nseries that were measured in turn (A, B, A, B, …) in one run.\n")
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.title, s.text)
		for _, t := range s.tables {
			b.WriteString("\n")
			t.write(&b)
		}
		if len(s.notes) > 0 {
			b.WriteString("\n")
		}
		for _, n := range s.notes {
			b.WriteString("- " + n + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t table) write(b *strings.Builder) {
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.head)
	b.WriteString("|" + strings.Repeat(" --- |", len(t.head)) + "\n")
	for _, r := range t.rows {
		line(r)
	}
}
