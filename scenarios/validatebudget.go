package scenarios

import (
	"fmt"
	"maps"
	"slices"

	"github.com/discompose/discompose/internal/units"
)

// budget checks one [[budget]]: that it bounds something, of something that there is.
func (v *validator) budget(key string, b Budget) {
	if a := b.Availability; a != nil && (*a < 0 || *a > 1) {
		v.at(joinKey(key, "availability"), fmt.Sprintf("%v is not in [0,1]", *a), "it is a ratio, as in 0.99")
	}
	bounds := b.Availability != nil
	for _, l := range []struct {
		name string
		most *units.Duration
	}{{"p50", b.P50}, {"p99", b.P99}, {"max", b.Max}, {"recovery", b.Recovery}} {
		if l.most == nil {
			continue
		}
		bounds = true
		if *l.most <= 0 {
			v.at(joinKey(key, l.name), "must be longer than 0s", "leave it out to bound nothing")
		}
	}
	if !bounds {
		v.at(key, "it bounds nothing", "set availability, p50, p99, max or recovery")
	}
	if b.Recovery != nil && b.Phase != "after" {
		v.at(joinKey(key, "recovery"), fmt.Sprintf("phase = %q has no recovery", b.Phase), `write phase = "after"`)
	}
	v.budgetFault(key, b)
	observers := append(slices.Sorted(maps.Keys(v.s.Workload)), slices.Sorted(maps.Keys(v.s.Probe))...)
	if b.Workload != "" && !slices.Contains(observers, b.Workload) {
		v.at(joinKey(key, "workload"), fmt.Sprintf("there is no workload or probe %q", b.Workload), suggest(b.Workload, observers))
	}
}

// budgetFault checks the fault that a budget names.
func (v *validator) budgetFault(key string, b Budget) {
	var ids []string
	for _, f := range v.s.Fault {
		ids = append(ids, f.ID)
	}
	at := slices.Index(ids, b.Fault)
	switch {
	case b.Phase != "run" && len(ids) == 0 && v.s.Nemesis == nil:
		v.at(joinKey(key, "phase"), "the scenario has no fault", `write "run", or add a [[fault]]`)
	case b.Fault == "":
	case b.Phase == "run":
		v.at(joinKey(key, "fault"), `phase = "run" is not about a fault`, "leave it out")
	case at < 0:
		v.at(joinKey(key, "fault"), fmt.Sprintf("there is no fault %q", b.Fault), suggest(b.Fault, ids))
	case b.Workload != "" && len(v.s.Fault[at].ObservedBy) > 0 && !slices.Contains(v.s.Fault[at].ObservedBy, b.Workload):
		v.at(joinKey(key, "workload"), fmt.Sprintf("%s does not observe %s", b.Workload, b.Fault), "add it to observed_by of the fault")
	}
}
