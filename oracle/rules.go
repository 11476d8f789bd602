package oracle

import (
	"encoding/json"

	"github.com/discompose/discompose/ledger"
)

// Rules is what a run is judged by: the part of a scenario that a judge needs, stored in run.json so that the run can be
// judged again. Durations are in ns; a nil or zero expectation expects nothing.
type Rules struct {
	Expect       string   `json:"expect"` // "pass" or a class
	Availability *float64 `json:"availability,omitempty"`
	ErrorsOnly   bool     `json:"errors_only_during_faults,omitempty"`
	MaxRecovery  *int64   `json:"max_recovery,omitempty"`
	MinRate      *float64 `json:"min_rate,omitempty"` // acknowledged operations per second inside each window
	Crashes      []string `json:"crashes,omitempty"`  // services that may exit
	// Descriptors is how many more than before the faults a container may hold after them. The runner measures that, and says
	// so in an event where it was more.
	Descriptors *int                    `json:"descriptors,omitempty"`
	Recovery    int64                   `json:"recovery"` // ns after the last heal
	GuardOps    int                     `json:"guard_ops"`
	GuardProbes int                     `json:"guard_probes"`
	SteadyOps   int                     `json:"steady_ops"`
	SteadyFor   int64                   `json:"steady_for"`
	Workloads   map[string]WorkloadRule `json:"workloads"`
	Probes      map[string]ProbeRule    `json:"probes"`
	Faults      map[string]FaultRule    `json:"faults"` // by fault id (not record id)
	Checks      []CheckRule             `json:"checks"`
	Budgets     []BudgetRule            `json:"budgets,omitempty"`
}

// WorkloadRule is what a judge knows of a workload.
type WorkloadRule struct {
	Driver string  `json:"driver"`
	Rate   float64 `json:"rate"`
	// Phases are those of its schedule, from 0 on and in the order of time; none where it has one rate and one mix all the time.
	Phases []PhaseRule `json:"phases,omitempty"`
}

// ProbeRule is what a judge knows of a probe. During is "must-hold", "may-fail" or "must-fail".
type ProbeRule struct {
	During string `json:"during"`
}

// FaultRule is what a judge knows of a fault.
type FaultRule struct {
	Kind       string   `json:"kind"`
	Instant    bool     `json:"instant"`     // its window runs from the call
	Services   []string `json:"services"`    // at which it is aimed
	ObservedBy []string `json:"observed_by"` // workloads and probes whose operations must span its windows; never empty
	Stops      bool     `json:"stops"`       // it makes processes of its services exit: such an exit is no crash
	Line       int      `json:"line"`        // in the scenario
	// Drawn is whether a nemesis drew it: it may end before it comes to this one.
	Drawn bool `json:"drawn,omitempty"`
}

// CheckRule names a checker, what it looks at, and how it judges.
type CheckRule struct {
	Kind     string `json:"kind"`
	Workload string `json:"workload"`
	Timeout  int64  `json:"timeout"` // ns
	// Options are those of its kind, as JSON; empty for the defaults.
	Options json.RawMessage `json:"options,omitempty"`
}

// Judgement is the outcome of a run.
type Judgement struct {
	Verdict  Verdict   `json:"verdict"`
	Primary  Class     `json:"primary"`
	Findings []Finding `json:"findings"`         // every class that the run has, in order of precedence, each with its reason
	Results  []Result  `json:"results"`          // one per check
	Windows  []Window  `json:"windows"`          // one per fault record that had one
	Phases   []Phase   `json:"phases,omitempty"` // of the workloads that have some
	Overall  Stats     `json:"overall"`          // the whole run from the start of the timeline to the end of recovery
	// Mutants that were convicted, and that were tried: not tried and timed out ones do not count.
	Convicted int `json:"convicted"`
	Tried     int `json:"tried"`
}

// Window is what happened around one fault on one target.
type Window struct {
	Fault    ledger.Fault     `json:"fault"`
	From     int64            `json:"from"` // host boot-time clock, ns
	To       int64            `json:"to"`
	Active   *ledger.Witness  `json:"active,omitempty"` // the witness inside
	Gone     *ledger.Witness  `json:"gone,omitempty"`   // the witness after
	Before   map[string]Stats `json:"before"`           // by workload and probe; an interval as long as the window, at most since the timeline's start
	Inside   map[string]Stats `json:"inside"`
	After    map[string]Stats `json:"after"`    // up to the end of recovery or the next window
	Recovery int64            `json:"recovery"` // ns from To to the first success after which no failure came for a second; -1: never
	Guards   []GuardCount     `json:"guards"`
}

// Stats sums up the operations of one workload or probe in one interval.
type Stats struct {
	Invoked int     `json:"invoked"`
	OK      int     `json:"ok"`
	Failed  int     `json:"failed"`
	Unknown int     `json:"unknown"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"` // OK per second
	P50     int64   `json:"p50"`  // ns from the planned instant to completion, of OK operations; 0 without any
	P99     int64   `json:"p99"`
	Max     int64   `json:"max"`
}

// Available is the share of invoked operations that succeeded; 1 without any.
func (s Stats) Available() float64 {
	if s.Invoked == 0 {
		return 1
	}
	return float64(s.OK) / float64(s.Invoked)
}

// GuardCount is one guard: operations that one observer invoked in one part of a window.
type GuardCount struct {
	Observer string `json:"observer"` // a workload, a probe, or "probes" where they count together
	Part     string `json:"part"`     // "before", "inside", "after"
	Count    int    `json:"count"`
	Need     int    `json:"need"`
}
