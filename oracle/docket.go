package oracle

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/discompose/discompose/ledger"
)

// docket collects what one check of one workload finds. Operations are indices into the history; -1 is none.
type docket struct {
	ctx      context.Context // the check is one call
	check    string
	workload string
	ops      []ledger.Op
	breaches []breach
	unproven []Finding // reasons why the history proves less than a pass
	counts   map[string]int64
	times    map[string]int64
	attached []Attachment
}

// breach is a violation before it is put into words: a broken system may have a million of them.
type breach struct {
	class   Class
	promise string
	at      int64
	ops     []int32
	note    func() string
}

func newDocket(ctx context.Context, check, workload string, ops []ledger.Op) *docket {
	return &docket{ctx: ctx, check: check, workload: workload, ops: ops, counts: map[string]int64{}}
}

// stopped reports whether ctx has ended; it looks only now and then.
func (d *docket) stopped(i int) bool { return i&0xffff == 0 && d.ctx.Err() != nil }

// breach notes a violation; ops are indices into the history, -1 for none. note is called only where it is shown.
func (d *docket) breach(class Class, promise string, at int64, note func() string, ops ...int32) {
	d.breaches = append(d.breaches, breach{class, promise, at, ops, note})
}

// doubt notes a reason why the history proves less than a pass.
func (d *docket) doubt(format string, args ...any) { d.unprove(CheckerUnknown, format, args...) }

// thin notes that there is too little to judge.
func (d *docket) thin(format string, args ...any) { d.unprove(TooFewOps, format, args...) }

func (d *docket) unprove(class Class, format string, args ...any) {
	const most = 10
	if len(d.unproven) < most {
		d.unproven = append(d.unproven, Finding{class, fmt.Sprintf("%s of %s: %s", d.check, d.workload, fmt.Sprintf(format, args...))})
	}
}

// result renders what was found.
func (d *docket) result() Result {
	r := Result{Check: d.check, Workload: d.workload, Counts: d.counts, Times: d.times, Violations: []Violation{}, Findings: []Finding{}, Mutants: []Mutant{}}
	if d.ctx.Err() != nil {
		// What was found on half of the way may come from the other half.
		r.Findings = append(r.Findings, Finding{CheckerUnknown, fmt.Sprintf("the %s check of %s did not come to an end: %v", d.check, d.workload, context.Cause(d.ctx))})
		return r
	}
	r.Violations, r.Total, r.Attachments = d.violations(), len(d.breaches), d.attached
	r.Findings = append(d.findings(), d.unproven...)
	switch {
	case len(d.breaches) > 0:
		r.Verdict = Fail
	case len(r.Findings) == 0:
		r.Verdict = Pass
	}
	return r
}

// violations puts the oldest breaches into words, at most MaxViolations, and of each class a fair share.
func (d *docket) violations() []Violation {
	byTime := func(a, b breach) int {
		return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.ops, b.ops), cmp.Compare(a.promise, b.promise))
	}
	slices.SortStableFunc(d.breaches, byTime)
	kept := fairShare(d.breaches)
	slices.SortStableFunc(kept, byTime)
	out := make([]Violation, 0, len(kept))
	for _, b := range kept {
		out = append(out, Violation{Class: b.class, Promise: b.promise, Note: b.note(), At: b.at, Ops: d.ids(b.ops)})
	}
	return out
}

// ids are the ids of operations in the order of the history, which is that of time, each once.
func (d *docket) ids(ops []int32) []int64 {
	sorted := slices.Clone(ops)
	slices.Sort(sorted)
	out := make([]int64, 0, len(sorted))
	for _, op := range slices.Compact(sorted) {
		if op >= 0 {
			out = append(out, d.ops[op].ID)
		}
	}
	return out
}

// fairShare keeps the first breaches of each class before it fills up with the rest, so that a flood of one class does
// not hide another.
func fairShare(all []breach) []breach {
	if len(all) <= MaxViolations {
		return all
	}
	classes := map[Class]int{}
	for _, b := range all {
		classes[b.class] = 0
	}
	share := MaxViolations / len(classes)
	var kept, rest []breach
	for _, b := range all {
		if classes[b.class]++; classes[b.class] <= share {
			kept = append(kept, b)
		} else if len(rest) < MaxViolations {
			rest = append(rest, b)
		}
	}
	return append(kept, rest[:min(len(rest), MaxViolations-len(kept))]...)
}

// findings has one finding for each promise that is broken, in the order of classes.
func (d *docket) findings() []Finding {
	type broken struct {
		breach

		n int
	}
	var all []*broken
	by := map[string]*broken{}
	for _, b := range d.breaches { // sorted by violations
		at := by[b.promise]
		if at == nil {
			at = &broken{breach: b}
			by[b.promise] = at
			all = append(all, at)
		}
		at.n++
	}
	order := Classes()
	slices.SortStableFunc(all, func(a, b *broken) int { return cmp.Compare(slices.Index(order, a.class), slices.Index(order, b.class)) })
	out := []Finding{}
	for _, b := range all {
		out = append(out, Finding{b.class, fmt.Sprintf("%s of %s: broken %s: %s; first: %s", d.check, d.workload, times(b.n), b.promise, b.note())})
	}
	return out
}

// tally adds up sent operations by outcome under the usual names.
func (d *docket) tally(o *ledger.Op) {
	switch o.Outcome {
	case ledger.OK:
		d.counts["acknowledged"]++
	case ledger.Failed:
		d.counts["failed"]++
	case ledger.Unknown:
		d.counts["unknown"]++
	}
}

// spread records the percentiles of some times, in ns, under a name.
func (d *docket) spread(name string, ns []int64) {
	if len(ns) == 0 {
		return
	}
	slices.Sort(ns)
	if d.times == nil {
		d.times = map[string]int64{}
	}
	d.times[name+"_p50"], d.times[name+"_p99"], d.times[name+"_max"] = rank(ns, 50), rank(ns, 99), ns[len(ns)-1]
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
