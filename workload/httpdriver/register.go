package httpdriver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// register is one value per key.
type register struct {
	o                    Options
	keys                 workload.Keys
	write, get, cas, del *call
}

// mostLooked bounds the keys that are looked at before a run.
const mostLooked = 1000

func (m register) empty(ctx context.Context, s *session) error {
	for i := range min(m.o.Keys.Count, mostLooked) {
		value, err := m.value(ctx, s, keyName(i))
		if err != nil {
			return fmt.Errorf("read key %s: %w", keyName(i), err)
		}
		if value != 0 {
			return notEmpty("key %s has a value", keyName(i))
		}
	}
	return nil
}

func (m register) next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.o.weights()), Key: keyName(m.keys.Pick(r, t.K))}
	if op.Func == ledger.FuncWrite || op.Func == ledger.FuncCAS {
		op.Value = t.Fresh
	}
	return op
}

func (m register) do(ctx context.Context, s *session, op *ledger.Op) (out ledger.Outcome, err error) {
	switch op.Func {
	case ledger.FuncGet:
		if op.Value, err = m.value(ctx, s, op.Key); err != nil {
			return ledger.Failed, err
		}
		out = ledger.OK
	case ledger.FuncCAS:
		return m.swap(ctx, s, op)
	case ledger.FuncDelete:
		out, err = s.change(ctx, m.del, "", tokenKey, op.Key)
	default:
		out, err = s.change(ctx, m.write, "", tokenKey, op.Key, tokenValue, strconv.FormatInt(op.Value, 10))
	}
	s.saw(op.Key, op.Value, out)
	return out, err
}

// swap sets the key if it has the value that the process saw last; 0 says that it is absent.
func (m register) swap(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error) {
	data := ledger.CAS{From: s.seen[op.Key]}
	out, err := s.change(ctx, m.cas, "", tokenKey, op.Key, tokenValue, strconv.FormatInt(op.Value, 10), tokenFrom, strconv.FormatInt(data.From, 10))
	data.Mismatch = errors.Is(err, workload.ErrDeclined)
	op.Data = ledger.EncodeData(data)
	s.saw(op.Key, op.Value, out)
	return out, err
}

// saw remembers a key's value after an operation; one that was not OK leaves nothing known.
func (s *session) saw(key string, value int64, out ledger.Outcome) {
	if out != ledger.OK {
		delete(s.seen, key)
		return
	}
	s.seen[key] = value
}

// value reads a key: 0 where it is absent, -1 where it is no value of ours.
func (m register) value(ctx context.Context, s *session, key string) (int64, error) {
	body, absent, err := s.ask(ctx, m.get, maxShown, tokenKey, key)
	if err != nil || absent {
		return 0, err
	}
	text, _ := m.get.find(body)
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value <= 0 {
		return -1, nil //nolint:nilerr // the check says that nobody wrote it
	}
	return value, nil
}

func (m register) final(ctx context.Context, s *session) ([]ledger.Op, error) {
	n := m.o.Keys.Count
	ops := make([]ledger.Op, 0, n+1)
	for i := range n {
		op := ledger.Op{Func: ledger.FuncGet, Key: keyName(i), Partition: -1, Offset: -1, Invoke: workload.Now()}
		op.Planned = op.Invoke
		var err error
		if op.Value, err = m.value(ctx, s, op.Key); err != nil {
			return nil, fmt.Errorf("read key %s: %w", op.Key, err)
		}
		op.Complete = workload.Now()
		ops = append(ops, op)
	}
	return append(ops, end(n)), nil
}

// end closes a final read of n.
func end(n int) ledger.Op {
	return ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(n)}
}
