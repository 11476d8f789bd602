package workload_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// history gathers emitted operations.
type history struct {
	mu  sync.Mutex
	ops []ledger.Op
}

func (h *history) emit(ops []ledger.Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, ops...)
}

func (h *history) all() []ledger.Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]ledger.Op(nil), h.ops...)
}

// of are the operations of one function with one outcome.
func (h *history) of(function string, outcome ledger.Outcome) []ledger.Op {
	var out []ledger.Op
	for _, o := range h.all() {
		if o.Func == function && o.Outcome == outcome {
			out = append(out, o)
		}
	}
	return out
}

func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newDriver(t *testing.T, c workload.Config, o workload.KafkaOptions) workload.Driver {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Name, c.Driver, c.Options = "orders", "kafka", raw
	d, err := workload.New(c, []workload.Spec{workload.Kafka()})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func setUp(t *testing.T, d workload.Driver, h *history) {
	t.Helper()
	if err := d.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
}

// place is where a record is.
type place struct {
	Partition int32
	Offset    int64
}

// finalReads returns where the final read found each value, and the offset after the last record of each partition. It
// fails unless the records have their bodies, offsets without a gap, and each producer's order.
func finalReads(t *testing.T, h *history) (map[int64]place, map[int32]int64) {
	t.Helper()
	read := map[int64]place{}
	last := map[[2]int64]int64{}
	next := map[int32]int64{}
	for _, o := range h.of(ledger.FuncRead, ledger.OK) {
		if o.Sum != 0 {
			t.Errorf("value %d has a wrong body", o.Value)
		}
		if _, twice := read[o.Value]; twice {
			t.Errorf("value %d was read twice", o.Value)
		}
		read[o.Value] = place{o.Partition, o.Offset}
		if o.Offset != next[o.Partition] {
			t.Errorf("partition %d: offset %d was read where %d was expected", o.Partition, o.Offset, next[o.Partition])
		}
		next[o.Partition] = o.Offset + 1
		key := [2]int64{o.Value >> 32, int64(o.Partition)}
		if o.Value <= last[key] {
			t.Errorf("value %d of process %d comes after %d", o.Value, o.Value>>32, last[key])
		}
		last[key] = o.Value
	}
	return read, next
}

// finish stops d, makes the final read, and compares it with what was acknowledged.
func finish(t *testing.T, d workload.Driver, h *history, partitions int) {
	t.Helper()
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	read, next := finalReads(t, h)
	acked := h.of(ledger.FuncProduce, ledger.OK)
	for _, o := range acked {
		if got, ok := read[o.Value]; !ok || got != (place{o.Partition, o.Offset}) {
			t.Errorf("acknowledged value %d: read at %v (%t), acknowledged at %v", o.Value, got, ok, place{o.Partition, o.Offset})
		}
	}
	ends := h.of(ledger.FuncEnd, ledger.OK)
	if len(ends) != partitions {
		t.Errorf("%d ends for %d partitions", len(ends), partitions)
	}
	for _, o := range ends {
		if o.Offset != next[o.Partition] {
			t.Errorf("partition %d ends at %d, the last record read is before %d", o.Partition, o.Offset, next[o.Partition])
		}
	}
	if len(acked) == 0 || len(read) == 0 {
		t.Errorf("%d acknowledged, %d read: nothing was tested", len(acked), len(read))
	}
}

// checkProduced fails unless processes 4 to 6 produced to every partition and what was polled has the right body.
func checkProduced(t *testing.T, h *history, want int) {
	t.Helper()
	processes := map[int]bool{}
	partitions := map[int32]bool{}
	for _, o := range h.of(ledger.FuncProduce, ledger.OK) {
		processes[o.Process], partitions[o.Partition] = true, true
		if o.Planned > o.Invoke || o.Invoke > o.Complete || o.Planned == 0 || o.Workload != "orders" || o.Value>>32 != int64(o.Process) {
			t.Fatalf("instants or names are wrong: %+v", o)
		}
	}
	if diff := cmp.Diff(map[int]bool{4: true, 5: true, 6: true}, processes); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	if len(partitions) != want {
		t.Errorf("%d partitions were used, want %d", len(partitions), want)
	}
	for _, o := range h.of(ledger.FuncPoll, ledger.OK) {
		if o.Sum != 0 {
			t.Fatalf("polled body is wrong: %+v", o)
		}
	}
}

func TestKafkaRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name    string
		rate    float64
		options workload.KafkaOptions
	}{
		{"an open loop", 2000, workload.KafkaOptions{Partitions: 3}},
		{"a closed loop", 0, workload.KafkaOptions{Partitions: 2, Size: 32}},
		{"without idempotence", 1000, workload.KafkaOptions{Partitions: 1, Acks: "1", Idempotent: new(false), Size: 600}},
		{"with a group", 1000, workload.KafkaOptions{Partitions: 2, Group: "readers"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := &history{}
			d := newDriver(t, workload.Config{Target: fake(t).ListenAddrs()[0], Clients: 3, FirstProcess: 4, Rate: c.rate, Seed: 7}, c.options)
			setUp(t, d, h)
			eventually(t, "300 acknowledged and, with a group, polled", func() bool {
				return len(h.of(ledger.FuncProduce, ledger.OK)) >= 300 &&
					(c.options.Group == "" || len(h.of(ledger.FuncPoll, ledger.OK)) >= 300)
			})
			finish(t, d, h, c.options.Partitions)
			checkProduced(t, h, c.options.Partitions)
			s := d.Stats()
			if s.Invoked != s.OK || s.OK != int64(len(h.of(ledger.FuncProduce, ledger.OK))) || s.InFlight != 0 || s.Skipped != 0 {
				t.Errorf("stats are wrong: %+v", s)
			}
		})
	}
}

func TestKafkaWithoutAcksIsUnknown(t *testing.T) {
	t.Parallel()
	h := &history{}
	d := newDriver(t, workload.Config{Target: fake(t).ListenAddrs()[0], Rate: 1000},
		workload.KafkaOptions{Acks: "0", Idempotent: new(false)})
	setUp(t, d, h)
	eventually(t, "50 sent", func() bool { return len(h.of(ledger.FuncProduce, ledger.Unknown)) >= 50 })
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok := h.of(ledger.FuncProduce, ledger.OK); len(ok) > 0 {
		t.Errorf("acks = 0 acknowledged %+v", ok[0])
	}
}

func TestKafkaBrokerKilled(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: b.addr, Clients: 2, Rate: 500, Timeout: int64(2 * time.Second)}, workload.KafkaOptions{})
	setUp(t, d, h)
	eventually(t, "100 acknowledged", func() bool { return len(h.of(ledger.FuncProduce, ledger.OK)) >= 100 })
	b.kill()
	eventually(t, "unknown outcomes while it is down", func() bool { return len(h.of(ledger.FuncProduce, ledger.Unknown)) >= 50 })
	b.start()
	before := len(h.of(ledger.FuncProduce, ledger.OK))
	eventually(t, "acknowledged again", func() bool { return len(h.of(ledger.FuncProduce, ledger.OK)) >= before+100 })
	finish(t, d, h, 3)
	for _, o := range h.of(ledger.FuncProduce, ledger.Unknown) {
		if o.Complete != 0 || o.Error != "no answer within 2s" || o.Offset != -1 {
			t.Fatalf("an operation that never returned is recorded as %+v", o)
		}
	}
	if s := d.Stats(); s.Late == 0 {
		t.Errorf("no late answer was counted: %+v", s)
	}
}

func TestKafkaDeliveryTimeout(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: b.addr, Rate: 200}, workload.KafkaOptions{DeliveryTimeout: units.Duration(time.Second)})
	setUp(t, d, h)
	eventually(t, "10 acknowledged", func() bool { return d.Stats().OK >= 10 })
	b.signal(syscall.SIGSTOP)
	eventually(t, "some are in flight", func() bool { return d.Stats().InFlight >= 20 }) // written, and never answered
	b.kill()
	eventually(t, "the client gives up", func() bool { return len(h.of(ledger.FuncProduce, ledger.Unknown)) >= 20 })
	b.start()
	before := d.Stats().OK
	eventually(t, "acknowledged again", func() bool { return d.Stats().OK >= before+100 })
	finish(t, d, h, 3)
	for _, o := range h.of(ledger.FuncProduce, ledger.Unknown) {
		if o.Complete == 0 || o.Error == "" {
			t.Fatalf("given up by the client as %+v", o)
		}
	}
}

func TestKafkaBrokerPausedDeliversAll(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: b.addr, Clients: 2, Rate: 500}, workload.KafkaOptions{})
	setUp(t, d, h)
	eventually(t, "100 acknowledged", func() bool { return len(h.of(ledger.FuncProduce, ledger.OK)) >= 100 })
	b.signal(syscall.SIGSTOP)
	at := d.Stats().Invoked
	eventually(t, "an open loop invokes on", func() bool { return d.Stats().Invoked >= at+500 })
	if s := d.Stats(); s.InFlight < 400 {
		t.Errorf("a paused broker answered: %+v", s)
	}
	b.signal(syscall.SIGCONT)
	eventually(t, "all is delivered", func() bool { return d.Stats().OK >= at+500 })
	finish(t, d, h, 3)
	if s := d.Stats(); s.OK != s.Invoked {
		t.Errorf("not all was acknowledged: %+v", s)
	}
}

func TestKafkaInFlightBound(t *testing.T) {
	t.Parallel()
	c := fake(t)
	release := make(chan struct{})
	h := &history{}
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0], Rate: 1000, MaxInFlight: 20}, workload.KafkaOptions{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-release })
		return nil, nil, false //nolint:nilnil // let it through
	})
	setUp(t, d, h)
	eventually(t, "the bound is hit", func() bool { return d.Stats().Skipped >= 50 })
	if s := d.Stats(); s.InFlight != 20 || s.Invoked != 20 {
		t.Errorf("the bound of 20 does not hold: %+v", s)
	}
	close(release)
	eventually(t, "it goes on", func() bool { return d.Stats().OK >= 100 })
	finish(t, d, h, 3)
}

func TestKafkaStopGivesUpWhatIsLeft(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: b.addr, Rate: 500}, workload.KafkaOptions{})
	setUp(t, d, h)
	eventually(t, "10 acknowledged", func() bool { return d.Stats().OK >= 10 })
	b.signal(syscall.SIGSTOP)
	eventually(t, "some are in flight", func() bool { return d.Stats().InFlight >= 50 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	s := d.Stats()
	if s.InFlight != 0 || s.Unknown < 50 || int64(len(h.all())) != s.Invoked {
		t.Errorf("%d operations were emitted: %+v", len(h.all()), s)
	}
	for _, o := range h.of(ledger.FuncProduce, ledger.Unknown) {
		if o.Complete != 0 || o.Error != "stopped before an answer came" {
			t.Fatalf("given up as %+v", o)
		}
	}
	b.signal(syscall.SIGCONT)
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	seen := len(h.of(ledger.FuncProduce, ledger.OK)) + len(h.of(ledger.FuncProduce, ledger.Unknown))
	if int64(seen) != s.Invoked {
		t.Errorf("%d outcomes for %d operations after the end", seen, s.Invoked)
	}
}

func TestKafkaSetup(t *testing.T) {
	t.Parallel()
	t.Run("refuses a topic that holds records", func(t *testing.T) {
		c := fake(t, kfake.SeedTopics(3, "orders"))
		produceOne(t, c.ListenAddrs()[0], []byte("old"))
		d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0]}, workload.KafkaOptions{})
		if err := d.Setup(t.Context()); !errors.Is(err, workload.ErrTopicNotEmpty) {
			t.Errorf("got %v, want ErrTopicNotEmpty", err)
		}
	})
	t.Run("takes an empty topic, twice", func(t *testing.T) {
		c := fake(t, kfake.SeedTopics(3, "orders"))
		for range 2 {
			d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0]}, workload.KafkaOptions{})
			if err := d.Setup(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := d.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("refuses another number of partitions", func(t *testing.T) {
		c := fake(t, kfake.SeedTopics(2, "orders"))
		d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0]}, workload.KafkaOptions{})
		const want = "topic has 2 partitions, options.partitions is 3"
		if err := d.Setup(t.Context()); err == nil || !contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	})
	t.Run("retries until its context ends", func(t *testing.T) {
		d := newDriver(t, workload.Config{Target: freeAddr(t)}, workload.KafkaOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Setup(ctx); !errors.Is(err, context.DeadlineExceeded) || !contains(err.Error(), "set up topic orders") {
			t.Errorf("got %v", err)
		}
	})
}

func TestKafkaFinalSeesCorruption(t *testing.T) {
	t.Parallel()
	c := fake(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0], Rate: 1000, Seed: 3}, workload.KafkaOptions{Partitions: 1})
	setUp(t, d, h)
	eventually(t, "10 acknowledged", func() bool { return d.Stats().OK >= 10 })
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad := workload.AppendBody(nil, 3, workload.Value(0, 5000), 256)
	bad[100] ^= 1
	produceOne(t, c.ListenAddrs()[0], bad)
	produceOne(t, c.ListenAddrs()[0], []byte("x"))
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	wrong := map[int64]bool{}
	for _, o := range h.of(ledger.FuncRead, ledger.OK) {
		if o.Sum != 0 {
			wrong[o.Value] = true
		}
	}
	if diff := cmp.Diff(map[int64]bool{5000: true, 0: true}, wrong); diff != "" {
		t.Errorf("values with a wrong body (-want +got):\n%s", diff)
	}
}

func TestKafkaFinalEndsAtItsEnd(t *testing.T) {
	t.Parallel()
	c := fake(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0], Rate: 1000}, workload.KafkaOptions{Partitions: 1})
	setUp(t, d, h)
	eventually(t, "10 acknowledged", func() bool { return d.Stats().OK >= 10 })
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := len(h.of(ledger.FuncProduce, ledger.OK))
	c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) { // once: after the end was asked for
		c.DropControl()
		c.SleepControl(func() { produceOne(t, c.ListenAddrs()[0], []byte("late")) })
		return nil, nil, false //nolint:nilnil // let it through
	})
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	ends := h.of(ledger.FuncEnd, ledger.OK)
	if reads := len(h.of(ledger.FuncRead, ledger.OK)); reads != n || len(ends) != 1 || ends[0].Offset != int64(n) {
		t.Errorf("%d reads of %d records, ends %+v", reads, n, ends)
	}
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	if reads := len(h.of(ledger.FuncRead, ledger.OK)); reads != n+n+1 {
		t.Errorf("the late record was not written: %d reads", reads)
	}
}

func produceOne(t *testing.T, addr string, body []byte) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: body}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
