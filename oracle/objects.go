package oracle

import (
	"context"
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// Objects is the checker of object stores: blobs by key, each put with a generation of its own. Its promises:
//
//   - An acknowledged object is there until it is deleted, and an acknowledged overwrite holds (data-loss where nothing after
//     shows it, else stale). So does what a read has shown: after a read has found one of the versions that a write of
//     unknown fate left possible, reads do not go back.
//   - A deleted object does not come back (resurrected), and nothing is read or listed that was never put (phantom).
//   - A list has every object that is there, and none that was deleted.
//   - Every byte comes back, and so does the size (corruption).
//
// Operations: put, get (whole or a range), head, delete and list; the final read is made of them, and an end. A write or a
// delete of unknown fate may take effect at any time, or never; a read that is not ok says nothing.
type Objects struct {
	Reads string `toml:"reads" json:"reads,omitempty" default:"strict" enum:"strict|eventual" doc:"whether a get or a head shows what was acknowledged before it (strict), or may be behind until the final read (eventual)"`
	List  string `toml:"list" json:"list,omitempty" default:"strict" enum:"strict|eventual" doc:"whether a list shows what was acknowledged before it (strict), or may be behind until the final read (eventual)"`
}

// The promises of an object store.
const (
	objKept     = "what was acknowledged, or read, is not lost"
	objFresh    = "a read is not older than what was acknowledged, or read, before it"
	objListed   = "a list has every object that is there"
	objDeleted  = "a deleted object does not come back"
	objUnlisted = "a list has no object that was deleted"
	objSent     = "nothing is there that was never put"
	objRefused  = "a put that failed has no effect"
	objBytes    = "an object comes back with the bytes that were put"
	eventual    = "eventual"
)

// Check implements Checker. Counts: acknowledged, failed and unknown (puts and deletes by outcome), unknown_found (of the
// puts, those that were read), reads, lists, keys, late (observations that were behind, where that is allowed),
// never_read (keys that were not looked at after their last acknowledged change).
func (s Objects) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := s.open(newDocket(ctx, "objects", workload, h.Ops))
	c.scan()
	c.walk(len(c.ops))
	c.settle()
	return c.result()
}

// What an observation shows, besides the number of a put.
const (
	objAbsent  = int32(-1)
	objPresent = int32(-2) // some version
	objNothing = int32(-3) // it shows nothing, or what it shows is wrong
)

// objPut is one version of an object.
type objPut struct {
	op    int32
	fate  fate
	size  int64 // -1: not known
	sure  int64 // when it surely had been there; the end of time where nobody knows
	proof int32 // the operation that proves it
}

// objFact is something that happened to a key: what was there at some instant after call.
type objFact struct {
	call  int64
	op    int32
	value int32 // a put, objAbsent or objPresent
}

// objSpan is when an operation may have taken effect.
type objSpan struct {
	call, ret int64
	last      int64 // the greatest ret up to this one
	put       int32
}

// objKey is what is known of one key. Facts are those that had returned when the walk was there, the one that was called
// last of each sort.
type objKey struct {
	name     string
	top      [2]objFact // of a known value; of different values
	zero     objFact    // it was absent
	some     objFact    // it was there
	puts     []objSpan  // acknowledged ones, by call
	openPuts []int32    // of unknown fate, by call: numbers of puts
	deletes  []objSpan  // acknowledged, or known to have happened
	open     []objSpan  // deletes of unknown fate
	lastRead int64      // calls: of the last get or head
	lastList int64      // of the last list that could have it
	lastSeen int64      // of the last good observation that it is there
	lastGood int64      // of the last good observation of what is there
	change   objSpan    // the acknowledged change that returned last
	gone     bool       // which is a delete
}

type objectsCheck struct {
	*docket

	options Objects
	keys    []objKey
	index   map[string]int32
	puts    []objPut
	named   map[regNamed]int32 // key and generation → put
	sorted  []int32            // keys by name, for lists
	of      []int32            // operation → key; -1 none
	shows   []int32            // operation → what it shows
	lists   map[int32]*objList
	final   map[int32]bool // operations of final reads
	returns []int32        // operations by their return
	next    int            // of returns
	stamp   []int32        // key → the list that has it
	charges []objCharge
	ends    []int32
}

// objList is one list: the numbers of its keys, and what it shows wrongly.
type objList struct {
	keys  []int32
	wrong map[int32]bool
}

// objCharge is an observation that contradicts a fact; what it is called depends on what came after.
type objCharge struct {
	op, key int32
	shows   int32
	against objFact
}

func (s Objects) open(d *docket) *objectsCheck {
	return &objectsCheck{docket: d, options: s, index: map[string]int32{}, named: map[regNamed]int32{}, lists: map[int32]*objList{}, final: map[int32]bool{}}
}

// walk goes through the observations in the order of their calls, up to the operation at an index. Whatever had returned
// before one is known when it is judged.
func (c *objectsCheck) walk(until int) {
	for i := range c.ops[:until] {
		if c.stopped(i) {
			return
		}
		o := &c.ops[i]
		n := int32(i) //nolint:gosec // fewer than 2^31 operations fit into memory
		if o.Func == ledger.FuncPut || (c.shows[i] == objNothing && c.lists[n] == nil) {
			continue
		}
		c.learn(o.Invoke)
		if l := c.lists[n]; l != nil {
			c.judgeList(n, o, l)
			continue
		}
		c.judgeRead(n, o)
	}
}

// judgeRead judges a get or a head.
func (c *objectsCheck) judgeRead(i int32, o *ledger.Op) {
	key := c.of[i]
	k := &c.keys[key]
	against, wrong := c.contradicts(k, c.shows[i], o.Complete, c.options.Reads == eventual)
	if !wrong {
		c.good(k, c.shows[i], o.Invoke)
		return
	}
	shows := c.shows[i]
	c.shows[i] = objNothing
	if c.options.Reads == eventual && !c.final[i] {
		c.counts["late"]++
		return
	}
	c.charges = append(c.charges, objCharge{i, key, shows, against})
}

func (c *objectsCheck) good(k *objKey, shows int32, call int64) {
	if shows != objAbsent {
		k.lastSeen = max(k.lastSeen, call)
	}
	if shows != objPresent {
		k.lastGood = max(k.lastGood, call)
	}
}

func (c *objectsCheck) judgeList(i int32, o *ledger.Op, l *objList) {
	lax := c.options.List == eventual
	judge := func(key, shows int32) {
		k := &c.keys[key]
		k.lastList = max(k.lastList, o.Invoke)
		against, wrong := c.contradicts(k, shows, o.Complete, lax)
		if !wrong {
			c.good(k, shows, o.Invoke)
			return
		}
		if l.wrong == nil {
			l.wrong = map[int32]bool{}
		}
		l.wrong[key] = true
		if lax && !c.final[i] {
			c.counts["late"]++
			return
		}
		c.charges = append(c.charges, objCharge{i, key, shows, against})
	}
	for _, k := range l.keys {
		c.stamp[k] = -i - 1
		judge(k, objPresent)
	}
	for _, k := range c.below(o.Key) {
		if c.stamp[k] != -i-1 {
			judge(k, objAbsent)
		}
	}
}

// contradicts finds the fact that an observation cannot be true beside.
func (c *objectsCheck) contradicts(k *objKey, shows int32, ret int64, lax bool) (objFact, bool) {
	switch shows {
	case objAbsent:
		return k.some, k.some.call > 0 && !c.deleted(k, k.some.call, ret, lax)
	case objPresent:
		return k.zero, k.zero.call > 0 && !c.replaced(k, k.zero.call, ret)
	}
	f := k.other(shows)
	return f, f.call > c.puts[shows].sure
}

// deleted reports whether a delete may have taken effect between two instants. One of unknown fate that alone explains
// an absence has happened by then, and explains no later one.
func (c *objectsCheck) deleted(k *objKey, from, until int64, lax bool) bool {
	if possible(k.deletes, from, until) {
		return true
	}
	n := 0
	for n < len(k.open) && k.open[n].call <= until {
		n++
	}
	if n == 1 && !lax {
		d := k.open[0]
		k.open = k.open[1:]
		k.deletes = insertSpan(k.deletes, objSpan{call: d.call, ret: until})
	}
	return n > 0
}

// replaced reports whether a put may have taken effect between two instants.
func (c *objectsCheck) replaced(k *objKey, from, until int64) bool {
	if possible(k.puts, from, until) {
		return true
	}
	for n := len(k.openPuts) - 1; n >= 0; n-- {
		p := &c.puts[k.openPuts[n]]
		if c.ops[p.op].Invoke <= until && p.sure >= from {
			return true
		}
	}
	return false
}

// subject names what a charge is about.
func (c *objectsCheck) subject(op int32) string {
	return fmt.Sprintf("operation %d (%s)", c.ops[op].ID, c.ops[op].Func)
}
