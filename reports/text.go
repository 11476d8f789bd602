package reports

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/fatih/color"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// Verdict writes the content of the file "verdict": one line, the verdict and its primary class: "PASS degraded".
func Verdict(w io.Writer, r *Record) error {
	line := r.Judgement.Verdict.String()
	if r.Judgement.Primary != "" {
		line += " " + string(r.Judgement.Primary)
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return fmt.Errorf("write verdict: %w", err)
	}
	return nil
}

// TextOptions chooses how the short form looks. The zero value is plain.
type TextOptions struct {
	Color bool // colour the verdict with escape sequences
}

// Text writes the short form that a run prints on stdout when it ends, without colours.
func Text(w io.Writer, r *Record) error { return TextOptions{}.Write(w, r) }

// Write writes the short form: the verdict, the promise and the numbers that carry it, the reasons, a line for each fault,
// each link that one was aimed at, and each check, and where the report is.
func (o TextOptions) Write(w io.Writer, r *Record) error {
	var b strings.Builder
	b.WriteString(o.headline(r) + "\n")
	if r.Run.Description != "" {
		fmt.Fprintf(&b, "  %s\n", wrap(clean(r.Run.Description, maxProse), 2))
	}
	fmt.Fprintf(&b, "  %s\n\n", wrap(r.outcome(), 2))
	line := func(label, text string) { fmt.Fprintf(&b, "  %-9s %s\n", label, wrap(text, 12)) }
	for _, f := range r.Judgement.Findings {
		line("why", string(f.Class)+": "+clean(f.Reason, maxProse))
	}
	for _, v := range r.faultViews() {
		line("fault", r.faultLine(v))
	}
	for _, v := range r.linkViews() {
		if len(v.Faults) > 0 {
			line("link", r.linkLine(v))
		}
	}
	for _, res := range r.Judgement.Results {
		line("check", fmt.Sprintf("%s on %s: %s, %s", res.Check, clean(res.Workload, 80), res.Verdict, violationsText(res)))
	}
	if len(r.Judgement.Results) > 0 {
		line("judge", mutantsText(r.Judgement.Convicted, r.Judgement.Tried))
	}
	for i, v := range r.violations() {
		if i == textViolations {
			line("", "… more in the report")
			break
		}
		line("violation", fmt.Sprintf("%s at %s: %s", v.Class, r.offset(v.At, 3), clean(v.Note, 200)))
	}
	for _, p := range r.Problems {
		line("note", clean(strings.ReplaceAll(p, "`", ""), maxProse))
	}
	if r.Run.Environment.Why != "" {
		line("environ.", r.originText())
	}
	line("seed", fmt.Sprint(r.Run.Seed))
	fmt.Fprintf(&b, "  %-9s %s\n", "report", filepath.Join(r.Dir, "report.md")) // in one piece, to be clicked or copied
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write text report: %w", err)
	}
	return nil
}

// textViolations bounds the violations of the short form.
const textViolations = 3

// wrap breaks a line between words so that it fits textWidth behind an indent; a longer word stays whole.
func wrap(s string, indent int) string {
	var b strings.Builder
	room := textWidth - indent
	for i, word := range strings.Split(s, " ") {
		if i > 0 && room-1-width(word) < 0 {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			room = textWidth - indent
		} else if i > 0 {
			b.WriteByte(' ')
			room--
		}
		b.WriteString(word)
		room -= width(word)
	}
	return b.String()
}

// textWidth is the width that the short form is wrapped to.
const textWidth = 110

func (o TextOptions) headline(r *Record) string {
	title := r.Title()
	if !o.Color {
		return title
	}
	block := map[oracle.Verdict][]color.Attribute{
		oracle.Pass:         {color.Bold, color.FgBlack, color.BgGreen},
		oracle.Fail:         {color.Bold, color.FgHiWhite, color.BgRed},
		oracle.Inconclusive: {color.Bold, color.FgBlack, color.BgYellow},
	}[r.Judgement.Verdict]
	paint, bold := color.New(block...), color.New(color.Bold)
	paint.EnableColor()
	bold.EnableColor()
	verdict := r.Judgement.Verdict.String()
	return paint.Sprint(" "+verdict+" ") + bold.Sprint(strings.TrimPrefix(title, verdict))
}

// faultLine is one fault in one line of plain text.
func (r *Record) faultLine(v faultView) string {
	text := fmt.Sprintf("%s: %s %s at %s", faultName(v.Fault), v.Kind, v.Target, r.offset(v.begin(), 1))
	if v.Window != nil {
		text += " for " + length(v.Window.To-v.Window.From)
	}
	switch {
	case v.Error != "":
		text += "; error: " + clean(v.Error, 200)
	case v.Active == nil:
		text += "; no witness"
	default:
		text += "; witness: " + clean(witnessText(*v.Active), 200)
	}
	if v.Window != nil {
		text += "; " + recoveryText(v.Window.Recovery)
	}
	return clean(text, maxProse)
}

func recoveryText(ns int64) string {
	if ns < 0 {
		return "never recovered"
	}
	return "recovered in " + length(ns)
}

// violations lists the violations of all checks that were kept, oldest first in each check.
func (r *Record) violations() []oracle.Violation {
	var out []oracle.Violation
	for _, res := range r.Judgement.Results {
		out = append(out, res.Violations...)
	}
	return out
}

// opsByID finds operations of the history; unknown ids are left out.
func (r *Record) opsByID(ids []int64) []ledger.Op {
	if r.History == nil {
		return nil
	}
	want := make(map[int64]bool, len(ids))
	for _, id := range ids {
		want[id] = true
	}
	var out []ledger.Op
	for i := range r.History.Ops {
		if want[r.History.Ops[i].ID] {
			out = append(out, r.History.Ops[i])
		}
	}
	return out
}
