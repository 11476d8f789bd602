package oracle

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// Set is the checker of sets that only grow. Its promises:
//
//   - An acknowledged element is in every snapshot that is read after its acknowledgement. One that a later snapshot has is
//     stale; one that the final read, and every snapshot after the last that had it, misses is lost (data-loss).
//     So is an element whose fate is unknown once a snapshot has had it.
//   - Nothing is in a snapshot that was never added, or not yet (phantom). An element whose adding failed is not in it
//     either (phantom); where a snapshot after the failure misses it and a later one has it, it is resurrected.
//   - A snapshot has every element once (duplicate), readable (corruption).
//
// Operations: add; list, a snapshot during the run; read and end, the final one. A final read that did not come to its end
// proves that something is there, and of nothing that it is not.
type Set struct {
	Stale string `toml:"stale" json:"stale,omitempty" default:"fail" enum:"fail|allow" doc:"whether a snapshot during the run may miss what was acknowledged before it: fail, or allow, as of a replica that lags"`
}

// The promises of a set.
const (
	setKept       = "an acknowledged element is in the set"
	setShown      = "an element that a snapshot had stays in the set"
	setFresh      = "a snapshot has every element that was acknowledged, or seen, before it"
	setOnce       = "the set has an element once"
	setReadable   = "an element comes back as it was added"
	setSent       = "nothing is in the set that was never added"
	setFailed     = "an element whose adding failed is not in the set"
	setComesBack  = "an element whose adding failed does not come back"
	allow         = "allow"
	noInstant     = int64(math.MaxInt64)
	finalReadName = "the final read"
)

// Check implements Checker. Counts: acknowledged, failed and unknown (adds by outcome), unknown_found (of these, in the
// last snapshot), found (elements of the last snapshot), lost, stale (elements that a snapshot missed for a while),
// never_read (acknowledged elements that no snapshot was read after), snapshots. Times: visible, from an acknowledgement to
// the last snapshot that misses the element though a later one has it; 0 where none does.
func (s Set) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := &setCheck{docket: newDocket(ctx, "set", workload, h.Ops), options: s, last: -1}
	c.look()
	c.order()
	for i := range c.views {
		c.missed(int32(i)) //nolint:gosec // as above
	}
	c.settle()
	return c.result()
}

// look finds out what each view has.
func (c *setCheck) look() {
	c.scan()
	slices.SortStableFunc(c.views, func(a, b setView) int { return compareInt(a.invoke, b.invoke) })
	for i := range c.views {
		c.found(int32(i)) //nolint:gosec // fewer than operations
	}
}

// setElement is what is known of one element. Operations and views are indices; -1 is none.
type setElement struct {
	op      int32 // its add
	fate    fate
	double  bool  // reported as duplicate
	had     int32 // the last view that has it
	hadOp   int32 // the operation that shows it there
	firstOp int32 // the operation that shows it in the first view that has it
	miss    int32 // the first view after the last that had it that misses it
	stale   int32 // the first view that misses it though a later one has it
	late    int32 // the last such
	stamp   int32 // the last view that was looked at and has it, plus one
	known   int64 // when it was surely in the set: acknowledged, or seen; noInstant if never
}

// setView is one snapshot, of a list or of the final read.
type setView struct {
	op       int32 // the list, or the end of the final read
	invoke   int64
	complete int64
	final    bool
	whole    bool    // what it misses is not there
	has      []int32 // elements
	reads    []int32 // of a final read, the operation of each element of has
}

type setCheck struct {
	*docket

	options  Set
	elements []setElement
	index    map[int64]int32 // value → element
	views    []setView
	known    []int32 // elements by the instant from which they are known
	reads    map[int][]int32
	last     int32 // the last whole final view
	scratch  []int64
}

// scan sorts the operations into elements and views.
func (c *setCheck) scan() {
	adds := 0
	for i := range c.ops {
		if c.ops[i].Func == ledger.FuncAdd {
			adds++
		}
	}
	c.index = make(map[int64]int32, adds)
	c.elements = make([]setElement, 0, adds)
	c.reads = map[int][]int32{}
	// An element may stand in a snapshot that was invoked before it was added.
	var shown []int32
	for i := range c.ops {
		o := &c.ops[i]
		if o.Workload != c.workload {
			continue
		}
		if c.stopped(i) {
			return
		}
		switch o.Func {
		case ledger.FuncAdd:
			c.add(int32(i), o) //nolint:gosec // fewer than 2^31 operations fit into memory
		case ledger.FuncList, ledger.FuncRead, ledger.FuncEnd:
			if o.Outcome == ledger.OK { // a read that failed proves nothing; its retry is there as well
				shown = append(shown, int32(i)) //nolint:gosec // as above
			}
		}
	}
	for _, i := range shown {
		switch o := &c.ops[i]; o.Func {
		case ledger.FuncList:
			c.list(i, o)
		case ledger.FuncRead:
			c.reads[o.Process] = append(c.reads[o.Process], i)
		case ledger.FuncEnd:
			c.end(i, o)
		}
	}
	for _, process := range slices.Sorted(maps.Keys(c.reads)) {
		if rest := c.reads[process]; len(rest) > 0 {
			c.view(rest[len(rest)-1], rest, false)
		}
	}
}

func (c *setCheck) add(i int32, o *ledger.Op) {
	if first, twice := c.index[o.Value]; twice {
		c.doubt("operations %d and %d added the same element %s, so its fate cannot be told", c.ops[c.elements[first].op].ID, o.ID, valueName(o.Value))
		return
	}
	e := setElement{op: i, had: -1, hadOp: -1, firstOp: -1, miss: -1, stale: -1, late: -1, known: noInstant}
	switch o.Outcome {
	case ledger.OK:
		e.fate, e.known = isAcked, o.Complete
	case ledger.Failed:
		e.fate = isFailed
	case ledger.Unknown:
	}
	c.tally(o)
	c.index[o.Value] = int32(len(c.elements)) //nolint:gosec // as many as operations
	c.elements = append(c.elements, e)
}

func (c *setCheck) list(i int32, o *ledger.Op) {
	values, err := ledger.ParseValues(c.scratch[:0], o.Data)
	if err != nil {
		c.doubt("operation %d (list) cannot be read: %v", o.ID, err)
		return
	}
	c.scratch = values
	v := setView{op: i, invoke: o.Invoke, complete: o.Complete, whole: true, has: make([]int32, 0, len(values))}
	for _, value := range values {
		e, ok := c.index[value]
		if !ok {
			c.phantom(value, i)
			continue
		}
		v.has = append(v.has, e)
	}
	c.views = append(c.views, v)
}

// end closes a final read: what its process read before the last attempt is left out.
func (c *setCheck) end(i int32, o *ledger.Op) {
	reads := c.reads[o.Process]
	c.reads[o.Process] = nil
	n := int(o.Offset)
	if n < 0 || n > len(reads) {
		c.doubt("operation %d ends a final read of %d elements, of which %d were recorded", o.ID, o.Offset, len(reads))
		c.view(i, reads, false)
		return
	}
	c.view(i, reads[len(reads)-n:], true)
}

func (c *setCheck) view(op int32, reads []int32, whole bool) {
	o := &c.ops[op]
	v := setView{op: op, invoke: o.Invoke, complete: o.Complete, final: true, whole: whole, has: make([]int32, 0, len(reads)), reads: make([]int32, 0, len(reads))}
	for _, i := range reads {
		r := &c.ops[i]
		v.invoke, v.complete = min(v.invoke, r.Invoke), max(v.complete, r.Complete)
		e, ok := c.index[r.Value]
		switch {
		case r.Sum != 0 || (r.Value == 0 && !ok):
			c.breach(Corruption, setReadable, r.Invoke, func() string { return fmt.Sprintf("%s found %q", finalReadName, r.Key) }, i)
		case !ok:
			c.phantom(r.Value, i)
		default:
			v.has, v.reads = append(v.has, e), append(v.reads, i)
		}
	}
	c.views = append(c.views, v)
}

func (c *setCheck) phantom(value int64, op int32) {
	o := &c.ops[op]
	c.breach(Phantom, setSent, o.Invoke, func() string {
		return fmt.Sprintf("%s, which was never added, is in %s", elementName(value), c.viewName(o))
	}, op)
}

// found notes what a view has.
func (c *setCheck) found(n int32) {
	v := &c.views[n]
	if v.final && v.whole {
		c.last = n
	}
	for i, at := range v.has {
		if c.stopped(i) {
			return
		}
		e := &c.elements[at]
		holder := v.op
		if v.reads != nil {
			holder = v.reads[i]
		}
		if e.stamp == n+1 {
			c.twice(e, v, holder)
			continue
		}
		e.stamp, e.had, e.hadOp = n+1, n, holder
		if e.firstOp < 0 {
			e.firstOp = holder
		}
		if v.complete < c.ops[e.op].Invoke {
			c.breach(Phantom, setSent, v.invoke, func() string {
				return fmt.Sprintf("%s was in %s before it was added", elementName(c.ops[e.op].Value), c.viewName(&c.ops[v.op]))
			}, e.op, holder)
		}
		if e.fate != isFailed {
			e.known = min(e.known, v.complete)
		}
	}
}

func (c *setCheck) twice(e *setElement, v *setView, holder int32) {
	if e.double {
		return
	}
	e.double = true
	o := &c.ops[e.op]
	c.breach(Duplicate, setOnce, instant(o), func() string {
		return fmt.Sprintf("%s, added once (%s), is in %s twice", elementName(o.Value), o.Outcome, c.viewName(&c.ops[v.op]))
	}, e.op, e.hadOp, holder)
}

// order sorts what has to be in a snapshot by the instant from which it has to.
func (c *setCheck) order() {
	for i := range c.elements {
		if e := &c.elements[i]; e.known != noInstant || e.fate == isFailed {
			c.known = append(c.known, int32(i)) //nolint:gosec // as many as operations
		}
		c.elements[i].stamp = 0
	}
	from := func(i int32) int64 { return c.since(&c.elements[i]) }
	byKnown := func(a, b int32) int { return compareInt(from(a), from(b)) }
	if !slices.IsSortedFunc(c.known, byKnown) {
		slices.SortFunc(c.known, byKnown)
	}
}

// since is the instant from which the absence of an element says something: of a failed one, that it was not there.
func (c *setCheck) since(e *setElement) int64 {
	if e.fate == isFailed {
		return instant(&c.ops[e.op])
	}
	return e.known
}

// missed notes what a whole view misses.
func (c *setCheck) missed(n int32) {
	v := &c.views[n]
	if !v.whole {
		return
	}
	due, _ := slices.BinarySearchFunc(c.known, v.invoke, func(i int32, at int64) int { return compareInt(c.since(&c.elements[i]), at) })
	has := 0
	for _, at := range v.has {
		if e := &c.elements[at]; e.stamp != n+1 {
			e.stamp = n + 1
			if c.since(e) < v.invoke {
				has++
			}
		}
	}
	if has == due {
		return // nothing is missing
	}
	for i, at := range c.known[:due] {
		if c.stopped(i) {
			return
		}
		e := &c.elements[at]
		switch {
		case e.stamp == n+1:
		case n > e.had:
			if e.miss < 0 {
				e.miss = n
			}
		default:
			if e.stale < 0 {
				e.stale = n
			}
			e.late = n
		}
	}
}

// elementName names an element as its process counted it.
func elementName(v int64) string {
	if v>>32 == 0 {
		return fmt.Sprintf("element %d", v)
	}
	return fmt.Sprintf("element %d of process %d", v&0xffffffff, v>>32)
}

func (c *setCheck) viewName(o *ledger.Op) string {
	if o.Func == ledger.FuncList {
		return fmt.Sprintf("the snapshot of operation %d", o.ID)
	}
	return finalReadName
}
