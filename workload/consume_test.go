package workload_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// lines takes a consumer's output.
type lines struct {
	t     *testing.T
	mu    sync.Mutex
	count int
	h     history
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(p) > 16<<10 || bytes.Count(p, []byte("\n")) != 1 || p[len(p)-1] != '\n' {
		l.t.Errorf("a write of %d bytes is not one line that a log driver keeps whole", len(p))
	}
	ops, ok := workload.ParseConsumeLine(p)
	if !ok || l.count == 0 && len(ops) > 0 {
		l.t.Errorf("line %d is not understood: %.80s", l.count, p)
	}
	l.count++
	l.h.emit(ops)
	return len(p), nil
}

// consume runs a consumer until the returned function is called.
func consume(t *testing.T, o workload.ConsumeOptions) (*lines, func()) {
	t.Helper()
	l := &lines{t: t}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- workload.Consume(ctx, o, l) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("consume: %v", err)
		}
	}
	return l, stop
}

// checkAssigned fails unless every partition was assigned before its first record, and again before it went back.
func checkAssigned(t *testing.T, ops []ledger.Op) {
	t.Helper()
	next := map[int32]int64{}
	for _, o := range ops {
		switch at, assigned := next[o.Partition]; {
		case o.Func == ledger.FuncAssign:
			next[o.Partition] = 0
		case !assigned || o.Offset < at:
			t.Fatalf("partition %d: offset %d was handed where %d or more was due (assigned: %t)", o.Partition, o.Offset, at, assigned)
		default:
			next[o.Partition] = o.Offset + 1
		}
	}
	if len(next) == 0 {
		t.Error("nothing was assigned")
	}
}

func TestConsumeOutlivesItsBroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	l, stop := consume(t, workload.ConsumeOptions{Target: b.addr, Group: "g", Process: 3}) // before there is a topic
	h := &history{}
	d := newDriver(t, workload.Config{Target: b.addr, Clients: 2, Rate: 500}, workload.KafkaOptions{})
	setUp(t, d, h)
	polled := func() int { return len(l.h.of(ledger.FuncPoll, ledger.OK)) }
	eventually(t, "200 polled", func() bool { return polled() >= 200 })
	b.kill()
	b.start()
	before := d.Stats().OK
	eventually(t, "acknowledged again", func() bool { return d.Stats().OK >= before+200 })
	finish(t, d, h, 3)
	type place struct {
		partition int32
		offset    int64
	}
	at := func() map[place]int64 {
		out := map[place]int64{}
		for _, o := range l.h.of(ledger.FuncPoll, ledger.OK) {
			if o.Sum != 0 || o.Process != 3 || o.Workload != "consumer" || o.Invoke == 0 || o.Complete < o.Invoke {
				t.Fatalf("polled as %+v", o)
			}
			out[place{o.Partition, o.Offset}] = o.Value
		}
		return out
	}
	reads := h.of(ledger.FuncRead, ledger.OK)
	eventually(t, "every record is polled", func() bool { return len(at()) >= len(reads) })
	checkAssigned(t, l.h.all())
	got := at()
	for _, o := range reads {
		if v := got[place{o.Partition, o.Offset}]; v != o.Value {
			t.Errorf("partition %d offset %d: polled %d, read %d", o.Partition, o.Offset, v, o.Value)
		}
	}
	stop()

	again, stop := consume(t, workload.ConsumeOptions{Target: b.addr, Group: "g"})
	produceOne(t, b.addr, workload.AppendBody(nil, 0, workload.Value(9, 1), 64))
	eventually(t, "the new record is polled", func() bool { return len(again.h.of(ledger.FuncPoll, ledger.OK)) >= 1 })
	stop()
	if ops := again.h.of(ledger.FuncPoll, ledger.OK); len(ops) != 1 || ops[0].Value != workload.Value(9, 1) {
		t.Errorf("the next member of the group was handed %d records again", len(ops)-1)
	}
}

func TestConsumeComparesWithSeed(t *testing.T) {
	t.Parallel()
	c := fake(t)
	seed := int64(5)
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0]}, workload.KafkaOptions{})
	if err := d.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, stop := consume(t, workload.ConsumeOptions{Target: c.ListenAddrs()[0], Seed: &seed, Size: 64})
	defer stop()
	produceOne(t, c.ListenAddrs()[0], workload.AppendBody(nil, seed, 1, 64))
	produceOne(t, c.ListenAddrs()[0], workload.AppendBody(nil, seed+1, 2, 64))
	eventually(t, "both are polled", func() bool { return len(l.h.of(ledger.FuncPoll, ledger.OK)) == 2 })
	for _, o := range l.h.of(ledger.FuncPoll, ledger.OK) {
		if wrong := o.Sum != 0; wrong != (o.Value == 2) {
			t.Errorf("judged as %+v", o)
		}
	}
}

func TestConsumeAsksEveryBrokerOfItsTarget(t *testing.T) {
	t.Parallel()
	c := fake(t)
	l, stop := consume(t, workload.ConsumeOptions{Target: freeAddr(t) + "," + c.ListenAddrs()[0]}) // nobody listens on the first
	defer stop()
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0]}, workload.KafkaOptions{})
	if err := d.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	produceOne(t, c.ListenAddrs()[0], workload.AppendBody(nil, 0, 1, 64))
	eventually(t, "the record is polled", func() bool { return len(l.h.of(ledger.FuncPoll, ledger.OK)) == 1 })
}

func TestConsumeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, stop := consume(t, workload.ConsumeOptions{Target: freeAddr(t)})
	began := time.Now()
	stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := workload.Consume(t.Context(), workload.ConsumeOptions{}, &lines{t: t}); !contains(text(err), "target is empty") {
		t.Errorf("without a target: %v", err)
	}
}
