package reports_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

// lasting is a run whose phases follow one another from an instant: "up 9 timeline 10", in seconds.
func lasting(from int64, phases string) *reports.Record {
	r := &reports.Record{Rules: oracle.Rules{SteadyFor: int64(5 * time.Second)}}
	at := from * int64(time.Second)
	words := strings.Fields(phases)
	for i := 0; i < len(words); i += 2 {
		seconds, _ := strconv.Atoi(words[i+1]) // the test's own
		to := at + int64(seconds)*int64(time.Second)
		r.Run.Phases = append(r.Run.Phases, ledger.Phase{Name: strings.ReplaceAll(words[i], "_", " "), From: at, To: to})
		at = to
	}
	return r
}

func TestTheTimeOfRunsIsToldWithTheShareOfTheirOwnWaiting(t *testing.T) {
	t.Parallel()
	one := lasting(100, "prepare 1 up 9 steady_state 8 timeline 10 recovery 2 judge 3 down 7")
	other := lasting(110, "up 2 steady 4 timeline 12 down 2")
	open := lasting(100, "up 30 timeline 10 down 1")
	open.Run.Phases[2].To = 0
	open.Run.Started, open.Run.Finished = "2026-03-14T09:26:40Z", "2026-03-14T09:27:20Z"
	const own = "were the scenarios' own waiting for steady states, faults and recoveries\n"
	for name, c := range map[string]struct {
		runs []*reports.Record
		want string
	}{
		"a steady state that takes longer than it must is not the scenario's own": {
			[]*reports.Record{one}, "\n40 s in all: 1 run took 40 s, of which 17 s (42 %) " + own,
		},
		"runs that go on at the same time take less in all than one by one": {
			[]*reports.Record{one, other}, "\n40 s in all: 2 runs took 60 s, of which 33 s (55 %) " + own,
		},
		"runs one after the other have time between them": {
			[]*reports.Record{lasting(0, "up 5 timeline 5"), lasting(20, "up 5 timeline 5")}, "\n30 s in all: 2 runs took 20 s, of which 10 s (50 %) " + own,
		},
		"a run whose end was not written takes as long as its clock tells": {
			[]*reports.Record{open}, "\n40 s in all: 1 run took 40 s, of which 10 s (25 %) " + own,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var entries []reports.Entry
			for _, r := range c.runs {
				entries = append(entries, reports.Entry{Scenario: "a", Record: r})
			}
			if got := summary(t, entries); !strings.HasSuffix(got, c.want) {
				t.Errorf("want %q at the end of:\n%s", c.want, got)
			}
		})
	}
	before := []reports.Entry{{Scenario: "a", Record: one, Before: true}, {Scenario: "b", Skipped: true}}
	if got := summary(t, before); strings.Contains(got, " took ") && strings.Contains(got, "own waiting") {
		t.Errorf("time is told though nothing ran:\n%s", got)
	}
}
