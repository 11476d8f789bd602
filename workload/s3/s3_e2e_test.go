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
	crash(t, id, addr, s3.Options{Keys: workload.KeyOptions{Count: 40}})
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

// TestMinIOLive has more keys than objects may be there, and no deletes but those that the bounds make: every list of the store,
// the crash notwithstanding, is within them.
func TestMinIOLive(t *testing.T) {
	const keys, bytes = 30, 1 << 20
	id, addr := imagetest.Start(t, "minio/minio:latest", "9000", nil, "server", "/data", "--address", ":9000")
	never := 0
	r := crash(t, id, addr, s3.Options{
		Keys: workload.KeyOptions{Count: 5000}, MaxSize: 256 << 10, LiveKeys: keys, LiveBytes: bytes, LowWater: 0.5, Deletes: &never,
	})
	puts := map[string]bool{}
	for _, op := range r.Ops(ledger.FuncPut, ledger.OK) {
		puts[op.Key] = true
	}
	most, last := 0, 0
	lists := r.Ops(ledger.FuncList, ledger.OK)
	for _, op := range lists {
		var names []string
		if err := ledger.DecodeData(&op, &names); err != nil {
			t.Fatal(err)
		}
		last = len(names)
		most = max(most, last)
	}
	if most > keys || most < keys/2 || len(puts) <= 2*keys {
		t.Errorf("%d keys were put, at most %d objects listed; the bound is %d", len(puts), most, keys)
	}
	ends := r.Ops(ledger.FuncEnd, ledger.OK)
	sum := int64(0)
	for _, op := range r.Ops(ledger.FuncGet, ledger.OK) {
		if op.Process != ends[0].Process || op.Value == 0 {
			continue
		}
		var data ledger.Object
		if err := ledger.DecodeData(&op, &data); err != nil {
			t.Fatal(err)
		}
		sum += *data.Size
	}
	if sum == 0 || sum > bytes {
		t.Errorf("the final read has %d bytes; the bound is %d", sum, bytes)
	}
	t.Logf("%d keys, %d lists of up to %d objects, %d of %d bytes in the end", len(puts), len(lists), most, last, sum)
}

// crash runs a workload, pauses and kills the store, starts it again, and judges the history.
func crash(t *testing.T, id, addr string, o s3.Options) *drivertest.Run {
	t.Helper()
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
	return r
}
