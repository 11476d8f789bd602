package reports

import (
	"fmt"
	"io"

	"github.com/discompose/discompose/oracle"
)

// Summary writes a table over several runs, one row each in the given order, and a last line that counts the verdicts.
// The table is Markdown that reads well on a terminal.
func Summary(w io.Writer, rs []*Record) error {
	t := newTable("scenario", "verdict", "class", ">available", ">recovery", "mutants", ">violations", ">took", "run")
	t.pad = 100
	counts := map[oracle.Verdict]int{}
	for _, r := range rs {
		j := r.Judgement
		counts[j.Verdict]++
		total := 0
		for _, res := range j.Results {
			total += res.Total
		}
		class := string(j.Primary)
		for _, f := range r.Run.Fallbacks {
			class += ", " + clean(f, 60)
		}
		t.row(clean(r.Run.Scenario, 60), j.Verdict.String(), class, availabilityCell(j.Overall), r.recoveryCell(),
			fmt.Sprintf("%d of %d", j.Convicted, j.Tried), count(total), fmt.Sprintf("%.0f s", r.seconds()), r.shortDir())
	}
	_, err := fmt.Fprintf(w, "%s\n%s: %d passed, %d failed, %d inconclusive\n", t, countOf(len(rs), "scenario"),
		counts[oracle.Pass], counts[oracle.Fail], counts[oracle.Inconclusive])
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func availabilityCell(s oracle.Stats) string {
	if s.Invoked == 0 {
		return none
	}
	return percent(s.Available())
}

// recoveryCell is the slowest recovery of a run.
func (r *Record) recoveryCell() string {
	if len(r.Judgement.Windows) == 0 {
		return none
	}
	worst := int64(0)
	for _, w := range r.Judgement.Windows {
		if w.Recovery < 0 {
			return "never"
		}
		worst = max(worst, w.Recovery)
	}
	return length(worst)
}
