package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Clean deletes the topic, and what groups have committed for it, so that the next run makes its own and whoever reads it
// begins at its start. A group that still reads the topic would go on at offsets of the old one: that is an error.
func (d *kafkaDriver) Clean(ctx context.Context) error {
	cl, err := kgo.NewClient(clientOptions(d.cfg.Target)...)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for {
		last := d.tryClean(ctx, adm)
		if last == nil {
			return nil
		}
		if errors.Is(last, kerr.TopicDeletionDisabled) || errors.Is(last, kerr.TopicAuthorizationFailed) || errors.Is(last, kerr.GroupAuthorizationFailed) {
			return fmt.Errorf("delete topic %s on %s: %w", d.opts.Topic, d.cfg.Target, last)
		}
		if !wait(ctx, 250*time.Millisecond) {
			return fmt.Errorf("delete topic %s on %s: %w", d.opts.Topic, d.cfg.Target, errors.Join(context.Cause(ctx), last))
		}
	}
}

func (d *kafkaDriver) tryClean(ctx context.Context, adm *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// The offsets go first: a broker knows them no longer by a topic that is gone.
	if err := forgetOffsets(ctx, adm, d.opts.Topic); err != nil {
		return err
	}
	if _, err := adm.DeleteTopic(ctx, d.opts.Topic); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("delete topic: %w", err)
	}
	topics, err := adm.ListTopics(ctx, d.opts.Topic)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	if detail, ok := topics[d.opts.Topic]; ok && !errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
		return errors.New("it is still there, or somebody has made it again")
	}
	return nil
}

// forgetOffsets deletes what every group has committed for a topic.
func forgetOffsets(ctx context.Context, adm *kadm.Client, topic string) error {
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	for _, group := range groups.Groups() {
		committed, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			return fmt.Errorf("read offsets of group %s: %w", group, err)
		}
		var set kadm.TopicsSet
		for partition := range committed[topic] {
			set.Add(topic, partition)
		}
		if len(set) == 0 {
			continue
		}
		deleted, err := adm.DeleteOffsets(ctx, group, set)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.GroupIDNotFound) {
			return fmt.Errorf("delete offsets of group %s: %w", group, err)
		}
	}
	return nil
}
