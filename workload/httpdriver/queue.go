package httpdriver

import (
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// queue is values that are put in and taken out.
type queue struct {
	o                     Options
	enqueue, dequeue, ack *call // ack is nil where there is none

	mu      sync.Mutex
	drained []ledger.Op // what tries of the final drain took out
}

// empty looks, without taking anything out: it cannot, so the first dequeues of the run would tell.
func (*queue) empty(context.Context, *session) error { return nil }

func (m *queue) next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.o.weights())}
	if op.Func == ledger.FuncEnqueue {
		op.Value = t.Fresh
	}
	return op
}

func (m *queue) do(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error) {
	if op.Func == ledger.FuncEnqueue {
		return s.change(ctx, m.enqueue, "", tokenValue, strconv.FormatInt(op.Value, 10))
	}
	a, sent, err := s.send(ctx, m.dequeue, nil, maxShown)
	switch {
	case err != nil:
		return outcome(m.dequeue.OK, m.dequeue.Fail, sent, 0), err
	case slices.Contains(m.dequeue.Empty, a.status):
		return ledger.OK, nil
	case !slices.Contains(m.dequeue.OK, a.status):
		return outcome(m.dequeue.OK, m.dequeue.Fail, sent, a.status), a.err()
	case a.broken != nil:
		return ledger.Unknown, fmt.Errorf("read body: %w", workload.Concise(a.broken))
	}
	text, _ := m.dequeue.find(a.body)
	if op.Value, err = strconv.ParseInt(text, 10, 64); err != nil || op.Value <= 0 {
		op.Value, op.Sum = 0, max(1, crc32.ChecksumIEEE(a.body))
		return ledger.OK, nil //nolint:nilerr // the check says that it is no value of ours
	}
	if m.ack == nil {
		return ledger.OK, nil
	}
	token := text
	if m.dequeue.token != nil {
		found := m.dequeue.token.FindSubmatch(a.body)
		if found == nil {
			return ledger.Unknown, fmt.Errorf("%.40q has no token in it", a.body)
		}
		token = string(found[1])
	}
	if out, err := s.change(ctx, m.ack, "", tokenValue, text, tokenAck, token); out != ledger.OK {
		return ledger.Unknown, fmt.Errorf("acknowledge: %w", err) // it was handed over, and may be again
	}
	return ledger.OK, nil
}

// final takes out until nothing is left. What it took out stays so when a try fails.
func (m *queue) final(ctx context.Context, s *session) ([]ledger.Op, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		op := ledger.Op{Func: ledger.FuncDequeue, Partition: -1, Offset: -1, Invoke: workload.Now()}
		op.Planned = op.Invoke
		var err error
		op.Outcome, err = m.do(ctx, s, &op)
		op.Complete = workload.Now()
		if err != nil {
			op.Error = err.Error()
			m.drained = append(m.drained, op)
			return nil, err
		}
		m.drained = append(m.drained, op)
		if op.Value == 0 && op.Sum == 0 {
			n := 0
			for _, d := range m.drained {
				if d.Value != 0 {
					n++
				}
			}
			return append(slices.Clone(m.drained), end(n)), nil
		}
	}
}
