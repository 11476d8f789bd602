package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

const (
	timelineColumns = 72 // most buckets of the drawing
	timelineTick    = 10 // buckets between two labels of the axis
	labelWidth      = 22
)

// drawing is the run over time in rows of equal buckets.
type drawing struct {
	r       *Record
	from    int64
	bucket  int64 // ns
	columns int
	lines   []string
}

// drawTimeline draws throughput, errors, fault windows, violations and container events over the run, one column for
// each bucket of time. It returns nil without a ledger or a timeline.
func drawTimeline(r *Record) []string {
	if r.History == nil || r.Run.Base == 0 {
		return nil
	}
	end := r.timelineEnd()
	if end <= r.Run.Base {
		return nil
	}
	d := &drawing{r: r, from: r.Run.Base}
	d.bucket = bucketFor(end - d.from)
	d.columns = int((end - d.from + d.bucket - 1) / d.bucket)
	d.axis()
	d.traffic()
	for _, v := range r.faultViews() {
		d.band(v)
	}
	d.marks()
	return d.lines
}

// timelineEnd is the end of the recovery; where phases do not tell, the last fault or operation.
func (r *Record) timelineEnd() int64 {
	end := int64(0)
	for _, p := range r.Run.Phases {
		if p.Name == ledger.PhaseTimeline || p.Name == ledger.PhaseRecovery {
			end = max(end, p.To)
		}
	}
	for _, v := range r.faultViews() {
		end = max(end, v.end())
	}
	if end > r.Run.Base {
		return end
	}
	traffic := r.Run.Traffic()
	for i := range r.History.Ops {
		if o := &r.History.Ops[i]; traffic(o) {
			end = max(end, o.Complete, o.Invoke)
		}
	}
	return end
}

// bucketFor is the shortest round bucket that fits a span into the columns.
func bucketFor(span int64) int64 {
	for _, d := range []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
		5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour,
	} {
		if span <= int64(d)*timelineColumns {
			return int64(d)
		}
	}
	return (span + timelineColumns - 1) / timelineColumns
}

func (d *drawing) row(label, cells, note string) {
	line := fmt.Sprintf("%-*s %s", labelWidth, clean(label, labelWidth), cells)
	if note != "" {
		line += strings.Repeat(" ", max(d.columns-width(cells), 0)) + "  " + note
	}
	d.lines = append(d.lines, strings.TrimRight(line, " "))
}

// column is the bucket of an instant; ok is false outside the drawing.
func (d *drawing) column(at int64) (n int, ok bool) {
	if at < d.from {
		return 0, false
	}
	n = int((at - d.from) / d.bucket)
	return n, n < d.columns
}

func (d *drawing) axis() {
	var b strings.Builder
	for c := 0; c < d.columns; c += timelineTick {
		seconds := float64(int64(c)*d.bucket) / 1e9
		fmt.Fprintf(&b, "%-*s", timelineTick, fmt.Sprintf("+%g s", seconds))
	}
	note := "one column is " + strings.TrimSuffix(time.Duration(d.bucket).String(), "0s")
	if d.bucket < int64(time.Minute) {
		note = "one column is " + fmt.Sprintf("%g s", float64(d.bucket)/1e9)
	}
	d.row("", strings.TrimRight(b.String(), " "), note)
}

// traffic draws, for each workload and probe, what succeeded and what did not, by the instant of completion; operations
// that never returned count at their invocation.
func (d *drawing) traffic() {
	type key struct {
		probe           int // probes come behind workloads
		workload, shown string
	}
	type series struct{ ok, bad []int }
	all := map[key]*series{}
	counts := d.r.Run.Traffic()
	for i := range d.r.History.Ops {
		o := &d.r.History.Ops[i]
		if !counts(o) {
			continue
		}
		c, ok := d.column(cmp.Or(o.Complete, o.Invoke))
		if !ok {
			continue
		}
		k := key{d.r.isProbe(o.Workload), o.Workload, "ok/s"}
		if o.Func == ledger.FuncPoll {
			k.shown = "polled/s"
		}
		s := all[k]
		if s == nil {
			s = &series{ok: make([]int, d.columns), bad: make([]int, d.columns)}
			all[k] = s
		}
		if o.Served() {
			s.ok[c]++
			continue
		}
		s.bad[c]++
	}
	perSecond := 1e9 / float64(d.bucket)
	keys := slices.SortedFunc(maps.Keys(all), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.probe, b.probe), strings.Compare(a.workload, b.workload), strings.Compare(a.shown, b.shown))
	})
	for _, k := range keys {
		s := all[k]
		full, most := fullBlock(s.ok), slices.Max(s.ok)
		note := "max " + rate(float64(most)*perSecond) + "/s"
		if full < most {
			note += ", a full block is " + rate(float64(full)*perSecond) + "/s and more"
		}
		d.row(k.workload+" "+k.shown, bars(s.ok, full), note)
		total := 0
		for _, n := range s.bad {
			total += n
		}
		if total > 0 {
			d.row(k.workload+" errors", bars(s.bad, fullBlock(s.bad)), countOf(total, "error"))
		}
	}
}

// fullBlock is the number that a full block stands for: the greatest, or where that dwarfs the others (a backlog that
// drains in a burst) one and a half of the median.
func fullBlock(ns []int) int {
	var some []int
	for _, n := range ns {
		if n > 0 {
			some = append(some, n)
		}
	}
	if len(some) == 0 {
		return 0
	}
	slices.Sort(some)
	most, usual := some[len(some)-1], some[len(some)/2]*3/2
	if usual > 0 && most > 2*usual {
		return usual
	}
	return most
}

// bars draws numbers as eighths of full; none is a dot.
func bars(ns []int, full int) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, n := range ns {
		if n == 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(levels[min((n*len(levels)-1)/full, len(levels)-1)])
	}
	return b.String()
}

// band draws one fault: a full block in its window, a light one between call and witness and until it is gone.
func (d *drawing) band(v faultView) {
	if v.Called == 0 {
		return
	}
	cells := []rune(strings.Repeat(" ", d.columns))
	fill := func(from, to int64, mark rune) {
		last, ok := d.column(to)
		if !ok {
			last = d.columns - 1
		}
		if first, ok := d.column(max(from, d.from)); ok {
			for c := first; c <= last; c++ {
				cells[c] = mark
			}
		}
	}
	end := v.end()
	if end == 0 {
		end = d.from + int64(d.columns)*d.bucket
	}
	fill(v.Called, end, '░')
	if v.Window != nil {
		fill(v.Window.From, v.Window.To, '█')
	}
	d.row(faultName(v.Fault), string(cells), clean(v.Kind+" "+v.Target, 30))
}

// marks draws violations and what happened to containers, each as a letter in its column.
func (d *drawing) marks() {
	draw := func(label, note string, marks map[int]rune) {
		if len(marks) == 0 {
			return
		}
		cells := []rune(strings.Repeat(" ", d.columns))
		for c, m := range marks {
			cells[c] = m
		}
		d.row(label, string(cells), note)
	}
	violations, events := map[int]rune{}, map[int]rune{}
	for _, v := range d.r.violations() {
		if c, ok := d.column(v.At); ok {
			violations[c] = '!'
		}
	}
	letters := map[string]rune{"die": 'x', "oom": 'o', "start": 's'}
	rank := "sxo" // of several in one column the gravest is drawn
	for _, e := range d.r.History.Events {
		letter, known := letters[e.Type]
		c, ok := d.column(e.At)
		if !ok || !known || e.Source != "docker" || strings.IndexRune(rank, events[c]) > strings.IndexRune(rank, letter) {
			continue
		}
		events[c] = letter
	}
	draw("violations", "! violation", violations)
	draw("containers", "x died, o out of memory, s started", events)
}
