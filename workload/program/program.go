// Package program provides the exec driver: a program of the user's, in any language, that sends operations itself and
// prints each as a line of JSON when it begins and when it ends. docs/drivers/exec.md is the protocol.
//
// What a line proves:
//
//	line                                        outcome  why
//	"r": "ok", "fail", "unknown"                the same the program knows its system; the meaning is ledger.Outcome's
//	"r": "invoke", and then nothing within      unknown, never completed: it may have happened
//	  the workload's time-out, or the end
//	a line that cannot be read, or contradicts  none     the run ends as inconclusive, for a program that says one
//	  the one before; the program's own end              thing wrong may have said others
//
// Operations are stamped when their lines arrive: lines of one program arrive in the order in which it printed them, so an
// operation that ended before another one began stands in this order in the ledger too. A program has one process of
// the history per client; after an unknown operation the driver gives the client a fresh one.
//
// The program runs where the run does, so the driver is made with Local by the runner. The package imports only
// workload and ledger of this module; its types are safe for concurrent use.
package program

import (
	"context"
	"errors"
	"io"

	"github.com/discompose/discompose/workload"
)

// ErrBroken says that a program ended, or printed what it may not.
var ErrBroken = errors.New("the program does not keep to the protocol")

// Process is a program that runs.
type Process struct {
	In  io.WriteCloser
	Out io.Reader
	// Wait is called once Out has ended. It tells how the program ended, with the last that it wrote to standard error.
	Wait func() string
}

// Env is what the driver needs of whoever runs it. Every field is required.
type Env struct {
	Launch func(ctx context.Context, o Options) (*Process, error)              // ctx ends the program
	Target func(ctx context.Context, o Options, target string) (string, error) // target as the program reaches it
	Now    func() int64                                                        // the ledger's clock
	Broken func(err error)                                                     // called once, with ErrBroken
}

// Name is the driver's.
const Name = "exec"

// Spec describes the driver. A client container cannot run it.
func Spec() workload.Spec {
	return workload.Spec{
		Name:    Name,
		Options: func() any { return &Options{} },
		New: func(workload.Config) (workload.Driver, error) {
			return nil, errors.New("the exec driver does not run in a client container")
		},
	}
}

// Local is Spec with a driver that runs.
func Local(env Env) workload.Spec {
	s := Spec()
	s.New = func(c workload.Config) (workload.Driver, error) {
		o, err := workload.ReadOptions[Options](c.Options)
		if err != nil {
			return nil, err
		}
		if len(c.Phases) > 0 {
			return nil, errors.New(Options{}.NoPhases())
		}
		return newDriver(c, o.WithDefaults(), env), nil
	}
	return s
}
