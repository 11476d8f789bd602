package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

const (
	maxViolations   = 10              // shown in full
	maxViolationOps = 12              // operations of one violation
	aroundLogs      = 5               // log lines around one violation
	aroundWithin    = 2 * time.Second // what counts as around
)

func (d *doc) checks() {
	d.section("Checks")
	d.para("The scenario expects: " + strings.Join(d.expectations(), "; ") + ".")
	if len(d.r.Judgement.Results) == 0 {
		d.para("The scenario has no check of its data; availability and probes alone were judged.")
		return
	}
	for _, res := range d.r.Judgement.Results {
		convicted, tried := tally(res.Mutants)
		d.para(fmt.Sprintf("**%s** on %s: **%s**, %s; self-test of the judge: %s.", prose(res.Check), prose(res.Workload), res.Verdict,
			violationsText(res), mutantsText(convicted, tried)))
		counts := newTable(">count", "of records or operations")
		for _, k := range countKeys(res.Counts) {
			counts.row(count(res.Counts[k]), prose(strings.ReplaceAll(k, "_", " ")))
		}
		d.table(counts)
		if text := timesText(res.Times); text != "" {
			d.para("Times: " + text + ".")
		}
		for _, f := range res.Findings {
			d.printf("- **%s**: %s\n", f.Class, prose(f.Reason))
		}
		if len(res.Findings) > 0 {
			d.b.WriteString("\n")
		}
		t := newTable("mutant of the recorded history", "must be convicted as", "fate", "what was changed")
		for _, m := range res.Mutants {
			fate := string(m.Fate)
			if m.Fate == oracle.Survived {
				fate = "**" + fate + "**"
			}
			t.row(prose(m.Name), prose(string(m.Class)), fate, prose(cut(cmp.Or(m.Note, none), 160)))
		}
		d.table(t)
		for _, a := range res.Attachments {
			d.para(fmt.Sprintf("[%s](%s): %s.", prose(a.Name), a.Name, prose(a.What)))
		}
	}
}

// timesText are the statistics of a check, by name.
func timesText(times map[string]int64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(times)) {
		parts = append(parts, prose(strings.ReplaceAll(k, "_", " "))+" "+length(times[k]))
	}
	return strings.Join(parts, ", ")
}

// expectations are the rules that the run was judged by, besides its checks.
func (d *doc) expectations() []string {
	rules := d.r.Rules
	parts := []string{prose(cmp.Or(rules.Expect, "pass"))}
	if rules.Availability != nil {
		parts = append(parts, "at least "+percent(*rules.Availability)+" of operations succeed")
	}
	if rules.Descriptors != nil {
		parts = append(parts, fmt.Sprintf("at most %d descriptors more in a container than before the faults", *rules.Descriptors))
	}
	if rules.MinRate != nil {
		parts = append(parts, "at least "+rate(*rules.MinRate)+" ok/s inside each window")
	}
	for _, b := range rules.Budgets {
		parts = append(parts, prose(b.String()))
	}
	if rules.ErrorsOnly {
		parts = append(parts, "errors only in a fault's window or recovery")
	}
	if rules.MaxRecovery != nil {
		parts = append(parts, "recovery within "+length(*rules.MaxRecovery))
	}
	if rules.Recovery > 0 {
		parts = append(parts, "everything works again "+length(rules.Recovery)+" after the last fault at the latest")
	}
	if len(rules.Crashes) > 0 {
		parts = append(parts, "services that may exit: "+prose(strings.Join(rules.Crashes, ", ")))
	}
	return parts
}

// tally counts the mutants that were convicted and that were tried.
func tally(ms []oracle.Mutant) (convicted, tried int) {
	for _, m := range ms {
		switch m.Fate {
		case oracle.Convicted:
			convicted++
			tried++
		case oracle.Survived:
			tried++
		case oracle.NotTried, oracle.TimedOut:
		}
	}
	return convicted, tried
}

func (d *doc) violations() {
	all := d.r.violations()
	if len(all) == 0 {
		return
	}
	d.section("Violations")
	total := 0
	for _, res := range d.r.Judgement.Results {
		total += res.Total
	}
	for i, v := range all[:min(len(all), maxViolations)] {
		d.violation(i+1, v)
	}
	if rest := total - min(len(all), maxViolations); rest > 0 {
		d.para(fmt.Sprintf("And %s; report.json has the first %d of each check.", countOf(rest, "more violation"), oracle.MaxViolations))
	}
}

// violation shows one counterexample: the promise, what was seen, the operations that prove it, and what else happened
// at that time.
func (d *doc) violation(n int, v oracle.Violation) {
	d.printf("### %d. %s at %s\n\n", n, v.Class, d.r.offset(v.At, 3))
	d.para("Broken promise: " + prose(v.Promise) + ".")
	d.para(prose(v.Note))
	d.operations(v.Ops)
	var names []string
	for _, f := range d.r.activeAt(v.At) {
		names = append(names, fmt.Sprintf("%s (%s %s)", prose(faultName(f.Fault)), prose(f.Kind), prose(f.Target)))
	}
	if len(names) > 0 {
		d.para("Active at that instant: " + strings.Join(names, ", ") + ".")
	} else if last, ok := d.r.lastBefore(v.At); ok {
		d.para(fmt.Sprintf("No fault was active at that instant; %s was gone %s before.", prose(faultName(last.Fault)), length(v.At-last.end())))
	} else {
		d.para("No fault was active at that instant, nor before it.")
	}
	d.block(d.around(v.At))
}

func (d *doc) operations(ids []int64) {
	ops := d.r.opsByID(ids)
	if len(ops) == 0 {
		var texts []string
		for _, id := range ids[:min(len(ids), maxViolationOps)] {
			texts = append(texts, fmt.Sprint(id))
		}
		if len(texts) > 0 {
			d.para("Operations in the ledger: " + strings.Join(texts, ", ") + ".")
		}
		return
	}
	shown := ops[:min(len(ops), maxViolationOps)]
	withData := slices.ContainsFunc(shown, func(o ledger.Op) bool { return o.Data != "" })
	row := func(cells ...string) []string {
		if !withData {
			return slices.Delete(cells, 5, 6)
		}
		return cells
	}
	t := newTable(row(">op", "by", "what", "key", "value", "data", ">partition", ">offset", ">invoked", ">took", "outcome", "error")...)
	for _, o := range shown {
		t.row(row(fmt.Sprint(o.ID), fmt.Sprintf("%s/%d", prose(o.Workload), o.Process), prose(o.Func), code(o.Key, 60), valueCell(o), code(o.Data, 100),
			position(int64(o.Partition)), position(o.Offset), d.r.offset(o.Invoke, 3), took(o), string(o.Outcome), code(o.Error, 160))...)
	}
	d.table(t)
	if rest := len(ops) - maxViolationOps; rest > 0 {
		d.para("And " + countOf(rest, "more operation") + ".")
	}
}

// valueCell writes a value, of a log as its producer and sequence number, and a checksum that does not belong to it.
func valueCell(o ledger.Op) string {
	log := slices.Contains([]string{ledger.FuncProduce, ledger.FuncPoll, ledger.FuncRead}, o.Func)
	text := fmt.Sprint(o.Value)
	switch {
	case o.Value == 0 && o.Sum == 0:
		return none
	case o.Value == 0:
		text = "unknown"
	case log || o.Value>>32 > 0:
		text = fmt.Sprintf("%d:%d", o.Value>>32, o.Value&(1<<32-1))
	}
	if o.Sum != 0 {
		text += fmt.Sprintf(" (body %08x)", o.Sum)
	}
	return text
}

func position(n int64) string {
	if n < 0 {
		return none
	}
	return fmt.Sprint(n)
}

func took(o ledger.Op) string {
	if o.Complete == 0 {
		return "never returned"
	}
	return length(o.Complete - o.Invoke)
}

// around joins, in the order of time, the log lines, container events and fault transitions next to an instant.
func (d *doc) around(at int64) []string {
	type entry struct {
		at        int64
		who, text string
	}
	var entries []entry
	for _, l := range d.r.logsAround(d.r.wall(at), aroundWithin, aroundLogs) {
		entries = append(entries, entry{d.r.boot(l.At), l.Service, clean(l.Text, 200)})
	}
	if len(entries) == 0 && d.r.Run.BaseWall == 0 && len(d.r.LogServices) > 0 {
		d.para("Log lines cannot be placed: the run has no mapping of the host's clocks.")
	}
	near := func(t int64) bool { return t != 0 && time.Duration(t-at).Abs() <= aroundWithin }
	if d.r.History != nil {
		for _, e := range d.r.History.Events {
			if near(e.At) && telling(e) {
				entries = append(entries, entry{e.At, eventWho(e), eventText(e)})
			}
		}
	}
	for _, v := range d.r.faultViews() {
		for _, step := range []struct {
			at   int64
			text string
		}{{v.Called, "called"}, {v.Confirmed, "witness seen"}, {v.Released, "undo begins"}, {v.Fault.Gone, "gone"}} {
			if near(step.at) {
				entries = append(entries, entry{step.at, "fault", faultName(v.Fault) + ": " + step.text})
			}
		}
	}
	if len(entries) == 0 {
		return nil
	}
	entries = append(entries, entry{at, ">>>", "the violation"})
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	lines := make([]string, 0, len(entries))
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("%10s  %-10s  %s", d.r.offset(e.at, 3), clean(e.who, 30), e.text))
	}
	return lines
}

// errors shows availability over the run and what failed, grouped by the errors' texts.
func (d *doc) errors() {
	d.section("Availability and errors")
	o := d.r.Judgement.Overall
	if o.Invoked == 0 {
		d.para("No operation was invoked on the timeline.")
	} else {
		d.para(fmt.Sprintf("From the start of the timeline to the end of recovery %s of %s succeeded (%s failed, %s unknown), %s ok/s, p50 %s, p99 %s, max %s.",
			percent(o.Available()), countOf(o.Invoked, "operation"), count(o.Failed), count(o.Unknown), rate(o.Rate), latency(o.P50), latency(o.P99), latency(o.Max)))
	}
	groups, rest := d.r.errorGroups()
	t := newTable(">count", "of", "outcome", "error", ">first", ">last", ">in a fault's window or recovery")
	for _, g := range groups {
		t.row(count(g.Count), prose(g.Workload), string(g.Outcome), code(g.Error, 200), d.r.offset(g.First, 1), d.r.offset(g.Last, 1), count(g.Inside))
	}
	d.table(t)
	if rest > 0 {
		d.para("And " + countOf(rest, "more error") + " with other texts.")
	}
}
