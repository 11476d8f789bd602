package workload_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func TestDue(t *testing.T) {
	t.Parallel()
	const s = int64(time.Second)
	for _, c := range []struct {
		name    string
		elapsed int64
		rate    float64
		want    int64
	}{
		{"before the start", -1, 100, 0},
		{"the first is due at the start", 0, 100, 1},
		{"just before the second", s/100 - 1, 100, 1},
		{"at the second", s / 100, 100, 2},
		{"after a second", s, 100, 101},
		{"slower than one a second", 9 * s, 0.1, 1},
		{"ten seconds at 0.1", 10 * s, 0.1, 2},
		{"a third of a second", s, 3, 4},
		{"an hour at 100,000", 3600 * s, 100_000, 360_000_001},
		{"no rate", s, 0, 0},
		{"a negative rate", s, -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := workload.Due(c.elapsed, c.rate); got != c.want {
				t.Errorf("Due(%d, %g) = %d, want %d", c.elapsed, c.rate, got, c.want)
			}
		})
	}
}

func TestDueAndInstantAgree(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.3, 3, 7, 30, 49, 999.9, 123456.789} { // whose periods are no whole ns: rounding shows
		for k := range int64(20_000) {
			at := workload.Instant(k, rate)
			if before, then := workload.Due(at-1, rate), workload.Due(at, rate); before != k || then != k+1 {
				t.Fatalf("operation %d at rate %g is planned at %d ns, but %d are due just before and %d then", k, rate, at, before, then)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.01, 1e6).Draw(t, "rate")
		elapsed := rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "elapsed")
		n := workload.Due(elapsed, rate)
		if n < 1 || workload.Instant(n-1, rate) > elapsed || workload.Instant(n, rate) <= elapsed {
			t.Fatalf("Due(%d, %g) = %d, but operation %d is planned at %d and the next at %d",
				elapsed, rate, n, n-1, workload.Instant(n-1, rate), workload.Instant(n, rate))
		}
	})
}

func TestBody(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed, value := rapid.Int64().Draw(t, "seed"), rapid.Int64().Draw(t, "value")
		size := rapid.IntRange(workload.MinBody, 700).Draw(t, "size")
		body := workload.AppendBody([]byte("before"), seed, value, size)[len("before"):]
		if len(body) != size {
			t.Fatalf("%d bytes, want %d", len(body), size)
		}
		if v, sum := workload.CheckBody(body, seed, size); v != value || sum != 0 {
			t.Fatalf("CheckBody = %d, %d for value %d", v, sum, value)
		}
		if v, sum := workload.CheckBodyAlone(body); v != value || sum != 0 {
			t.Fatalf("CheckBodyAlone = %d, %d for value %d", v, sum, value)
		}
		bad := bytes.Clone(body)
		bad[rapid.IntRange(0, size-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, sum := workload.CheckBody(bad, seed, size); sum == 0 {
			t.Fatal("CheckBody accepts a flipped bit")
		}
		if _, sum := workload.CheckBodyAlone(bad); sum == 0 {
			t.Fatal("CheckBodyAlone accepts a flipped bit")
		}
		if _, sum := workload.CheckBody(body[:size-1], seed, size); sum == 0 {
			t.Fatal("CheckBody accepts a cut body")
		}
		if _, sum := workload.CheckBody(body, seed+1, size); sum == 0 {
			t.Fatal("CheckBody accepts another seed's body")
		}
	})
	for _, short := range [][]byte{nil, {}, []byte("1234567"), make([]byte, 31)} {
		if _, sum := workload.CheckBodyAlone(short); sum == 0 {
			t.Errorf("a body of %d bytes is accepted", len(short))
		}
	}
}

func TestAppendOpsIsJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "plain", `"\<>&`, "\x00\n", "é\u2028\xff", "~\x7f"}))
	op := rapid.Custom(func(t *rapid.T) ledger.Op {
		return ledger.Op{
			ID: rapid.Int64Range(0, 3).Draw(t, "id"), Workload: text.Draw(t, "w"), Process: rapid.Int().Draw(t, "p"),
			Func: text.Draw(t, "f"), Key: text.Draw(t, "k"), Value: rapid.Int64().Draw(t, "x"), Sum: rapid.Uint32().Draw(t, "s"),
			Data: text.Draw(t, "d"), Partition: rapid.Int32().Draw(t, "pt"), Offset: rapid.Int64().Draw(t, "o"), Planned: rapid.Int64().Draw(t, "t0"),
			Invoke: rapid.Int64().Draw(t, "t1"), Complete: rapid.Int64().Draw(t, "t2"),
			Outcome: ledger.Outcome(text.Draw(t, "r")), Error: text.Draw(t, "e"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SliceOf(op).Draw(t, "ops")
		if ops == nil {
			ops = []ledger.Op{}
		}
		want, err := json.Marshal(ops)
		if err != nil {
			t.Fatal(err)
		}
		if got := workload.AppendOps(nil, ops); !bytes.Equal(got, want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestKafkaOptionsValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		give workload.KafkaOptions
		want []string // each a part of the error; none: valid
	}{
		{"all defaults", workload.KafkaOptions{}, nil},
		{"acks of the leader without idempotence", workload.KafkaOptions{Acks: "1", Idempotent: new(false)}, nil},
		{"acks of the leader", workload.KafkaOptions{Acks: "1"}, []string{`idempotent: needs acks = "all"`}},
		{"no acks, idempotent", workload.KafkaOptions{Acks: "0", Idempotent: new(true)}, []string{`idempotent: needs acks = "all"`}},
		{"every problem at once", workload.KafkaOptions{
			Acks: "two", Partitions: -1, Replication: -1, Size: 31, DeliveryTimeout: 5, Linger: units.Duration(2 * time.Minute),
		}, []string{"partitions: -1", "replication: -1", `acks: "two"`, "size: 31", "delivery_timeout: 5ns", "linger: 2m"}},
		{"transactions", workload.KafkaOptions{Transactions: &workload.KafkaTransactions{Abort: 1}, Isolation: "read-uncommitted"}, nil},
		{"transactions that cannot be", workload.KafkaOptions{
			Idempotent: new(false), Isolation: "none", Transactions: &workload.KafkaTransactions{Size: -1, Abort: 1.5, Timeout: units.Duration(time.Hour)},
		}, []string{"transactions: needs acks", "transactions.size: -1", "transactions.abort: 1.5", "transactions.timeout: 1h", `isolation: "none"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.give.Validate()
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("got %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := workload.Config{Name: "orders", Driver: "kafka", Target: "kafka:9092"}
	for _, c := range []struct {
		name   string
		change func(*workload.Config)
		want   string
	}{
		{"no name", func(c *workload.Config) { c.Name = "" }, "name is empty"},
		{"no target", func(c *workload.Config) { c.Target = "" }, "target is empty"},
		{"another driver", func(c *workload.Config) { c.Driver = "amqp" }, `no driver "amqp"`},
		{"negative numbers", func(c *workload.Config) { c.Clients, c.Rate, c.Timeout = -1, -1, -1 }, "clients = -1 is negative\nrate = -1 is negative\ntimeout = -1ns is negative"},
		{"an unknown option", func(c *workload.Config) { c.Options = json.RawMessage(`{"topik":"x"}`) }, `unknown field "topik"`},
		{"a bad option", func(c *workload.Config) { c.Options = json.RawMessage(`{"size":1}`) }, "size: 1 is not between 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			if _, err := workload.New(cfg, []workload.Spec{workload.Kafka()}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := workload.New(good, []workload.Spec{workload.Kafka()}); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestParseConsumeLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line string
		ops        int
		ok         bool
	}{
		{"hello", `{"v":1,"hello":{"role":"consumer","topic":"orders","group":"g","process":0,"at":5}}` + "\n", 0, true},
		{"operations", `{"v":1,"ops":[{"w":"c","p":0,"f":"poll","pt":1,"o":2,"t0":1,"t1":1,"t2":2,"r":"ok"}]}`, 1, true},
		{"a newer format", `{"v":3,"ops":[{"w":"c"}]}`, 0, false},
		{"no version", `{"ops":[{"w":"c"}]}`, 0, false},
		{"another program's JSON", `{"v":1,"level":"info"}`, 0, false},
		{"text", "started", 0, false},
		{"empty", "", 0, false},
		{"cut", `{"v":1,"ops":[{"w"`, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ops, ok := workload.ParseConsumeLine([]byte(c.line))
			if len(ops) != c.ops || ok != c.ok {
				t.Errorf("got %d operations, %t", len(ops), ok)
			}
		})
	}
}

func TestNowIsTheBootClock(t *testing.T) {
	t.Parallel()
	a := workload.Now()
	b := workload.Now()
	if a <= 0 || b < a || b-a > int64(time.Minute) {
		t.Errorf("Now gives %d, then %d", a, b)
	}
	if up := time.Duration(a); up > 100*365*24*time.Hour || math.Abs(float64(a)-float64(time.Now().UnixNano())) < 1e9 {
		t.Errorf("Now is %s: not a time since boot", up)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	room := make([]byte, 0, 256)
	for b.Loop() {
		room = workload.AppendBody(room[:0], 7, 42, 256)
	}
}

func BenchmarkAppendOps(b *testing.B) {
	ops := make([]ledger.Op, 500)
	for i := range ops {
		ops[i] = ledger.Op{
			Workload: "orders", Process: 3, Func: ledger.FuncProduce, Key: "p3-1", Value: workload.Value(3, int64(i)), Partition: 1,
			Offset: int64(i), Planned: 123456789012345, Invoke: 123456789112345, Complete: 123456789212345, Outcome: ledger.OK,
		}
	}
	room := make([]byte, 0, 1<<17)
	b.ReportAllocs()
	for b.Loop() {
		room = workload.AppendOps(room[:0], ops)
	}
	b.ReportMetric(float64(len(ops)*b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(len(room))/float64(len(ops)), "bytes/op")
}

// BenchmarkEmit is the way of an operation from a driver's emit to the stream's event, through the client's outbox.
func BenchmarkEmit(b *testing.B) {
	events := 0
	o := workload.NewOutbox(func(json.RawMessage) { events++ })
	op := []ledger.Op{{
		Workload: "orders", Process: 3, Func: ledger.FuncProduce, Key: "p3-1", Value: workload.Value(3, 1), Partition: 1,
		Offset: 17, Planned: 123456789012345, Invoke: 123456789112345, Complete: 123456789212345, Outcome: ledger.OK,
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Run(b.Context())
	}()
	b.ReportAllocs()
	for b.Loop() {
		o.Add(op)
	}
	o.Flush()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	if events == 0 {
		b.Fatal("nothing was sent")
	}
}
