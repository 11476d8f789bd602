//go:build e2e

package postgres_test

import (
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/postgres"
)

const image = "postgres:15"

// start starts a server that crashes and comes back like one with a restart policy.
func start(t *testing.T) (id, addr string) {
	t.Helper()
	return imagetest.Start(t, image, "5432", []string{"-e", "POSTGRES_PASSWORD=postgres"})
}

// TestModels runs every model through a crash in the middle: each outcome that can must occur, and the check must pass.
func TestModels(t *testing.T) {
	id, addr := start(t)
	for _, model := range []string{"register", "set", "bank", "append", "counter"} {
		t.Run(model, func(t *testing.T) {
			o := postgres.Options{Model: model}
			if model == "set" {
				few := 30
				o.Writes, o.Reads = &few, ptr(1)
			}
			r := drivertest.Start(t, postgres.Spec(), workload.Config{Target: addr, Rate: 400}, o)
			r.Wait(500, ledger.OK)
			imagetest.Docker(t, "pause", id) // what is sent now hangs, and breaks off in the crash
			drivertest.Eventually(t, "operations in flight", func() bool { return r.Driver().Stats().InFlight >= 16 })
			imagetest.Docker(t, "kill", id)
			if model != "bank" && model != "append" { // their transactions have not come to the commit
				r.Some(ledger.Unknown)
			}
			r.Some(ledger.Failed)
			imagetest.Docker(t, "start", id)
			r.Wait(500, ledger.OK)
			r.Finish()
			r.Judge(model, nil)
		})
	}
}

func ptr(n int) *int { return &n }

// TestRegularAnswers sees transactions in each other's way, and a server that is told to go, as what they are.
func TestRegularAnswers(t *testing.T) {
	id, addr := start(t)
	r := drivertest.Start(t, postgres.Spec(), workload.Config{Target: addr, Clients: 8}, postgres.Options{Model: "bank", Accounts: 2})
	drivertest.Eventually(t, "a serialization failure", func() bool { return r.Errors(ledger.Failed)[ledger.Declined] > 0 })
	imagetest.Docker(t, "exec", id, "psql", "-U", "postgres", "-c",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'discompose'")
	drivertest.Eventually(t, "SQLSTATE 57P01", func() bool {
		for text := range r.Errors(ledger.Failed) {
			if strings.Contains(text, "57P01") {
				return true
			}
		}
		for text := range r.Errors(ledger.Unknown) {
			if strings.Contains(text, "57P01") {
				return true
			}
		}
		return false
	})
	r.Wait(200, ledger.OK)
	r.Finish()
	r.Judge("bank", nil)
}

// TestSetupRefuses what no repetition can change.
func TestSetupRefuses(t *testing.T) {
	_, addr := start(t)
	r := drivertest.Start(t, postgres.Spec(), workload.Config{Target: addr}, postgres.Options{Model: "set"})
	r.Wait(10, ledger.OK)
	r.Finish()
	for name, o := range map[string]postgres.Options{
		"it is not empty":             {Model: "set"},
		"password authentication":     {Model: "set", Password: "wrong", Prefix: "other_"},
		`database "nowhere" does not`: {Model: "set", Database: "nowhere"},
	} {
		again := drivertest.New(t, postgres.Spec(), workload.Config{Target: addr}, o)
		if err := again.Driver().Setup(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

// TestReadCommittedLosesMoney shows that the driver would see what a weaker level allows.
func TestReadCommittedLosesMoney(t *testing.T) {
	_, addr := start(t)
	r := drivertest.Start(t, postgres.Spec(), workload.Config{Target: addr, Clients: 16},
		postgres.Options{Model: "bank", Accounts: 2, Isolation: "read committed"})
	r.Wait(3000, ledger.OK)
	r.Finish()
	sums := map[int64]bool{}
	for _, op := range r.Ops(ledger.FuncBalances, ledger.OK) {
		var found map[string]int64
		if err := ledger.DecodeData(&op, &found); err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, n := range found {
			sum += n
		}
		sums[sum] = true
	}
	if len(sums) < 2 {
		t.Errorf("every snapshot had the sum %v", sums)
	}
}
