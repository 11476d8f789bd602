package oracle

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/discompose/discompose/ledger"
)

// PhaseRule is what a judge knows of one phase of a workload, which lasts until the next one begins.
type PhaseRule struct {
	At   int64   `json:"at"`             // ns since the workload's first operation
	Rate float64 `json:"rate,omitempty"` // operations per second over the whole workload; 0: as fast as answers come
}

// Phase is what a workload did in one of its phases. Instants count from the first operation that it planned; those of several
// client containers agree up to the time between their starts.
type Phase struct {
	Workload string  `json:"workload"`
	From     int64   `json:"from"`           // ns
	To       int64   `json:"to"`             // ns: the next phase, or the end of the workload, which is not after From if it was never reached
	Last     bool    `json:"last,omitempty"` // the workload ended in it, or before it
	Rate     float64 `json:"rate,omitempty"` // planned operations per second; 0: as fast as answers come
	Stats    Stats   `json:"stats"`          // of the operations that were planned in it, final reads apart
	Need     int     `json:"need"`           // operations that its guard needs
}

// phases lists the phases of every workload that has some, by workload and time.
func (x *index) phases(s span) []Phase {
	var out []Phase
	for _, name := range observers(x.rules.Workloads) {
		out = append(out, x.phasesOf(name, s)...)
	}
	return out
}

func (x *index) phasesOf(name string, s span) []Phase {
	rules, ops := x.rules.Workloads[name].Phases, x.by[name]
	if len(rules) == 0 {
		return nil
	}
	first := s.end
	for _, i := range ops {
		first = min(first, due(&x.ops[i]))
	}
	in := make([][]int32, len(rules))
	for _, i := range ops {
		at := due(&x.ops[i]) - first
		for k := len(rules) - 1; k >= 0; k-- {
			if rules[k].At <= at {
				in[k] = append(in[k], i)
				break
			}
		}
	}
	ended := s.end - first
	out := make([]Phase, len(rules))
	for k, rule := range rules {
		next := int64(math.MaxInt64)
		if k+1 < len(rules) {
			next = rules[k+1].At
		}
		p := Phase{Workload: name, From: rule.At, To: min(next, ended), Last: next > ended, Rate: rule.Rate, Need: x.phaseNeeds(rule, next)}
		p.Stats = x.sum(float64(max(0, p.To-p.From))/1e9, in[k])
		out[k] = p
	}
	return out
}

// due is when an operation was to be sent: it decides of which phase it is.
func due(o *ledger.Op) int64 { return cmp.Or(o.Planned, o.Invoke) }

// phaseNeeds is how many operations a phase needs: as many as a fault's window, or, where the scenario plans a phase with fewer
// than twice as many, half of these: a lull is no mistake.
func (x *index) phaseNeeds(p PhaseRule, next int64) int {
	need := max(1, x.rules.GuardOps)
	if p.Rate <= 0 || next == math.MaxInt64 {
		return need
	}
	half := p.Rate * float64(next-p.At) / 1e9 / 2
	return int(min(float64(need), max(1, half)))
}

// thin says how a phase misses its guard; empty if it does not.
func (p Phase) thin() string {
	from, ended := time.Duration(p.From), time.Duration(p.To).Round(100*time.Millisecond)
	switch {
	case p.Stats.Invoked >= p.Need:
		return ""
	case p.Stats.Invoked == 0 && p.To <= p.From:
		return fmt.Sprintf("%s: its phase from %s was never reached (the workload ended after %s)", p.Workload, from, ended)
	case p.Last:
		return fmt.Sprintf("%s invoked %d of %d operations in its phase from %s (the workload ended after %s)", p.Workload, p.Stats.Invoked, p.Need, from, ended)
	}
	return fmt.Sprintf("%s invoked %d of %d operations in its phase from %s to %s", p.Workload, p.Stats.Invoked, p.Need, from, ended)
}
