// Package etcd provides the driver of etcd, version 3.4 and later: registers with writes, reads, compare-and-swaps and
// deletes, for the check register.
//
// What an error means:
//
//	error                                            outcome  why
//	none                                             ok       etcd answers when a majority has the entry in its log
//	a compare that did not match (declined)          fail     the transaction's other branch, which changes nothing, was taken
//	no connection to the member was made             fail     nothing was sent
//	etcdserver: no leader, too many requests,        fail     the member refuses before it proposes anything
//	  not capable, request too large; no space        or, without space, when it is applied, on every member alike
//	etcdserver: request timed out, leader changed,   unknown  it was proposed, and may be in the log
//	  server stopped; a deadline; a connection
//	  that broke
//	any error of a read                              fail     it changes nothing
//
// The client library repeats reads on its own, and writes only where nothing was sent (its retry policy
// repeatable / nonRepeatable, client/v3 retry.go), so one operation is one write. The package imports only workload and ledger of
// this module; its types are safe for concurrent use.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Spec describes the driver.
func Spec() workload.Spec {
	return workload.LoopSpec("etcd", func(c *workload.Config, o Options) (workload.System, error) {
		return system{members: workload.NewServers(c.Target, o.Endpoints), o: o, mix: o.mix(), keys: o.Keys.Keys()}, nil
	})
}

type system struct {
	members *workload.Servers
	o       Options
	mix     []workload.Weight
	keys    workload.Keys
}

// dialTime is how long a client waits for a connection.
const dialTime = 2 * time.Second

func (s system) client(endpoint string) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: dialTime, Logger: zap.NewNop(),
		DialKeepAliveTime: dialTime, DialKeepAliveTimeout: dialTime,
	})
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", endpoint, err)
	}
	return c, nil
}

// Setup waits until every member answers a linearizable read, and refuses keys that are there already.
func (s system) Setup(ctx context.Context) error {
	for _, e := range s.members.All() {
		if err := s.empty(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (s system) empty(ctx context.Context, endpoint string) (err error) {
	c, err := s.client(endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	got, err := c.Get(ctx, s.o.prefix(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("count the keys below %q at %s: %w", s.o.prefix(), endpoint, err)
	}
	if got.Count > 0 {
		return fmt.Errorf("%d keys are below %q: %w: %w", got.Count, s.o.prefix(), workload.ErrNotEmpty, workload.ErrPermanent)
	}
	return nil
}

// Next implements workload.System. Of a compare-and-swap the session knows which value to expect.
func (s system) Next(r *rand.Rand, t workload.Turn) ledger.Op {
	return workload.NextRegister(r, t, s.mix, s.keys)
}

// Connect makes a client of the process' member and waits for its connection: without one nothing is sent.
func (s system) Connect(ctx context.Context, process int) (_ workload.Session, err error) {
	list, back := s.members.Take(process)
	defer func() {
		if err != nil {
			back()
		}
	}()
	c, err := s.client(list[0])
	if err != nil {
		return nil, err
	}
	if err := connected(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", list[0], err), c.Close())
	}
	return &session{system: s, client: c, seen: workload.Seen{}, back: back}, nil
}

// connected waits for the client's connection.
func connected(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn := c.ActiveConnection()
	conn.Connect()
	for state := conn.GetState(); state.String() != "READY"; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("the connection is %s: %w", strings.ToLower(state.String()), context.Cause(ctx))
		}
	}
	return nil
}

// Final reads every key through every member, linearizably: members that have grown apart tell different things.
func (s system) Final(ctx context.Context) ([]ledger.Op, error) {
	var ops []ledger.Op
	for _, member := range s.members.All() {
		read, err := s.all(ctx, member)
		if err != nil {
			return nil, err
		}
		ops = append(ops, read...)
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(len(ops))}), nil
}

// all reads every key through one member: the keys below the prefix, and what is not among them is absent.
func (s system) all(ctx context.Context, member string) (ops []ledger.Op, err error) {
	c, err := s.client(member)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	invoke := workload.Now()
	found := map[string]int64{}
	from, end := s.o.prefix(), clientv3.GetPrefixRangeEnd(s.o.prefix())
	for more := true; more; {
		page, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys))
		if err != nil {
			return nil, fmt.Errorf("read the keys from %q through %s: %w", from, member, err)
		}
		for _, kv := range page.Kvs {
			found[strings.TrimPrefix(string(kv.Key), s.o.prefix())] = number(kv.Value)
			from = string(kv.Key) + "\x00"
		}
		more = page.More
	}
	complete := workload.Now()
	for i := range s.o.Keys.WithDefaults().Count {
		key := strconv.Itoa(i)
		ops = append(ops, ledger.Op{Func: ledger.FuncGet, Key: key, Value: found[key], Partition: -1, Offset: -1, Invoke: invoke, Complete: complete})
	}
	return ops, nil
}

// pageKeys is how many keys one request of the final read asks for.
const pageKeys = 1000

// number is a value as it was written, or -1 for none of ours: the check says that nobody wrote it.
func number(text []byte) int64 {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n <= 0 {
		return -1
	}
	return n
}

// session is the client of one process.
type session struct {
	system
	client *clientv3.Client
	seen   workload.Seen
	broken bool
	back   func() // gives the member back
}

// Close implements workload.Session.
func (s *session) Close() {
	_ = s.client.Close() // what it held is gone either way
	s.back()
}

// Alive implements workload.Alive: a client whose connection was never made is made anew.
func (s *session) Alive() bool { return !s.broken }

// Do implements workload.Session.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	switch op.Func {
	case ledger.FuncGet:
		return s.get(ctx, op, s.o.Serializable)
	case ledger.FuncCAS:
		return s.swap(ctx, op)
	case ledger.FuncDelete:
		_, err := s.client.Delete(ctx, s.key(op))
		return s.wrote(op, 0, err)
	}
	_, err := s.client.Put(ctx, s.key(op), strconv.FormatInt(op.Value, 10))
	return s.wrote(op, op.Value, err)
}

func (s *session) key(op *ledger.Op) string { return s.o.prefix() + op.Key }

func (s *session) get(ctx context.Context, op *ledger.Op, serializable bool) (ledger.Outcome, error) {
	var options []clientv3.OpOption
	if serializable {
		options = append(options, clientv3.WithSerializable())
	}
	got, err := s.client.Get(ctx, s.key(op), options...)
	if err != nil {
		return ledger.Failed, err
	}
	op.Value = 0
	if len(got.Kvs) > 0 {
		op.Value = number(got.Kvs[0].Value)
	}
	s.seen.Note(op.Key, op.Value, ledger.OK)
	return ledger.OK, nil
}

// swap sets the key if it still has the value that the process saw last.
func (s *session) swap(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	from := s.seen[op.Key]
	op.Data = s.seen.Swap(op.Key, false)
	same := clientv3.Compare(clientv3.Value(s.key(op)), "=", strconv.FormatInt(from, 10))
	if from == 0 {
		same = clientv3.Compare(clientv3.CreateRevision(s.key(op)), "=", 0)
	}
	got, err := s.client.Txn(ctx).If(same).Then(clientv3.OpPut(s.key(op), strconv.FormatInt(op.Value, 10))).Commit()
	if err == nil && !got.Succeeded {
		op.Data = s.seen.Swap(op.Key, true)
		return ledger.Failed, workload.ErrDeclined
	}
	return s.wrote(op, op.Value, err)
}

// wrote is the outcome of a write, after which the key has a value.
func (s *session) wrote(op *ledger.Op, value int64, err error) (ledger.Outcome, error) {
	if err == nil {
		s.seen.Note(op.Key, value, ledger.OK)
		return ledger.OK, nil
	}
	s.seen.Note(op.Key, 0, ledger.Unknown)
	if refused(err) {
		return ledger.Failed, err
	}
	if neverSent(err) {
		s.broken = true
		return ledger.Failed, err
	}
	return ledger.Unknown, err
}

// refused reports whether the member turned the request away before it proposed it.
func refused(err error) bool {
	for _, known := range []error{
		rpctypes.ErrNoLeader, rpctypes.ErrTooManyRequests, rpctypes.ErrNoSpace, rpctypes.ErrNotCapable,
		rpctypes.ErrRequestTooLarge, rpctypes.ErrEmptyKey,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// neverSent reports whether there was no connection to send the request on.
func neverSent(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unavailable && strings.Contains(s.Message(), "Error while dialing")
}
