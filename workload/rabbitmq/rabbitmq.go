// Package rabbitmq provides the driver of RabbitMQ (AMQP 0-9-1): a durable queue to which messages are published with
// confirms, and from which they are taken with acknowledgements, for the check queue.
//
// What an error means:
//
//	error                                            outcome  why
//	publish: the confirm is an ack                   ok       a quorum of the queue, or its disk, has the message
//	  … and the message came back (mandatory)        fail     no queue took it
//	  the confirm is a nack                          unknown  the queue failed while it had the message
//	  a deadline, a connection that broke            unknown  it may be in the queue
//	no connection, a channel that is closed          fail     nothing was sent
//	get: an answer that broke off, a deadline        fail     what is not acknowledged goes back to the queue
//	  empty                                          ok       the regular answer
//	  a message, acknowledged, and the server        ok       acknowledgements have no answer of their own; a server that
//	  answered a later request on the channel                 crashes soon after may bring the message back all the same
//	  a message, and no such answer                  unknown  it was handed over; whether it is gone, nobody knows
//
// The client library repeats nothing. The final read takes messages without acknowledging them, so that it can be repeated.
// The package imports only workload and ledger of this module; its types are safe for concurrent use.
package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Spec describes the driver.
func Spec() workload.Spec {
	return workload.LoopSpec("rabbitmq", func(c *workload.Config, o Options) (workload.System, error) {
		o = o.WithDefaults()
		return system{servers: workload.NewServers(c.Target, o.Servers), o: o, mix: o.mix()}, nil
	})
}

type system struct {
	servers *workload.Servers
	o       Options
	mix     []workload.Weight
}

// dialTime is how long one attempt to connect to one server may take.
const dialTime = 2 * time.Second

// link is one connection with one channel.
type link struct {
	net  net.Conn
	conn *amqp.Connection
	*amqp.Channel
}

// hangUp ends a link without a good-bye: the server gives back what was not acknowledged.
func (l *link) hangUp() { _ = l.net.Close() }

// connect makes a connection to the first of the servers that lets it in.
func (s system) connect(ctx context.Context, servers []string) (*link, error) {
	var errs []error
	for _, one := range servers {
		l, err := s.dial(ctx, one)
		if err == nil {
			return l, nil
		}
		errs = append(errs, fmt.Errorf("connect to %s: %w", one, err))
	}
	return nil, errors.Join(errs...)
}

func (s system) dial(ctx context.Context, addr string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var l link
	u := url.URL{Scheme: "amqp", User: url.UserPassword(s.o.User, s.o.Password), Host: addr}
	config := amqp.Config{Vhost: s.o.Vhost, Heartbeat: dialTime, Dial: func(network, addr string) (conn net.Conn, err error) {
		if conn, err = (&net.Dialer{}).DialContext(ctx, network, addr); err == nil {
			l.net = conn
			err = conn.SetDeadline(time.Now().Add(dialTime)) // of the handshake, after which the library takes it away
		}
		return conn, err
	}}
	var err error
	if l.conn, err = amqp.DialConfig(u.String(), config); err != nil {
		if l.net != nil {
			l.hangUp()
		}
		return nil, err
	}
	stop := context.AfterFunc(ctx, l.hangUp)
	defer stop()
	if l.Channel, err = l.conn.Channel(); err != nil {
		l.hangUp()
		return nil, err
	}
	return &l, nil
}

// Setup declares the queue, and refuses one that holds messages.
func (s system) Setup(ctx context.Context) error {
	l, err := s.connect(ctx, s.servers.All())
	if err != nil {
		var answer *amqp.Error
		if errors.As(err, &answer) && (answer.Code == amqp.AccessRefused || answer.Code == amqp.NotAllowed) {
			err = fmt.Errorf("%w: %w", err, workload.ErrPermanent)
		}
		return err
	}
	defer l.hangUp()
	stop := context.AfterFunc(ctx, l.hangUp)
	defer stop()
	queue, err := l.QueueDeclare(s.o.Queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: s.o.Type})
	if err != nil {
		var answer *amqp.Error
		if errors.As(err, &answer) && answer.Code == amqp.PreconditionFailed {
			err = fmt.Errorf("%w: %w", err, workload.ErrPermanent)
		}
		return fmt.Errorf("declare queue %s: %w", s.o.Queue, err)
	}
	if queue.Messages > 0 {
		return fmt.Errorf("queue %s holds %d messages: %w: %w", s.o.Queue, queue.Messages, workload.ErrNotEmpty, workload.ErrPermanent)
	}
	return nil
}

// Next implements workload.System.
func (s system) Next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, s.mix)}
	if op.Func == ledger.FuncEnqueue {
		op.Value = t.Fresh
	}
	return op
}

// Connect makes the connection of one process.
func (s system) Connect(ctx context.Context, process int) (_ workload.Session, err error) {
	list, back := s.servers.Take(process)
	defer func() {
		if err != nil {
			back()
		}
	}()
	l, err := s.connect(ctx, list)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, l.hangUp)
	defer stop()
	if err := l.Confirm(false); err != nil {
		l.hangUp()
		return nil, fmt.Errorf("ask for confirms: %w", err)
	}
	const room = 16 // there is one message at a time
	return &session{system: s, link: l, returned: l.NotifyReturn(make(chan amqp.Return, room)), back: back}, nil
}

// A message that a connection held when it broke is back in the queue soon after: the end is believed when nothing came
// for a time.
const (
	quietTries = 12
	quietPause = 250 * time.Millisecond
)

// Final takes all messages, and gives them back when its connection ends.
func (s system) Final(ctx context.Context) ([]ledger.Op, error) {
	l, err := s.connect(ctx, s.servers.All())
	if err != nil {
		return nil, err
	}
	defer l.hangUp()
	stop := context.AfterFunc(ctx, l.hangUp)
	defer stop()
	var ops []ledger.Op
	pause := time.NewTicker(quietPause)
	defer pause.Stop()
	for quiet := 0; quiet < quietTries; {
		began := workload.Now()
		m, ok, err := l.Get(s.o.Queue, false)
		if err != nil {
			return nil, fmt.Errorf("read queue %s: %w", s.o.Queue, err)
		}
		if ok {
			ops = append(ops, ledger.Op{Func: ledger.FuncDequeue, Value: number(m.Body), Partition: -1, Offset: -1, Invoke: began, Complete: workload.Now()})
			quiet = 0
			continue
		}
		quiet++
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(len(ops))}), nil
}

// number reads the body of a message of ours; what is none is -1, which nobody sent.
func number(body []byte) int64 {
	n, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil || n <= 0 {
		return -1
	}
	return n
}

// session is the client of one process.
type session struct {
	system
	*link
	returned chan amqp.Return
	back     func() // gives the server back
}

// Close implements workload.Session.
func (s *session) Close() {
	s.hangUp()
	s.back()
}

// Alive implements workload.Alive.
func (s *session) Alive() bool { return !s.conn.IsClosed() && !s.IsClosed() }

// Do implements workload.Session.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	stop := context.AfterFunc(ctx, s.hangUp) // the library's calls know no context
	defer stop()
	if op.Func == ledger.FuncDequeue {
		return s.dequeue(op)
	}
	return s.enqueue(ctx, op)
}

// errNack is the answer of a queue that failed.
var errNack = errors.New("no confirm: nack, or the connection broke")

func (s *session) enqueue(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	confirm, err := s.PublishWithDeferredConfirmWithContext(ctx, "", s.o.Queue, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Body: strconv.AppendInt(nil, op.Value, 10),
	})
	if errors.Is(err, amqp.ErrClosed) {
		return ledger.Failed, err
	}
	if err != nil {
		return ledger.Unknown, err
	}
	acked, err := confirm.WaitContext(ctx)
	if err == nil && !acked {
		err = errNack
	}
	if err != nil {
		return ledger.Unknown, err
	}
	select {
	case back := <-s.returned: // it comes before its ack
		return ledger.Failed, fmt.Errorf("returned: %d %s", back.ReplyCode, back.ReplyText)
	default:
		return ledger.OK, nil
	}
}

func (s *session) dequeue(op *ledger.Op) (ledger.Outcome, error) {
	m, ok, err := s.Get(s.o.Queue, false)
	if err != nil {
		return ledger.Failed, err
	}
	if !ok {
		op.Value = 0
		return ledger.OK, nil
	}
	op.Value = number(m.Body)
	if err := m.Ack(false); err != nil {
		return ledger.Unknown, err
	}
	// The channel answers in order: what answers this has seen the acknowledgement.
	if err := s.Qos(0, 0, false); err != nil {
		return ledger.Unknown, err
	}
	return ledger.OK, nil
}
