package runner

import (
	"fmt"

	"github.com/discompose/discompose/scenarios"
)

// steadyText is what counts as steady: probes count where there is no workload.
func steadyText(s *scenarios.Scenario) string {
	text := fmt.Sprintf("for %s within %s, ", s.Steady.For, s.Steady.Within)
	if len(s.Workload) == 0 {
		return text + "every probe holds"
	}
	return text + fmt.Sprintf("%d operations of each workload", s.Steady.Operations)
}

// guardText is what each window needs, as the judge counts it: probes alone stand in for the operations of a workload.
func guardText(s *scenarios.Scenario) string {
	const where = "before, inside and after each fault: "
	if len(s.Workload) == 0 {
		return where + fmt.Sprintf("%d evaluations, of all probes together", s.Guard.Operations)
	}
	return where + fmt.Sprintf("%d operations of each workload, %d evaluations of each probe", s.Guard.Operations, s.Guard.Probes)
}
