package reports

import (
	"fmt"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

// spent is where the time of a run, or of several, went.
type spent struct {
	wall    time.Duration // from its first phase to its last, the removal of its environment included
	waiting time.Duration // what the scenario itself asks for: its steady state, its timeline until the last fault has ended, its recovery
}

// share is waiting as a part of the whole.
func (s spent) share() string {
	return fmt.Sprintf("%.0f %%", 100*s.waiting.Seconds()/s.wall.Seconds())
}

// spent tells where the run's time went. Of a run whose end was not written, wall is up to its judgement.
func (r *Record) spent() spent {
	var s spent
	phases := r.phases()
	for _, p := range phases {
		length := max(time.Duration(p.To-p.From), 0)
		switch {
		case strings.HasPrefix(p.Name, ledger.PhaseSteady): // what it takes longer nobody asked for: operations that fail, a machine that is slow
			s.waiting += min(length, time.Duration(r.Rules.SteadyFor))
		case p.Name == ledger.PhaseTimeline, p.Name == ledger.PhaseRecovery:
			s.waiting += length
		}
	}
	s.wall = time.Duration(r.seconds() * float64(time.Second)) // a run that was cut short tells of some of its phases only
	if n := len(phases); n > 0 && phases[n-1].To > 0 {
		s.wall = max(s.wall, time.Duration(phases[n-1].To-phases[0].From))
	}
	s.waiting = min(s.waiting, s.wall)
	return s
}

// spentText tells where the time of all runs went, in a line; empty where no run has any.
func spentText(entries []Entry) string {
	var sum spent
	var first, last int64
	n, placed := 0, 0
	for i := range entries {
		r := entries[i].Record
		if r == nil || entries[i].Before {
			continue
		}
		one := r.spent()
		if one.wall <= 0 {
			continue
		}
		n++
		sum.wall += one.wall
		sum.waiting += one.waiting
		if phases := r.phases(); len(phases) > 0 {
			from := phases[0].From
			if placed++; placed == 1 {
				first, last = from, from
			}
			first, last = min(first, from), max(last, from+int64(one.wall))
		}
	}
	if n == 0 {
		return ""
	}
	text := fmt.Sprintf("%s took %s, of which %s (%s) were the scenarios' own waiting for steady states, faults and recoveries",
		countOf(n, "run"), round(sum.wall), round(sum.waiting), sum.share())
	if placed == n {
		text = fmt.Sprintf("%s in all: %s", round(time.Duration(last-first)), text)
	}
	return text
}

// round writes a length of time in whole seconds.
func round(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
