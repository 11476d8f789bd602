package runner

import (
	"sync"
	"time"

	"github.com/discompose/discompose/ledger"
)

// bucketNs is the resolution of the tracker.
const bucketNs = int64(100 * time.Millisecond)

// tracker counts operations as they arrive, so that the run can wait for a steady state and for recovery without
// reading the ledger. It is safe for concurrent use.
type tracker struct {
	mu      sync.Mutex
	streams map[string]*stream
}

type stream struct {
	completed map[int64]*counts // by Complete / bucketNs
	invoked   map[int64]int     // by Invoke / bucketNs
	lastError string
	total     counts
	latest    ledger.Op // of those that returned, the one that was invoked last
}

type counts struct{ ok, bad int }

func newTracker() *tracker { return &tracker{streams: map[string]*stream{}} }

func (t *tracker) add(ops []ledger.Op) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range ops {
		o := &ops[i]
		switch o.Func {
		case ledger.FuncRead, ledger.FuncEnd, ledger.FuncPoll, ledger.FuncAssign:
			continue
		}
		s := t.streams[o.Workload]
		if s == nil {
			s = &stream{completed: map[int64]*counts{}, invoked: map[int64]int{}}
			t.streams[o.Workload] = s
		}
		s.invoked[o.Invoke/bucketNs]++
		if o.Complete > 0 && o.Invoke >= s.latest.Invoke {
			s.latest = *o
		}
		c := s.completed[o.Complete/bucketNs]
		if c == nil {
			c = &counts{}
			s.completed[o.Complete/bucketNs] = c
		}
		if o.Served() {
			c.ok++
			s.total.ok++
			continue
		}
		c.bad++
		s.total.bad++
		s.lastError = o.Error
	}
}

// since sums what completed, and counts what was invoked, in whole buckets from an instant on (host clock, ns).
func (t *tracker) since(name string, from int64) (done counts, invoked int, lastError string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[name]
	if s == nil {
		return counts{}, 0, ""
	}
	first := (from + bucketNs - 1) / bucketNs
	for b, c := range s.completed {
		if b >= first {
			done.ok += c.ok
			done.bad += c.bad
		}
	}
	for b, n := range s.invoked {
		if b >= first {
			invoked += n
		}
	}
	return done, invoked, s.lastError
}

// latest is, of the operations that returned, the one that was invoked last; ok is false without any.
func (t *tracker) latest(name string) (op ledger.Op, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[name]
	if s == nil || s.latest.Complete == 0 {
		return ledger.Op{}, false
	}
	return s.latest, true
}

// totals sums over everything that is tracked.
func (t *tracker) totals() (ok, bad int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.streams {
		ok += s.total.ok
		bad += s.total.bad
	}
	return ok, bad
}
