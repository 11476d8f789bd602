package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// session is the client of one process.
type session struct {
	system
	link *link
	seen workload.Seen
	dead bool // another connection, perhaps to another server, may do better
}

// Close implements workload.Session.
func (s *session) Close() { _ = s.link.Close() } // what it held is gone either way

// Alive implements workload.Alive.
func (s *session) Alive() bool { return !s.dead }

// swap sets a key if it has a value; "" stands for none. It writes once, at its end.
const swap = `local now = redis.call('GET', KEYS[1])
if (now or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

// Do implements workload.Session.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	key := s.key(op.Key)
	switch op.Func {
	case ledger.FuncGet:
		return s.get(ctx, op)
	case ledger.FuncList:
		return s.list(ctx, op)
	case ledger.FuncCAS:
		return s.swap(ctx, op)
	case ledger.FuncDequeue:
		return s.dequeue(ctx, op)
	case ledger.FuncDelete:
		return s.wrote(ctx, op, 0, s.link.Del(ctx, key).Err())
	case ledger.FuncAdd:
		return s.wrote(ctx, op, 0, s.link.SAdd(ctx, key, op.Value).Err())
	case ledger.FuncInc:
		return s.wrote(ctx, op, 0, s.link.IncrBy(ctx, key, op.Value).Err())
	case ledger.FuncEnqueue:
		return s.wrote(ctx, op, 0, s.link.LPush(ctx, key, op.Value).Err())
	}
	return s.wrote(ctx, op, op.Value, s.link.Set(ctx, key, op.Value, 0).Err())
}

// get reads a register or the counter.
func (s *session) get(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	text, err := s.link.Get(ctx, s.key(op.Key)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		op.Value = 0
	case err != nil:
		return s.failed(err)
	case s.o.Model == modelCounter:
		if op.Value, err = strconv.ParseInt(text, 10, 64); err != nil {
			return ledger.Failed, fmt.Errorf("the counter is %q: %w", text, err)
		}
	default:
		op.Value = number(text)
	}
	s.seen.Note(op.Key, op.Value, ledger.OK)
	return ledger.OK, nil
}

func (s *session) list(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	found, err := s.link.SMembers(ctx, s.key(op.Key)).Result()
	if err != nil {
		return s.failed(err)
	}
	values := make([]int64, len(found))
	for i, text := range found {
		values[i] = number(text)
	}
	op.Data = string(ledger.AppendValues(nil, values))
	return ledger.OK, nil
}

func (s *session) swap(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	from := ""
	if v := s.seen[op.Key]; v != 0 {
		from = strconv.FormatInt(v, 10)
	}
	done, err := s.link.Eval(ctx, swap, []string{s.key(op.Key)}, from, op.Value).Int()
	mismatch := err == nil && done == 0
	op.Data = s.seen.Swap(op.Key, mismatch)
	if mismatch {
		return ledger.Failed, workload.ErrDeclined
	}
	return s.wrote(ctx, op, op.Value, err)
}

func (s *session) dequeue(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	text, err := s.link.RPop(ctx, s.key(op.Key)).Result()
	if errors.Is(err, redis.Nil) { // it was empty
		op.Value = 0
		return ledger.OK, nil
	}
	if err == nil {
		op.Value = number(text)
	}
	return s.wrote(ctx, op, 0, err)
}

// wrote is the outcome of a write, after which a register has a value.
func (s *session) wrote(ctx context.Context, op *ledger.Op, value int64, err error) (ledger.Outcome, error) {
	outcome, err := s.outcome(err)
	if outcome == ledger.OK && s.o.Wait > 0 {
		outcome, err = s.wait(ctx)
	}
	s.seen.Note(op.Key, value, outcome)
	return outcome, err
}

// waitTime is how long replicas have for one write.
const waitTime = time.Second

// wait asks for the replicas to have what this connection wrote.
func (s *session) wait(ctx context.Context) (ledger.Outcome, error) {
	n, err := s.link.Wait(ctx, s.o.Wait, waitTime).Result()
	if err == nil && n < int64(s.o.Wait) {
		err = fmt.Errorf("%d of %d replicas have it", n, s.o.Wait)
	}
	if err != nil {
		return ledger.Unknown, err
	}
	return ledger.OK, nil
}

// outcome is what the error of a write proves.
func (s *session) outcome(err error) (ledger.Outcome, error) {
	switch {
	case err == nil:
		return ledger.OK, nil
	case answered(err), s.link.again.Load():
		return s.failed(err)
	}
	return ledger.Unknown, err
}

// failed ends the session: where a server refuses, or is gone, another one may be the master by now.
func (s *session) failed(err error) (ledger.Outcome, error) {
	s.dead = true
	return ledger.Failed, err
}
