package postgres

import (
	"math/rand/v2"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Committed opens the classification of errors to tests.
var Committed = committed

// Next is the operation of a turn with options.
func Next(o Options, r *rand.Rand, t workload.Turn) ledger.Op {
	return o.WithDefaults().model().next(r, t)
}

// NextInPhase is the same in a phase of a workload whose bank has seen a snapshot or not.
func NextInPhase(own, o Options, r *rand.Rand, t workload.Turn, known bool) ledger.Op {
	first, phase := system{model: own.WithDefaults().model()}, system{model: o.WithDefaults().model()}
	later := phase.Inherit(first)
	if b, ok := first.model.(bank); ok {
		b.known.Store(known)
	}
	return later.Next(r, t)
}

// NextOfBank is the same of the bank, once a snapshot has returned or before.
func NextOfBank(o Options, r *rand.Rand, t workload.Turn, known bool) ledger.Op {
	m, _ := o.WithDefaults().model().(bank)
	m.known.Store(known)
	return m.next(r, t)
}
