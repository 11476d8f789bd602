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

// NextOfBank is the same of the bank, once a snapshot has returned or before.
func NextOfBank(o Options, r *rand.Rand, t workload.Turn, known bool) ledger.Op {
	m, _ := o.WithDefaults().model().(bank)
	m.known.Store(known)
	return m.next(r, t)
}
