package oracle

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/discompose/discompose/ledger"
)

// plot is a copy of a history that a mutation changes.
type plot struct {
	h        *ledger.History
	workload string
	rand     *rand.Rand
	nextID   int64
	ids      map[int64]bool // operations that were changed
	gone     map[int]bool   // operations to remove
}

func newPlot(h *ledger.History, workload string, r *rand.Rand) plot {
	clone := *h
	clone.Ops = slices.Clone(h.Ops)
	p := plot{h: &clone, workload: workload, rand: r, ids: map[int64]bool{}, gone: map[int]bool{}}
	for i := range p.h.Ops {
		p.nextID = max(p.nextID, p.h.Ops[i].ID)
	}
	return p
}

// mutation is a Mutation that changes a plot: change says what it did, or why nothing is eligible.
func mutation(name string, class Class, change func(*plot) (note string, ok bool)) Mutation {
	return Mutation{name, class, func(h *ledger.History, workload string, r *rand.Rand) (*ledger.History, []int64, string, bool) {
		p := newPlot(h, workload, r)
		note, ok := change(&p)
		if !ok {
			return nil, nil, note, false
		}
		return p.finish(), p.changed(), note, true
	}}
}

// touch marks operations as those that tell.
func (p *plot) touch(ops ...*ledger.Op) {
	for _, o := range ops {
		p.ids[o.ID] = true
	}
}

func (p *plot) changed() []int64 {
	out := make([]int64, 0, len(p.ids))
	for id := range p.ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (p *plot) finish() *ledger.History {
	if len(p.gone) > 0 {
		kept := p.h.Ops[:0]
		for i := range p.h.Ops {
			if !p.gone[i] {
				kept = append(kept, p.h.Ops[i])
			}
		}
		p.h.Ops = kept
	}
	ledger.SortOps(p.h.Ops)
	return p.h
}

// op is the operation at an index, marked as changed.
func (p *plot) op(i int32) *ledger.Op {
	o := &p.h.Ops[i]
	p.touch(o)
	return o
}

// remove drops the operation at an index.
func (p *plot) remove(i int32) { p.gone[int(i)] = true; p.touch(&p.h.Ops[i]) }

// insert adds an operation, with a new id; pointers into the history are stale after it.
func (p *plot) insert(o ledger.Op) *ledger.Op {
	p.nextID++
	o.ID = p.nextID
	p.h.Ops = append(p.h.Ops, o)
	return p.op(int32(len(p.h.Ops) - 1)) //nolint:gosec // fewer than 2^31 operations fit into memory
}

// one draws an element of a list; ok is false where it is empty.
func one[T any](p *plot, list []T) (T, bool) {
	if len(list) == 0 {
		var none T
		return none, false
	}
	return list[p.rand.IntN(len(list))], true
}

// scan is the docket of a checker that looks at the history to find what is eligible in it.
func (p *plot) scan() *docket { return newDocket(endless{}, "plot", p.workload, p.h.Ops) }

// endless is the context of such a look: one pass over the history, which the caller bounds by the mutants that it tries.
type endless struct{}

func (endless) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (endless) Done() <-chan struct{}                   { return nil }
func (endless) Err() error                              { return nil }
func (endless) Value(any) any                           { return nil }

var _ context.Context = endless{}
