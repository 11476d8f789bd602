package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
)

func TestTransactionsAreNotJudgedOnTheEmbeddedBroker(t *testing.T) {
	in := func(target string, transactions *workload.KafkaTransactions) *scenarios.Scenario {
		return &scenarios.Scenario{Workload: map[string]scenarios.Workload{
			"orders": {Driver: "kafka", Target: target, Options: &workload.KafkaOptions{Transactions: transactions}},
			"pages":  {Driver: "http", Target: "kafka:8080"},
		}}
	}
	stood := []compose.Fallback{{Service: "kafka", Image: "apache/kafka:3.9.1", Reason: "no registry answers"}}
	err := refuseStandIns(in("kafka:9092", &workload.KafkaTransactions{}), stood)
	if !errors.Is(err, compose.ErrImage) || !strings.Contains(err.Error(), "workload orders: ") || !strings.Contains(err.Error(), "apache/kafka:3.9.1") {
		t.Errorf("%v, want an error about the image that names the workload", err)
	}
	for name, err := range map[string]error{
		"no transactions": refuseStandIns(in("kafka:9092", nil), stood),
		"another service": refuseStandIns(in("kafka1:9092", &workload.KafkaTransactions{}), stood),
		"the real image":  refuseStandIns(in("kafka:9092", &workload.KafkaTransactions{}), nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

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
