package reports

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// Title is the first line of every report: the verdict, its class or the fallback that it was reached on, and the
// scenario: "PASS (degraded): kafka_broker_pause".
func (r *Record) Title() string {
	j := r.Judgement
	var why []string
	switch {
	case j.Primary == oracle.AsExpected && r.Rules.Expect != "":
		why = append(why, "as expected: "+clean(r.Rules.Expect, 40))
	case j.Primary == oracle.Degraded && len(r.Run.Fallbacks) > 0:
		// The fallback is why the class is degraded: it says more.
	case j.Primary != "":
		why = append(why, string(j.Primary))
	}
	for _, f := range r.Run.Fallbacks {
		why = append(why, clean(f, 120))
	}
	title := j.Verdict.String()
	if len(why) > 0 {
		title += " (" + strings.Join(why, "; ") + ")"
	}
	return title + ": " + clean(r.Run.Scenario, 120)
}

// outcome is the run in one sentence: what the verdict means, and the numbers that carry it. A part is plain text.
func (r *Record) outcome() string {
	lead := map[oracle.Verdict]string{
		oracle.Pass:         "It held",
		oracle.Fail:         "It did not hold",
		oracle.Inconclusive: "The experiment proves nothing",
	}[r.Judgement.Verdict]
	switch primary, all := r.Judgement.Primary, r.Judgement.Overall; {
	case primary == oracle.Clean:
		lead = "It held, without any error"
	case primary == oracle.AsExpected:
		lead = "The weakness that the scenario expects was found"
	case primary == oracle.Degraded && all.OK < all.Invoked:
		lead = "It held, with errors that the scenario allows"
	}
	return lead + ": " + strings.Join(r.keyNumbers(), "; ") + "."
}

// keyNumbers are what a reader looks for first: counts of the checks, availability, the slowest recovery.
func (r *Record) keyNumbers() []string {
	var parts []string
	for _, res := range r.Judgement.Results {
		text := headline(res)
		if text == "" {
			text = "nothing counted"
		}
		if len(r.Judgement.Results) > 1 {
			text = res.Workload + ": " + text
		}
		parts = append(parts, text+", "+violationsText(res))
	}
	o := r.Judgement.Overall
	if o.Invoked > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s succeeded", percent(o.Available()), countOf(o.Invoked, "operation")))
	} else {
		parts = append(parts, "no operation was invoked on the timeline")
	}
	if text := r.slowestRecovery(); text != "" {
		parts = append(parts, text)
	}
	return parts
}

func (r *Record) slowestRecovery() string {
	if len(r.Judgement.Windows) == 0 {
		return ""
	}
	worst := int64(0)
	for _, w := range r.Judgement.Windows {
		if w.Recovery < 0 {
			return "it never recovered from " + faultName(w.Fault)
		}
		worst = max(worst, w.Recovery)
	}
	return "recovered within " + length(worst)
}

// countsOrder is the order of counts that are known; others follow by name.
var countsOrder = []string{"sent", "acknowledged", "delivered", "lost", "duplicate", "duplicated", "failed", "unknown"} //nolint:gochecknoglobals // a constant list

// headline are the counts of a check that its summary names. A log check that found nothing wrong lost nothing.
func headline(res oracle.Result) string {
	counts := map[string]int64{}
	for _, k := range countsOrder {
		if n, ok := res.Counts[k]; ok {
			counts[k] = n
		}
	}
	if _, told := counts["lost"]; !told && res.Check == "log" && res.Verdict == oracle.Pass && res.Total == 0 {
		counts["lost"] = 0
	}
	return countsText(counts)
}

// countKeys are the keys of counts in the order in which reports show them.
func countKeys(counts map[string]int64) []string {
	place := func(k string) int {
		if i := slices.Index(countsOrder, k); i >= 0 {
			return i
		}
		return len(countsOrder)
	}
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
	})
}

func countsText(counts map[string]int64) string {
	var parts []string
	for _, k := range countKeys(counts) {
		parts = append(parts, count(counts[k])+" "+clean(strings.ReplaceAll(k, "_", " "), 40))
	}
	return strings.Join(parts, ", ")
}

// violationsText is "no violation", or their number by class where all of them were kept.
func violationsText(res oracle.Result) string {
	if res.Total == 0 {
		return "no violation"
	}
	text := countOf(res.Total, "violation")
	if res.Total != len(res.Violations) {
		return text
	}
	byClass := map[oracle.Class]int{}
	for _, v := range res.Violations {
		byClass[v.Class]++
	}
	var parts []string
	for _, c := range oracle.Classes() {
		if n := byClass[c]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, c))
		}
	}
	return text + " (" + strings.Join(parts, ", ") + ")"
}

// origin is the instant that offsets count from: the start of the timeline, or of the run where that was never reached.
func (r *Record) origin() int64 {
	if r.Run.Base != 0 {
		return r.Run.Base
	}
	if ps := r.phases(); len(ps) > 0 {
		return ps[0].From
	}
	return 0
}

// phases are those whose instants can be compared: one that began before the host's clock was known and ended after it
// seems to last as long as the host is up, far longer than the run by the runner's own clock.
func (r *Record) phases() []ledger.Phase {
	whole, ok := r.wallLength()
	return slices.DeleteFunc(slices.Clone(r.Run.Phases), func(p ledger.Phase) bool {
		return ok && p.To > 0 && time.Duration(p.To-p.From) > whole+time.Minute
	})
}

// wallLength is how long the run took by the runner's wall clock.
func (r *Record) wallLength() (d time.Duration, ok bool) {
	from, err1 := time.Parse(time.RFC3339, r.Run.Started)
	to, err2 := time.Parse(time.RFC3339, r.Run.Finished)
	return to.Sub(from), err1 == nil && err2 == nil && !to.Before(from)
}

// originText says whose environment the run had: "fresh", or "reused from <run>, because …".
func (r *Record) originText() string {
	e := r.Run.Environment
	text := "fresh"
	if e.From != "" {
		text = fmt.Sprintf("reused from %s, after %s", clean(e.From, 200), countOf(e.Uses, "run"))
	}
	if e.Why != "" {
		text += ", because " + clean(e.Why, maxProse)
	}
	if len(e.Restarts) > 0 {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(e.Restarts)) {
			parts = append(parts, fmt.Sprintf("%s %d", clean(name, 80), e.Restarts[name]))
		}
		text += "; restarts before: " + strings.Join(parts, ", ")
	}
	return text
}

// offset is an instant relative to the origin: "+5.0 s"; digits is the number of decimals.
func (r *Record) offset(at int64, digits int) string {
	if at == 0 {
		return none
	}
	return fmt.Sprintf("%+.*f s", digits, float64(at-r.origin())/1e9)
}

// wall is an instant on the engine host's wall clock; zero where the mapping is unknown.
func (r *Record) wall(at int64) time.Time {
	if r.Run.BaseWall == 0 || at == 0 {
		return time.Time{}
	}
	return time.Unix(0, r.Run.BaseWall+at-r.origin())
}

// boot is the inverse of wall.
func (r *Record) boot(at time.Time) int64 { return at.UnixNano() - r.Run.BaseWall + r.origin() }

// faultView is one fault with everything that the record knows of it.
type faultView struct {
	ledger.Fault
	Window       *oracle.Window // nil without one
	Active, Gone *ledger.Witness
	Instant      bool
}

// faultViews lists every fault, in the order of time.
func (r *Record) faultViews() []faultView {
	var out []faultView
	seen := map[string]bool{}
	add := func(f ledger.Fault) *faultView {
		seen[f.Record] = true
		id, _, _ := strings.Cut(f.ID, "#")
		out = append(out, faultView{Fault: f, Instant: r.Rules.Faults[id].Instant})
		return &out[len(out)-1]
	}
	for i := range r.Judgement.Windows {
		w := &r.Judgement.Windows[i]
		v := add(w.Fault)
		v.Window, v.Active, v.Gone = w, w.Active, w.Gone
	}
	if r.History != nil {
		for _, f := range r.History.Faults {
			if !seen[f.Record] {
				add(f)
			}
		}
		for i := range out {
			out[i].findWitnesses(r.History.Witnesses)
		}
	}
	slices.SortStableFunc(out, func(a, b faultView) int { return cmp.Compare(a.begin(), b.begin()) })
	return out
}

func (v *faultView) findWitnesses(all []ledger.Witness) {
	for i := range all {
		w := &all[i]
		if w.Record != v.Record {
			continue
		}
		if w.Active && v.Active == nil {
			v.Active = w
		}
		if !w.Active && v.Gone == nil {
			v.Gone = w
		}
	}
}

func (v faultView) begin() int64 { return cmp.Or(v.Called, v.Planned) }

// end is the last instant at which the fault may have had an effect; 0 while it is not known to be gone.
func (v faultView) end() int64 {
	end := max(v.Fault.Gone, v.Settled)
	if v.Window != nil {
		end = max(end, v.Window.To)
	}
	return end
}

// activeAt lists the faults that may have been active at an instant, edges widened by the clock's error.
func (r *Record) activeAt(at int64) []faultView {
	var out []faultView
	for _, v := range r.faultViews() {
		if v.Called == 0 || at < v.Called-r.Run.ClockErrorNs {
			continue
		}
		if end := v.end(); end == 0 || at <= end+r.Run.ClockErrorNs {
			out = append(out, v)
		}
	}
	return out
}

// lastBefore is the fault that ended last before an instant.
func (r *Record) lastBefore(at int64) (last faultView, ok bool) {
	for _, v := range r.faultViews() {
		if end := v.end(); end != 0 && end < at && (!ok || end > last.end()) {
			last, ok = v, true
		}
	}
	return last, ok
}

// isProbe sorts probes behind workloads.
func (r *Record) isProbe(name string) int {
	if _, ok := r.Rules.Probes[name]; ok {
		return 1
	}
	return 0
}

// faultName is the name of one fault on one target.
func faultName(f ledger.Fault) string { return clean(cmp.Or(f.Record, f.ID, f.Kind), 80) }

func (r *Record) mechanism(f ledger.Fault) string {
	id, _, _ := strings.Cut(f.ID, "#")
	return clean(cmp.Or(f.Mechanism, r.Run.Mechanisms[f.ID], r.Run.Mechanisms[id], none), 80)
}

// witnessText is a witness' sentence with the value that was measured.
func witnessText(w ledger.Witness) string {
	value := strings.TrimSpace(number(w.Value) + " " + w.Unit)
	if w.Unit == "ns" {
		value = length(int64(w.Value))
	}
	what, note := clean(w.What, maxProse), clean(w.Note, maxProse)
	switch {
	case note == "":
		return what + ": " + value
	case what == "" || w.Unit == "" || w.Unit == "pid" || tells(note, w): // the value is a state that the sentence tells, or in it
		return note
	}
	return note + " (" + what + ": " + value + ")"
}

// tells reports whether a sentence has a witness' value in it, however it writes it, and not as the end of a longer number.
func tells(sentence string, w ledger.Witness) bool {
	values := []string{number(w.Value) + w.Unit}
	if w.Unit == "ns" {
		d := time.Duration(w.Value)
		values = []string{length(int64(d)), d.Round(time.Millisecond).String(), d.Round(10 * time.Microsecond).String()}
	}
	if w.Value == 1 {
		values = append(values, "1"+strings.TrimSuffix(w.Unit, "s"))
	}
	bare := strings.NewReplacer(" ", "", ",", "")
	return slices.ContainsFunc(values, func(v string) bool {
		v = bare.Replace(v)
		parts := strings.Split(bare.Replace(sentence), v)
		return slices.ContainsFunc(parts[:len(parts)-1], func(before string) bool {
			return before == "" || !strings.Contains("0123456789.", before[len(before)-1:])
		})
	})
}

// observers sorts the keys of a window's statistics: workloads first, then probes.
func (r *Record) observers(w oracle.Window) []string {
	names := map[string]bool{}
	for _, part := range []map[string]oracle.Stats{w.Before, w.Inside, w.After} {
		for name := range part {
			names[name] = true
		}
	}
	return slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.isProbe(a), r.isProbe(b)), strings.Compare(a, b))
	})
}

// mutantsText is "7 of 7 mutants convicted".
func mutantsText(convicted, tried int) string {
	if tried == 0 {
		return "no mutant could be tried"
	}
	return fmt.Sprintf("%d of %s convicted", convicted, countOf(tried, "mutant"))
}

// shortDir is the run directory with its parent folder only, so that a report that is pasted elsewhere shows no private
// path.
func (r *Record) shortDir() string {
	dir := filepath.Clean(r.Dir)
	if !filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(filepath.Base(filepath.Dir(dir)), filepath.Base(dir))
}

// seconds is how long the run took: by its wall clock, else from its first phase to its last; 0 where unknown.
func (r *Record) seconds() float64 {
	if d, ok := r.wallLength(); ok {
		return d.Seconds()
	}
	if len(r.Run.Phases) == 0 {
		return 0
	}
	end := int64(0)
	for _, p := range r.Run.Phases {
		end = max(end, p.From, p.To)
	}
	return float64(end-r.Run.Phases[0].From) / 1e9
}
