package workload_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/workload"
)

func TestInSyncNamesEachPartitionThatIsNot(t *testing.T) {
	t.Parallel()
	part := func(topic string, n, leader int32, replicas, isr []int32, err error) kadm.PartitionDetail {
		return kadm.PartitionDetail{Topic: topic, Partition: n, Leader: leader, Replicas: replicas, ISR: isr, Err: err}
	}
	all := []int32{1, 2, 3}
	good := kadm.PartitionDetails{0: part("orders", 0, 1, all, all, nil), 1: part("orders", 1, 2, all, []int32{3, 1, 2}, nil)}
	bad := kadm.PartitionDetails{
		0: part("offsets", 0, 1, all, []int32{1}, nil), 1: part("offsets", 1, -1, all, all, kerr.LeaderNotAvailable),
		2: part("offsets", 2, 1, all, all, kerr.ListenerNotFound), 3: part("offsets", 3, 1, all, all, nil),
	}
	for _, c := range []struct {
		name   string
		topics kadm.TopicDetails
		want   []string
	}{
		{"all in sync", kadm.TopicDetails{"orders": {Topic: "orders", Partitions: good}}, nil},
		{"no topic", kadm.TopicDetails{}, []string{"there is no topic"}},
		{"some that are not", kadm.TopicDetails{
			"orders": {Topic: "orders", Partitions: good}, "offsets": {Topic: "offsets", Partitions: bad}, "gone": {Topic: "gone", Err: kerr.UnknownTopicOrPartition},
		}, []string{
			"topic gone: " + kerr.UnknownTopicOrPartition.Error(),
			"partition 0 of offsets is not in sync on [2 3] of [1 2 3]",
			"partition 1 of offsets has no leader",
			"partition 2 of offsets: " + kerr.ListenerNotFound.Error(),
		}},
	} {
		var got []string
		if err := workload.InSync(c.topics); err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestKafkaInSyncAsksWhoeverAnswers(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	dead := freeAddr(t)
	if err := workload.KafkaInSync(t.Context(), []string{dead}); err == nil || !strings.Contains(err.Error(), "list topics") {
		t.Errorf("without a broker: %v", err)
	}
	if err := workload.KafkaInSync(t.Context(), []string{dead, b.addr}); err == nil || !strings.Contains(err.Error(), "there is no topic") {
		t.Errorf("without a topic: %v", err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 2, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := workload.KafkaInSync(t.Context(), []string{dead, b.addr}); err != nil {
		t.Error(err)
	}
}
