// Package oracle judges a run: pure checkers over the ledger, the verdict and its classes, and the self-test that
// mutates the recorded history.
//
// Every function is a pure function of its arguments and safe for concurrent use. The package imports only the ledger:
// a judge does not touch what it judges.
package oracle

import "slices"

// Verdict of a run or a check. The zero value proves nothing.
type Verdict uint8

// The verdicts.
const (
	Inconclusive Verdict = iota
	Pass
	Fail
)

// String is the verdict as reports write it.
func (v Verdict) String() string {
	switch v {
	case Inconclusive:
		return "INCONCLUSIVE"
	case Pass:
		return "PASS"
	case Fail:
		return "FAIL"
	}
	return "INVALID"
}

// MarshalText writes the verdict in lower case: "pass", "fail", "inconclusive".
func (v Verdict) MarshalText() ([]byte, error) {
	return []byte(map[Verdict]string{Inconclusive: "inconclusive", Pass: "pass", Fail: "fail"}[v]), nil
}

// UnmarshalText reads what MarshalText writes; anything else is Inconclusive.
func (v *Verdict) UnmarshalText(text []byte) error {
	*v = map[string]Verdict{"pass": Pass, "fail": Fail}[string(text)]
	return nil
}

// Class says why a verdict is what it is.
type Class string

// The classes, by verdict, in the order in which one becomes the primary class.
const (
	DataLoss        Class = "data-loss"
	Corruption      Class = "corruption"
	Resurrected     Class = "resurrected"
	Duplicate       Class = "duplicate"
	Order           Class = "order"
	Stale           Class = "stale"
	Phantom         Class = "phantom"
	NotLinearizable Class = "not-linearizable"
	Invariant       Class = "invariant"
	Crash           Class = "crash"
	Leak            Class = "leak"
	Hang            Class = "hang"
	Unavailable     Class = "unavailable"
	Unexpected      Class = "unexpected"

	NoSteadyState  Class = "no-steady-state"
	NoWitness      Class = "no-witness"
	TooFewOps      Class = "too-few-operations"
	CheckerUnknown Class = "checker-unknown"
	JudgeUnproven  Class = "judge-unproven"
	NotSupported   Class = "not-supported"
	ForeignChange  Class = "foreign-change"
	AgentLost      Class = "agent-lost"
	Interrupted    Class = "interrupted"
	AsExpected     Class = "as-expected"
	Degraded       Class = "degraded"
	Clean          Class = "clean"
)

// Classes lists every class in the order of precedence: the first one that a run has is its primary class.
func Classes() []Class {
	return []Class{
		DataLoss, Corruption, Resurrected, Duplicate, Order, Stale, Phantom, NotLinearizable, Invariant, Crash, Leak, Hang, Unavailable, Unexpected,
		NoSteadyState, NoWitness, TooFewOps, CheckerUnknown, JudgeUnproven, NotSupported, ForeignChange, AgentLost, Interrupted,
		AsExpected, Degraded, Clean,
	}
}

// Verdict is the verdict that a class belongs to; an unknown class is Inconclusive.
func (c Class) Verdict() Verdict {
	i := slices.Index(Classes(), c)
	switch {
	case i < 0:
		return Inconclusive
	case i <= slices.Index(Classes(), Unexpected):
		return Fail
	case i <= slices.Index(Classes(), Interrupted):
		return Inconclusive
	}
	return Pass
}

// Finding is one reason for a verdict.
type Finding struct {
	Class  Class  `json:"class"`
	Reason string `json:"reason"` // one sentence for the report
}

// Merge joins verdicts: any Fail fails; nothing at all, or anything unproven, is Inconclusive; else Pass.
func Merge(vs ...Verdict) Verdict {
	switch {
	case slices.Contains(vs, Fail):
		return Fail
	case len(vs) == 0 || slices.Contains(vs, Inconclusive):
		return Inconclusive
	}
	return Pass
}

// Violation is a counterexample: a broken promise and the operations that prove it.
type Violation struct {
	Class   Class   `json:"class"`
	Promise string  `json:"promise"` // "an acknowledged record appears exactly once"
	Note    string  `json:"note"`    // what was seen, for people
	Ops     []int64 `json:"ops"`     // ids of the operations in the ledger, oldest first, never empty
	At      int64   `json:"at"`      // when it happened, as near as the history tells; host boot-time clock, ns
}

// Result is what one checker found.
type Result struct {
	Check      string           `json:"check"`    // "log"
	Workload   string           `json:"workload"` // what it looked at
	Verdict    Verdict          `json:"verdict"`
	Counts     map[string]int64 `json:"counts"`          // "acknowledged", "delivered", "failed", "unknown", …
	Times      map[string]int64 `json:"times,omitempty"` // statistics in ns: "visible_p99"
	Violations []Violation      `json:"violations"`      // at most MaxViolations, oldest first
	Total      int              `json:"total"`           // violations found, also those not kept
	Findings   []Finding        `json:"findings"`        // classes with reasons; empty on Pass
	Mutants    []Mutant         `json:"mutants"`         // the self-test of the judge

	Attachments []Attachment `json:"attachments,omitempty"` // for people, at most MaxAttachments
}

// Attachment is a file that shows a violation. Whoever judges a run saves it beside the judgement.
type Attachment struct {
	Name string `json:"name"` // a file name: letters, digits, "-", "_" and "."
	What string `json:"what"` // for people: "the operations on key a, and how far an order of them goes"
	Body []byte `json:"-"`    // set by Judge; empty in a judgement that was read

	draw func() ([]byte, error) // makes the body; the self-test needs none
}

// MaxAttachments bounds the attachments of a result.
const MaxAttachments = 3

// MaxViolations bounds the violations that a result keeps.
const MaxViolations = 100

// MutantFate says what a checker did with a mutant.
type MutantFate string

// The fates of a mutant. Only a survivor makes a run inconclusive.
const (
	Convicted MutantFate = "convicted" // the checker found it, with its class, naming an operation that was mutated
	Survived  MutantFate = "survived"
	NotTried  MutantFate = "not tried" // no operation of the history is eligible
	TimedOut  MutantFate = "timed out"
)

// Mutant is one illegal change of the recorded history that the checker was given.
type Mutant struct {
	Name  string     `json:"name"`  // "lost acknowledged record"
	Class Class      `json:"class"` // with which it must be convicted
	Fate  MutantFate `json:"fate"`
	Note  string     `json:"note,omitempty"` // what was changed
}
