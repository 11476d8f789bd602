package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

// Exit is the exit code of the command.
type Exit int

// The exit codes. 64, 69, 70 and 75 are those of BSD's sysexits.h; 130 is a shell's for SIGINT.
const (
	ExitPass         Exit = 0   // pass
	ExitFail         Exit = 1   // fail
	ExitInconclusive Exit = 2   // inconclusive
	ExitUsage        Exit = 64  // bad flags or a bad scenario
	ExitUnavailable  Exit = 69  // no engine, or an environment that never became ready
	ExitBug          Exit = 70  // our own bug
	ExitDirty        Exit = 75  // something could not be undone: run the heal command that is printed
	ExitInterrupted  Exit = 130 // interrupted
)

// codes lists every exit code, in the order of their numbers.
func codes() []Exit { return slices.Sorted(slices.Values(worst)) }

// meaning is what a code tells, for people.
func (e Exit) meaning() string {
	switch e {
	case ExitPass:
		return "pass"
	case ExitFail:
		return "fail: the system broke a promise"
	case ExitInconclusive:
		return "inconclusive: the experiment proves nothing, and the report says why"
	case ExitUsage:
		return "bad flags or a bad scenario; nothing was started"
	case ExitUnavailable:
		return "no engine, no image, or an environment that never became ready"
	case ExitBug:
		return "a bug in discompose"
	case ExitDirty:
		return "something could not be undone: run the heal command that is printed"
	case ExitInterrupted:
		return "interrupted; everything was undone and taken down"
	}
	return fmt.Sprintf("exit code %d", int(e))
}

// worst lists the codes from the one that outranks all others down.
var worst = []Exit{ExitDirty, ExitBug, ExitInterrupted, ExitFail, ExitInconclusive, ExitUnavailable, ExitUsage, ExitPass} //nolint:gochecknoglobals // a constant table

// Worst is the code of several scenarios in one call.
func Worst(codes ...Exit) Exit {
	for _, c := range worst {
		if slices.Contains(codes, c) {
			return c
		}
	}
	return ExitPass
}

// usageError is a bad flag or argument.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// exitOf maps an error to its code; the classes and their order are the only such table.
func exitOf(err error) Exit {
	var (
		heal     *faults.HealError
		scenario *scenarios.Error
		usage    *usageError
		refused  *compose.RefusedError
		newer    *ledger.VersionError
	)
	switch {
	case err == nil:
		return ExitPass
	case errors.As(err, &heal):
		return ExitDirty
	case errors.Is(err, runner.ErrInterrupted):
		return ExitInterrupted
	case errors.As(err, &scenario), errors.As(err, &usage), errors.As(err, &refused), errors.As(err, &newer), errors.Is(err, runner.ErrRunsDir):
		return ExitUsage
	case errors.Is(err, compose.ErrEngine), errors.Is(err, compose.ErrNotReady), errors.Is(err, compose.ErrNoProject), errors.Is(err, compose.ErrImage), errors.Is(err, agent.ErrPayload), errors.Is(err, agent.ErrBusy), errors.Is(err, agent.ErrRefused):
		return ExitUnavailable
	}
	return ExitBug
}

// exitOfInjection is the code of one fault by hand.
func exitOfInjection(i runner.Injected) Exit {
	switch {
	case i.Dirty != nil:
		return ExitDirty
	case errors.Is(i.Err, runner.ErrInterrupted):
		return ExitInterrupted
	case errors.Is(i.Err, runner.ErrUnproven), errors.Is(i.Err, faults.ErrUnsupported), errors.Is(i.Err, runner.ErrAgentLost):
		return ExitInconclusive
	}
	return exitOf(i.Err)
}

// exitOfOutcome is the code of one run.
func exitOfOutcome(o runner.Outcome) Exit {
	switch {
	case o.Dirty != nil:
		return ExitDirty
	case !o.Judged:
		return exitOf(o.Err)
	case o.Judgement.Verdict == oracle.Fail:
		return ExitFail
	case o.Judgement.Primary == oracle.Interrupted:
		return ExitInterrupted
	case o.Judgement.Verdict == oracle.Pass:
		return ExitPass
	}
	return ExitInconclusive
}
