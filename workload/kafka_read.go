package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
)

// ErrTruncated says that a partition got shorter while it was read.
var ErrTruncated = errors.New("partition was truncated while it was read")

// Final reads every partition from offset 0 to the end offset that it has at the start of the call.
func (d *kafkaDriver) Final(ctx context.Context, emit func([]ledger.Op)) error {
	r := &finalRead{d: d, emit: emit}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("read topic %s on %s: %w", d.opts.Topic, d.cfg.Target, err)
	}
	return nil
}

// finalRead is one final read.
type finalRead struct {
	d     *kafkaDriver
	emit  func([]ledger.Op)
	ends  map[int32]int64 // partition → end offset, for those that are not read to the end
	next  map[int32]int64 // partition → first offset that was not read
	batch []ledger.Op
}

func (r *finalRead) run(ctx context.Context) error {
	topic := r.d.opts.Topic
	cl, err := kgo.NewClient(append(clientOptions(r.d.cfg.Target),
		kgo.KeepControlRecords(), // so that the position passes them
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchIsolationLevel(isolation(r.d.opts.Isolation)),
	)...)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer cl.Close()
	adm, acked := kadm.NewClient(cl), r.d.acknowledged()
	ask := func(ctx context.Context) (map[int32]int64, error) { return tryEndOffsets(ctx, adm, topic, len(acked)) }
	if r.d.opts.Transactions != nil {
		if err := r.d.fence(ctx); err != nil {
			return err
		}
		ask = func(ctx context.Context) (map[int32]int64, error) {
			return tryStableOffsets(ctx, adm, topic, len(acked))
		}
	}
	if r.ends, err = endOffsets(ctx, ask, acked); err != nil {
		return err
	}
	r.next = map[int32]int64{}
	from := map[int32]kgo.Offset{}
	for p, end := range r.ends {
		from[p] = kgo.NewOffset().At(0)
		r.finish(p, end)
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	var last error
	for len(r.ends) > 0 {
		invoke := Now()
		fetches := cl.PollRecords(ctx, 10_000)
		complete := Now()
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), last)
		}
		fetches.EachError(func(_ string, p int32, err error) { last = fmt.Errorf("partition %d: %w", p, err) })
		if loss, ok := errors.AsType[*kgo.ErrDataLoss](last); ok {
			return fmt.Errorf("%w: %w", ErrTruncated, loss)
		}
		r.take(fetches, invoke, complete)
	}
	return nil
}

// take emits the records of one poll, and the ends of the partitions that they complete.
func (r *finalRead) take(fetches kgo.Fetches, invoke, complete int64) {
	d := r.d
	r.batch = r.batch[:0]
	fetches.EachRecord(func(rec *kgo.Record) {
		end, open := r.ends[rec.Partition]
		if !open || rec.Offset >= end || rec.Offset < r.next[rec.Partition] {
			return
		}
		r.next[rec.Partition] = rec.Offset + 1
		if rec.Attrs.IsControl() {
			return
		}
		value, sum := CheckBody(rec.Value, d.cfg.Seed, d.opts.Size)
		d.counts.read.Add(1)
		r.batch = append(r.batch, ledger.Op{
			Workload: d.cfg.Name, Process: d.cfg.FirstProcess, Func: ledger.FuncRead, Key: string(rec.Key), Value: value, Sum: sum,
			Partition: rec.Partition, Offset: rec.Offset, Planned: invoke, Invoke: invoke, Complete: complete, Outcome: ledger.OK,
		})
	})
	if len(r.batch) > 0 {
		r.emit(r.batch)
	}
	for p, end := range r.ends {
		r.finish(p, end)
	}
}

// finish emits the end of partition p if it is reached.
func (r *finalRead) finish(p int32, end int64) {
	if r.next[p] < end {
		return
	}
	delete(r.ends, p)
	now := Now()
	r.emit([]ledger.Op{{
		Workload: r.d.cfg.Name, Process: r.d.cfg.FirstProcess, Func: ledger.FuncEnd, Partition: p, Offset: end,
		Planned: now, Invoke: now, Complete: now, Outcome: ledger.OK,
	}})
}

// acknowledge notes that the record at offset of partition p was acknowledged.
func (d *kafkaDriver) acknowledge(p int32, offset int64) {
	Raise(&d.acked[p], offset+1)
}

// acknowledged is, by partition, the offset after the last record that was acknowledged; 0 without any.
func (d *kafkaDriver) acknowledged() []int64 {
	out := make([]int64, len(d.acked))
	for p := range d.acked {
		out[p] = d.acked[p].Load()
	}
	return out
}

// settleWithin is how long an end that is short of what was acknowledged is asked for again.
const settleWithin = 15 * time.Second

// endOffsets asks for the end of every partition until all are known and none is short of what was acknowledged in it, or
// ctx ends. A broker that was cut off from the others answers for partitions that it no longer leads until it hears of
// it, some seconds after the cut; an end that is still short after settleWithin is the end.
func endOffsets(ctx context.Context, ask func(context.Context) (map[int32]int64, error), acked []int64) (map[int32]int64, error) {
	began := time.Now()
	for {
		ends, err := ask(ctx)
		if err == nil && (reach(ends, acked) || time.Since(began) >= settleWithin) {
			return ends, nil
		}
		if !wait(ctx, 250*time.Millisecond) {
			return nil, fmt.Errorf("list end offsets: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

// reach reports whether no partition ends before what was acknowledged in it.
func reach(ends map[int32]int64, acked []int64) bool {
	for p, end := range ends {
		if end < acked[p] {
			return false
		}
	}
	return true
}

func tryEndOffsets(ctx context.Context, adm *kadm.Client, topic string, want int) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	listed, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := listed.Error(); err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	if len(ends) != want {
		return nil, fmt.Errorf("%d of %d partitions answered", len(ends), want)
	}
	return ends, nil
}

// groupProcess is the process of the driver's own consumer, apart from clients and from consumers that are services.
const groupProcess = 999_999

// pollGroup runs one member of the workload's consumer group until ctx ends.
func (d *kafkaDriver) pollGroup(ctx context.Context) {
	m := member{
		target: d.cfg.Target, topic: d.opts.Topic, group: d.opts.Group, isolation: d.opts.Isolation, workload: d.cfg.Name, process: groupProcess,
		check: func(body []byte) (int64, uint32) { return CheckBody(body, d.cfg.Seed, d.opts.Size) },
		handle: func(ops []ledger.Op) error {
			d.counts.polled.Add(int64(len(ops)))
			d.emit(ops)
			return nil
		},
		note: d.counts.note,
	}
	if err := m.run(ctx); err != nil && ctx.Err() == nil {
		d.counts.note(err)
	}
}
