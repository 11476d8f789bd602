package workload

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/discompose/discompose/ledger"
)

// Batches of operations leave an outbox when they are this large, or this old.
const (
	batchOps = 500
	batchAge = 50 * time.Millisecond
	// outboxMost bounds what waits for a slow reader; beyond it, add blocks, so that nothing is ever dropped.
	outboxMost = 1 << 20
)

// outbox gathers operations of many goroutines into batches and sends them from one. Order is kept.
type outbox struct {
	send func(ops json.RawMessage)
	full chan struct{} // a batch is complete

	mu   sync.Mutex
	room *sync.Cond
	ops  []ledger.Op

	sending sync.Mutex // held while a batch is on its way, so that flush means sent
	spare   []ledger.Op
}

func newOutbox(send func(ops json.RawMessage)) *outbox {
	o := &outbox{send: send, full: make(chan struct{}, 1)}
	o.room = sync.NewCond(&o.mu)
	return o
}

// add takes a copy of ops.
func (o *outbox) add(ops []ledger.Op) {
	o.mu.Lock()
	for len(o.ops) >= outboxMost {
		o.room.Wait()
	}
	o.ops = append(o.ops, ops...)
	n := len(o.ops)
	o.mu.Unlock()
	if n >= batchOps {
		select {
		case o.full <- struct{}{}:
		default:
		}
	}
}

// run sends batches until ctx ends, then what is left.
func (o *outbox) run(ctx context.Context) {
	tick := time.NewTicker(batchAge)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			o.flush()
			return
		case <-o.full:
		case <-tick.C:
		}
		o.flush()
	}
}

// flush sends all that was added before it; it returns when that has been handed on.
func (o *outbox) flush() {
	o.sending.Lock()
	defer o.sending.Unlock()
	o.mu.Lock()
	ops := o.ops
	o.ops = o.spare[:0]
	o.room.Broadcast()
	o.mu.Unlock()
	for rest := ops; len(rest) > 0; {
		n := min(len(rest), batchOps)
		o.send(AppendOps(make([]byte, 0, n*160), rest[:n]))
		rest = rest[n:]
	}
	clear(ops)
	o.spare = ops
}
