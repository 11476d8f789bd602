package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
)

type atomicInstant = atomic.Int64

// producer is one client: a process of the history. Its generator alone calls send; promises come from the library's
// goroutine, expire and abandon from the driver's.
type producer struct {
	d       *kafkaDriver
	process int
	keys    []string // by partition

	client   *kgo.Client  // the generator's; others hold mu
	txn      *transaction // that is open; the generator's
	txns     int64
	seq      int64
	returned chan struct{} // cap 1: an operation was resolved; for the closed loop
	inFlight atomic.Int64
	lost     atomicInstant // when a produce request last went without an answer
	lostEnd  atomicInstant // when the end of a transaction last did

	mu    sync.Mutex
	queue []*pending // in the order of Invoke; resolved ones leave when they reach the front
}

// pending is one operation in flight. Whoever sets done first resolves it.
type pending struct {
	op   ledger.Op
	txn  *transaction // nil without transactions
	done atomic.Bool
}

func newProducer(d *kafkaDriver, process int) *producer {
	p := &producer{d: d, process: process, returned: make(chan struct{}, 1)}
	for i := range d.opts.Partitions {
		p.keys = append(p.keys, "p"+strconv.Itoa(process)+"-"+strconv.Itoa(i))
	}
	return p
}

// options are the producer's. Retries are unlimited within the delivery time-out. A record whose answer is outstanding
// may be given up too (AllowIdempotentProduceCancellation), as the Java client does: without it a broker that never comes
// back holds records for ever. No value is produced twice by us, and the epoch that the library raises then fences the
// attempt that is given up, so neither duplicates nor disorder come of it.
func (p *producer) options() []kgo.Opt {
	o := p.d.opts
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}[o.Acks]
	opts := append(clientOptions(p.d.cfg.Target),
		kgo.DefaultProduceTopicAlways(),
		kgo.DefaultProduceTopic(o.Topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(acks),
		kgo.ProducerLinger(o.Linger.Std()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // bodies are random
		kgo.MaxBufferedRecords(2*p.d.cfg.MaxInFlight),
		kgo.RecordDeliveryTimeout(o.DeliveryTimeout.Std()),
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.UnknownTopicRetries(-1), // a broker that restarts may not know its topics yet
		kgo.ProducerOnDataLossDetected(func(string, int32) { p.d.counts.dataLoss.Add(1) }),
		kgo.WithHooks(answerWatch{requestProduce, &p.lost}, answerWatch{requestEndTxn, &p.lostEnd}),
	)
	if t := o.Transactions; t != nil {
		return append(opts, kgo.TransactionalID(p.transactionalID()), kgo.TransactionTimeout(t.Timeout.Std()))
	}
	if *o.Idempotent {
		return append(opts, kgo.AllowIdempotentProduceCancellation())
	}
	return append(opts, kgo.DisableIdempotentWrite())
}

func (p *producer) open() error {
	if p.client != nil {
		return nil
	}
	cl, err := kgo.NewClient(p.options()...)
	if err != nil {
		return fmt.Errorf("make client %d: %w", p.process, err)
	}
	p.mu.Lock()
	p.client = cl
	p.mu.Unlock()
	return nil
}

func (p *producer) close() {
	if p.client != nil {
		p.client.Close()
	}
}

// generate sends operations until ctx ends: every Clients-th of the workload's schedule, from the i-th on, or each as
// soon as the last has returned. A transaction that is open then is ended. Where a transaction takes its time to end, what
// is planned meanwhile is sent late.
func (p *producer) generate(ctx context.Context, start int64, i int) {
	cfg, send := p.d.cfg, p.send
	if p.d.opts.Transactions != nil {
		send = p.sendInTransaction
		defer p.endTransaction() //nolint:contextcheck // ctx is over by then
	}
	if cfg.Rate == 0 {
		for ctx.Err() == nil {
			send(ctx, Now())
			select {
			case <-ctx.Done():
			case <-p.returned:
			}
		}
		return
	}
	pace(ctx, Now, start, cfg.Schedule(), int64(i), int64(cfg.Clients), func(planned int64) bool {
		if p.inFlight.Load() >= int64(cfg.MaxInFlight) {
			p.d.counts.skipped.Add(1)
			return true
		}
		send(ctx, planned)
		return true
	})
}

// next is the operation that produces the next value.
func (p *producer) next(planned int64) *pending {
	p.seq++
	d := p.d
	value := Value(p.process, p.seq)
	partition := choice(d.cfg.Seed, value, d.opts.Partitions)
	number := int32(partition) //nolint:gosec // below options.partitions, which is at most 1000
	op := &pending{txn: p.txn, op: ledger.Op{
		Workload: d.cfg.Name, Process: p.process, Func: ledger.FuncProduce, Key: p.keys[partition], Value: value,
		Partition: number, Offset: -1, Planned: planned,
	}}
	if p.txn != nil {
		op.op.Data = p.txn.data
	}
	return op
}

// send invokes one operation and returns at once.
func (p *producer) send(ctx context.Context, planned int64) {
	d, op := p.d, p.next(planned)
	body := AppendBody(make([]byte, 0, d.opts.Size), d.cfg.Seed, op.op.Value, d.opts.Size)
	record := &kgo.Record{Key: []byte(op.op.Key), Value: body, Partition: op.op.Partition}
	p.invoke(op)
	// The record outlives the schedule: Stop waits for it.
	p.client.TryProduce(context.WithoutCancel(ctx), record, func(r *kgo.Record, err error) {
		complete := Now()
		outcome := produceOutcome(err, d.opts.Acks != "0", p.lost.Load() >= op.op.Invoke)
		if err == nil && outcome == ledger.Unknown {
			err = errNotAcknowledged
		}
		offset := int64(-1)
		if outcome == ledger.OK {
			offset = r.Offset
		}
		if !p.resolve(op, outcome, complete, offset, err) {
			d.counts.late.Add(1)
		}
	})
}

// invoke notes that op is about to be sent.
func (p *producer) invoke(op *pending) {
	p.d.ops.Add(1)
	p.d.counts.invoked.Add(1)
	p.inFlight.Add(1)
	op.op.Invoke = Now()
	p.mu.Lock()
	p.queue = append(p.queue, op)
	p.mu.Unlock()
}

var errNotAcknowledged = errors.New("acks = 0: nobody acknowledges")

// resolve completes op and emits it, once; it reports whether it was the first to do so.
func (p *producer) resolve(op *pending, outcome ledger.Outcome, complete, offset int64, err error) bool {
	if !op.done.CompareAndSwap(false, true) {
		return false
	}
	d := p.d
	if op.txn != nil && outcome != ledger.OK {
		op.txn.bad.Store(true)
	}
	out := op.op
	out.Outcome, out.Complete, out.Offset = outcome, complete, offset
	if err != nil {
		out.Error = cutError(err)
		d.counts.note(err)
	}
	switch outcome {
	case ledger.OK:
		d.counts.ok.Add(1)
		d.acknowledge(out.Partition, offset)
	case ledger.Failed:
		d.counts.failed.Add(1)
	case ledger.Unknown:
		d.counts.unknown.Add(1)
	}
	d.emit([]ledger.Op{out})
	p.inFlight.Add(-1)
	select {
	case p.returned <- struct{}{}:
	default:
	}
	d.ops.Done()
	return true
}

// expire gives up the operations that were invoked before the instant: unknown, never returned.
func (p *producer) expire(before int64) {
	for {
		op := p.oldest(before)
		if op == nil {
			return
		}
		p.resolve(op, ledger.Unknown, 0, -1, fmt.Errorf("no answer within %s", time.Duration(p.d.cfg.Timeout)))
	}
}

// abandon gives up all operations that are in flight.
func (p *producer) abandon(why error) {
	const ever = 1<<63 - 1
	for op := p.oldest(ever); op != nil; op = p.oldest(ever) {
		p.resolve(op, ledger.Unknown, 0, -1, why)
	}
}

// oldest takes resolved operations off the front of the queue and returns the first one that is not, if it was invoked
// before the instant.
func (p *producer) oldest(before int64) *pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && p.queue[n].done.Load() {
		p.queue[n] = nil
		n++
	}
	p.queue = p.queue[n:]
	if len(p.queue) == 0 || p.queue[0].op.Invoke >= before {
		return nil
	}
	return p.queue[0]
}
