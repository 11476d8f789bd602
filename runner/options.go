package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// Options is what a run is given. Scenario, Kinds, Observe and Log are required.
type Options struct {
	Scenario *scenarios.Scenario
	Kinds    []faults.Spec
	RunsDir  string        // "runs" where empty
	Keep     bool          // leave the environment up after the run
	Pull     string        // "missing" (default), "always", "never"
	Fallback bool          // a shipped environment may use its embedded default
	NoAgent  bool          // use the Docker API alone, as where the engine refuses the agent
	Timeout  time.Duration // of the whole run, heal and teardown included; 0: none
	// ToxiproxyAPI is where Toxiproxy's API is opened to people, "127.0.0.1:8474"; empty: nowhere.
	ToxiproxyAPI string
	Version      string
	Digest       string   // of the scenario (see Digest), for run.json
	Args         []string // the command line, for run.json and the report
	Observe      func(Event)
	Log          *slog.Logger
	// Take is an environment that an earlier run has left up, for this one to use; nil: none. Run uses it up in any case.
	Take *Lent
	// Lend is asked, once the run has passed and before its environment is taken down, whether another run wants that; then
	// Outcome.Lent has it. nil: none does.
	Lend func() bool
	// Fresh says why the environment is started afresh though there was an earlier one; empty where there was none.
	Fresh string
	// Image is the way to the image of agent and clients that the runs of one call share; nil: the run's own.
	Image *ImageOnce
	// Hurry ends when the user no longer wants to wait for the report (a second SIGINT); nil never does.
	Hurry context.Context // a second, independent cancellation

	inject bool // one fault by hand: set by Inject
}

// Outcome is how a run ended. The zero value proves nothing.
type Outcome struct {
	Scenario  string
	Dir       string // absolute path of the run directory; empty if it never came to one
	Judgement oracle.Judgement
	Judged    bool  // Judgement is that of the whole run
	Err       error // why there is no verdict: scenario, environment, or our own bug
	Dirty     error // what could not be undone or removed; the environment needs `discompose heal`
	// Lent is the environment where another run wanted it, now the caller's to hand on or to Close; nil where it was taken
	// down. NotLent says why it was though another run might have used it.
	Lent    *Lent
	NotLent string
}

// Causes that end a run early. Each becomes a class of the verdict.
var (
	ErrInterrupted = errors.New("interrupted")
	ErrTimeout     = errors.New("the run's --timeout is over")
	ErrAgentLost   = errors.New("the agent was lost")
	errNotSteady   = errors.New("no steady state")
)

// EventKind tells the events of a live run apart.
type EventKind string

// The kinds of events, for the live output.
const (
	EventStage    EventKind = "stage"    // a stage begins: Name
	EventStep     EventKind = "step"     // something was done: Text
	EventProgress EventKind = "progress" // something long goes on: Text
	EventFault    EventKind = "fault"    // a fault begins or ends: Name is its id
	EventWitness  EventKind = "witness"  // a witness was seen: Name is the fault's id
	EventNote     EventKind = "note"
	EventWarn     EventKind = "warn"
	EventTick     EventKind = "tick" // counters: OK, Bad, Rate
)

// Event is something that people who watch a run want to know.
type Event struct {
	Kind   EventKind
	Name   string
	Text   string
	Offset time.Duration // from the start of the timeline; negative before it
	On     bool          // fault: begins (else ends)
	Wait   time.Duration // until the next thing, for a countdown; 0: unknown
	OK     int           // tick: operations that succeeded so far
	Bad    int           // tick: operations that did not
}

// Budgets of the stages that come after whatever ended a run.
const (
	healBudget     = 60 * time.Second
	teardownBudget = 90 * time.Second
	confirmBudget  = 15 * time.Second
	leastConfirm   = 5 * time.Second
	finalBudget    = 60 * time.Second
	judgeBudget    = 3 * time.Minute
	settleBudget   = 2 * time.Minute  // a fault's target becomes ready, or ready again
	finishBudget   = 15 * time.Minute // a fault without `for` comes to its own end
	snapshotBudget = 5 * time.Second
	stragglers     = 500 * time.Millisecond // in which a cancelled create lands on the engine
)
