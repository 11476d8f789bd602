package oracle

import (
	"context"
	"errors"
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// Queue is the checker of queues. Its promises:
//
//   - An acknowledged value is handed out by the end of the final drain (data-loss), as it was put in (corruption).
//   - Nothing is handed out that was never put in, not yet, or whose enqueue failed (phantom).
//   - With delivery exactly-once, a value is handed out once (duplicate).
//   - With order fifo, of two acknowledged values of which one was put in before the other, that one is handed out first (order).
//
// Operations: enqueue; dequeue, with Value 0 where the queue was empty; end, once the final drain found it so. A dequeue of
// unknown outcome with a Value handed that over, and may hand it over again. One without a Value may have taken a value
// with its answer: with exactly-once, each excuses one value that nobody was handed; with at-least-once none, for
// there a value stays until whoever was handed it says so.
type Queue struct {
	Delivery string `toml:"delivery" json:"delivery,omitempty" default:"exactly-once" enum:"exactly-once|at-least-once" doc:"exactly-once: a value is handed out once, and is gone if the answer to its dequeue is; at-least-once: it may be handed out again, and must be where nobody acknowledged it"`
	Order    string `toml:"order" json:"order,omitempty" default:"any" enum:"any|fifo" doc:"fifo: values are handed out in the order in which they were put in; not with at-least-once"`
}

// Validate reports options that contradict each other.
func (q *Queue) Validate() error {
	if q.Order == fifo && q.Delivery == atLeastOnce {
		return errors.New("order: fifo needs delivery = \"exactly-once\": a value that is handed out again is out of its order")
	}
	return nil
}

// The promises of a queue, and its options.
const (
	queueKept     = "an acknowledged value is handed out"
	queueReadable = "a value comes back as it was put in"
	queueSent     = "nothing is handed out that was never put in"
	queueFailed   = "a value whose enqueue failed is not handed out"
	queueOnce     = "a value is handed out once"
	queueOrder    = "values are handed out in the order in which they were put in"
	fifo          = "fifo"
	atLeastOnce   = "at-least-once"
)

// Check implements Checker. Counts: acknowledged, failed and unknown (enqueues by outcome), unknown_found (of these, handed
// out), handed (values), redelivered (further times), empty (dequeues that found nothing), blind (dequeues of which
// nobody knows what they took), lost (values that nobody was handed and nothing excuses), never_drained (acknowledged after the drain
// began to end). Times: dwell, from a value's acknowledgement to its first handing out.
func (q *Queue) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := newQueueCheck(newDocket(ctx, "queue", workload, h.Ops), *q)
	c.scan()
	c.settle()
	if q.Order == fifo {
		c.inOrder()
	}
	return c.result()
}

// queueItem is what is known of one value. Operations are indices; -1 is none.
type queueItem struct {
	op      int32 // its enqueue
	fate    fate
	first   int32 // the first dequeue that handed it out
	taken   int32 // the first that did so for good
	handed  int   // times
	doubted bool  // a dequeue of unknown outcome handed it out
}

type queueCheck struct {
	*docket

	options Queue
	items   []queueItem
	index   map[int64]int32 // value → item
	handed  map[int]int     // process → values
	empty   map[int]int64   // process → when it invoked the last dequeue that found nothing
	drained int64           // what was acknowledged before it must have been handed out
	end     int32           // the end of the final drain
	blind   int
}

func newQueueCheck(d *docket, q Queue) *queueCheck {
	return &queueCheck{docket: d, options: q, index: map[int64]int32{}, handed: map[int]int{}, empty: map[int]int64{}, drained: -1, end: -1}
}

// scan sorts the operations into items. A value may be handed out before the enqueue that is invoked later: that one is
// known first.
func (c *queueCheck) scan() {
	for i := range c.ops {
		if c.stopped(i) {
			return
		}
		if o := &c.ops[i]; o.Workload == c.workload && o.Func == ledger.FuncEnqueue {
			c.enqueue(int32(i), o) //nolint:gosec // fewer than 2^31 operations fit into memory
		}
	}
	for i := range c.ops {
		if c.stopped(i) {
			return
		}
		o := &c.ops[i]
		if o.Workload != c.workload {
			continue
		}
		switch {
		case o.Func == ledger.FuncDequeue:
			c.dequeue(int32(i), o) //nolint:gosec // as above
		case o.Func == ledger.FuncEnd && o.Outcome == ledger.OK:
			c.ended(int32(i), o) //nolint:gosec // as above
		}
	}
}

func (c *queueCheck) enqueue(i int32, o *ledger.Op) {
	if first, twice := c.index[o.Value]; twice {
		c.doubt("operations %d and %d put the same value %s in, so its fate cannot be told", c.ops[c.items[first].op].ID, o.ID, itemName(o.Value))
		return
	}
	item := queueItem{op: i, first: -1, taken: -1}
	switch o.Outcome {
	case ledger.OK:
		item.fate = isAcked
	case ledger.Failed:
		item.fate = isFailed
	case ledger.Unknown:
	}
	c.tally(o)
	c.index[o.Value] = int32(len(c.items)) //nolint:gosec // as many as operations
	c.items = append(c.items, item)
}

func (c *queueCheck) dequeue(i int32, o *ledger.Op) {
	switch {
	case o.Outcome == ledger.Failed:
		return
	case o.Sum != 0:
		c.breach(Corruption, queueReadable, o.Invoke, func() string {
			return fmt.Sprintf("operation %d was handed %s with another body (CRC-32C %08x)", o.ID, itemName(o.Value), o.Sum)
		}, i, c.put(o.Value))
	case o.Value == 0 && o.Outcome == ledger.OK:
		c.counts["empty"]++
		c.empty[o.Process] = o.Invoke
		return
	case o.Value == 0:
		c.blind++
		return
	}
	c.handed[o.Process]++
	n, ok := c.index[o.Value]
	if !ok {
		if o.Sum == 0 { // a corrupt body may have lost its value
			c.breach(Phantom, queueSent, o.Invoke, func() string {
				return fmt.Sprintf("operation %d was handed %s, which was never put in", o.ID, itemName(o.Value))
			}, i)
		}
		return
	}
	c.hand(&c.items[n], i, o)
}

// put is the operation that put a value in, -1 if none did.
func (c *queueCheck) put(value int64) int32 {
	if n, ok := c.index[value]; ok {
		return c.items[n].op
	}
	return -1
}

// hand notes that a dequeue handed an item out.
func (c *queueCheck) hand(item *queueItem, i int32, o *ledger.Op) {
	put := &c.ops[item.op]
	switch {
	case item.fate == isFailed:
		c.breach(Phantom, queueFailed, o.Invoke, func() string {
			return fmt.Sprintf("operation %d was handed %s, whose enqueue failed (%s)", o.ID, itemName(o.Value), errorText(put))
		}, item.op, i)
	case o.Outcome == ledger.OK && o.Complete < put.Invoke:
		c.breach(Phantom, queueSent, o.Invoke, func() string {
			return fmt.Sprintf("operation %d was handed %s before operation %d put it in", o.ID, itemName(o.Value), put.ID)
		}, item.op, i)
	case c.options.Delivery != atLeastOnce && item.taken >= 0 && (o.Outcome == ledger.OK || o.Invoke > c.ops[item.taken].Complete):
		taken := item.taken
		c.breach(Duplicate, queueOnce, o.Invoke, func() string {
			return fmt.Sprintf("operation %d was handed %s, which operation %d had taken %s before", o.ID, itemName(o.Value), c.ops[taken].ID, seconds(o.Invoke-c.ops[taken].Complete))
		}, item.op, taken, i)
	}
	if item.handed++; item.handed == 1 {
		item.first = i
	}
	switch {
	case o.Outcome != ledger.OK:
		item.doubted = true
	case item.taken < 0:
		item.taken = i
	}
}

func (c *queueCheck) ended(i int32, o *ledger.Op) {
	if n := int64(c.handed[o.Process]); o.Offset < 0 || o.Offset > n {
		c.doubt("operation %d ends a final drain of %d values, and its process was handed %d", o.ID, o.Offset, n)
		return
	}
	at, found := c.empty[o.Process]
	if !found {
		at = o.Invoke
	}
	if at > c.drained {
		c.drained, c.end = at, i
	}
}

// itemName names a value as its process counted it.
func itemName(v int64) string {
	if v>>32 == 0 {
		return fmt.Sprintf("value %d", v)
	}
	return fmt.Sprintf("value %d of process %d", v&0xffffffff, v>>32)
}
