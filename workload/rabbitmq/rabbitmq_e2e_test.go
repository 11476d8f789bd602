//go:build e2e

package rabbitmq_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/rabbitmq"
)

// TestQueues runs each type of queue through a crash in the middle: each outcome must occur, and the check must pass.
func TestQueues(t *testing.T) {
	id, addr := imagetest.Start(t, "rabbitmq:3", "5672", []string{"--hostname", "rabbit"})
	for _, kind := range []string{"quorum", "classic"} {
		t.Run(kind, func(t *testing.T) {
			o := rabbitmq.Options{Queue: kind, Type: kind}
			r := drivertest.Start(t, rabbitmq.Spec(), workload.Config{Target: addr, Rate: 100, MaxInFlight: 8}, o)
			r.Wait(300, ledger.OK)
			imagetest.Docker(t, "pause", id) // what is sent now hangs, and breaks off in the crash
			drivertest.Eventually(t, "operations in flight", func() bool { return r.Driver().Stats().InFlight >= 16 })
			imagetest.Docker(t, "kill", id)
			r.Some(ledger.Unknown)
			r.Some(ledger.Failed)
			imagetest.Docker(t, "start", id)
			r.Wait(300, ledger.OK)
			r.Finish()
			unique(t, r)
			r.Judge("queue", map[string]string{"delivery": "at-least-once"}) // a crash may forget that a message was acknowledged
		})
	}
	t.Run("returned", func(t *testing.T) {
		only := 0
		r := drivertest.Start(t, rabbitmq.Spec(), workload.Config{Target: addr, Clients: 1, Rate: 20}, rabbitmq.Options{Queue: "gone", Dequeues: &only})
		r.Wait(5, ledger.OK)
		if out, err := exec.CommandContext(t.Context(), "docker", "exec", id, "rabbitmqctl", "delete_queue", "gone").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		drivertest.Eventually(t, "a returned message", func() bool { return r.Errors(ledger.Failed)["returned: 312 NO_ROUTE"] > 0 })
	})
	again := drivertest.New(t, rabbitmq.Spec(), workload.Config{Target: addr}, rabbitmq.Options{Password: "wrong"})
	if err := again.Driver().Setup(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a wrong password: %v", err)
	}
}

// unique finds what was acknowledged and is nowhere, or was never sent.
func unique(t *testing.T, r *drivertest.Run) {
	t.Helper()
	sent, got := map[int64]ledger.Outcome{}, map[int64]bool{}
	for _, op := range r.Ops(ledger.FuncEnqueue, "") {
		sent[op.Value] = op.Outcome
	}
	for _, op := range r.Ops(ledger.FuncDequeue, "") {
		if op.Value == 0 {
			continue
		}
		got[op.Value] = true
		if sent[op.Value] == "" || sent[op.Value] == ledger.Failed {
			t.Errorf("%d was dequeued, and its enqueue is %q", op.Value, sent[op.Value])
		}
	}
	for value, outcome := range sent {
		if outcome == ledger.OK && !got[value] {
			t.Errorf("%d was confirmed and is nowhere", value)
		}
	}
}
