package reports

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

func (d *doc) environment() {
	d.section("Environment")
	run := d.r.Run
	t := newTable("service", "image", "digest", ">replicas", "served by")
	for _, s := range run.Services {
		served := "its image"
		if s.Fallback != "" {
			served = "**" + prose(s.Fallback) + "** (discompose itself)"
		}
		t.row(prose(s.Name), code(s.Image, 200), code(s.Digest, 200), fmt.Sprint(max(s.Replicas, 1)), served)
	}
	d.table(t)
	e := run.Engine
	d.printf("- Docker %s (API %s) on %s/%s, kernel %s, cgroup v%s, storage %s, %s, %s memory\n", or(e.Version), or(e.API), or(e.OS), or(e.Arch),
		or(e.Kernel), or(e.Cgroup), or(e.Storage), countOf(e.CPUs, "CPU"), bytesText(e.Memory))
	d.printf("- discompose %s\n", or(run.Version))
	if run.Attached {
		d.printf("- Attached to the running project %s: nothing was created or removed in it\n", code(run.Project, 100))
	} else if run.Project != "" {
		d.printf("- Project %s, environment: %s\n", code(run.Project, 100), prose(d.r.originText()))
	}
	for _, c := range run.Isolation {
		d.printf("- Isolation: %s\n", prose(c))
	}
	d.b.WriteString("\n")
}

// or is foreign text in a sentence, or a word for its absence.
func or(s string) string { return prose(cmp.Or(s, "unknown")) }

// maxEvents bounds the events that are shown.
const maxEvents = 30

// telling reports whether an event belongs into a report: what containers went through, and notes of the runner.
func telling(e ledger.Event) bool {
	switch e.Source {
	case "docker":
		verb, _, _ := strings.Cut(e.Type, ":")
		return slices.Contains([]string{"die", "oom", "start", "restart", "kill", "stop", "pause", "unpause", "destroy", "health_status"}, verb)
	case "runner":
		return e.Type != "phase" && e.Type != "clock"
	case "agent":
		if slices.Contains([]string{ledger.EventForeignChange, ledger.EventLinkReset, ledger.EventNetLost}, e.Type) {
			return true
		}
	}
	return e.Type == "note" || e.Type == "warning"
}

func eventWho(e ledger.Event) string { return cmp.Or(e.Service, e.Source) }

func eventText(e ledger.Event) string {
	if e.Source != "docker" {
		return clean(cmp.Or(e.Detail, e.Type), 200)
	}
	return clean(strings.TrimSpace(e.Type+" "+e.Detail), 200)
}

func (d *doc) events() {
	if d.r.History == nil {
		return
	}
	t := newTable(">at", "service", "event")
	rest := 0
	for _, e := range d.r.History.Events {
		if !telling(e) || e.At < d.r.origin() {
			continue
		}
		if len(t.rows) == maxEvents {
			rest++
			continue
		}
		t.row(d.r.offset(e.At, 1), prose(eventWho(e)), prose(eventText(e)))
	}
	if len(t.rows) == 0 {
		return
	}
	d.section("Events since the start of the timeline")
	d.table(t)
	if rest > 0 {
		d.para("And " + countOf(rest, "more event") + " in the ledger.")
	}
}

// fileNotes says what the files of a run directory are.
func fileNotes() [][2]string {
	return [][2]string{
		{"scenario.toml", "the scenario, verbatim"},
		{"plan.txt", "what the run set out to do"},
		{"compose.rendered.yaml", "the Compose file as it ran"},
		{"env.json", "arguments, versions, image digests"},
		{"run.json", "what the run was, and the rules it is judged by"},
		{"journal.jsonl", "every fault and what undoes it"},
		{"ledger.sqlite", "every operation, fault, witness and event"},
		{"events.jsonl", "what the engine, the agent and the clients told, one line each"},
		{"judgement.json", "the verdict with every check and window"},
		{"report.json", "this report for machines"},
		{"junit.xml", "the verdict as a test case, for CI"},
		{"logs/", "every service's log"},
		{"metrics/", "container metrics before, during and after"},
		{"commands/", "commands that were run, with their output"},
	}
}

// isReport reports whether a file is written together with the report, so that it need not be there yet.
func isReport(name string) bool {
	return slices.ContainsFunc(Formats(), func(f Format) bool { return f.File == name })
}

func (d *doc) reproduce() {
	d.section("Reproduce")
	run := d.r.Run
	d.block([]string{
		(&Entry{Scenario: run.Scenario, File: d.r.file(), Record: d.r}).command(),
		"discompose check " + shellQuote(clean(d.r.shortDir(), 300)),
	})
	d.para("The first runs the scenario again with the same targets, times and keys; the second judges the recorded history again.")
	if len(run.Args) > 0 {
		quoted := make([]string, 0, len(run.Args))
		for _, a := range run.Args {
			quoted = append(quoted, shellQuote(clean(a, 300)))
		}
		if filepath.Base(run.Args[0]) != "discompose" {
			quoted = append([]string{"discompose"}, quoted...)
		}
		d.para("Called as " + code(strings.Join(quoted, " "), 1000) + ".")
	}
	t := newTable("file in "+code(d.r.shortDir(), 200), "what it is")
	for _, f := range fileNotes() {
		if slices.Contains(d.r.Files, f[0]) || len(d.r.Files) > 0 && isReport(f[0]) {
			t.row("`"+f[0]+"`", f[1])
		}
	}
	d.table(t)
}
