// Package redis provides the driver of Redis, and of servers that speak its protocol: registers, a set, a counter and a
// queue, for the checks of these names.
//
// What an error means:
//
//	error                                            outcome   why
//	none                                             ok        the server answered; with wait, enough replicas have it
//	a compare that did not match                     fail,     the script wrote nothing
//	                                                 declined
//	no connection, no sentinel that knows a master,  fail      nothing was sent: a connection is made before an operation,
//	  a server that is not the master                          and never anew in its middle
//	an error that the server answers: READONLY,      fail      the command was refused before it ran; the script fails
//	  LOADING, MASTERDOWN, CLUSTERDOWN, NOREPLICAS,            only before its one write
//	  OOM, MISCONF, NOAUTH, BUSY and others
//	WAIT that too few replicas answered              unknown   the master has it, and a failover may lose it
//	a deadline, a connection that broke              unknown   it may have run
//	the same in RPOP                                 unknown   an element may be gone, nobody knows which
//	any error of another read                        fail      it changes nothing
//
// The client repeats nothing (MaxRetries -1). The package imports only workload and ledger of this module; its types are
// safe for concurrent use.
package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Spec describes the driver.
func Spec() workload.Spec {
	return workload.LoopSpec("redis", func(c *workload.Config, o Options) (workload.System, error) {
		o = o.WithDefaults()
		logging.Disable() // what it would tell comes back as errors
		return system{target: c.Target, o: o, mix: o.mix(), keys: o.Keys.Keys()}, nil
	})
}

type system struct {
	target string
	o      Options
	mix    []workload.Weight
	keys   workload.Keys
}

// dialTime is how long a client waits for a connection.
const dialTime = 2 * time.Second

// errGone says that a session's one connection is gone.
var errGone = errors.New("the connection is gone")

// link is one connection to one server, which is never made anew.
type link struct {
	*redis.Client
	given, again atomic.Bool // it was handed over; somebody asked for another one
}

// dial makes the connection to addr and waits for the server's first answer.
func (s system) dial(ctx context.Context, addr, password string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	l := &link{}
	l.Client = redis.NewClient(&redis.Options{
		Addr: addr, Password: password, Protocol: 2, MaxRetries: -1, DialerRetries: 1, PoolSize: 1,
		ReadTimeout: -1, WriteTimeout: -1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			if l.given.Swap(true) {
				l.again.Store(true)
				return nil, errGone
			}
			return conn, nil
		},
	})
	if err := l.Ping(ctx).Err(); err != nil && !answered(err) {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", addr, err), l.Close(), ignoreClosed(conn.Close()))
	}
	return l, nil
}

// ignoreClosed leaves out that a connection was closed before.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// answered reports whether an error is the server's answer.
func answered(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// connect makes a connection to the target, or to the master that the sentinels name.
func (s system) connect(ctx context.Context) (*link, error) {
	if len(s.o.Sentinels) == 0 {
		return s.dial(ctx, s.target, s.o.Password)
	}
	var errs []error
	for _, sentinel := range s.o.Sentinels {
		addr, err := s.master(ctx, sentinel)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l, err := s.dial(ctx, addr, s.o.Password)
		if err == nil {
			if err = isMaster(ctx, l); err == nil {
				return l, nil
			}
			err = errors.Join(err, l.Close())
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// master asks one sentinel.
func (s system) master(ctx context.Context, sentinel string) (addr string, err error) {
	l, err := s.dial(ctx, sentinel, "")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	got, err := l.Do(ctx, "SENTINEL", "get-master-addr-by-name", s.o.Master).StringSlice()
	if err == nil && len(got) != 2 {
		err = errors.New("it does not know it")
	}
	if err != nil {
		return "", fmt.Errorf("ask %s for master %s: %w", sentinel, s.o.Master, err)
	}
	return net.JoinHostPort(got[0], got[1]), nil
}

func isMaster(ctx context.Context, l *link) error {
	role, err := l.Do(ctx, "ROLE").Slice()
	if err != nil {
		return fmt.Errorf("ask for its role: %w", err)
	}
	if len(role) == 0 || role[0] != "master" {
		return fmt.Errorf("it is no master: %v", role)
	}
	return nil
}

// Setup waits until the server answers, and refuses keys that are there already.
func (s system) Setup(ctx context.Context) (err error) {
	l, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var cursor uint64
	for {
		keys, next, err := l.Scan(ctx, cursor, s.o.Prefix+"*", 1000).Result()
		if err != nil {
			if text := err.Error(); strings.HasPrefix(text, "NOAUTH") || strings.HasPrefix(text, "WRONGPASS") || strings.HasPrefix(text, "NOPERM") {
				err = fmt.Errorf("%w: %w", err, workload.ErrPermanent)
			}
			return fmt.Errorf("look for keys: %w", err)
		}
		if len(keys) > 0 {
			return fmt.Errorf("key %s is there: %w: %w", keys[0], workload.ErrNotEmpty, workload.ErrPermanent)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// Next implements workload.System.
func (s system) Next(r *rand.Rand, t workload.Turn) ledger.Op {
	if s.o.Model == modelRegister {
		return workload.NextRegister(r, t, s.mix, s.keys)
	}
	op := ledger.Op{Func: workload.PickWeighted(r, s.mix)}
	switch op.Func {
	case ledger.FuncAdd, ledger.FuncEnqueue:
		op.Value = t.Fresh
	case ledger.FuncInc:
		op.Value = 1 + r.Int64N(mostInc)
	}
	return op
}

// mostInc is the most that one increment adds.
const mostInc = 5

// Connect implements workload.System.
func (s system) Connect(ctx context.Context, _ int) (workload.Session, error) {
	l, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &session{system: s, link: l, seen: workload.Seen{}}, nil
}

// Final reads all that there is. A queue is read without taking anything out, so that it can be read again.
func (s system) Final(ctx context.Context) (ops []ledger.Op, err error) {
	l, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	switch s.o.Model {
	case modelSet:
		found, err := l.SMembers(ctx, s.key("")).Result()
		return workload.Elements(found), err
	case modelQueue:
		return s.rest(ctx, l)
	}
	names := []string{""}
	if s.o.Model == modelRegister {
		names = names[:0]
		for i := range s.o.Keys.WithDefaults().Count {
			names = append(names, strconv.Itoa(i))
		}
	}
	one := &session{system: s, link: l, seen: workload.Seen{}}
	for _, name := range names {
		op := ledger.Op{Func: ledger.FuncGet, Key: name, Partition: -1, Offset: -1, Invoke: workload.Now()}
		if outcome, err := one.get(ctx, &op); outcome != ledger.OK {
			return nil, fmt.Errorf("read key %s: %w", s.key(name), err)
		}
		op.Complete = workload.Now()
		ops = append(ops, op)
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(len(names))}), nil
}

// rest is what a queue holds, as dequeues in its order.
func (s system) rest(ctx context.Context, l *link) ([]ledger.Op, error) {
	began := workload.Now()
	found, err := l.LRange(ctx, s.key(""), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.key(""), err)
	}
	var ops []ledger.Op
	for i := len(found) - 1; i >= 0; i-- {
		ops = append(ops, ledger.Op{Func: ledger.FuncDequeue, Value: number(found[i]), Partition: -1, Offset: -1, Invoke: began, Complete: workload.Now()})
		began = workload.Now()
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(len(found))}), nil
}

// key is the whole name of a register, or of the model's one key.
func (s system) key(name string) string {
	if s.o.Model != modelRegister {
		name = s.o.Model
	}
	return s.o.Prefix + name
}

// number reads a value of ours; what is none is -1, which nobody wrote.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return -1
	}
	return n
}
