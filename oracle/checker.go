package oracle

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Checker judges one property of a workload's operations. Implementations hold no state and are safe for concurrent use.
type Checker interface {
	// Check looks for violations in the operations of a workload. It does not change h. It returns soon after ctx ends,
	// then with an Inconclusive result. A history that cannot prove the property is Inconclusive, never Pass.
	Check(ctx context.Context, h *ledger.History, workload string) Result
	// Mutations lists illegal changes of a legal history, each of which Check must convict; never empty.
	Mutations() []Mutation
}

// Mutation is one illegal change of a history, for the self-test of a checker.
type Mutation struct {
	Name  string // "lost acknowledged record"
	Class Class  // with which a checker must convict it
	// Mutate returns a changed copy of h, the ids of the operations that tell (changed, added or removed ones: a
	// conviction must name one of them), and a note for people. It shares what it does not change with h, and never changes h. ok is false if no operation is eligible.
	// Equal histories and equal states of r give equal mutants.
	Mutate func(h *ledger.History, workload string, r *rand.Rand) (mutated *ledger.History, ops []int64, note string, ok bool)
}

// SelfTest gives a checker each of its mutations of h and tells what it did with it, in the order of Mutations. A mutant
// is convicted if the mutated history has a violation of the mutation's class that h itself does not have and that
// names one of the mutation's operations. Once ctx has ended, the rest is TimedOut. Equal arguments give equal results.
func SelfTest(ctx context.Context, c Checker, h *ledger.History, workload string, seed int64) []Mutant {
	return selfTest(ctx, c, h, c.Check(ctx, h, workload), seed)
}

// selfTest is SelfTest with the result that the checker already gave for h.
func selfTest(ctx context.Context, c Checker, h *ledger.History, base Result, seed int64) []Mutant {
	had := map[string]bool{}
	for _, v := range base.Violations {
		had[v.key()] = true
	}
	h = onlyOps(h, base.Workload)
	mutants := []Mutant{}
	for _, m := range c.Mutations() {
		mutant := Mutant{Name: m.Name, Class: m.Class}
		mutant.Fate, mutant.Note = try(ctx, c, m, h, base, had, seed)
		mutants = append(mutants, mutant)
	}
	return mutants
}

func try(ctx context.Context, c Checker, m Mutation, h *ledger.History, base Result, had map[string]bool, seed int64) (fate MutantFate, note string) {
	if ctx.Err() != nil {
		return TimedOut, ""
	}
	mutated, ops, note, ok := m.Mutate(h, base.Workload, randFor(seed, base.Check, base.Workload, m.Name))
	if !ok {
		return NotTried, note
	}
	got := c.Check(ctx, mutated, base.Workload)
	for _, v := range got.Violations {
		names := slices.ContainsFunc(v.Ops, func(id int64) bool { return slices.Contains(ops, id) })
		if v.Class == m.Class && names && !had[v.key()] {
			return Convicted, note
		}
	}
	switch {
	case ctx.Err() != nil:
		return TimedOut, note
	case got.Total > len(got.Violations):
		return NotTried, "the history itself has more violations than are kept, so a new one may not be among them"
	case base.Total > 0:
		return NotTried, "the history itself breaks a promise, which may hide one that is broken on purpose"
	}
	return Survived, note
}

// onlyOps is h with the operations of one workload alone, so that mutants are cheap to copy.
func onlyOps(h *ledger.History, workload string) *ledger.History {
	out := *h
	out.Ops = slices.DeleteFunc(slices.Clone(h.Ops), func(o ledger.Op) bool { return o.Workload != workload })
	return &out
}

// randFor splits the run's seed by name, so that one more mutation does not change the others.
func randFor(seed int64, names ...string) *rand.Rand {
	sum := fnv.New64a()
	for _, n := range names {
		_, _ = fmt.Fprintf(sum, "%s\x00", n) // a hash does not fail
	}
	return rand.New(rand.NewPCG(uint64(seed), sum.Sum64())) //nolint:gosec // any bits are a seed
}

func (v Violation) key() string {
	return fmt.Sprintf("%s %s %d %s", v.Class, v.Promise, v.Ops, v.Note)
}
