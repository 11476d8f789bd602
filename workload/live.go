package workload

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/discompose/discompose/ledger"
)

// Bounds are how much of something may be in a system at a time.
type Bounds struct {
	Keys  int64   // objects; 0: any number
	Bytes int64   // of all objects together; 0: any number
	Low   float64 // in (0, 1): once a bound was reached, no key is put anew until at most this part of each bound is left
}

// DefaultLowWater is Bounds.Low where the scenario does not say.
const DefaultLowWater = 0.8

// Share is the part of b that some of a workload's clients have, of all: the parts do not add up to more than b, where no bound is
// less than the number of clients.
func (b Bounds) Share(clients, all int) Bounds {
	if all <= clients {
		return b
	}
	for _, n := range []*int64{&b.Keys, &b.Bytes} {
		if *n > 0 {
			*n = max(int64(float64(*n)*float64(clients)/float64(all)), 1)
		}
	}
	return b
}

// ValidateLive joins every problem of the options live_keys, of keys.count = keys, and low_water.
func ValidateLive(live, keys int, low float64) error {
	var errs []error
	if live < 0 || live > max(keys, 0) {
		errs = append(errs, fmt.Errorf("live_keys: %d is not between 0 and keys.count = %d", live, keys))
	}
	if !(low > 0 && low < 1) {
		errs = append(errs, fmt.Errorf("low_water: %g is not above 0 and below 1", low))
	}
	return errors.Join(errs...)
}

// ValidateLiveClients says that live_keys, 0 being no bound, are too few for so many clients.
func ValidateLiveClients(live, clients int) error {
	if live > 0 && live < clients {
		return fmt.Errorf("live_keys: %d is less than the workload's %d clients, of which each may put an object at the same time", live, clients)
	}
	return nil
}

// low is what is left of a bound when draining ends.
func (b Bounds) low(bound int64) int64 {
	if bound == math.MaxInt64 {
		return bound
	}
	return int64(b.Low * float64(bound))
}

// Live bounds the objects that a workload has in a system, by turning puts into deletes; it is the Governor of systems of
// objects. It counts what may be there:
//
//	put     counts from its invocation on: ok or unknown, it stays; failed, it is gone again
//	delete  ok: takes away what every put had left that was resolved before the delete was invoked
//
// Versions of a key that may be there count as the largest of them. A put of unknown fate is taken to happen, if at all, before a
// delete or put that is invoked after nobody waits for it any more. Its methods may be called concurrently.
type Live struct {
	bounds Bounds

	mu       sync.Mutex
	clock    int64 // counts invocations and resolutions, from 1
	keys     int64 // that may be there
	bytes    int64
	draining bool
	objects  map[string]*object // those that may be there, and those with operations in flight
	idle     *list.List         // objects that are there and have no operation in flight, the longest idle first
	changed  map[string]int64   // every key of a put or delete → the instant of its last one
}

// object is one key.
type object struct {
	key     string
	size    int64   // bytes of what resolved puts may have left
	since   int64   // the instant of the last of these; 0: there is none
	puts    []int64 // in flight: their sizes
	deletes int     // in flight
	live    bool    // it is counted in Live.keys
	bytes   int64   // that are counted in Live.bytes
	idle    *list.Element
}

// NewLive makes a Live with nothing in it.
func NewLive(b Bounds) *Live {
	for _, n := range []*int64{&b.Keys, &b.Bytes} {
		if *n == 0 {
			*n = math.MaxInt64
		}
	}
	return &Live{bounds: b, objects: map[string]*object{}, idle: list.New(), changed: map[string]int64{}}
}

// Govern implements Governor. A put that a bound does not admit becomes a delete of the object that is idle for longest, or of its
// own key where none is idle.
func (l *Live) Govern(op ledger.Op) (ledger.Op, func(ledger.Outcome)) {
	if op.Func != ledger.FuncPut && op.Func != ledger.FuncDelete {
		return op, func(ledger.Outcome) {}
	}
	size := putSize(op)
	l.mu.Lock()
	defer l.mu.Unlock()
	if op.Func == ledger.FuncPut && !l.admit(op.Key, size) {
		op.Func, op.Value, op.Data = ledger.FuncDelete, 0, ""
		if e := l.idle.Front(); e != nil {
			op.Key = e.Value.(*object).key //nolint:forcetypeassert // nothing else is in the list
		}
	}
	o := l.objects[op.Key]
	if o == nil {
		o = &object{key: op.Key}
		l.objects[op.Key] = o
	}
	if op.Func == ledger.FuncPut {
		o.puts = append(o.puts, size)
	} else {
		o.deletes++
	}
	began := l.count(o)
	return op, func(outcome ledger.Outcome) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if op.Func == ledger.FuncPut {
			o.put(size, began, l.clock+1, outcome)
		} else {
			o.delete(began, outcome)
		}
		l.count(o)
	}
}

// putSize is the size of what op puts.
func putSize(op ledger.Op) int64 {
	var data ledger.Object
	if op.Func != ledger.FuncPut || ledger.DecodeData(&op, &data) != nil || data.Size == nil {
		return 0
	}
	return *data.Size
}

// admit reports whether a put may be invoked; it begins and ends draining.
func (l *Live) admit(key string, size int64) bool {
	anew, more := true, size
	if o := l.objects[key]; o != nil && o.live {
		anew, more = false, max(size-o.bytes, 0)
	}
	if l.keys <= l.bounds.low(l.bounds.Keys) && l.bytes <= l.bounds.low(l.bounds.Bytes) {
		l.draining = false
	}
	if anew && l.keys >= l.bounds.Keys || more > l.bounds.Bytes-l.bytes {
		l.draining = true
		return false
	}
	return !anew || !l.draining
}

// put resolves a put that was invoked at an instant.
func (o *object) put(size, began, now int64, outcome ledger.Outcome) {
	at := slices.Index(o.puts, size)
	o.puts = slices.Delete(o.puts, at, at+1)
	if outcome == ledger.Failed {
		return
	}
	if outcome == ledger.OK && o.since < began {
		o.size = 0 // overwritten
	}
	o.size, o.since = max(o.size, size), now
}

// delete resolves a delete that was invoked at an instant.
func (o *object) delete(began int64, outcome ledger.Outcome) {
	o.deletes--
	if outcome == ledger.OK && o.since < began {
		o.size, o.since = 0, 0
	}
}

// count brings the sums up to date after a change of o, and returns the change's instant.
func (l *Live) count(o *object) int64 {
	l.clock++
	l.changed[o.key] = l.clock
	live, bytes := o.since > 0 || len(o.puts) > 0, o.size
	for _, size := range o.puts {
		bytes = max(bytes, size)
	}
	if live != o.live {
		l.keys += map[bool]int64{true: 1, false: -1}[live]
	}
	l.bytes += bytes - o.bytes
	o.live, o.bytes = live, bytes
	busy := len(o.puts) + o.deletes
	switch idle := live && busy == 0; {
	case idle && o.idle == nil:
		o.idle = l.idle.PushBack(o)
	case !idle && o.idle != nil:
		l.idle.Remove(o.idle)
		o.idle = nil
	}
	if !live && busy == 0 {
		delete(l.objects, o.key)
	}
	return l.clock
}

// GoneTime is how long a final read may take over objects that are gone. A list tells of those that it does not come to.
const GoneTime = 15 * time.Second

// Keys says what a final read has to look at: the keys that may be there or that are listed, sorted, and those that were put or
// deleted and should be gone, the last changed first. What was never put or deleted is in neither.
func (l *Live) Keys(listed []string) (there, gone []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	there = slices.Clone(listed)
	for key, o := range l.objects {
		if o.live {
			there = append(there, key)
		}
	}
	slices.Sort(there)
	there = slices.Compact(there)
	for key := range l.changed {
		if _, found := slices.BinarySearch(there, key); !found {
			gone = append(gone, key)
		}
	}
	slices.SortFunc(gone, func(a, b string) int { return cmp.Compare(l.changed[b], l.changed[a]) })
	return there, gone
}
