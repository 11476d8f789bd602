package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// DocumentSchema is the version of report.json. Within one version fields are added, never renamed, retyped or removed;
// readers ignore what they do not know.
const DocumentSchema = 1

// Document is report.json. Lists are never null. Instants are ns on the engine host's boot-time clock, as in the ledger,
// unless a field says otherwise; fields that end in "_s" are seconds from the start of the timeline.
type Document struct {
	Schema   int              `json:"schema"` // DocumentSchema
	Verdict  oracle.Verdict   `json:"verdict"`
	Primary  oracle.Class     `json:"primary"`  // the class that gives the verdict
	Title    string           `json:"title"`    // first line of the report
	Outcome  string           `json:"outcome"`  // one sentence with the numbers that carry the verdict
	Findings []oracle.Finding `json:"findings"` // every class with its reason, gravest first
	Fallback []string         `json:"fallback"` // "embedded broker, not Apache Kafka"; empty where the real images ran

	Run     ledger.Run      `json:"run"`
	Seconds float64         `json:"seconds"` // the whole run
	Faults  []DocumentFault `json:"faults"`  // in the order of time, also those that never had a window

	Links   []DocumentLink  `json:"links"`           // what was routed, sorted by name
	Windows []oracle.Window `json:"windows"`         // operations before, inside and after each fault, with the guards
	Phases  []oracle.Phase  `json:"workload_phases"` // of the workloads that have some
	Checks  []oracle.Result `json:"checks"`          // counts, violations, mutants of each check
	Mutants DocumentMutants `json:"mutants"`         // over all checks
	Stats   oracle.Stats    `json:"stats"`           // from the start of the timeline to the end of recovery
	Share   *float64        `json:"availability"`    // of Stats; null where no operation was invoked
	Errors  []ErrorGroup    `json:"errors"`          // the most frequent texts of failed operations
	Other   int             `json:"other_errors"`    // failed operations with other texts
	Ops     []ledger.Op     `json:"operations"`      // those that violations name
	Events  []DocumentEvent `json:"events"`          // of containers and the runner, since the start of the timeline
	Notes   []string        `json:"problems"`        // parts of the run directory that are missing
}

// DocumentFault is one fault on one target.
type DocumentFault struct {
	ledger.Fault
	AtS     *float64        `json:"at_s"`       // when it was called; null where it never was
	OffPlan *float64        `json:"off_plan_s"` // called minus planned
	WindowS *float64        `json:"window_s"`   // length of the window; null without one
	Active  *ledger.Witness `json:"witness"`    // null where it was not seen
	Gone    *ledger.Witness `json:"witness_gone"`
	Healed  *float64        `json:"recovery_s"` // seconds from the window's end until the system worked again; null: never, or no window
}

// DocumentMutants is the self-test of the judge.
type DocumentMutants struct {
	Convicted int `json:"convicted"`
	Tried     int `json:"tried"`
}

// DocumentEvent is an event with its place on the timeline.
type DocumentEvent struct {
	ledger.Event
	AtS float64 `json:"at_s"`
}

// NewDocument makes the content of report.json.
func NewDocument(r *Record) Document {
	j := r.Judgement
	d := Document{
		Schema: DocumentSchema, Verdict: j.Verdict, Primary: j.Primary, Title: r.Title(), Outcome: r.outcome(),
		Findings: list(j.Findings), Fallback: list(r.Run.Fallbacks), Run: r.Run, Seconds: r.seconds(), Faults: []DocumentFault{}, Links: []DocumentLink{},
		Windows: list(j.Windows), Phases: list(j.Phases), Checks: list(j.Results), Mutants: DocumentMutants{j.Convicted, j.Tried},
		Stats: j.Overall, Events: []DocumentEvent{}, Notes: list(r.Problems),
	}
	groups, rest := r.errorGroups()
	d.Errors, d.Other = list(groups), rest
	if j.Overall.Invoked > 0 {
		d.Share = new(j.Overall.Available())
	}
	d.Run.Args, d.Run.Services, d.Run.Phases = list(d.Run.Args), list(d.Run.Services), list(d.Run.Phases)
	d.Checks = slices.Clone(d.Checks)
	for i := range d.Checks {
		c := &d.Checks[i]
		c.Violations, c.Findings, c.Mutants = list(c.Violations), list(c.Findings), list(c.Mutants)
	}
	for _, v := range r.faultViews() {
		d.Faults = append(d.Faults, r.documentFault(v))
	}
	for _, v := range r.linkViews() {
		d.Links = append(d.Links, r.documentLink(v))
	}
	var ids []int64
	for _, v := range r.violations() {
		ids = append(ids, v.Ops...)
	}
	d.Ops = list(r.opsByID(ids))
	if r.History != nil {
		for _, e := range r.History.Events {
			if telling(e) && e.At >= r.origin() {
				d.Events = append(d.Events, DocumentEvent{e, r.sinceOrigin(e.At)})
			}
		}
	}
	return d
}

// list is s, or an empty list in place of nil.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (r *Record) sinceOrigin(at int64) float64 { return float64(at-r.origin()) / 1e9 }

func (r *Record) documentFault(v faultView) DocumentFault {
	out := DocumentFault{Fault: v.Fault, Active: v.Active, Gone: v.Gone}
	if v.Called != 0 {
		out.AtS = new(r.sinceOrigin(v.Called))
	}
	if v.Called != 0 && v.Planned != 0 {
		out.OffPlan = new(float64(v.Called-v.Planned) / 1e9)
	}
	if v.Window != nil {
		out.WindowS = new(float64(v.Window.To-v.Window.From) / 1e9)
		if v.Window.Recovery >= 0 {
			out.Healed = new(float64(v.Window.Recovery) / 1e9)
		}
	}
	return out
}

// JSON writes report.json: a Document, indented.
func JSON(w io.Writer, r *Record) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(NewDocument(r)); err != nil {
		return fmt.Errorf("write json report: %w", err)
	}
	return nil
}
