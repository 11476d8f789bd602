package oracle

import (
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// Mutations implements Checker.
func (q *Queue) Mutations() []Mutation {
	out := []Mutation{
		q.mutation("lost acknowledged value", DataLoss, (*queuePlot).lose),
		q.mutation("phantom value", Phantom, (*queuePlot).phantom),
		q.mutation("failed value handed out", Phantom, (*queuePlot).failed),
		q.mutation("value handed out too early", Phantom, (*queuePlot).early),
		q.mutation("corrupt body", Corruption, (*queuePlot).corrupt),
	}
	if q.Delivery != atLeastOnce {
		out = append(out, q.mutation("value handed out twice", Duplicate, (*queuePlot).twice))
	}
	if q.Order == fifo {
		out = append(out, q.mutation("reordered values", Order, (*queuePlot).reorder))
	}
	return out
}

// queuePlot is a history of a queue to be changed, with what the checker knows of it.
type queuePlot struct {
	*plot

	c     *queueCheck
	taken []int32 // items that were acknowledged, and taken for good
}

const noneTaken = "no acknowledged value was handed out"

func (q *Queue) mutation(name string, class Class, change func(*queuePlot) (note string, ok bool)) Mutation {
	return mutation(name, class, func(p *plot) (string, bool) {
		c := newQueueCheck(p.scan(), *q)
		c.scan()
		qp := &queuePlot{plot: p, c: c}
		for n := range c.items {
			if item := &c.items[n]; item.fate == isAcked && item.taken >= 0 {
				qp.taken = append(qp.taken, int32(n)) //nolint:gosec // as many as operations
			}
		}
		return change(qp)
	})
}

// pick draws an acknowledged value that was taken for good: its enqueue and the dequeue.
func (p *queuePlot) pick() (put, take *ledger.Op, ok bool) {
	n, ok := one(p.plot, p.taken)
	if !ok {
		return nil, nil, false
	}
	return &p.h.Ops[p.c.items[n].op], &p.h.Ops[p.c.items[n].taken], true
}

// lose removes every dequeue of as many values as are missed.
func (p *queuePlot) lose() (string, bool) {
	if p.c.end < 0 {
		return "no final drain came to its end", false
	}
	missing := 0
	var eligible []int32
	for n := range p.c.items {
		item := &p.c.items[n]
		switch {
		case item.fate != isAcked || p.h.Ops[item.op].Complete >= p.c.drained:
		case item.handed == 0:
			missing++
		default:
			eligible = append(eligible, int32(n)) //nolint:gosec // as many as operations
		}
	}
	need := max(1, p.c.excuses()-missing+1)
	if len(eligible) < need {
		return "dequeues of unknown outcome may have taken all that was handed out", false
	}
	p.rand.Shuffle(len(eligible), func(i, j int) { eligible[i], eligible[j] = eligible[j], eligible[i] })
	values := map[int64]bool{}
	for _, n := range eligible[:need] {
		values[p.op(p.c.items[n].op).Value] = true
	}
	ends := map[int][]*ledger.Op{}
	for i := range p.h.Ops {
		if o := &p.h.Ops[i]; o.Workload == p.workload && o.Func == ledger.FuncEnd {
			ends[o.Process] = append(ends[o.Process], o)
		}
	}
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Func != ledger.FuncDequeue || !values[o.Value] {
			continue
		}
		p.remove(int32(i)) //nolint:gosec // fewer than 2^31 operations fit into memory
		for _, end := range ends[o.Process] {
			end.Offset = max(0, end.Offset-1)
		}
	}
	return fmt.Sprintf("removed every dequeue of %s", plural(int64(need), "value")), true
}

// again adds a dequeue like another, with another value; it stands right behind that one.
func (p *queuePlot) again(like ledger.Op, value int64) *ledger.Op {
	like.Value, like.Outcome, like.Error, like.Sum = value, ledger.OK, "", 0
	like.Invoke, like.Complete = like.Complete+1, like.Complete+2
	return p.insert(like)
}

func (p *queuePlot) twice() (string, bool) {
	put, take, ok := p.pick()
	if !ok {
		return noneTaken, false
	}
	p.touch(put, take)
	return fmt.Sprintf("handed %s out again, to operation %d", itemName(put.Value), p.again(*take, put.Value).ID), true
}

func (p *queuePlot) phantom() (string, bool) {
	put, take, ok := p.pick()
	if !ok {
		return noneTaken, false
	}
	stranger := put.Value
	for known := true; known; _, known = p.c.index[stranger] {
		stranger += 1 << 32
	}
	return fmt.Sprintf("handed %s out, to operation %d", itemName(stranger), p.again(*take, stranger).ID), true
}

// failed turns the acknowledgement of a value that was handed out into a failure.
func (p *queuePlot) failed() (string, bool) {
	put, take, ok := p.pick()
	if !ok {
		return noneTaken, false
	}
	p.touch(put, take)
	put.Outcome, put.Error = ledger.Failed, "mutated"
	return fmt.Sprintf("turned the acknowledgement of %s into a failure", itemName(put.Value)), true
}

// early lets a value be put in only once it was handed out.
func (p *queuePlot) early() (string, bool) {
	put, take, ok := p.pick()
	if !ok {
		return noneTaken, false
	}
	p.touch(put, take)
	put.Invoke = take.Complete + 1
	put.Planned, put.Complete = put.Invoke, max(put.Complete, put.Invoke+1)
	return fmt.Sprintf("put %s in after operation %d was handed it", itemName(put.Value), take.ID), true
}

func (p *queuePlot) corrupt() (string, bool) {
	put, take, ok := p.pick()
	if !ok {
		return noneTaken, false
	}
	p.touch(put, take)
	take.Sum = p.rand.Uint32() | 1
	return fmt.Sprintf("changed the body of %s", itemName(put.Value)), true
}

// reorder swaps two values in the dequeues that took them.
func (p *queuePlot) reorder() (string, bool) {
	const tries = 50
	var single []int32
	for _, n := range p.taken {
		if item := &p.c.items[n]; item.handed == 1 && !item.doubted {
			single = append(single, n)
		}
	}
	for range tries {
		i, ok := one(p.plot, single)
		if !ok {
			break
		}
		j, _ := one(p.plot, single)
		a, b := &p.c.items[i], &p.c.items[j]
		if p.h.Ops[a.op].Complete >= p.h.Ops[b.op].Invoke || p.h.Ops[a.taken].Complete >= p.h.Ops[b.taken].Invoke {
			continue
		}
		first, second := p.op(a.taken), p.op(b.taken)
		if p.h.Ops[b.op].Invoke > first.Complete { // it would be handed out before it was put in
			continue
		}
		p.touch(&p.h.Ops[a.op], &p.h.Ops[b.op])
		first.Value, second.Value = second.Value, first.Value
		return fmt.Sprintf("swapped %s and %s in operations %d and %d", itemName(first.Value), itemName(second.Value), first.ID, second.ID), true
	}
	return "no two acknowledged values were put in one after the other, and then handed out", false
}
