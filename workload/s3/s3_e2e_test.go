//go:build e2e

package s3_test

import (
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/s3"
)

// TestMinIO runs through a crash in the middle: each outcome must occur, and the check must pass.
func TestMinIO(t *testing.T) {
	id, addr := imagetest.Start(t, "minio/minio:latest", "9000", nil, "server", "/data", "--address", ":9000")
	o := s3.Options{Keys: workload.KeyOptions{Count: 40}}
	r := drivertest.Start(t, s3.Spec(), workload.Config{Target: addr, Clients: 8, Rate: 200, MaxInFlight: 8}, o)
	r.Wait(500, ledger.OK)
	imagetest.Docker(t, "pause", id) // what is sent now hangs, and breaks off in the crash
	drivertest.Eventually(t, "operations in flight", func() bool { return r.Driver().Stats().InFlight >= 24 })
	imagetest.Docker(t, "kill", id)
	r.Some(ledger.Unknown)
	r.Some(ledger.Failed)
	imagetest.Docker(t, "start", id)
	r.Wait(500, ledger.OK)
	r.Finish()
	for _, function := range []string{ledger.FuncPut, ledger.FuncGet, ledger.FuncHead, ledger.FuncDelete, ledger.FuncList} {
		if r.Count(function, ledger.OK) == 0 {
			t.Errorf("no %s was ok", function)
		}
	}
	for _, op := range r.Ops(ledger.FuncGet, ledger.OK) {
		if op.Sum != 0 || op.Value < 0 {
			t.Errorf("wrong bytes: %+v", op)
		}
	}
	r.Judge("objects", nil)
	for want, o := range map[string]s3.Options{
		"it is not empty": {},
		"does not match":  {SecretKey: "wrongwrong", Prefix: "other/"},
	} {
		again := drivertest.New(t, s3.Spec(), workload.Config{Target: addr}, o)
		if err := again.Driver().Setup(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
