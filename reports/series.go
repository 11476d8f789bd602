package reports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ends counts runs by how they ended.
type ends struct {
	by    map[status]int
	dirty int
}

func endsOf(entries []Entry) ends {
	t := ends{by: map[status]int{}}
	for i := range entries {
		t.by[entries[i].status()]++
		if entries[i].Dirty != "" {
			t.dirty++
		}
	}
	return t
}

// others lists the runs that neither passed nor failed, as far as there are any; the inconclusive ones in any case where
// always is set.
func (t ends) others(always bool) string {
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{t.by[inconclusive], "inconclusive"}, {t.by[noVerdict], "without a verdict"}, {t.by[skipped], "not run"}} {
		if c.n > 0 || always && c.what == "inconclusive" {
			parts = append(parts, count(c.n)+" "+c.what)
		}
	}
	return strings.Join(parts, ", ")
}

// counted is one line that counts the verdicts.
func counted(entries []Entry) string {
	names := map[string]bool{}
	repeated := false
	for i := range entries {
		names[entries[i].key()] = true
		repeated = repeated || entries[i].seeded()
	}
	lead := countOf(len(entries), "scenario")
	if repeated {
		lead = countOf(len(names), "scenario") + ", " + countOf(len(entries), "run")
	}
	t := endsOf(entries)
	text := fmt.Sprintf("%s: %s passed, %s failed, %s", lead, count(t.by[passed]), count(t.by[failed]), t.others(true))
	if t.dirty > 0 {
		text += fmt.Sprintf("; %s left something that could not be undone", count(t.dirty))
	}
	return text
}

// series are the runs of one scenario with different seeds.
type series struct {
	scenario string
	runs     []Entry
}

// key is the same for the runs of one scenario.
func (e *Entry) key() string { return e.Scenario + "\x00" + e.File }

// seriesOf are the scenarios that ran several times, in the order of their first runs.
func seriesOf(entries []Entry) []series {
	return slices.DeleteFunc(byScenario(entries), func(s series) bool { return !s.runs[0].seeded() })
}

// byScenario gathers the runs of each scenario, in the order of their first runs.
func byScenario(entries []Entry) []series {
	var all []series
	places := map[string]int{}
	for _, e := range entries {
		i, ok := places[e.key()]
		if !ok {
			i = len(all)
			places[e.key()] = i
			all = append(all, series{scenario: e.Scenario})
		}
		all[i].runs = append(all[i].runs, e)
	}
	return all
}

// maxSeeds bounds the failing seeds that are named.
const maxSeeds = 5

// text is "kafka_broker_pause: 2 of 20 failed (10 %, 95 % Wilson interval 2.8 % to 30.1 %), with seeds 7 and 9". A run that
// proves nothing is no trial: it is counted apart.
func (s series) text() string {
	t := endsOf(s.runs)
	bad, n := t.by[failed], t.by[failed]+t.by[passed]
	text := clean(s.scenario, 60) + ": no run passed or failed"
	if n > 0 {
		low, high := Wilson(bad, n)
		text = fmt.Sprintf("%s: %s of %s failed (%s, 95 %% Wilson interval %s to %s)", clean(s.scenario, 60), count(bad), count(n),
			tenths(float64(bad)/float64(n)), tenths(low), tenths(high))
	}
	var seeds []string
	for i := range s.runs {
		if e := &s.runs[i]; e.status() == failed {
			seeds = append(seeds, e.seedCell())
		}
	}
	if len(seeds) > maxSeeds {
		seeds = append(seeds[:maxSeeds], "…")
	}
	if len(seeds) > 0 {
		text += ", with --seed " + strings.Join(seeds, ", ")
	}
	if others := t.others(false); others != "" {
		text += "; counted apart: " + others
	}
	return text
}

// tenths is a share in [0,1] in percent with at most one decimal.
func tenths(share float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(share*100, 'f', 1, 64), ".0") + " %"
}
