package oracle

import (
	"slices"
	"sort"

	"github.com/discompose/discompose/ledger"
)

// index finds the operations of each workload and probe by the instant of their invocation.
type index struct {
	ops   []ledger.Op
	by    map[string][]int32 // observer → its requests, by Invoke
	names []string           // the keys of by, sorted
	final int64              // latest instant that any operation knows
	rules Rules
}

// interval is from one instant to another, both included.
type interval struct{ from, to int64 }

func (i interval) has(t int64) bool          { return i.from <= t && t <= i.to }
func (i interval) meets(from, to int64) bool { return from <= i.to && i.from <= to }

// isProbe reports whether an observer is a probe.
func (x *index) isProbe(name string) bool {
	_, ok := x.rules.Probes[name]
	return ok
}

// defaultRecovery is the recovery time of rules that name none, in ns; it is the default of the scenario language.
const defaultRecovery = int64(30e9)

// newIndex takes requests only: the final read asks nothing of a disturbed system, and what a group consumer was handed
// counts only where a workload does nothing else.
func newIndex(h *ledger.History, rules Rules) *index {
	if rules.Recovery <= 0 {
		rules.Recovery = defaultRecovery
	}
	x := &index{ops: h.Ops, by: map[string][]int32{}, rules: rules}
	polls := map[string][]int32{}
	traffic := h.Run.Traffic()
	for i := range h.Ops {
		o := &h.Ops[i]
		x.final = max(x.final, o.Invoke, o.Complete)
		switch {
		case !traffic(o):
		case o.Func == ledger.FuncPoll || o.Func == ledger.FuncAssign:
			polls[o.Workload] = append(polls[o.Workload], int32(i)) //nolint:gosec // fewer than 2^31 operations fit into memory
		default:
			x.by[o.Workload] = append(x.by[o.Workload], int32(i)) //nolint:gosec // as above
		}
	}
	for name, list := range polls {
		if len(x.by[name]) == 0 {
			x.by[name] = list
		}
	}
	for name, list := range x.by {
		byInvoke := func(a, b int32) int { return compareInt(x.ops[a].Invoke, x.ops[b].Invoke) }
		if !slices.IsSortedFunc(list, byInvoke) {
			slices.SortStableFunc(list, byInvoke)
		}
		x.names = append(x.names, name)
	}
	slices.Sort(x.names)
	return x
}

// invoked lists the operations of an observer that were invoked in [from, to].
func (x *index) invoked(name string, in interval) []int32 {
	list := x.by[name]
	low := sort.Search(len(list), func(i int) bool { return x.ops[list[i]].Invoke >= in.from })
	high := sort.Search(len(list), func(i int) bool { return x.ops[list[i]].Invoke > in.to })
	if low >= high {
		return nil
	}
	return list[low:high]
}

// observers lists workloads (or probes) of the rules, sorted.
func observers[T any](rules map[string]T) []string {
	out := make([]string, 0, len(rules))
	for name := range rules {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// stats sums up the operations of some observers that were invoked in an interval.
func (x *index) stats(in interval, names ...string) Stats {
	if in.to <= in.from {
		return Stats{}
	}
	var lists [][]int32
	for _, name := range names {
		lists = append(lists, x.invoked(name, in))
	}
	return x.sum(float64(in.to-in.from)/1e9, lists...)
}

// sum sums up operations that were invoked in so many seconds.
func (x *index) sum(seconds float64, lists ...[]int32) Stats {
	s := Stats{Seconds: seconds}
	var latencies []int64
	for _, list := range lists {
		for _, i := range list {
			o := &x.ops[i]
			s.Invoked++
			switch {
			case o.Served():
				s.OK++
				latencies = append(latencies, latency(o))
			case o.Outcome == ledger.Failed:
				s.Failed++
			default:
				s.Unknown++
			}
		}
	}
	if seconds > 0 {
		s.Rate = float64(s.OK) / seconds
	}
	slices.Sort(latencies)
	s.P50, s.P99 = rank(latencies, 50), rank(latencies, 99)
	if n := len(latencies); n > 0 {
		s.Max = latencies[n-1]
	}
	return s
}

// latency counts from the planned instant, so that an operation that had to wait for its turn is not flattered.
func latency(o *ledger.Op) int64 {
	from := o.Planned
	if from == 0 {
		from = o.Invoke
	}
	return max(0, o.Complete-from)
}

// rank is the nearest-rank percentile of sorted values; 0 without any.
func rank(sorted []int64, percent int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}

// recovery is the time from an instant to the completion of the first success, among operations invoked at or after it
// and until last, that no failure followed within a second; -1 if there was none, or no operation.
func (x *index) recovery(from, last int64, names ...string) int64 {
	const quiet = 1e9
	best := int64(-1)
	var failed []int64 // when failing operations were invoked
	var list []int32
	for _, name := range names {
		list = append(list, x.invoked(name, interval{from, last})...)
	}
	for _, i := range list {
		if !x.ops[i].Served() {
			failed = append(failed, x.ops[i].Invoke)
		}
	}
	slices.Sort(failed)
	for _, i := range list {
		o := &x.ops[i]
		if !o.Served() {
			continue
		}
		n, _ := slices.BinarySearch(failed, o.Invoke)
		if n < len(failed) && failed[n] < o.Invoke+quiet {
			continue
		}
		if took := o.Complete - from; best < 0 || took < best {
			best = took
		}
	}
	return best
}
