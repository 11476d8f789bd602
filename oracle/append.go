package oracle

import (
	"context"
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Append is the checker of transactions over lists, in the way of Elle: since every value is appended to a list once, what
// transactions read shows in which order the others wrote, and who read what. Its promises, each with the weakest
// isolation that makes it:
//
//   - An acknowledged value, and one that a transaction read, is in the final read of its list (data-loss), once (duplicate), all.
//   - Nothing is read that was never appended, or that an aborted transaction appended (phantom: G1a), all.
//   - All reads of a list agree on its order (order), all.
//   - No read ends between two appends of another transaction (invariant: G1b), and a transaction sees what it appended itself
//     (invariant), all.
//   - Transactions do not depend on each other in a circle: by the order of their writes (G0), or also by reading what
//     the other wrote (G1c), all; also by overwriting what another one read: once in the circle, or more often but never
//     twice in a row (G-single, G-nonadjacent), snapshot; anyhow (G2), serializable: these are invariant. And with one that returned
//     before the next was invoked (not-linearizable), strict-serializable.
//
// Operations: txn; after the run, each list is read by a transaction that was invoked after all appends to it had returned.
type Append struct {
	Isolation string `toml:"isolation" json:"isolation,omitempty" default:"serializable" enum:"serializable|strict-serializable|snapshot|read-committed" doc:"what the system promises; it decides which anomalies convict"`
}

// The promises of lists, and the levels of isolation.
const (
	appendKept         = "an acknowledged value is in its list"
	appendShown        = "a value that was read stays in its list"
	appendOnce         = "a value is in its list once"
	appendSent         = "nothing is in a list that was never appended"
	appendAborted      = "what an aborted transaction appended is not read (G1a)"
	appendOrder        = "all reads of a list agree on its order"
	appendBetween      = "no transaction reads what another one wrote halfway (G1b)"
	appendOwn          = "a transaction reads what it appended itself"
	readCommitted      = "read-committed"
	snapshotIsolation  = "snapshot"
	strictSerializable = "strict-serializable"
)

// Check implements Checker. Counts: acknowledged, failed and unknown (transactions by outcome), unknown_found (of these, seen
// to have committed), appended and lost (values of acknowledged transactions), lists, reads, cycles.
func (a Append) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := newAppendCheck(newDocket(ctx, "append", workload, h.Ops), a)
	c.scan()
	for k := range c.lists {
		if c.stopped(k) {
			return c.result()
		}
		c.list(&c.lists[k])
	}
	for n := range c.txns {
		if c.stopped(n) {
			return c.result()
		}
		c.reads(int32(n)) //nolint:gosec // as many as operations
	}
	c.cycles()
	c.sum()
	return c.result()
}

// appendTxn is one transaction.
type appendTxn struct {
	op   int32
	fate fate
	seen bool // of unknown fate, but somebody read what it appended
	mops []ledger.Mop
	keys []int32 // of mops: lists
}

// appendList is one list.
type appendList struct {
	name    string
	writers map[int64]appendSpot // value → who appended it
	reads   []appendSpot         // of acknowledged transactions that found something out
	longest appendSpot           // its order; txn is -1 where nobody read it
	writes  []int32              // transactions by place; -1 where none may be named
	broken  bool                 // reads contradict each other: it gives no dependencies
	final   appendSpot           // the last read that was invoked after every append had returned
	acked   int                  // values that acknowledged transactions appended
}

// appendSpot is one step of a transaction.
type appendSpot struct{ txn, mop int32 }

type appendCheck struct {
	*docket

	options Append
	txns    []appendTxn
	lists   []appendList
	index   map[string]int32 // name → list
	graph   appendGraph
}

func newAppendCheck(d *docket, a Append) *appendCheck {
	return &appendCheck{docket: d, options: a, index: map[string]int32{}}
}

// scan sorts the operations into transactions and lists.
func (c *appendCheck) scan() {
	for i := range c.ops {
		o := &c.ops[i]
		if o.Workload != c.workload || o.Func != ledger.FuncTxn {
			continue
		}
		if c.stopped(i) {
			return
		}
		t := appendTxn{op: int32(i)} //nolint:gosec // fewer than 2^31 operations fit into memory
		if err := ledger.DecodeData(o, &t.mops); err != nil {
			c.doubt("%v", err)
			continue
		}
		switch o.Outcome {
		case ledger.OK:
			t.fate = isAcked
		case ledger.Failed:
			t.fate = isFailed
		case ledger.Unknown:
		}
		c.tally(o)
		c.txns = append(c.txns, t)
		c.steps(int32(len(c.txns) - 1)) //nolint:gosec // as above
	}
}

// steps enters the steps of a transaction into their lists.
func (c *appendCheck) steps(n int32) {
	t := &c.txns[n]
	for m := range t.mops {
		mop := &t.mops[m]
		k, known := c.index[mop.Key]
		if !known {
			k = int32(len(c.lists)) //nolint:gosec // as above
			c.index[mop.Key] = k
			none := appendSpot{-1, -1}
			c.lists = append(c.lists, appendList{name: mop.Key, writers: map[int64]appendSpot{}, longest: none, final: none})
		}
		t.keys = append(t.keys, k)
		l := &c.lists[k]
		spot := appendSpot{n, int32(m)} //nolint:gosec // as above
		switch {
		case mop.Append:
			if first, twice := l.writers[mop.Value]; twice {
				c.doubt("operations %d and %d appended the same value %d to list %s, so its fate cannot be told", c.op(first.txn).ID, c.op(n).ID, mop.Value, l.name)
				l.broken = true
				continue
			}
			l.writers[mop.Value] = spot
			if t.fate == isAcked {
				l.acked++
			}
		case t.fate == isAcked && mop.Values != nil:
			l.reads = append(l.reads, spot)
		}
	}
}

// op is the operation of a transaction.
func (c *appendCheck) op(txn int32) *ledger.Op { return &c.ops[c.txns[txn].op] }

// values is what a step read.
func (c *appendCheck) values(s appendSpot) []int64 { return c.txns[s.txn].mops[s.mop].Values }

// list finds the order of one list, and what is wrong with its reads.
func (c *appendCheck) list(l *appendList) {
	for _, r := range l.reads {
		if l.longest.txn < 0 || len(c.values(r)) > len(c.values(l.longest)) {
			l.longest = r
		}
	}
	for _, r := range l.reads {
		c.agree(l, r)
	}
	bad := map[int64]bool{} // what was never appended, or aborted, is reported once
	for _, r := range l.reads {
		if values := c.values(r); r == l.longest || l.broken {
			c.origins(l, r, values, bad)
		}
	}
	c.line(l)
	c.last(l)
}

// agree compares a read with the longest.
func (c *appendCheck) agree(l *appendList, r appendSpot) {
	values, longest := c.values(r), c.values(l.longest)
	o, other := c.op(r.txn), c.op(l.longest.txn)
	if r == l.longest || !slices.Equal(values, longest[:len(values)]) {
		have := make(map[int64]bool, len(values))
		for _, v := range values {
			if have[v] {
				l.broken = true
				w := c.writer(l, v)
				c.breach(Duplicate, appendOnce, o.Invoke, func() string {
					return fmt.Sprintf("operation %d found value %d in list %s twice", o.ID, v, l.name)
				}, c.txns[r.txn].op, w)
				return
			}
			have[v] = true
		}
	}
	if r == l.longest || slices.Equal(values, longest[:len(values)]) {
		return
	}
	l.broken = true
	i := 0
	for values[i] == longest[i] {
		i++
	}
	c.breach(Order, appendOrder, o.Invoke, func() string {
		return fmt.Sprintf("operation %d found value %d at place %d of list %s, operation %d found value %d there", o.ID, values[i], i, l.name, other.ID, longest[i])
	}, c.txns[r.txn].op, c.txns[l.longest.txn].op, c.writer(l, values[i]), c.writer(l, longest[i]))
}

// writer is the operation that appended a value, or -1.
func (c *appendCheck) writer(l *appendList, value int64) int32 {
	if w, ok := l.writers[value]; ok {
		return c.txns[w.txn].op
	}
	return -1
}

// origins looks at where what was read came from.
func (c *appendCheck) origins(l *appendList, r appendSpot, values []int64, bad map[int64]bool) {
	o := c.op(r.txn)
	for _, v := range values {
		w, ok := l.writers[v]
		switch {
		case bad[v]:
		case !ok:
			bad[v] = true
			c.breach(Phantom, appendSent, o.Invoke, func() string {
				return fmt.Sprintf("operation %d found value %d in list %s, which was never appended", o.ID, v, l.name)
			}, c.txns[r.txn].op)
		case c.txns[w.txn].fate == isFailed:
			bad[v] = true
			by := c.op(w.txn)
			c.breach(Phantom, appendAborted, o.Invoke, func() string {
				return fmt.Sprintf("operation %d found value %d in list %s, which operation %d appended, that failed (%s)", o.ID, v, l.name, by.ID, errorText(by))
			}, c.txns[r.txn].op, c.txns[w.txn].op)
		case c.txns[w.txn].fate == isUnknown:
			c.txns[w.txn].seen = true
		}
	}
}

// line names the transaction at each place of a list's order.
func (c *appendCheck) line(l *appendList) {
	if l.broken || l.longest.txn < 0 {
		return
	}
	for _, v := range c.values(l.longest) {
		w, ok := l.writers[v]
		if !ok || c.txns[w.txn].fate == isFailed {
			w.txn = -1
		}
		l.writes = append(l.writes, w.txn)
	}
}
