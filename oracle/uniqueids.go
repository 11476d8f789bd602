package oracle

import (
	"context"
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// UniqueIDs is the checker of services that hand out identifiers. Its promises:
//
//   - No two acknowledged ids are equal (duplicate), byte by byte.
//   - An acknowledged id is not empty (corruption).
//
// Operations: generate. One that failed, or that nobody knows the fate of, has no id: that one may be handed out later, or never.
type UniqueIDs struct{}

// The promises of unique ids.
const (
	idsOnce  = "an id is handed out once"
	idsThere = "an acknowledged id is not empty"
)

// Check implements Checker. Counts: acknowledged, failed, unknown, distinct (ids).
func (UniqueIDs) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := newDocket(ctx, "unique-ids", workload, h.Ops)
	for _, k := range []string{"acknowledged", "failed", "unknown"} {
		c.counts[k] = 0
	}
	first := map[string]int32{}
	for i := range c.ops {
		o := &c.ops[i]
		if o.Workload != workload || o.Func != ledger.FuncGenerate {
			continue
		}
		if c.stopped(i) {
			break
		}
		c.tally(o)
		if o.Outcome != ledger.OK {
			continue
		}
		at := int32(i) //nolint:gosec // fewer than 2^31 operations fit into memory
		if o.Data == "" {
			c.breach(Corruption, idsThere, o.Invoke, func() string { return fmt.Sprintf("operation %d was given an empty id", o.ID) }, at)
			continue
		}
		if before, twice := first[o.Data]; twice {
			c.breach(Duplicate, idsOnce, o.Invoke, func() string {
				return fmt.Sprintf("%q was given to operation %d, and again to operation %d, %s after", o.Data, c.ops[before].ID, o.ID, seconds(o.Invoke-c.ops[before].Invoke))
			}, before, at)
			continue
		}
		first[o.Data] = at
	}
	c.counts["distinct"] = int64(len(first))
	if n := c.counts["acknowledged"]; n < 2 {
		c.thin("%d ids were handed out: it takes two to be equal", n)
	}
	return c.result()
}

// Mutations implements Checker.
func (UniqueIDs) Mutations() []Mutation {
	return []Mutation{
		mutation("id handed out twice", Duplicate, func(p *plot) (string, bool) {
			ops := p.generated()
			if len(ops) < 2 {
				return "fewer than two ids were handed out", false
			}
			a := p.rand.IntN(len(ops))
			b := (a + 1 + p.rand.IntN(len(ops)-1)) % len(ops)
			from, to := p.op(ops[a]), p.op(ops[b])
			to.Data = from.Data
			return fmt.Sprintf("gave operation %d the id of operation %d", to.ID, from.ID), true
		}),
		mutation("empty id", Corruption, func(p *plot) (string, bool) {
			i, ok := one(p, p.generated())
			if !ok {
				return "no id was handed out", false
			}
			p.op(i).Data = ""
			return fmt.Sprintf("took the id of operation %d away", p.h.Ops[i].ID), true
		}),
	}
}

// generated lists the operations that were given an id.
func (p *plot) generated() []int32 {
	var out []int32
	for i := range p.h.Ops {
		if o := &p.h.Ops[i]; o.Workload == p.workload && o.Func == ledger.FuncGenerate && o.Outcome == ledger.OK && o.Data != "" {
			out = append(out, int32(i)) //nolint:gosec // fewer than 2^31 operations fit into memory
		}
	}
	return out
}
