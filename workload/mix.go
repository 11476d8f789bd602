package workload

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/discompose/discompose/ledger"
)

// Or is a weight of an options table, or what it is where the table has none.
func Or(weight *int, otherwise int) int {
	if weight == nil {
		return otherwise
	}
	return *weight
}

// ValidateWeights joins every problem of weights, of which PickWeighted shall pick one.
func ValidateWeights(list []Weight) error {
	var errs []error
	sum := 0
	for _, w := range list {
		if w.Weight < 0 {
			errs = append(errs, fmt.Errorf("the weight of %s is negative", w.Name))
		}
		sum += max(w.Weight, 0)
	}
	if sum == 0 {
		errs = append(errs, errors.New("writes: no operation has a weight above 0"))
	}
	return errors.Join(errs...)
}

// PairMix is a function that writes and one that reads with their weights, defaults for those that are nil.
func PairMix(write string, writes *int, writesElse int, read string, reads *int, readsElse int) []Weight {
	return []Weight{{Name: write, Weight: Or(writes, writesElse)}, {Name: read, Weight: Or(reads, readsElse)}}
}

// RegisterMix is the operations on registers with their weights, defaults for those that are nil.
func RegisterMix(writes, reads, swaps, deletes *int) []Weight {
	return append(PairMix(ledger.FuncWrite, writes, 4, ledger.FuncGet, reads, 4),
		Weight{Name: ledger.FuncCAS, Weight: Or(swaps, 2)}, Weight{Name: ledger.FuncDelete, Weight: Or(deletes, 1)})
}

// NextRegister is the operation of a turn on registers: its function by weight, its key, and the turn's value where it
// writes one. It is pure.
func NextRegister(r *rand.Rand, t Turn, weights []Weight, keys Keys) ledger.Op {
	op := ledger.Op{Func: PickWeighted(r, weights), Key: strconv.Itoa(keys.Pick(r, t.K))}
	if op.Func == ledger.FuncWrite || op.Func == ledger.FuncCAS {
		op.Value = t.Fresh
	}
	return op
}

// Seen is what a client of registers saw last, for its compare-and-swaps: key → value, 0 absent.
type Seen map[string]int64

// Swap is the Data of a compare-and-swap of key that did, or did not, match what was seen; a mismatch is forgotten, so that
// the next one expects an absent key.
func (s Seen) Swap(key string, mismatch bool) string {
	data := ledger.EncodeData(ledger.CAS{From: s[key], Mismatch: mismatch})
	if mismatch {
		delete(s, key)
	}
	return data
}

// Note remembers the value of key after an operation; one that was not OK leaves nothing known.
func (s Seen) Note(key string, value int64, outcome ledger.Outcome) {
	if outcome != ledger.OK {
		delete(s, key)
		return
	}
	s[key] = value
}
