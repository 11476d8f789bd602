// Package ledger provides the record of a run: the operations that clients invoked, the faults and their witnesses, and
// every other event, in one SQLite file.
//
// All times are int64 nanoseconds on the engine host's boot-time clock (CLOCK_BOOTTIME), as clients and the agent stamp
// them. The package imports nothing of this module.
package ledger

import "strings"

// FormatVersion is the version of the ledger's tables (PRAGMA user_version) and of operation lines ("v"). Format 2 added
// Op.Data; readers take format 1 as well, in which every Data is empty.
const FormatVersion = 2

// Outcome says what is known of an operation after it returned. The zero value is no outcome.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // it took effect
	Failed  Outcome = "fail"    // it surely did not take effect
	Unknown Outcome = "unknown" // it may have taken effect, now or later
)

// Op is one operation of a process: invoked once, completed at most once.
//
// Partition and Offset belong to logs and are -1 where unknown or not meant (Offset also counts, in FuncEnd). Value
// identifies what was written or read: where it has to be unique in the run, it is process << 32 | sequence number from 1.
type Op struct {
	ID        int64   `json:"id,omitempty"` // position in the ledger, from 1; given by the ledger
	Workload  string  `json:"w"`            // workload or probe name
	Process   int     `json:"p"`            // client number, from 0; operations of one process do not overlap, except asynchronous ones
	Func      string  `json:"f"`
	Key       string  `json:"k,omitempty"`
	Value     int64   `json:"x,omitempty"`
	Sum       uint32  `json:"s,omitempty"` // for reads: 0 if the body is what its value derives, else the CRC-32C of the body that came
	Data      string  `json:"d,omitempty"` // what the model needs besides, mostly JSON: see the functions
	Partition int32   `json:"pt"`
	Offset    int64   `json:"o"`
	Planned   int64   `json:"t0"` // instant at which the generator planned it
	Invoke    int64   `json:"t1"` // just before the call
	Complete  int64   `json:"t2"` // just after the return; 0 while it never returned
	Outcome   Outcome `json:"r"`
	Error     string  `json:"e,omitempty"` // for fail and unknown: the error's text, cut to 200 bytes
}

// Declined is the Error of an operation that Failed because the system's regular answer was that it does not apply: a
// compare that did not match, a balance that did not suffice.
const Declined = "declined"

// Served reports whether the system did its work for the operation: it took effect, or was Declined. Rates, latencies and
// availability count both as a success.
func (o *Op) Served() bool {
	return o.Outcome == OK || (o.Outcome == Failed && o.Error == Declined)
}

// Functions of operations, by model. A model's checker (oracle, docs/checkers.md) says what it promises of them; the shapes
// of Data are the types of data.go.
//
// Outcomes, for all of them: OK, it took effect and the answer is the operation's; Failed, it surely did not (refused before
// it was sent, rolled back, or the server said so; Error is Declined where that is a regular answer); Unknown, nobody can tell. An in-run read that failed or is unknown
// says nothing: record it, for availability.
//
// Reads after the run (phase "final") use the model's own reading functions, or FuncRead where it has none, and end with
// FuncEnd: without it the read broke off, and what it did not find proves nothing. A final read that is tried again just
// records its operations again; FuncEnd closes the last attempt. Operations of FuncRead and FuncEnd, and all that are
// invoked in the final phase, count for no rate, latency or availability.
const (
	FuncProbe = "probe" // one evaluation of a probe
	FuncRead  = "read"  // one element found by the final read of a log or a set
	FuncEnd   = "end"   // a final read reached its end; Offset is how much there was: see each model

	// log: partitioned, append-only; Value unique.
	FuncProduce = "produce" // append a record: Partition and Offset as acknowledged. In a transaction: Data is Txn
	FuncPoll    = "poll"    // a group consumer was handed a record, during the run
	FuncAssign  = "assign"  // a group consumer was assigned Partition anew: its position may go back. Optional; where they are recorded, the positions in between must only go on
	FuncCommit  = "commit"  // commit the transaction Data (Txn)
	FuncAbort   = "abort"   // abort the transaction Data (Txn)
	// read: Value at Partition and Offset, from offset 0. end: Offset is the end offset of Partition.

	// set: elements are added, never removed; Value unique.
	FuncAdd  = "add"  // add the element Value
	FuncList = "list" // set: a snapshot read during the run, Data a JSON array of elements. objects: Key a prefix, Data a JSON array of keys
	// read: Value, or 0 with the text in Key where what was found is no number. end: Offset is the number of elements, of the
	// reads of the same process right before it.

	// register: one value per Key. Values above 0, best unique per key: the search for an order is then short.
	FuncWrite  = "write"  // set Key to Value
	FuncGet    = "get"    // read Key: Value, 0 where it is absent. objects: the generation; counter: Value is the count, without Key
	FuncCAS    = "cas"    // set Key to Value if it is Data.From (CAS; 0: absent). OK: swapped. One that was never sent, or never came back, has no Data. A compare that did not match is Failed with Data.Mismatch: an observation that the value was not From
	FuncDelete = "delete" // remove Key; OK whether or not it was there

	// objects: blobs by Key, each put with a generation of its own; the body is derived from key and generation.
	FuncPut  = "put"  // store generation Value (unique per key, above 0), Data Object.Size bytes
	FuncHead = "head" // as get, without a body: Value where the store tells the generation, Data Object.Size; without either, Data Object.Exists
	// get: Value is the generation found, 0 absent; Sum ≠ 0: wrong bytes; Data Object with Size, and Range for a part. delete, list
	// as above. The final read is a get per key, a list, and an end (Offset: objects listed).

	// bank: accounts whose sum never changes.
	FuncTransfer = "transfer" // Data is Transfer. Failed also where the balance did not suffice
	FuncBalances = "balances" // one snapshot of all accounts: Data is a JSON object, account → balance. Record one before the first transfer and one after the last

	// counter.
	FuncInc = "inc" // add Value, which may be negative
	// get: Value. Record one after the last inc.

	// queue: Value unique.
	FuncEnqueue = "enqueue" // put Value in
	FuncDequeue = "dequeue" // take Value out. OK with Value 0: the queue was empty. Unknown with a Value: it was handed over, whether it is gone from the queue nobody knows (its acknowledgement was not answered). Unknown without: nobody knows what
	// The final read is dequeues until the queue is empty, then an end (Offset: how many).

	// unique-ids.
	FuncGenerate = "generate" // Data is the id as text

	// append: transactions over lists, one per key; what is appended is unique per key.
	FuncTxn = "txn" // Data is a JSON array of Mop: as sent, with what the reads found where the outcome is OK. The last ones read every key
)

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
