// Package ledger provides the record of a run: the operations that clients invoked, the faults and their witnesses, and
// every other event, in one SQLite file.
//
// All times are int64 nanoseconds on the engine host's boot-time clock (CLOCK_BOOTTIME), as clients and the agent stamp
// them. The package imports nothing of this module.
package ledger

import "strings"

// FormatVersion is the version of the ledger's tables (PRAGMA user_version) and of operation lines ("v").
const FormatVersion = 1

// Outcome says what is known of an operation after it returned. The zero value is no outcome.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // it took effect
	Failed  Outcome = "fail"    // it surely did not take effect
	Unknown Outcome = "unknown" // it may have taken effect, now or later
)

// Functions of operations. Drivers of later versions add theirs.
const (
	FuncProduce = "produce" // a record is appended to a log
	FuncPoll    = "poll"    // a group consumer was handed a record, during the run
	FuncRead    = "read"    // a record found by the final read from offset 0
	FuncProbe   = "probe"   // one evaluation of a probe
	FuncEnd     = "end"     // the final read of one partition reached its end: Offset is the end offset
)

// Op is one operation of a process: invoked once, completed at most once.
//
// Partition and Offset belong to logs and are -1 where unknown or not meant. Value identifies what was written or
// read: for a log it is unique in the run, producer process << 32 | sequence number from 1.
type Op struct {
	ID        int64   `json:"id,omitempty"` // position in the ledger, from 1; given by the ledger
	Workload  string  `json:"w"`            // workload or probe name
	Process   int     `json:"p"`            // client number, from 0; operations of one process do not overlap, except asynchronous ones
	Func      string  `json:"f"`
	Key       string  `json:"k,omitempty"`
	Value     int64   `json:"x,omitempty"`
	Sum       uint32  `json:"s,omitempty"` // for reads: 0 if the body is what its value derives, else the CRC-32C of the body that came
	Partition int32   `json:"pt"`
	Offset    int64   `json:"o"`
	Planned   int64   `json:"t0"` // instant at which the generator planned it
	Invoke    int64   `json:"t1"` // just before the call
	Complete  int64   `json:"t2"` // just after the return; 0 while it never returned
	Outcome   Outcome `json:"r"`
	Error     string  `json:"e,omitempty"` // for fail and unknown: the error's text, cut to 200 bytes
}

// The phases of a run that reports and guards cut the history by.
const (
	PhaseSetup    = "setup"
	PhaseSteady   = "steady"   // waiting for the steady state
	PhaseTimeline = "timeline" // t = 0 is its start
	PhaseRecovery = "recovery"
	PhaseDrain    = "drain"
	PhaseFinal    = "final"
)

// Fault is one fault of the timeline on one target. Instants are 0 where they were not reached.
type Fault struct {
	Record    string `json:"record"` // record id
	ID        string `json:"id"`     // the fault's id in the scenario
	Kind      string `json:"kind"`
	Target    string `json:"target"`
	Container string `json:"container"`
	Mechanism string `json:"mechanism"`
	Planned   int64  `json:"planned"`   // instant that the plan names
	Called    int64  `json:"called"`    // just before the call
	Applied   int64  `json:"applied"`   // the call answered
	Confirmed int64  `json:"confirmed"` // the witness was seen
	Released  int64  `json:"released"`  // just before the undo
	Gone      int64  `json:"gone"`      // the witness was seen to be gone
	Settled   int64  `json:"settled"`   // instantaneous kinds: the target is ready again
	Error     string `json:"error,omitempty"`
}

// OnLink reports whether the fault's target is a link or a group of links: then it has no container.
func (f Fault) OnLink() bool { return strings.Contains(f.Target, linkArrow) }

// Window is the interval in which the fault counts as active: from the confirmed witness (kinds with `for`) or from the
// call (instantaneous kinds) to the start of the undo, or to when the target was ready again.
func (f Fault) Window(instant bool) (from, to int64, ok bool) {
	if instant {
		to = f.Released
		return f.Called, to, f.Called > 0 && to > f.Called
	}
	return f.Confirmed, f.Released, f.Confirmed > 0 && f.Released > f.Confirmed
}

// Witness is one measurement that a fault was active, or gone.
type Witness struct {
	Record string  `json:"record"`
	Active bool    `json:"active"`
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Note   string  `json:"note"`
	At     int64   `json:"at"`
}

// Event is anything else that happened: the engine's container events, phases, notes of the runner.
type Event struct {
	At      int64  `json:"at"`
	Source  string `json:"source"`            // "docker", "runner", "agent", "client"
	Type    string `json:"type"`              // docker: "die", "start", "oom" …; runner: "phase", "note", "clock"; agent: the constants below
	Service string `json:"service,omitempty"` // or the name of a link
	Detail  string `json:"detail,omitempty"`
}

// The events of source "agent" that a judge or a report tells of.
const (
	EventForeignChange = "foreign-change" // somebody else changed a toxic
	EventLinkReset     = "link-reset"     // the guard closed connections of a link
	EventNetLost       = "net-lost"       // what serves links and cuts has ended, and all of them with it
)

// Gate is one evaluation of a condition that the run waited for.
type Gate struct {
	At   int64  `json:"at"`
	Name string `json:"name"`
	Held bool   `json:"held"`
	Note string `json:"note,omitempty"`
}
