package reports

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// ErrorGroup is a number of operations that failed with the same text.
type ErrorGroup struct {
	Workload string         `json:"workload"`
	Outcome  ledger.Outcome `json:"outcome"`
	Error    string         `json:"error"`
	Count    int            `json:"count"`
	First    int64          `json:"first"` // host boot-time clock, ns
	Last     int64          `json:"last"`
	Inside   int            `json:"inside"` // of Count: invoked or completed in a fault's window or its recovery
}

// maxGroups bounds the groups that reports show.
const maxGroups = 5

// errorGroups returns the largest groups, and how many operations are in the others.
func (r *Record) errorGroups() (groups []ErrorGroup, rest int) {
	if r.History == nil {
		return nil, 0
	}
	type key struct {
		workload, err string
		outcome       ledger.Outcome
	}
	spans := r.errorSpans()
	found := map[key]*ErrorGroup{}
	traffic := r.Run.Traffic()
	for i := range r.History.Ops {
		o := &r.History.Ops[i]
		if o.Served() || !traffic(o) || o.Invoke < r.origin() {
			continue
		}
		text := o.Error
		if text == "" {
			text = "no text"
			if o.Complete == 0 {
				text = "never returned"
			}
		}
		k := key{o.Workload, text, o.Outcome}
		g := found[k]
		if g == nil {
			g = &ErrorGroup{Workload: o.Workload, Outcome: o.Outcome, Error: text, First: o.Invoke}
			found[k] = g
		}
		g.Count++
		g.Last = max(g.Last, o.Invoke)
		if spans.touch(o.Invoke, cmp.Or(o.Complete, o.Invoke)) {
			g.Inside++
		}
	}
	for _, g := range slices.SortedFunc(maps.Values(found), func(a, b *ErrorGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Workload, b.Workload), strings.Compare(a.Error, b.Error),
			strings.Compare(string(a.Outcome), string(b.Outcome)))
	}) {
		if len(groups) < maxGroups {
			groups = append(groups, *g)
			continue
		}
		rest += g.Count
	}
	return groups, rest
}

type spans [][2]int64

// touch reports whether the interval meets a span.
func (s spans) touch(from, to int64) bool {
	return slices.ContainsFunc(s, func(span [2]int64) bool { return from <= span[1] && to >= span[0] })
}

// errorSpans are the intervals in which a fault explains errors: from its call to the end of its recovery, edges widened
// by the clock's error.
func (r *Record) errorSpans() spans {
	var out spans
	for _, v := range r.faultViews() {
		if v.Called == 0 {
			continue
		}
		end := v.end()
		if v.Window != nil && v.Window.Recovery > 0 {
			end = max(end, v.Window.To+v.Window.Recovery)
		}
		if end == 0 || v.Window != nil && v.Window.Recovery < 0 {
			end = 1<<63 - 1 - r.Run.ClockErrorNs
		}
		out = append(out, [2]int64{v.Called - r.Run.ClockErrorNs, end + r.Run.ClockErrorNs})
	}
	return out
}
