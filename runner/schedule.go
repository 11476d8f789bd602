package runner

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

// schedule is what a nemesis keeps to while its faults run.
type schedule struct {
	limit  time.Duration    // from the start of the timeline; none starts after it. 0: none
	within time.Duration    // after the end of one, or of a target of a rolling fault, the gates hold
	gates  []scenarios.Gate // what must hold before the next
}

// draw expands the scenario's nemesis into injections, as many as it can start. Each choice has a random source of its
// own, so that a longer schedule begins as a shorter one does. The nth belongs to lane n modulo the number of lanes: in a
// lane, each starts its gap after the end of the one before; the first starts its gap after the start of the timeline.
func (p *Plan) draw(facts *faults.Facts) []error {
	n := p.Scenario.Nemesis
	if n == nil {
		return nil
	}
	p.schedule.gates = n.Gate
	if n.TimeLimit != nil {
		p.schedule.limit = n.TimeLimit.Std()
	}
	mechanisms := make([]string, len(n.Fault))
	var errs []error
	for i, f := range n.Fault {
		var err error
		if mechanisms[i], err = mechanismOf(f.Spec, facts); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: nemesis fault %s: %w", p.Scenario.Origin.Path, f.Line, f.Kind, err))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	d := draft{n: n, lanes: make([][]booking, n.AtOnce)}
	for _, f := range n.Fault {
		d.from = append(d.from, candidates(p.Scenario, f.Fault(), p.Services))
	}
	for k := range n.Most() {
		id := drawnID(k + 1)
		in := Injection{ID: id, Lane: k%n.AtOnce + 1, At: gap(n, Rand(p.Seed, "gap/"+id))}
		i := d.weighted(in.Lane, in.At, Rand(p.Seed, "draw/"+id))
		f := n.Fault[i].Fault()
		f.ID = id
		if f.Spec.Rolling {
			f.Gate = n.Gate
		}
		in.Fault, in.Mechanism = f, mechanisms[i]
		in.Targets = pick(d.from[i], f.Pick, d.apart(in.Lane, d.expect(in.Lane, in.At, f)), Rand(p.Seed, "pick/"+id))
		in.Cause = fmt.Sprintf("[[nemesis.fault]] on line %d", f.Line)
		if k >= n.AtOnce {
			in.After = drawnID(k + 1 - n.AtOnce)
		}
		d.book(in)
		p.Injections = append(p.Injections, in)
	}
	return nil
}

func drawnID(n int) string { return scenarios.NemesisPrefix + strconv.Itoa(n) }

// gap draws a time from the interval, both ends included, in whole milliseconds where the interval's ends allow it.
func gap(n *scenarios.Nemesis, r *rand.Rand) time.Duration {
	least, longest := n.Interval[0].Std(), n.Interval[1].Std()
	d := least + time.Duration(r.Int64N(int64(longest-least)+1))
	return min(max(d.Round(time.Millisecond), least), longest)
}

// lanes are the nemesis' injections, each lane in its order.
func (p *Plan) lanes() [][]Injection {
	var out [][]Injection
	for _, in := range p.Injections {
		for in.Lane > len(out) {
			out = append(out, nil)
		}
		if in.Lane > 0 {
			out[in.Lane-1] = append(out[in.Lane-1], in)
		}
	}
	return out
}

// fixed are the injections of the [[fault]] tables.
func (p *Plan) fixed() []Injection {
	var out []Injection
	for _, in := range p.Injections {
		if in.Lane == 0 {
			out = append(out, in)
		}
	}
	return out
}

// writeNemesis tells what the random part of the timeline keeps to.
func (p *Plan) writeNemesis(b *strings.Builder) {
	n := p.Scenario.Nemesis
	if n == nil {
		return
	}
	length := fmt.Sprintf("%d faults", n.Count)
	if n.TimeLimit != nil {
		length = fmt.Sprintf("faults for %s, at most %d", n.TimeLimit, n.Most())
	}
	fmt.Fprintf(b, "nemesis      %s, each %s to %s after the end of the one before, %d at once\n", length, n.Interval[0], n.Interval[1], n.AtOnce)
	sum := 0
	for _, f := range n.Fault {
		sum += f.Weight
	}
	for _, f := range n.Fault {
		fmt.Fprintf(b, "  draws      %s %s, %d in %d (line %d)\n", f.Kind, strings.Join(f.Target, ", "), f.Weight, sum, f.Line)
	}
	for _, g := range n.Gate {
		fmt.Fprintf(b, "  gate       %s, within %s\n", gateName(g), p.Scenario.Recovery.Within)
	}
}

// gateName is how people know a gate.
func gateName(g scenarios.Gate) string {
	if g.Probe != "" {
		return g.Probe
	}
	return "query in " + g.Query.Service + ": " + commandText(g.Query.Exec, g.Query.Matches)
}

func commandText(argv []string, matches string) string {
	text := strings.Join(argv, " ")
	if matches != "" {
		text += " =~ " + matches
	}
	return text
}

// queryText says how the leader of some targets is found.
func queryText(q *scenarios.Query) string {
	if q == nil {
		return ""
	}
	text := commandText(q.Exec, q.Matches)
	if q.Service != "" {
		text += " → " + q.Service
	}
	return text
}
