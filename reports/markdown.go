package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// Markdown writes report.md: the verdict in its first line, then the promise and the numbers, the reasons, the timeline,
// the faults with their witnesses, what the system did around each and in the phases of the workloads, the links, the checks, the violations with what proves them,
// the environment, and how to reproduce the run.
func Markdown(w io.Writer, r *Record) error {
	d := &doc{r: r}
	d.summary()
	d.reasons()
	d.timeline()
	d.faults()
	d.windows()
	d.workloadPhases()
	d.links()
	d.checks()
	d.violations()
	d.errors()
	d.environment()
	d.metrics()
	d.events()
	d.reproduce()
	if _, err := io.WriteString(w, d.b.String()); err != nil {
		return fmt.Errorf("write markdown report: %w", err)
	}
	return nil
}

// doc is a Markdown document in the making.
type doc struct {
	r *Record
	b strings.Builder
}

func (d *doc) printf(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

// para writes a paragraph and the empty line after it; an empty text writes nothing.
func (d *doc) para(text string) {
	if text != "" {
		d.b.WriteString(text + "\n\n")
	}
}

func (d *doc) section(title string) { d.b.WriteString("## " + title + "\n\n") }

// table writes a table and the empty line after it; a table without rows writes nothing.
func (d *doc) table(t *table) {
	if len(t.rows) > 0 {
		d.b.WriteString(t.String() + "\n")
	}
}

// block writes lines as a code block that no line can end.
func (d *doc) block(lines []string) {
	if len(lines) == 0 {
		return
	}
	fence := "```"
	for strings.Contains(strings.Join(lines, "\n"), fence) {
		fence += "`"
	}
	d.b.WriteString(fence + "text\n" + strings.Join(lines, "\n") + "\n" + fence + "\n\n")
}

func (d *doc) summary() {
	r := d.r
	d.para("# " + prose(r.Title()))
	text := "**" + prose(r.outcome()) + "**"
	if r.Run.Description != "" {
		text = prose(r.Run.Description) + " " + text
	}
	d.para(text)
	d.para(d.ranOn())
	for _, f := range r.Run.Fallbacks {
		d.para("> This run used the " + prose(f) + ". `--no-fallback` refuses that.")
	}
	if r.Run.APIOnly != "" {
		d.para("> There was no agent, only the Docker API: " + prose(r.Run.APIOnly))
	}
	for _, p := range r.Problems {
		d.para("> " + strings.TrimSpace(p))
	}
}

// ranOn names what was tested: the images of the services that faults, or their links, aim at, else of all.
func (d *doc) ranOn() string {
	r := d.r
	aimed := map[string]bool{}
	for _, f := range r.Rules.Faults {
		for _, s := range f.Services {
			aimed[s] = s != "" // a group of links goes to several
		}
	}
	for _, l := range r.linkViews() {
		aimed[l.To] = aimed[l.To] || len(l.Faults) > 0
	}
	anyAimed := slices.Contains(slices.Collect(maps.Values(aimed)), true)
	var parts []string
	for _, s := range r.Run.Services {
		if anyAimed && !aimed[s.Name] {
			continue
		}
		image := code(s.Image, 200)
		if s.Fallback != "" {
			image = prose(s.Fallback) + " in place of " + image
		}
		parts = append(parts, prose(s.Name)+" ("+image+")")
	}
	text := ""
	if len(parts) > 0 {
		text = "Target: " + strings.Join(parts, ", ") + ". "
	}
	text += fmt.Sprintf("Seed %d, run %s", r.Run.Seed, code(r.Run.ID, 40))
	if r.Run.Started != "" {
		text += ", started " + prose(r.Run.Started)
	}
	if s := r.seconds(); s > 0 {
		text += fmt.Sprintf(", took %.0f s", s)
	}
	return text + "."
}

func (d *doc) reasons() {
	if len(d.r.Judgement.Findings) == 0 {
		return
	}
	d.section("Why")
	for i, f := range d.r.Judgement.Findings {
		d.printf("%d. **%s**: %s\n", i+1, f.Class, prose(f.Reason))
	}
	d.b.WriteString("\n")
}

func (d *doc) timeline() {
	lines := drawTimeline(d.r)
	if len(lines) == 0 {
		return
	}
	d.section("Timeline")
	d.block(lines)
	var phases []string
	for _, p := range d.r.phases() {
		if p.To > p.From {
			phases = append(phases, prose(p.Name)+" "+length(p.To-p.From))
		}
	}
	if len(phases) > 0 {
		d.para("Phases: " + strings.Join(phases, " · ") + ".")
	}
	d.gates()
}

// gates says of each condition that the run waited for when it held.
func (d *doc) gates() {
	var names []string
	tries, held := map[string]int{}, map[string]int64{}
	for _, g := range d.r.History.Gates {
		if tries[g.Name] == 0 {
			names = append(names, g.Name)
		}
		tries[g.Name]++
		if g.Held {
			held[g.Name] = g.At
		}
	}
	var parts []string
	for _, n := range names {
		text := prose(n) + " **never held**"
		if held[n] != 0 {
			text = prose(n) + " held at " + d.r.offset(held[n], 1)
		}
		parts = append(parts, text+" ("+countOf(tries[n], "evaluation")+")")
	}
	if len(parts) > 0 {
		d.para("Gates: " + strings.Join(parts, " · ") + ".")
	}
}

func (d *doc) faults() {
	views := d.r.faultViews()
	d.section("Faults")
	if len(views) == 0 {
		d.para("No fault was injected.")
		return
	}
	t := newTable("fault", "kind", "target", "mechanism", ">at", ">off plan by", ">window", "witness", "gone", ">recovery")
	for _, v := range views {
		window, recovery := none, none
		if v.Window != nil {
			window, recovery = length(v.Window.To-v.Window.From), length(v.Window.Recovery)
			if v.Window.Recovery < 0 {
				recovery = "never"
			}
		}
		t.row(prose(faultName(v.Fault)), prose(v.Kind), prose(v.Target), prose(d.r.mechanism(v.Fault)),
			d.r.offset(v.begin(), 1), offPlan(v.Fault), window, seenCell(v.Active), seenCell(v.Gone), recovery)
	}
	d.table(t)
	for _, v := range views {
		d.witnesses(v)
	}
	d.b.WriteString("\n")
}

// offPlan is how far the call was from the instant that the plan names.
func offPlan(f ledger.Fault) string {
	if f.Called == 0 || f.Planned == 0 {
		return none
	}
	return fmt.Sprintf("%+.1f ms", float64(f.Called-f.Planned)/1e6)
}

func seenCell(w *ledger.Witness) string {
	if w == nil {
		return "**not seen**"
	}
	return "seen"
}

// witnesses lists what was measured of one fault.
func (d *doc) witnesses(v faultView) {
	name := prose(faultName(v.Fault))
	line := func(what string, w *ledger.Witness) {
		if w == nil {
			d.printf("- **%s** %s: **no witness**\n", name, what)
			return
		}
		d.printf("- **%s** %s at %s: %s\n", name, what, d.r.offset(w.At, 1), prose(witnessText(*w)))
	}
	line("active", v.Active)
	line("gone", v.Gone)
	if v.Error != "" {
		d.printf("- **%s** error: %s\n", name, code(v.Error, 300))
	}
}

// windows shows the operations before, inside and after each fault, and the guards.
func (d *doc) windows() {
	if len(d.r.Judgement.Windows) == 0 {
		return
	}
	d.section("Before, inside and after")
	for _, w := range d.r.Judgement.Windows {
		d.printf("**%s**: %s %s, window %s to %s\n\n", prose(faultName(w.Fault)), prose(w.Fault.Kind), prose(w.Fault.Target),
			d.r.offset(w.From, 1), d.r.offset(w.To, 1))
		t := newTable("observer", "part", ">operations", ">ok", ">failed", ">unknown", ">available", ">ok/s", ">p50", ">p99", ">max")
		for _, name := range d.r.observers(w) {
			for _, part := range []struct {
				name  string
				stats map[string]oracle.Stats
			}{{"before", w.Before}, {"inside", w.Inside}, {"after", w.After}} {
				if s, ok := part.stats[name]; ok {
					t.row(prose(name), part.name, count(s.Invoked), count(s.OK), count(s.Failed), count(s.Unknown), availabilityCell(s),
						rate(s.Rate), latency(s.P50), latency(s.P99), latency(s.Max))
				}
			}
		}
		d.table(t)
	}
	d.para("Latency is counted from the planned instant of an operation to its completion, of those that succeeded.")
	d.guards()
	d.para("Window edges count with a clock error of ±" + length(d.r.Run.ClockErrorNs) + ".")
}

// workloadPhases shows what each workload did in each of its phases.
func (d *doc) workloadPhases() {
	t := newTable("workload", ">from", ">planned/s", ">operations", ">needed", ">ok", ">failed", ">unknown", ">available", ">ok/s", ">p50", ">p99", ">max")
	for _, p := range d.r.Judgement.Phases {
		planned, s := none, p.Stats
		if p.Rate > 0 {
			planned = rate(p.Rate)
		}
		t.row(prose(p.Workload), length(p.From), planned, count(s.Invoked), count(p.Need), count(s.OK), count(s.Failed), count(s.Unknown), availabilityCell(s),
			rate(s.Rate), latency(s.P50), latency(s.P99), latency(s.Max))
	}
	if len(t.rows) == 0 {
		return
	}
	d.section("Phases of the workloads")
	d.table(t)
	d.para("They count from the workload's first operation, which is before the steady state; an operation is of the phase in which it was planned.")
}

func (d *doc) guards() {
	short := newTable("fault", "observer", "part", ">invoked", ">needed")
	least, margin := "", 0.0
	for _, w := range d.r.Judgement.Windows {
		for _, g := range w.Guards {
			if g.Count < g.Need {
				short.row(prose(faultName(w.Fault)), prose(g.Observer), prose(g.Part), count(g.Count), count(g.Need))
			}
			if m := float64(g.Count) / float64(max(g.Need, 1)); least == "" || m < margin {
				margin = m
				least = fmt.Sprintf("%s %s %s: %s of %s needed", g.Observer, g.Part, faultName(w.Fault), count(g.Count), count(g.Need))
			}
		}
	}
	switch {
	case len(short.rows) > 0:
		d.para("**Guards: too few operations, so the windows prove nothing:**")
		d.table(short)
	case least != "":
		d.para("Guards: all met, least margin " + prose(least) + ".")
	}
}
