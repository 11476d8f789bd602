package runner

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/s3"
)

func TestTheRateOfAPhaseIsSplitOverTheContainers(t *testing.T) {
	t.Parallel()
	r := testRun(t, `[environment]
use = "minio"
[workload.objects]
driver     = "s3"
target     = "minio:9000"
clients    = 3
containers = 2
rate       = 30
[[workload.objects.phase]]
at      = "10s"
rate    = 90
options = { puts = 0 }
[[workload.objects.phase]]
at = "20s"
`)
	const s = 1_000_000_000
	rules := []oracle.PhaseRule{{Rate: 30}, {At: 10 * s, Rate: 90}, {At: 20 * s, Rate: 90}} // over both
	if diff := cmp.Diff(rules, phaseRules(r.o.Scenario.Workload["objects"])); diff != "" {
		t.Errorf("the judge's phases (-want +got):\n%s", diff)
	}
	specs, err := r.clientSpecs()
	if err != nil || len(specs) != 2 {
		t.Fatalf("%d containers: %v", len(specs), err)
	}
	for i, want := range [][]workload.Phase{{{At: 10 * s, Rate: 60}, {At: 20 * s}}, {{At: 10 * s, Rate: 30}, {At: 20 * s}}} {
		c := specs[i].workloads[0]
		var o s3.Options
		if err := json.Unmarshal(c.Phases[0].Options, &o); err != nil || o.Puts == nil || *o.Puts != 0 || o.Bucket != "discompose" || *o.Gets != 20 {
			t.Errorf("the options of the phase are %s: %v", c.Phases[0].Options, err)
		}
		c.Phases[0].Options = nil
		if diff := cmp.Diff(want, c.Phases); diff != "" || c.Rate != want[0].Rate/3 {
			t.Errorf("container %d has rate %g and the phases (-want +got):\n%s", i, c.Rate, diff)
		}
	}
}
