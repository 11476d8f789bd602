package httpdriver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// counter is one number.
type counter struct {
	o        Options
	inc, get *call
}

func (m counter) empty(ctx context.Context, s *session) error {
	n, err := m.count(ctx, s)
	if err == nil && n != 0 {
		err = notEmpty("the count is %d", n)
	}
	return err
}

func (m counter) next(r *rand.Rand, _ workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.o.weights())}
	if op.Func == ledger.FuncInc {
		op.Value = 1 + r.Int64N(int64(m.o.Amount))
	}
	return op
}

func (m counter) do(ctx context.Context, s *session, op *ledger.Op) (_ ledger.Outcome, err error) {
	if op.Func == ledger.FuncInc {
		return s.change(ctx, m.inc, "", tokenValue, strconv.FormatInt(op.Value, 10))
	}
	if op.Value, err = m.count(ctx, s); err != nil {
		return ledger.Failed, err
	}
	return ledger.OK, nil
}

func (m counter) count(ctx context.Context, s *session) (int64, error) {
	body, _, err := s.ask(ctx, m.get, maxShown)
	if err != nil {
		return 0, err
	}
	text, ok := m.get.find(body)
	if !ok {
		return 0, fmt.Errorf("%.40q has no count in it", body)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the count: %w", err)
	}
	return n, nil
}

func (m counter) final(ctx context.Context, s *session) ([]ledger.Op, error) {
	n, err := m.count(ctx, s)
	if err != nil {
		return nil, err
	}
	return []ledger.Op{{Func: ledger.FuncGet, Value: n, Partition: -1, Offset: -1}, end(1)}, nil
}
