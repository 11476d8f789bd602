package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
)

// transaction is one that a producer has begun.
type transaction struct {
	data  string // of its operations
	first int64  // its first value
	size  int
	bad   atomic.Bool // a record of it was not acknowledged
}

// transactionalID names the producer to the coordinator. Whoever asks for a producer id with it fences the last one.
func (p *producer) transactionalID() string {
	return "discompose-" + p.d.opts.Topic + "-" + strconv.Itoa(p.process)
}

// sendInTransaction invokes one operation in the open transaction, or in a new one, and ends the transaction when it is
// full.
func (p *producer) sendInTransaction(ctx context.Context, planned int64) {
	if p.d.work.Err() != nil {
		return
	}
	if p.txn == nil {
		if err := p.begin(); err != nil {
			p.refuse(planned, err)
			p.replace()
			return
		}
	}
	p.send(ctx, planned)
	if p.txn.size++; p.txn.size >= p.d.opts.Transactions.Size {
		p.endTransaction() //nolint:contextcheck // a transaction is ended also where the schedule is over
	}
}

func (p *producer) begin() error {
	if err := p.open(); err != nil {
		return err
	}
	if err := p.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	p.txns++
	id := strconv.Itoa(p.process) + "-" + strconv.FormatInt(p.txns, 10)
	p.txn = &transaction{data: ledger.EncodeData(ledger.Txn{ID: id}), first: Value(p.process, p.seq+1)}
	return nil
}

// refuse records an operation that was not sent, because no transaction could be begun.
func (p *producer) refuse(planned int64, err error) {
	op := p.next(planned)
	p.invoke(op)
	p.resolve(op, ledger.Failed, Now(), -1, err)
}

// endTransaction ends the open transaction: it commits it, unless it is drawn to be aborted or a record of it was not
// acknowledged. A transaction that cannot be ended is left to the next producer id, which fences it off.
func (p *producer) endTransaction() {
	t := p.txn
	if t == nil {
		return
	}
	p.txn = nil
	ctx, cancel := context.WithTimeout(p.d.work, time.Duration(p.d.cfg.Timeout))
	defer cancel()
	if err := p.client.Flush(ctx); err != nil {
		now := Now()
		p.ended(ledger.Op{Func: ledger.FuncAbort, Data: t.data, Planned: now, Invoke: now, Outcome: ledger.Unknown},
			fmt.Errorf("records of the transaction have no answer: %w", err))
		p.replace()
		return
	}
	if !t.bad.Load() && !p.drawnToAbort(t) {
		switch p.end(ctx, t, ledger.FuncCommit, kgo.TryCommit) {
		case ledger.OK:
			return
		case ledger.Unknown: // nobody may say that it was aborted
			p.replace()
			return
		case ledger.Failed:
		}
	}
	if p.end(ctx, t, ledger.FuncAbort, kgo.TryAbort) != ledger.OK {
		p.replace()
	}
}

// drawnToAbort draws from the seed, apart from the draw of partitions.
func (p *producer) drawnToAbort(t *transaction) bool {
	const of = 1 << 20
	return choice(p.d.cfg.Seed+1, t.first, of) < int(p.d.opts.Transactions.Abort*of)
}

// end asks the coordinator to end t and records what it said.
func (p *producer) end(ctx context.Context, t *transaction, function string, how kgo.TransactionEndTry) ledger.Outcome {
	now := Now()
	op := ledger.Op{Func: function, Data: t.data, Planned: now, Invoke: now}
	err := p.client.EndTransaction(ctx, how)
	if err == nil || ctx.Err() == nil {
		op.Complete = Now()
	}
	op.Outcome = endOutcome(err, p.lostEnd.Load() >= op.Invoke)
	p.ended(op, err)
	return op.Outcome
}

// ended counts and emits the end of a transaction.
func (p *producer) ended(op ledger.Op, err error) {
	d := p.d
	d.counts.invoked.Add(1)
	op.Workload, op.Process, op.Partition, op.Offset = d.cfg.Name, p.process, -1, -1
	if err != nil {
		op.Error = cutError(err)
		d.counts.note(err)
	}
	switch op.Outcome {
	case ledger.OK:
		d.counts.ok.Add(1)
	case ledger.Failed:
		d.counts.failed.Add(1)
	case ledger.Unknown:
		d.counts.unknown.Add(1)
	}
	d.emit([]ledger.Op{op})
}

// replace gives the client up for a new one. What it still held is unknown, and belongs to a transaction that the new one
// fences off.
func (p *producer) replace() {
	p.mu.Lock()
	old := p.client
	p.client = nil
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
	if err := p.open(); err != nil {
		p.d.counts.note(err)
	}
}

// interrupt makes what the generator waits for end soon.
func (p *producer) interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		p.client.Close()
	}
}

// fence takes the transactional id of every producer over. A transaction that is still open is aborted by it, and one that
// was ended has reached all of its partitions when the coordinator answers.
func (d *kafkaDriver) fence(ctx context.Context) error {
	for _, p := range d.producers {
		for {
			err := p.fence(ctx)
			if err == nil {
				break
			}
			if !wait(ctx, 250*time.Millisecond) {
				return fmt.Errorf("end transactions of %s: %w", p.transactionalID(), errors.Join(context.Cause(ctx), err))
			}
		}
	}
	return nil
}

func (p *producer) fence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(append(clientOptions(p.d.cfg.Target),
		kgo.TransactionalID(p.transactionalID()), kgo.TransactionTimeout(p.d.opts.Transactions.Timeout.Std()))...)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer cl.Close()
	_, _, err = cl.ProducerID(ctx)
	return err
}

// tryStableOffsets asks for the ends of partitions in which no transaction is open: a reader of what is committed does
// not come further than the first that is.
func tryStableOffsets(ctx context.Context, adm *kadm.Client, topic string, want int) (map[int32]int64, error) {
	ends, err := tryEndOffsets(ctx, adm, topic, want)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	listed, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := listed.Error(); err != nil {
		return nil, err
	}
	for p, end := range ends {
		if o, ok := listed.Lookup(topic, p); !ok || o.Offset < end {
			return nil, fmt.Errorf("partition %d has an open transaction: it is stable up to %d of %d", p, o.Offset, end)
		}
	}
	return ends, nil
}
