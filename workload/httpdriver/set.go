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

// set is a set that only grows, or a log: then what is read stands in the order of the log.
type set struct {
	add, read *call
	lists     float64
	log       bool
	keys      workload.Keys
	keyed     bool // {{key}} is used
}

func newSet(o Options) set {
	add := &Request{Method: o.Add.Method, Path: o.Add.Path, Headers: o.Add.Headers, Body: o.Add.Body, OK: o.Add.OK, Fail: o.Add.Fail}
	read := &Request{Method: o.Read.Method, Path: o.Read.Path, Headers: o.Read.Headers, Body: o.Read.Body, OK: o.Read.OK, Element: o.Read.Element}
	return set{
		add: newCall(add), read: newCall(read), lists: o.Lists, log: o.Model == modelLog,
		keys: o.Keys.Keys(), keyed: add.carries(tokenKey),
	}
}

func (m set) empty(ctx context.Context, s *session) error {
	found, err := m.all(ctx, s)
	if err == nil && len(found) > 0 {
		err = notEmpty("%s %s answers with %d elements, the first %.40q", m.read.Method, m.read.Path, len(found), found[0])
	}
	return err
}

func (m set) next(r *rand.Rand, t workload.Turn) ledger.Op {
	if m.lists > 0 && r.Float64() < m.lists {
		return ledger.Op{Func: ledger.FuncList}
	}
	op := ledger.Op{Func: ledger.FuncAdd, Value: t.Fresh}
	if m.log {
		op.Func = ledger.FuncProduce
	}
	if m.keyed {
		op.Key = keyName(m.keys.Pick(r, t.K))
	}
	return op
}

func (m set) do(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error) {
	if op.Func == ledger.FuncList {
		return m.list(ctx, s, op)
	}
	if m.log {
		op.Partition = 0
	}
	return s.change(ctx, m.add, "", tokenID, strconv.FormatInt(op.Value, 10), tokenKey, op.Key)
}

// list reads all elements during the run; it has no effect, so it never is unknown.
func (m set) list(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error) {
	found, err := m.all(ctx, s)
	if err != nil {
		return ledger.Failed, err
	}
	values := make([]int64, 0, len(found))
	for _, text := range found {
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return ledger.Failed, fmt.Errorf("%.40q is no element: %w", text, errors.Unwrap(err))
		}
		values = append(values, value)
	}
	op.Data = string(ledger.AppendValues(nil, values))
	return ledger.OK, nil
}

// all asks for all elements.
func (m set) all(ctx context.Context, s *session) ([]string, error) {
	body, _, err := s.ask(ctx, m.read, maxRead)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range m.read.element.FindAllSubmatch(body, -1) {
		found = append(found, string(e[1]))
	}
	return found, nil
}

func (m set) final(ctx context.Context, s *session) ([]ledger.Op, error) {
	found, err := m.all(ctx, s)
	if err != nil {
		return nil, err
	}
	ops := workload.Elements(found)
	if m.log { // one partition, whose offsets are the places in the answer
		for i := range ops {
			ops[i].Partition, ops[i].Offset = 0, int64(i)
		}
	}
	return ops, nil
}

// keyName is what {{key}} stands for.
func keyName(n int) string { return "k" + strconv.Itoa(n) }
