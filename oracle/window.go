package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// span is the part of a run that is judged.
type span struct {
	start int64 // of the steady phase: from here on operations count as before a fault
	base  int64 // start of the timeline
	end   int64 // end of recovery
	stop  int64 // end of the final reads: from here on the runner takes the environment down
	err   int64 // by which instants of different clocks may be off
}

func newSpan(h *ledger.History, x *index) span {
	s := span{base: h.Run.Base, err: max(0, h.Run.ClockErrorNs)}
	phase := map[string]ledger.Phase{}
	for _, p := range h.Run.Phases {
		name := p.Name
		if strings.HasPrefix(name, ledger.PhaseSteady) { // "steady state" too
			name = ledger.PhaseSteady
		}
		phase[name] = p
	}
	s.base = cmp.Or(s.base, phase[ledger.PhaseTimeline].From)
	s.start = cmp.Or(phase[ledger.PhaseSteady].From, s.base)
	s.end = cmp.Or(phase[ledger.PhaseRecovery].To, phase[ledger.PhaseDrain].From, phase[ledger.PhaseFinal].From, phase[ledger.PhaseTimeline].To, x.final)
	if s.base == 0 { // the timeline was not reached
		s.base, s.start = s.end, s.end
	}
	s.stop = cmp.Or(phase[ledger.PhaseFinal].To, phase[ledger.PhaseDrain].To, s.end)
	return s
}

// windows lists a window for each fault record that had one, in the order of their start.
func windows(h *ledger.History, x *index, s span) []Window {
	out := []Window{}
	for _, f := range h.Faults {
		rule := x.rules.Faults[f.ID]
		from, to, ok := f.Window(rule.Instant)
		if !ok {
			continue
		}
		w := Window{Fault: f, From: from, To: to, Before: map[string]Stats{}, Inside: map[string]Stats{}, After: map[string]Stats{}}
		w.Active, w.Gone = witness(h, f, true), witness(h, f, false)
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b Window) int { return cmp.Or(compareInt(a.From, b.From), compareInt(a.To, b.To)) })
	for i := range out {
		x.fill(&out[i], out, s)
	}
	return out
}

// witness finds the first witness that a fault was active, or the last that it was gone.
func witness(h *ledger.History, f ledger.Fault, active bool) *ledger.Witness {
	var found *ledger.Witness
	for i := range h.Witnesses {
		if w := &h.Witnesses[i]; w.Record == f.Record && w.Active == active && (found == nil || !active) {
			found = w
		}
	}
	if found == nil {
		return nil
	}
	clone := *found
	return &clone
}

// begun is when the fault may first have had an effect: before the window, which starts with the proof of it.
func begun(f ledger.Fault, from int64) int64 {
	if f.Called > 0 {
		return min(f.Called, from)
	}
	return from
}

// over is when the effect had surely ended.
func over(f ledger.Fault, to int64) int64 { return max(to, f.Released, f.Gone, f.Settled) }

func (x *index) fill(w *Window, all []Window, s span) {
	start, next := begun(w.Fault, w.From), s.end
	for _, other := range all {
		if other.From >= w.To && begun(other.Fault, other.From) < next {
			next = begun(other.Fault, other.From)
		}
	}
	before := interval{max(s.base, start-(w.To-w.From)), start - s.err - 1}
	inside := interval{w.From + s.err, w.To - s.err}
	after := interval{w.To + s.err + 1, next}
	names := x.observersOf(w.Fault)
	for _, name := range names {
		w.Before[name] = x.stats(before, name)
		w.Inside[name] = x.stats(inside, name)
		w.After[name] = x.stats(after, name)
	}
	w.Recovery = x.slowest(*w, all, s, x.workFirst(names))
	w.Guards = x.guards(names, interval{min(s.start, s.base), start - s.err - 1}, inside, interval{w.To + s.err + 1, s.end})
}

// slowest is the recovery of the observer that took longest; -1 if one did not recover. Those without an operation after the
// window count for nothing: the guards find them.
func (x *index) slowest(w Window, all []Window, s span, names []string) int64 {
	longest := int64(-1)
	for _, name := range names {
		took := x.recoveryAfter(w, all, s, name)
		if took < 0 && len(x.invoked(name, interval{w.To, s.end})) > 0 {
			return -1
		}
		longest = max(longest, took)
	}
	return longest
}

// recoveryAfter is the recovery of some observers after a window. While another fault still holds, a recovery cannot show:
// then it counts from the end of that one.
func (x *index) recoveryAfter(w Window, all []Window, s span, names ...string) int64 {
	from := w.To
	for grown := true; grown; {
		grown = false
		for _, other := range all {
			if other.From < from && from < other.To {
				from, grown = other.To, true
			}
		}
	}
	return x.recovery(from, x.until(from, all, s), names...)
}

// until is the start of the next window after an instant, or the end of the run.
func (x *index) until(from int64, all []Window, s span) int64 {
	next := s.end
	for _, w := range all {
		if at := begun(w.Fault, w.From); w.From >= from && at < next {
			next = max(from, at-1)
		}
	}
	return next
}

// observersOf lists the workloads and probes that observe a fault, sorted.
func (x *index) observersOf(f ledger.Fault) []string {
	names := slices.Clone(x.rules.Faults[f.ID].ObservedBy)
	if len(names) == 0 {
		names = append(observers(x.rules.Workloads), observers(x.rules.Probes)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// workFirst keeps the workloads of names, or all where there is none: what users do counts more than what probes see.
func (x *index) workFirst(names []string) []string {
	work := slices.DeleteFunc(slices.Clone(names), x.isProbe)
	if len(work) == 0 {
		return names
	}
	return work
}

// guards counts the operations that each observer invoked before, inside and after a window.
func (x *index) guards(names []string, before, inside, after interval) []GuardCount {
	out := []GuardCount{}
	parts := []struct {
		name string
		in   interval
	}{{"before", before}, {"inside", inside}, {"after", after}}
	onlyProbes := !slices.ContainsFunc(names, func(n string) bool { return !x.isProbe(n) })
	for _, part := range parts {
		sum := 0
		for _, name := range names {
			n := len(x.invoked(name, part.in))
			sum += n
			switch {
			case onlyProbes:
			case x.isProbe(name):
				out = append(out, GuardCount{name, part.name, n, max(1, x.rules.GuardProbes)})
			default:
				out = append(out, GuardCount{name, part.name, n, max(1, x.rules.GuardOps)})
			}
		}
		if onlyProbes {
			out = append(out, GuardCount{"probes", part.name, sum, max(1, x.rules.GuardOps)})
		}
	}
	return out
}

// thin says which guards of a window do not hold; empty if all do.
func (w Window) thin() string {
	var few []string
	for _, g := range w.Guards {
		if g.Count < g.Need {
			few = append(few, fmt.Sprintf("%s invoked %d of %d operations %s it", g.Observer, g.Count, g.Need, g.Part))
		}
	}
	return strings.Join(few, ", ")
}

// title names a fault for people.
func title(f ledger.Fault) string { return fmt.Sprintf("%s (%s of %s)", f.ID, f.Kind, f.Target) }
