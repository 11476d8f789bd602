package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaInSync asks a cluster, through the first of the addresses that answers, whether every partition of every topic,
// internal ones included, has a leader and all its replicas in sync. The error joins one problem for each partition that has
// not, in order; a cluster without any topic is an error too, for it proves nothing.
func KafkaInSync(ctx context.Context, addresses []string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.DisableClientMetrics(), kgo.RetryTimeout(time.Second), kgo.DialTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopicsWithInternal(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	return inSync(topics)
}

// inSync joins what is wrong with each partition.
func inSync(topics kadm.TopicDetails) error {
	if len(topics) == 0 {
		return errors.New("there is no topic")
	}
	var errs []error
	for _, topic := range topics.Sorted() {
		if topic.Err != nil {
			errs = append(errs, fmt.Errorf("topic %s: %w", topic.Topic, topic.Err))
		}
		for _, p := range topic.Partitions.Sorted() {
			name := fmt.Sprintf("partition %d of %s", p.Partition, p.Topic)
			missing := slices.DeleteFunc(slices.Clone(p.Replicas), func(b int32) bool { return slices.Contains(p.ISR, b) })
			switch {
			case p.Leader < 0:
				errs = append(errs, fmt.Errorf("%s has no leader", name))
			case p.Err != nil:
				errs = append(errs, fmt.Errorf("%s: %w", name, p.Err))
			case len(missing) > 0:
				errs = append(errs, fmt.Errorf("%s is not in sync on %v of %v", name, missing, p.Replicas))
			}
		}
	}
	return errors.Join(errs...)
}
