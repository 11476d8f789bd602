package httpdriver

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// objects is one body per key, derived from its generation.
type objects struct {
	o                   Options
	seed                int64
	keys                workload.Keys
	live                *workload.Live // nil without live_keys
	put, get, del, list *call
}

func (m objects) empty(ctx context.Context, s *session) error {
	names, err := m.names(ctx, s)
	if err == nil && len(names) > 0 {
		err = notEmpty("%s %s names %d objects, the first %.40q", m.list.Method, m.list.Path, len(names), names[0])
	}
	return err
}

func (m objects) next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.o.weights())}
	if op.Func != ledger.FuncList {
		op.Key = keyName(m.keys.Pick(r, t.K))
	}
	if op.Func == ledger.FuncPut {
		op.Value, op.Data = t.Fresh, sized(m.o.Size)
	}
	return op
}

// sized is the Data of an object of so many bytes.
func sized(n int) string {
	size := int64(n)
	return ledger.EncodeData(ledger.Object{Size: &size})
}

func (m objects) do(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error) {
	switch op.Func {
	case ledger.FuncPut:
		body := workload.AppendBody(nil, m.seed, op.Value, m.o.Size)
		return s.change(ctx, m.put, string(body), tokenKey, op.Key, tokenValue, strconv.FormatInt(op.Value, 10))
	case ledger.FuncDelete:
		return s.change(ctx, m.del, "", tokenKey, op.Key)
	case ledger.FuncList:
		names, err := m.names(ctx, s)
		if err != nil {
			return ledger.Failed, err
		}
		op.Data = ledger.EncodeData(names)
		return ledger.OK, nil
	}
	if err := m.fetch(ctx, s, op); err != nil {
		return ledger.Failed, err
	}
	return ledger.OK, nil
}

// fetch reads one object into op: its generation, and whether its body is that generation's.
func (m objects) fetch(ctx context.Context, s *session, op *ledger.Op) error {
	body, absent, err := s.ask(ctx, m.get, int64(max(2*m.o.Size, maxShown)), tokenKey, op.Key)
	if err != nil {
		return err
	}
	if absent {
		op.Value, op.Data = 0, ""
		return nil
	}
	op.Data = sized(len(body))
	op.Value, op.Sum = workload.CheckBody(body, m.seed, m.o.Size)
	return nil
}

// names lists every object, sorted, each once.
func (m objects) names(ctx context.Context, s *session) ([]string, error) {
	body, _, err := s.ask(ctx, m.list, maxRead)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, e := range m.list.element.FindAllSubmatch(body, -1) {
		names = append(names, string(e[1]))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// lastKeys are the keys for the final read: every one, or with live_keys those that may be there, and those that should be gone.
func (m objects) lastKeys(ctx context.Context, s *session) (keys, gone []string, err error) {
	if m.live != nil {
		listed, err := m.names(ctx, s)
		if err != nil {
			return nil, nil, fmt.Errorf("list objects: %w", err)
		}
		keys, gone = m.live.Keys(slices.DeleteFunc(listed, func(name string) bool { // what is no key is a phantom of the list
			n, err := strconv.Atoi(strings.TrimPrefix(name, "k"))
			return err != nil || n < 0 || n >= m.o.Keys.Count || name != keyName(n)
		}))
		return keys, gone, nil
	}
	for i := range m.o.Keys.Count {
		keys = append(keys, keyName(i))
	}
	return keys, nil, nil
}

func (m objects) final(ctx context.Context, s *session) ([]ledger.Op, error) {
	keys, gone, err := m.lastKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	var ops []ledger.Op
	var until time.Time // for those that are gone
	for i, key := range slices.Concat(keys, gone) {
		if i == len(keys) {
			until = time.Now().Add(workload.GoneTime)
		}
		if i >= len(keys) && time.Now().After(until) {
			break
		}
		op := ledger.Op{Func: ledger.FuncGet, Key: key, Partition: -1, Offset: -1, Invoke: workload.Now()}
		op.Planned = op.Invoke
		if err := m.fetch(ctx, s, &op); err != nil {
			return nil, fmt.Errorf("read object %s: %w", op.Key, err)
		}
		op.Complete = workload.Now()
		ops = append(ops, op)
	}
	list := ledger.Op{Func: ledger.FuncList, Partition: -1, Offset: -1, Invoke: workload.Now()}
	list.Planned = list.Invoke
	if out, err := m.do(ctx, s, &list); out != ledger.OK {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	list.Complete = workload.Now()
	var names []string
	if err := json.Unmarshal([]byte(list.Data), &names); err != nil {
		return nil, fmt.Errorf("count objects: %w", err)
	}
	return append(ops, list, end(len(names))), nil
}
