package workload_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func clean(ctx context.Context, t *testing.T, d workload.Driver) error {
	t.Helper()
	c, ok := d.(workload.Cleaner)
	if !ok {
		t.Fatal("the driver cannot clean")
	}
	return c.Clean(ctx)
}

// TestACleanedTopicIsAnotherRunsGround has two runs on one broker, one after the other, each with its own consumer of one
// group: the second consumer is handed every record of the second run, and none of the first.
func TestACleanedTopicIsAnotherRunsGround(t *testing.T) {
	t.Parallel()
	addr := fake(t).ListenAddrs()[0]
	for run, rate := range []float64{400, 100} { // the second run's log stays shorter than what was committed in the first
		l, stop := consume(t, workload.ConsumeOptions{Target: addr, Group: "readers"})
		h := &history{}
		d := newDriver(t, workload.Config{Target: addr, Clients: 2, Rate: rate}, workload.KafkaOptions{Group: "own"})
		setUp(t, d, h)
		eventually(t, "60 acknowledged", func() bool { return d.Stats().OK >= int64(60/(run+1)) })
		finish(t, d, h, 3)
		want := d.Stats().Read
		eventually(t, "the consumer has caught up", func() bool { return int64(len(l.h.of(ledger.FuncPoll, ledger.OK))) >= want })
		if got := int64(len(l.h.of(ledger.FuncPoll, ledger.OK))); got != want {
			t.Errorf("run %d: the consumer was handed %d records, its log has %d", run, got, want)
		}
		stop()
		if err := clean(t.Context(), t, d); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATopicThatIsStillReadIsNotClean(t *testing.T) {
	t.Parallel()
	addr := fake(t, kfake.SeedTopics(3, "orders")).ListenAddrs()[0]
	produceOne(t, addr, []byte("old"))
	_, stop := consume(t, workload.ConsumeOptions{Target: addr, Group: "app"})
	defer stop()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	eventually(t, "its offset is committed", func() bool {
		offsets, err := kadm.NewClient(cl).FetchOffsets(t.Context(), "app")
		return err == nil && len(offsets["orders"]) > 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	d := newDriver(t, workload.Config{Target: addr}, workload.KafkaOptions{})
	if err := clean(ctx, t, d); err == nil || !strings.Contains(err.Error(), "delete offsets of group app: GROUP_SUBSCRIBED_TO_TOPIC") {
		t.Errorf("got %v, want that group app reads it", err)
	}
}
