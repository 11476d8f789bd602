package workload_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func TestKafkaFinalDoesNotBelieveAStaleLeader(t *testing.T) {
	t.Parallel()
	c := fake(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0], Rate: 1000}, workload.KafkaOptions{Partitions: 1})
	setUp(t, d, h)
	eventually(t, "10 acknowledged", func() bool { return d.Stats().OK >= 10 })
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	short, stale := int64(len(h.of(ledger.FuncProduce, ledger.OK))-1), 0
	c.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if stale++; stale > 2 {
			return nil, nil, false //nolint:nilnil // let it through
		}
		c.KeepControl()
		resp, ok := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		if !ok {
			return nil, errors.New("another response"), true
		}
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset, p.LeaderEpoch = short, 0
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic, topic.Partitions = "orders", append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	finish(t, d, h, 1)
	if stale < 3 {
		t.Errorf("asked %d times: no stale end was seen", stale)
	}
}

func TestEndOffsets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		acked []int64
		ends  func(elapsed time.Duration) (map[int32]int64, error)
		want  map[int32]int64
		after time.Duration // at the most
	}{
		{"an end beyond what was acknowledged counts at once", []int64{5, 0}, func(time.Duration) (map[int32]int64, error) {
			return map[int32]int64{0: 7, 1: 0}, nil
		}, map[int32]int64{0: 7, 1: 0}, 0},
		{"a short end is asked for again", []int64{5, 5}, func(elapsed time.Duration) (map[int32]int64, error) {
			if elapsed < 3*time.Second {
				return map[int32]int64{0: 5, 1: 4}, nil
			}
			return map[int32]int64{0: 5, 1: 5}, nil
		}, map[int32]int64{0: 5, 1: 5}, 3250 * time.Millisecond},
		{"an end that stays short is the end", []int64{5}, func(time.Duration) (map[int32]int64, error) {
			return map[int32]int64{0: 4}, nil
		}, map[int32]int64{0: 4}, 15250 * time.Millisecond},
		{"an error is no end", []int64{5}, func(elapsed time.Duration) (map[int32]int64, error) {
			if elapsed < 20*time.Second {
				return nil, errors.New("no leader")
			}
			return map[int32]int64{0: 5}, nil
		}, map[int32]int64{0: 5}, 20250 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got, err := workload.EndOffsets(t.Context(), func(context.Context) (map[int32]int64, error) { return c.ends(time.Since(began)) }, c.acked)
				if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
				if took := time.Since(began); took > c.after {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestEndOffsetsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ends, err := workload.EndOffsets(ctx, func(context.Context) (map[int32]int64, error) { return map[int32]int64{0: 1}, nil }, []int64{2})
		if !errors.Is(err, context.DeadlineExceeded) || ends != nil {
			t.Errorf("ends %v, %v", ends, err)
		}
	})
}
