package workload_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// stream is the runner's side of a client without a stream.
type stream struct {
	t       *testing.T
	client  *workload.Client
	mu      sync.Mutex
	h       history
	largest int
	notes   []string
}

func newStream(t *testing.T) *stream {
	t.Helper()
	s := &stream{t: t}
	s.client = workload.NewClient([]workload.Spec{workload.Kafka()}, s.event)
	t.Cleanup(s.client.Close)
	return s
}

func (s *stream) event(event string, data json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch event {
	case workload.EventOps:
		var ops []ledger.Op
		if err := json.Unmarshal(data, &ops); err != nil {
			s.t.Errorf("event is not JSON: %v: %s", err, data)
		}
		s.largest = max(s.largest, len(ops))
		s.h.emit(ops)
	case workload.EventNote:
		var note string
		if err := json.Unmarshal(data, &note); err != nil {
			s.t.Errorf("note is not a string: %v: %s", err, data)
		}
		s.notes = append(s.notes, note)
	default:
		s.t.Errorf("unknown event %q", event)
	}
}

func (s *stream) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.notes)
}

// call calls an operation as a stream does: arguments and answer through JSON, a context that ends with the call.
func (s *stream) call(op string, args, out any) error {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	raw, err := json.Marshal(args)
	if err != nil {
		s.t.Fatal(err)
	}
	if args == nil {
		raw = nil
	}
	answer, err := s.client.Ops()[op](ctx, raw)
	if err != nil || out == nil {
		return err
	}
	back, err := json.Marshal(answer)
	if err != nil {
		s.t.Fatal(err)
	}
	return json.Unmarshal(back, out)
}

func (s *stream) must(op string, args, out any) {
	s.t.Helper()
	if err := s.call(op, args, out); err != nil {
		s.t.Fatalf("%s: %v", op, err)
	}
}

func TestClientRunsAWorkload(t *testing.T) {
	t.Parallel()
	c := fake(t)
	addr := c.ListenAddrs()[0]
	s := newStream(t)
	s.must(workload.OpConfigure, workload.ClientConfig{
		Workloads: []workload.Config{{Name: "orders", Driver: "kafka", Target: addr, Clients: 2, Rate: 2000, Seed: 1}},
		Probes:    []workload.ProbeConfig{{Name: "metadata", Kind: "tcp", Target: addr, Every: int64(10 * time.Millisecond)}},
	}, nil)
	var pong workload.PingReply
	before := workload.Now()
	s.must(workload.OpPing, nil, &pong)
	if pong.Now < before || pong.Now > workload.Now() {
		t.Errorf("ping says %d", pong.Now)
	}
	s.must(workload.OpSetup, workload.Named{Workload: "orders"}, nil)
	s.must(workload.OpStart, nil, nil)
	eventually(t, "operations and evaluations come", func() bool {
		return len(s.h.of(ledger.FuncProduce, ledger.OK)) >= 1000 && len(s.h.of(ledger.FuncProbe, ledger.OK)) >= 5
	})
	s.must(workload.OpStop, workload.Named{Workload: "orders"}, nil)
	stats := map[string]workload.Stats{}
	s.must(workload.OpStats, nil, &stats)
	n := len(s.h.of(ledger.FuncProduce, ledger.OK))
	if got := stats["orders"]; got.OK != int64(n) || got.InFlight != 0 {
		t.Errorf("%d operations came before stop answered: %+v", n, got)
	}
	s.must(workload.OpFinal, workload.Named{Workload: "orders", Within: int64(20 * time.Second)}, nil)
	if reads, ends := len(s.h.of(ledger.FuncRead, ledger.OK)), len(s.h.of(ledger.FuncEnd, ledger.OK)); reads != n || ends != 3 {
		t.Errorf("%d reads and %d ends came before final answered, want %d and 3", reads, ends, n)
	}
	s.must(workload.OpStop, workload.Named{Workload: "metadata"}, nil)
	probes := len(s.h.of(ledger.FuncProbe, ledger.OK))
	s.must(workload.OpStop, nil, nil)
	if again := len(s.h.of(ledger.FuncProbe, ledger.OK)); again != probes {
		t.Errorf("%d evaluations after the probe was stopped", again-probes)
	}
	if s.largest > 500 {
		t.Errorf("a batch of %d operations", s.largest)
	}
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	good := workload.ClientConfig{Workloads: []workload.Config{{Name: "orders", Driver: "kafka", Target: "x:1"}}}
	t.Run("to start before it is configured", func(t *testing.T) {
		if err := newStream(t).call(workload.OpStart, nil, nil); text(err) != "start: configure first" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a second configuration", func(t *testing.T) {
		s := newStream(t)
		s.must(workload.OpConfigure, good, nil)
		if err := s.call(workload.OpConfigure, good, nil); !contains(text(err), "configured already") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a workload that is not there", func(t *testing.T) {
		s := newStream(t)
		s.must(workload.OpConfigure, good, nil)
		for _, op := range []string{workload.OpSetup, workload.OpStop, workload.OpFinal} {
			if err := s.call(op, workload.Named{Workload: "x"}, nil); !contains(text(err), `no workload "x"`) {
				t.Errorf("%s: got %v", op, err)
			}
		}
	})
	t.Run("all that is wrong with a configuration at once", func(t *testing.T) {
		bad := workload.ClientConfig{
			Workloads: []workload.Config{good.Workloads[0], good.Workloads[0], {Name: "other", Driver: "?", Target: "x:1"}},
			Probes:    []workload.ProbeConfig{{Name: "p", Kind: "log"}},
		}
		got := text(newStream(t).call(workload.OpConfigure, bad, nil))
		want := strings.Join([]string{
			"workload orders: configured twice",
			`workload other: no driver "?" (there is "kafka")`,
			`probe p: kind "log" does not run in a client (there are "tcp" and "http")`,
		}, "\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestClientNotesTheBound(t *testing.T) {
	t.Parallel()
	c := fake(t)
	release := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-release })
		return nil, nil, false //nolint:nilnil // let it through
	})
	defer close(release)
	s := newStream(t)
	s.must(workload.OpConfigure, workload.ClientConfig{Workloads: []workload.Config{
		{Name: "orders", Driver: "kafka", Target: c.ListenAddrs()[0], Rate: 1000, MaxInFlight: 10},
	}}, nil)
	s.must(workload.OpSetup, nil, nil)
	s.must(workload.OpStartWorkloads, nil, nil)
	eventually(t, "a note", func() bool { return len(s.noted()) > 0 })
	if note := s.noted()[0]; !contains(note, "workload orders: ") || !contains(note, "10 are in flight") {
		t.Errorf("got %q", note)
	}
	s.client.Close()
	if n := len(s.h.of(ledger.FuncProduce, ledger.Unknown)); n != 10 {
		t.Errorf("%d of the 10 in flight were emitted when the client closed", n)
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	var sizes []int
	next := int64(1)
	o := workload.NewOutbox(func(raw json.RawMessage) {
		var ops []ledger.Op
		if err := json.Unmarshal(raw, &ops); err != nil {
			t.Error(err)
		}
		sizes = append(sizes, len(ops))
		for _, op := range ops {
			if op.Value != next {
				t.Fatalf("value %d where %d was due", op.Value, next)
			}
			next++
		}
	})
	reused := make([]ledger.Op, 1)
	for round, n := range []int{1, 0, 1203} {
		for range n {
			reused[0].Value++
			o.Add(reused)
		}
		o.Flush()
		if next != reused[0].Value+1 {
			t.Fatalf("round %d: %d operations were sent, %d added", round, next-1, reused[0].Value)
		}
	}
	if diff := cmp.Diff([]int{1, 500, 500, 203}, sizes); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
}
