package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

// Spec is one driver, as the list of drivers (package workload/drivers) has it.
type Spec struct {
	Name string // as a scenario's driver names it: "kafka"
	// Options returns a pointer to the driver's zero options: a struct with the tags of the scenario language and, if it
	// wants, Validate() error, and Judged(kind string, options json.RawMessage) error, which says why a check with these
	// options (an object, or null) cannot judge what the driver does (see JudgedBy), and DefaultClients() int. Its JSON is what New finds in Config.Options.
	Options func() any
	// New makes the driver; c is valid, and its zero fields have their defaults, but for MaxInFlight, which is the driver's.
	New func(c Config) (Driver, error)
}

// LoopSpec is the Spec of a driver whose System build makes and NewLoop drives. O is the driver's options, as Spec.Options
// has them; build is given them as the scenario says, without defaults, and may fill in what c leaves to the driver.
func LoopSpec[O interface{ Validate() error }](name string, build func(c *Config, o O) (System, error)) Spec {
	return Spec{
		Name:    name,
		Options: func() any { return new(O) },
		New: func(c Config) (Driver, error) {
			o, err := ReadOptions[O](c.Options)
			if err != nil {
				return nil, err
			}
			s, err := build(&c, o)
			if err != nil {
				return nil, err
			}
			phases, err := PhaseSystems(c, s, build)
			if err != nil {
				return nil, err
			}
			return NewLoop(c, s, LoopOptions{Phases: phases}), nil
		},
	}
}

// JudgedBy is an error where no check of a kind judges what a driver does, or what it does with these options; those that do are
// named.
func JudgedBy(kind string, kinds ...string) error {
	if slices.Contains(kinds, kind) {
		return nil
	}
	return fmt.Errorf("the %s check cannot judge its operations, the %s check can", kind, strings.Join(kinds, " or the "))
}

// System is what a driver of requests and answers (a database, an HTTP API, a queue) supplies; NewLoop makes a Driver of
// it. The loop has the schedule, the processes, time-outs, counting and retries; the System knows the protocol. Its
// methods are called concurrently, and must leave a ledger.Op's Process, Planned, Invoke, Complete, Outcome and Error to
// the loop.
//
// A driver for a set behind a protocol of its own, whole:
//
//	type tags struct{ addr string }
//
//	func (s tags) Setup(ctx context.Context) error { // one try; the loop repeats it until ctx ends
//		n, err := count(ctx, s.addr)
//		if err == nil && n > 0 {
//			err = fmt.Errorf("it holds %d tags that the run did not write: %w", n, workload.ErrPermanent)
//		}
//		return err
//	}
//
//	func (s tags) Next(_ *rand.Rand, t workload.Turn) ledger.Op { // pure
//		return ledger.Op{Func: ledger.FuncAdd, Value: t.Fresh}
//	}
//
//	func (s tags) Connect(ctx context.Context, process int) (workload.Session, error) {
//		conn, err := dial(ctx, s.addr) // an error: nothing was sent, so the operation failed
//		return session{conn}, err
//	}
//
//	func (c session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
//		switch err := c.conn.Add(ctx, op.Value); {
//		case err == nil:
//			return ledger.OK, nil
//		case errors.Is(err, errRefused): // the protocol promises that it did not happen
//			return ledger.Failed, err
//		default: // time-outs, resets: nobody knows
//			return ledger.Unknown, err
//		}
//	}
//
//	func (c session) Close() { c.conn.Close() }
//
//	func (s tags) Final(ctx context.Context) ([]ledger.Op, error) { // one try
//		found, err := list(ctx, s.addr) // texts
//		if err != nil {
//			return nil, err
//		}
//		return workload.Elements(found), nil
//	}
//
//	driver := workload.NewLoop(config, tags{config.Target}, workload.LoopOptions{})
type System interface {
	// Setup makes what the workload needs, and refuses a system that holds data which a final read could not tell from the
	// run's own. It is one try of at most 10 s: the loop repeats it until it returns nil, or an error that is ErrPermanent.
	Setup(ctx context.Context) error
	// Next is what operation t does: Func, Key and, for what it writes, Value. It is pure: the same turn and the same state
	// of r give the same operation, so all chance comes from r, which belongs to this turn alone. Functions and what they
	// carry are those of the model (ledger/op.go) that the workload's checker judges. What depends on answers is a Governor's.
	Next(r *rand.Rand, t Turn) ledger.Op
	// Connect makes the client of one process. It is called with the context of the process' first operation, whose time it
	// takes; an error says that nothing was sent: the operation failed, and the process connects again with its next one.
	Connect(ctx context.Context, process int) (Session, error)
	// Final reads all that the system holds after the run, FuncEnd last: one try of at most a minute, which the loop
	// repeats until it succeeds, its error is ErrPermanent or its own context ends. Elements makes the operations of a set.
	// Instants that are 0 become those of the try, and an outcome that is empty becomes OK.
	Final(ctx context.Context) ([]ledger.Op, error)
}

// Governor is what a System may have beside its methods: it sees each operation of Next before it is invoked, and may make
// another one of it, as what came back so far demands. What it returns is the operation, also where no answer ever comes. The
// loop calls done once, when the outcome is decided: ledger.Unknown where nobody waits for the answer any more. Since answers
// come at other times in another run, the seed alone does not repeat what a Governor does.
type Governor interface {
	Govern(op ledger.Op) (governed ledger.Op, done func(ledger.Outcome))
}

// Turn is the place of an operation in a workload's schedule.
type Turn struct {
	// K numbers the operations of the schedule, from 0. One that was skipped has its number.
	K int64
	// Fresh is a value that no other operation of the workload has: process << 32 | sequence number from 1, which grows
	// with each operation of the process. It is for what the operation writes.
	Fresh int64
}

// Session is the client of one process: one operation at a time.
type Session interface {
	// Do carries op out, puts what it read into op, and returns when the system has answered or ctx has ended (the
	// operation's time-out, LoopOptions.Patience). The outcome is what the real error proves:
	//
	//   - ledger.OK with nil: the system said that it took effect.
	//   - ledger.Failed: it surely did not take effect, and never will. An operation that only reads fails, always. With
	//     ErrDeclined it is the system's regular answer (a compare that did not match), a success for availability.
	//   - ledger.Unknown: anything else; when in doubt, this. The process is retired: its session is closed, and another
	//     process takes its place, so an operation that may still happen is the last of its process.
	Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error)
	// Close gives back what the session holds; Do has returned.
	Close()
}

// Alive is what a Session may have beside its methods: after an operation that failed, a session that is not alive is
// closed, and its process connects anew with its next operation.
type Alive interface{ Alive() bool }

// LoopOptions tune a loop.
type LoopOptions struct {
	// Patience is how long an operation's context lasts: what a client of this system would wait before it gives up. It
	// should be shorter than Config.Timeout, after which an operation counts as one that never returned, which a verdict
	// calls a hang. 0: DefaultPatience.
	Patience time.Duration
	// Phases are the systems of Config.Phases, one each (PhaseSystems), whose Next takes the place of the loop's own; Setup,
	// sessions and Final stay those of the loop's. One that is nil, or missing: the loop's own.
	Phases []System
}

// Defaults of a loop.
const (
	DefaultPatience     = 5 * time.Second
	DefaultLoopInFlight = 128 // Config.MaxInFlight: operations in flight per client
)

// ErrPermanent marks what another try cannot change; wrap it.
var ErrPermanent = errors.New("will not change by itself")

// ErrDeclined is the error of an operation that failed because the system's regular answer was no; see ledger.Declined.
var ErrDeclined = errors.New(ledger.Declined)

// ErrNotEmpty says that a system holds data from before the run, so that a final read could not tell it from the run's
// own. Setup wraps it together with ErrPermanent.
var ErrNotEmpty = errors.New("it is not empty")
