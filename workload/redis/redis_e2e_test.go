//go:build e2e

package redis_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/redis"
)

const image = "redis:7"

func ptr(n int) *int { return &n }

// TestModels runs every model through a crash in the middle: each outcome must occur, and the check must pass.
func TestModels(t *testing.T) {
	id, addr := imagetest.Start(t, image, "6379", nil, "redis-server", "--appendonly", "yes", "--appendfsync", "always")
	for _, model := range []string{"register", "set", "counter", "queue"} {
		t.Run(model, func(t *testing.T) {
			o := redis.Options{Model: model, Prefix: model + ":"}
			if model == "set" {
				o.Writes, o.Reads = ptr(30), ptr(1)
			}
			r := drivertest.Start(t, redis.Spec(), workload.Config{Target: addr, Rate: 300, MaxInFlight: 16}, o)
			r.Wait(300, ledger.OK)
			imagetest.Docker(t, "pause", id) // what is sent now hangs, and breaks off in the crash
			drivertest.Eventually(t, "operations in flight", func() bool { return r.Driver().Stats().InFlight >= 16 })
			imagetest.Docker(t, "kill", id)
			r.Some(ledger.Unknown)
			r.Some(ledger.Failed)
			imagetest.Docker(t, "start", id)
			r.Wait(300, ledger.OK)
			imagetest.Docker(t, "exec", id, "redis-cli", "config", "set", "min-replicas-to-write", "1")
			refused(t, r, "NOREPLICAS")
			imagetest.Docker(t, "exec", id, "redis-cli", "config", "set", "min-replicas-to-write", "0")
			r.Wait(100, ledger.OK)
			r.Finish()
			r.Judge(model, nil)
			again := drivertest.New(t, redis.Spec(), workload.Config{Target: addr}, o)
			if err := again.Driver().Setup(t.Context()); err == nil || !strings.Contains(err.Error(), workload.ErrNotEmpty.Error()) {
				t.Errorf("a second run on the same keys: %v", err)
			}
		})
	}
}

// refused waits for an answer among the failed operations, and wants it nowhere else.
func refused(t *testing.T, r *drivertest.Run, answer string) {
	t.Helper()
	has := func(outcome ledger.Outcome) bool {
		for text := range r.Errors(outcome) {
			if strings.Contains(text, answer) {
				return true
			}
		}
		return false
	}
	drivertest.Eventually(t, answer, func() bool { return has(ledger.Failed) })
	if has(ledger.Unknown) {
		t.Errorf("%s left an outcome open", answer)
	}
}

// TestWritesFollowAFailover: the sentinel promotes the replica, and the driver goes on there.
func TestWritesFollowAFailover(t *testing.T) {
	ip := func(id string) string {
		return imagetest.Docker(t, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", id)
	}
	first, _ := imagetest.Start(t, image, "6379", nil, "redis-server", "--save", "")
	second, _ := imagetest.Start(t, image, "6379", nil, "redis-server", "--save", "", "--replicaof", ip(first), "6379")
	conf := "sentinel monitor mymaster " + ip(first) + " 6379 1\nsentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n"
	sentinel, _ := imagetest.Start(t, image, "26379", []string{"-e", "CONF=" + conf}, "sh", "-c", `printf '%s' "$CONF" >/tmp/s.conf; exec redis-server /tmp/s.conf --sentinel`)
	drivertest.Eventually(t, "the sentinel knows the replica", func() bool {
		return strings.Contains(ask(t, sentinel, "-p", "26379", "sentinel", "replicas", "mymaster"), ip(second))
	})
	r := drivertest.Start(t, redis.Spec(), workload.Config{Target: ip(first) + ":6379", Rate: 100},
		redis.Options{Model: "set", Sentinels: []string{ip(sentinel) + ":26379"}, Wait: 1})
	r.Wait(200, ledger.OK)
	imagetest.Docker(t, "stop", "-t", "1", second) // with no replica that answers, nothing is acknowledged
	drivertest.Eventually(t, "too few replicas", func() bool { return r.Errors(ledger.Unknown)["0 of 1 replicas have it"] > 0 })
	imagetest.Docker(t, "start", second)
	r.Wait(200, ledger.OK)
	imagetest.Docker(t, "kill", first)
	r.Some(ledger.Failed)
	drivertest.Eventually(t, "the replica is the master", func() bool {
		return strings.HasPrefix(ask(t, second, "role"), "master")
	})
	imagetest.Docker(t, "start", first) // it comes back as a replica of the other: writes are acknowledged again
	r.Wait(100, ledger.OK)
	r.Finish()
}

// ask is a server's answer; "" where it has none yet.
func ask(t *testing.T, id string, words ...string) string {
	out, err := exec.CommandContext(t.Context(), "docker", append([]string{"exec", id, "redis-cli"}, words...)...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
