package embedded_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/workload/embedded"
)

func TestKafkaFromEnv(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		env  map[string]string
		want embedded.KafkaOptions
		err  string
	}{
		{name: "nothing", want: embedded.KafkaOptions{Partitions: 1, AutoCreate: true, Host: "localhost"}},
		{
			name: "all",
			env: map[string]string{
				"KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093", "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092",
				"KAFKA_LOG_DIRS": "/data", "KAFKA_NUM_PARTITIONS": "3", "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false", "HOSTNAME": "abc",
			},
			want: embedded.KafkaOptions{
				Listeners: "PLAINTEXT://:9092,CONTROLLER://:9093", Advertised: "PLAINTEXT://kafka:9092",
				Dir: "/data", Partitions: 3, Host: "abc",
			},
		},
		{name: "no number", env: map[string]string{"KAFKA_NUM_PARTITIONS": "x"}, err: `KAFKA_NUM_PARTITIONS: "x" is not a positive number`},
		{name: "no bool", env: map[string]string{"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "x"}, err: "KAFKA_AUTO_CREATE_TOPICS_ENABLE"},
		{name: "no listener", env: map[string]string{"KAFKA_LISTENERS": ":9092"}, err: `KAFKA_LISTENERS: ":9092" is not NAME://host:port`},
		{name: "controllers only", env: map[string]string{"KAFKA_LISTENERS": "CONTROLLER://:9093"}, err: "no listener for clients"},
		{name: "advertised without a port", env: map[string]string{"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka"}, err: "KAFKA_ADVERTISED_LISTENERS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := embedded.KafkaFromEnv(func(k string) (string, bool) { v, ok := c.env[k]; return v, ok })
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve runs a broker until the returned function is called.
func serve(t *testing.T, o embedded.KafkaOptions, addr string) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- embedded.ServeKafka(ctx, o) }()
	deadline := time.After(10 * time.Second)
	for embedded.PingKafka(t.Context(), addr) != nil {
		select {
		case err := <-done:
			t.Fatalf("serve: %v", err)
		case <-deadline:
			t.Fatal("the broker does not answer")
		default:
		}
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
}

func TestServeKafkaKeepsItsData(t *testing.T) {
	t.Parallel()
	addr := free(t)
	var log strings.Builder
	o := embedded.KafkaOptions{
		Listeners: "CONTROLLER://:1,PLAINTEXT://" + addr, Advertised: "PLAINTEXT://" + strings.Replace(addr, "127.0.0.1", "localhost", 1),
		Dir: t.TempDir(), Partitions: 4, AutoCreate: true, Log: &log,
	}
	client := func() *kgo.Client {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"))
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	stop := serve(t, o, addr)
	cl := client()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("a"), kgo.StringRecord("b")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	brokers, err := kadm.NewClient(cl).ListBrokers(t.Context())
	if err != nil || len(brokers) != 1 || brokers[0].Host != "localhost" {
		t.Errorf("brokers as advertised: %+v, %v", brokers, err)
	}
	cl.Close()
	stop()

	stop = serve(t, o, addr)
	defer stop()
	cl = client()
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	var records, partitions int64
	ends.Each(func(o kadm.ListedOffset) { records, partitions = records+o.Offset, partitions+1 })
	if records != 2 || partitions != 4 {
		t.Errorf("after a restart: %d records in %d partitions, want 2 in 4", records, partitions)
	}
	if !strings.Contains(log.String(), "not Apache Kafka") {
		t.Errorf("the log does not say what it is: %q", log.String())
	}
}

func TestServeKafkaAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = embedded.ServeKafka(t.Context(), embedded.KafkaOptions{Listeners: "PLAINTEXT://" + l.Addr().String(), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestPingKafkaFails(t *testing.T) {
	t.Parallel()
	addr := free(t)
	if err := embedded.PingKafka(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "ping "+addr) {
		t.Errorf("got %v", err)
	}
}
