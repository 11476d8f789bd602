//go:build e2e

package workload_test

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/embedded"
)

// docker runs the Docker CLI and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// startKafka starts a real broker on a loopback port and returns its container and address.
func startKafka(t *testing.T) (id, addr string) {
	t.Helper()
	imagetest.Need(t, "apache/kafka:3.9.1")
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skipf("the test drives the broker with the docker command: %v", err)
	}
	addr = freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	id = docker(t, "run", "-d", "--label", "io.discompose.test=workload", "-p", addr+":9092", "--restart", "always",
		"-e", "KAFKA_NODE_ID=1", "-e", "KAFKA_PROCESS_ROLES=broker,controller", "-e", "KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER",
		"-e", "KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093",
		// A broker asks itself about transactions, where the host's port leads nowhere.
		"-e", "KAFKA_LISTENERS=PLAINTEXT://:9092,INTERNAL://:9094,CONTROLLER://:9093", "-e", "KAFKA_INTER_BROKER_LISTENER_NAME=INTERNAL",
		"-e", "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:"+port+",INTERNAL://localhost:9094",
		"-e", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"-e", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1", "-e", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1",
		"-e", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1", "-e", "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS=3", "-e", "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0",
		"-e", "KAFKA_AUTO_CREATE_TOPICS_ENABLE=false", "-e", "KAFKA_HEAP_OPTS=-Xmx256m -Xms256m", "apache/kafka:3.9.1",
		// An image that was built from a read-only tree has settings that its own user cannot write.
		"bash", "-c", "chmod -f u+w /opt/kafka/config/*; exec /etc/kafka/docker/run")
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "docker", "rm", "-f", "-v", id).CombinedOutput(); err != nil {
			t.Errorf("remove broker: %v\n%s", err, out)
		}
	})
	eventually(t, "the broker serves", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return embedded.PingKafka(ctx, addr) == nil
	})
	return id, addr
}

// cpu is the time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestRealKafkaPaused(t *testing.T) {
	id, addr := startKafka(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: addr, Clients: 4, Rate: 200, Seed: 7}, workload.KafkaOptions{Group: "readers"})
	used, began := cpu(t), workload.Now()
	setUp(t, d, h)
	t.Logf("set up in %s", time.Duration(workload.Now()-began))
	eventually(t, "steady", func() bool { return d.Stats().OK >= 600 })
	docker(t, "pause", id)
	paused := workload.Now()
	eventually(t, "8 s of pause", func() bool { return workload.Now()-paused >= int64(8*time.Second) })
	at := d.Stats()
	healed := workload.Now()
	docker(t, "unpause", id)
	answered := workload.Now()
	eventually(t, "600 more acknowledged", func() bool { return d.Stats().OK >= at.Invoked+600 })
	finish(t, d, h, 3)
	s := d.Stats()
	elapsed := time.Duration(workload.Now() - began)
	t.Logf("at the end of the pause: %+v", at)
	t.Logf("at the end: %+v", s)
	t.Logf("cpu %.1f %% of one core over %s (driver, group and final read)", 100*float64(cpu(t)-used)/float64(elapsed), elapsed)
	first := int64(1 << 62)
	for _, o := range h.of(ledger.FuncProduce, ledger.OK) {
		if o.Complete > healed {
			first = min(first, o.Complete)
		}
	}
	t.Logf("first acknowledgement %s after unpause was called, %s after it answered", time.Duration(first-healed), time.Duration(first-answered))
	if s.OK != s.Invoked || at.InFlight < 1000 {
		t.Errorf("not everything was delivered, or nothing was held back: %+v, in the pause %+v", s, at)
	}
}

// The time-out is longer than a broker takes to come back on a busy machine.
func TestRealKafkaKilled(t *testing.T) {
	id, addr := startKafka(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: addr, Clients: 4, Rate: 200, Seed: 7, Timeout: int64(3 * time.Minute)}, workload.KafkaOptions{})
	setUp(t, d, h)
	eventually(t, "steady", func() bool { return d.Stats().OK >= 400 })
	killed := workload.Now()
	docker(t, "kill", id)
	docker(t, "start", id)
	started := workload.Now()
	at := d.Stats()
	eventually(t, "the broker serves again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return embedded.PingKafka(ctx, addr) == nil
	})
	serves := workload.Now()
	eventually(t, "600 more acknowledged", func() bool { return d.Stats().OK >= at.OK+600 })
	first := int64(1 << 62)
	for _, o := range h.of(ledger.FuncProduce, ledger.OK) {
		if o.Complete > started {
			first = min(first, o.Complete)
		}
	}
	t.Logf("killed; started again after %s; it served a ping %s and acknowledged %s after that",
		time.Duration(started-killed), time.Duration(serves-started), time.Duration(first-started))
	finish(t, d, h, 3)
	if s := d.Stats(); s.OK != s.Invoked {
		t.Errorf("not everything was delivered: %+v", s)
	}
}

// TestRealKafkaTransactionsKilled has a broker alone, which is also the coordinator of every transaction, killed in the middle.
func TestRealKafkaTransactionsKilled(t *testing.T) {
	id, addr := startKafka(t)
	drivers, histories := map[string]workload.Driver{}, map[string]*history{}
	for _, isolation := range []string{"read-committed", "read-uncommitted"} {
		h := &history{}
		d := newDriver(t, workload.Config{Target: addr, Clients: 2, Rate: 60, Seed: 7, Timeout: int64(3 * time.Minute)}, workload.KafkaOptions{
			Topic: isolation, Group: isolation, Isolation: isolation, Transactions: &workload.KafkaTransactions{Size: 4, Abort: 0.3},
		})
		setUp(t, d, h)
		drivers[isolation], histories[isolation] = d, h
	}
	ends := func(more int) func() bool {
		want := map[*history]int{}
		for _, h := range histories {
			want[h] = len(h.of(ledger.FuncCommit, ledger.OK)) + more
		}
		return func() bool {
			for h, n := range want {
				if len(h.of(ledger.FuncCommit, ledger.OK)) < n || len(h.of(ledger.FuncAbort, ledger.OK)) < 5 {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "commits and aborts before", ends(10))
	after := ends(20) // some are in flight: those of before the kill do not do
	docker(t, "kill", id)
	docker(t, "start", id)
	eventually(t, "commits after", after)
	for isolation, d := range drivers {
		t.Run(isolation, func(t *testing.T) {
			h := histories[isolation]
			checkTransactions(t, d, h, isolation == "read-uncommitted")
			if len(h.of(ledger.FuncPoll, ledger.OK)) == 0 {
				t.Error("the group was handed nothing")
			}
		})
	}
}
