package runner

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
)

func TestStageSetup(t *testing.T) {
	migrate := scenarios.Step{Service: "migrate", Before: []string{"app", "worker"}}
	schema := scenarios.Step{Service: "db", Exec: []string{"psql"}, Before: []string{"app"}}
	seed := scenarios.Step{Service: "app", Exec: []string{"seed"}}
	host := scenarios.Step{Command: []string{"true"}}
	got := stageSetup([]scenarios.Step{migrate, seed, schema, host})
	want := setupStages{
		hold:  []string{"app", "migrate", "worker"},
		early: []scenarios.Step{migrate, schema, host},
		start: []string{"app", "worker"},
		late:  []scenarios.Step{seed},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(setupStages{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(setupStages{}, stageSetup(nil), cmp.AllowUnexported(setupStages{})); diff != "" {
		t.Errorf("without steps: -want +got:\n%s", diff)
	}
}
