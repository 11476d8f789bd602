package workload_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/discompose/discompose/workload/embedded"
)

// TestMain lets the test binary serve a broker in a process of its own, so that tests can stop, continue and kill it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DISCOMPOSE_TEST_BROKER_DIR"); dir != "" {
		os.Exit(serveBroker(dir, os.Getenv("DISCOMPOSE_TEST_BROKER_ADDR")))
	}
	os.Exit(m.Run())
}

func serveBroker(dir, addr string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := embedded.KafkaOptions{Listeners: "PLAINTEXT://" + addr, Advertised: "PLAINTEXT://" + addr, Dir: dir, AutoCreate: false}
	if err := embedded.ServeKafka(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// broker is a broker in a process of its own.
type broker struct {
	t    *testing.T
	dir  string
	addr string
	cmd  *exec.Cmd
}

// startBroker starts a broker on a free port and waits until it serves.
func startBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, dir: t.TempDir(), addr: freeAddr(t)}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	b.cmd = exec.CommandContext(context.WithoutCancel(b.t.Context()), os.Args[0]) // kill ends it
	b.cmd.Env = append(os.Environ(), "DISCOMPOSE_TEST_BROKER_DIR="+b.dir, "DISCOMPOSE_TEST_BROKER_ADDR="+b.addr)
	var out strings.Builder
	b.cmd.Stderr = &out
	if err := b.cmd.Start(); err != nil {
		b.t.Fatalf("start broker: %v", err)
	}
	eventually(b.t, "the broker serves: "+out.String(), func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return embedded.PingKafka(ctx, b.addr) == nil
	})
}

func (b *broker) signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatalf("signal broker: %v", err)
	}
}

// kill sends SIGKILL and waits until the process is gone; a second call does nothing.
func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	b.cmd = nil
}

// eventually polls until hold is true; it fails the test after 30 s.
func eventually(t *testing.T, what string, hold func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute) // of a broker that shares two busy cores
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !hold() {
		select {
		case <-deadline:
			t.Fatalf("not within 3 minutes: %s", what)
		case <-tick.C:
		}
	}
}

func contains(s, part string) bool { return strings.Contains(s, part) }
