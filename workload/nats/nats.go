// Package nats provides the driver of NATS JetStream: messages that are published to one stream and read back from its
// first one, for the check set.
//
// What an error means:
//
//	error                                          outcome  why
//	none                                           ok       the stream's leader answers when a majority has the message
//	no connection when the operation begins        fail     nothing was sent: the client is told to buffer nothing
//	no responders                                  fail     no server knows the subject, so nobody was handed the message
//	an answer with an error (stream is full,       fail     the leader answers so instead of storing it
//	  insufficient resources, sealed …)
//	a time-out, a connection that broke            unknown  it may be in the stream
//
// The client does not repeat a publish (RetryAttempts 0). The package imports only workload and ledger of this module; its
// types are safe for concurrent use.
package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Options is the options table of the nats driver. A zero field means its default.
type Options struct {
	Servers  []string `toml:"servers" json:"servers,omitempty" doc:"the servers that clients connect to, as in [\"nats1:4222\", \"nats2:4222\"]: client n to server n first, around and around; default: the target alone"`
	Stream   string   `toml:"stream" json:"stream,omitempty" default:"orders" doc:"the stream, which the driver makes; it must not be there when the run begins. Its subject is its name"`
	Replicas int      `toml:"replicas" json:"replicas,omitempty" default:"1" doc:"servers that keep the stream"`
	Size     int      `toml:"size" json:"size,omitempty" default:"64" doc:"bytes of a message, at least 20"`
}

// WithDefaults is o with every zero field set to its default.
func (o Options) WithDefaults() Options {
	if o.Stream == "" {
		o.Stream = "orders"
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Size == 0 {
		o.Size = 64
	}
	return o
}

// The bounds of Options: what fits a number, what a server takes, and what JetStream replicates to.
const (
	leastSize    = 20
	mostSize     = 1 << 20
	mostReplicas = 5
)

// Judged says which checks judge the operations.
func (Options) Judged(kind string, _ json.RawMessage) error { return workload.JudgedBy(kind, "set") }

// Validate joins every problem of o, defaults applied; each names its key.
func (o Options) Validate() error {
	o = o.WithDefaults()
	var errs []error
	if o.Replicas < 1 || o.Replicas > mostReplicas {
		errs = append(errs, fmt.Errorf("replicas: %d is not between 1 and %d", o.Replicas, mostReplicas))
	}
	if o.Size < leastSize || o.Size > mostSize {
		errs = append(errs, fmt.Errorf("size: %d is not between %d and %d bytes", o.Size, leastSize, mostSize))
	}
	return errors.Join(errs...)
}

// Spec describes the driver.
func Spec() workload.Spec {
	return workload.LoopSpec("nats", func(c *workload.Config, o Options) (workload.System, error) {
		return system{workload.NewServers(c.Target, o.Servers), o.WithDefaults(), &atomic.Int64{}}, nil
	})
}

type system struct {
	servers *workload.Servers
	o       Options
	acked   *atomic.Int64 // the highest sequence that a publisher was told
}

// dialTime is how long one attempt to connect to one server may take.
const dialTime = 2 * time.Second

// connect makes a connection to the first of the servers that lets it in.
func (s system) connect(servers []string, options ...nats.Option) (*nats.Conn, error) {
	var errs []error
	for _, one := range servers {
		c, err := nats.Connect("nats://"+one, append([]nats.Option{nats.Timeout(dialTime), nats.NoReconnect()}, options...)...)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("connect to %s: %w", one, err))
	}
	return nil, errors.Join(errs...)
}

// Setup makes the stream and waits for its leader.
func (s system) Setup(ctx context.Context) error {
	c, err := s.connect(s.servers.All())
	if err != nil {
		return err
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return fmt.Errorf("use jetstream: %w", err)
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: s.o.Stream, Subjects: []string{s.o.Stream}, Storage: jetstream.FileStorage, Replicas: s.o.Replicas,
	})
	if err != nil {
		return fmt.Errorf("make stream %s: %w", s.o.Stream, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", s.o.Stream, err)
	}
	if info.State.Msgs > 0 {
		return fmt.Errorf("stream %s has %d messages: %w: %w", s.o.Stream, info.State.Msgs, workload.ErrNotEmpty, workload.ErrPermanent)
	}
	if info.Cluster != nil && s.o.Replicas > 1 && info.Cluster.Leader == "" {
		return fmt.Errorf("stream %s has no leader yet", s.o.Stream)
	}
	return nil
}

// Next implements workload.System.
func (s system) Next(_ *rand.Rand, t workload.Turn) ledger.Op {
	return ledger.Op{Func: ledger.FuncAdd, Value: t.Fresh}
}

// Connect makes the connection of one process.
func (s system) Connect(_ context.Context, process int) (_ workload.Session, err error) {
	list, back := s.servers.Take(process)
	defer func() {
		if err != nil {
			back()
		}
	}()
	c, err := s.connect(list, nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(c)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	return &session{s, c, js, back}, nil
}

type session struct {
	system
	conn *nats.Conn
	js   jetstream.JetStream
	back func() // gives the server back
}

// Close implements workload.Session.
func (s *session) Close() {
	s.conn.Close()
	s.back()
}

// Alive implements workload.Alive.
func (s *session) Alive() bool { return s.conn.IsConnected() }

// Do publishes one message and waits for the stream's answer.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	if !s.conn.IsConnected() {
		return ledger.Failed, nats.ErrConnectionClosed // later the library says so of what was sent as well
	}
	body := fmt.Appendf(make([]byte, 0, s.o.Size), "%-*d", s.o.Size, op.Value)
	ack, err := s.js.Publish(ctx, s.o.Stream, body, jetstream.WithRetryAttempts(0))
	var api *jetstream.APIError
	switch {
	case err == nil:
		op.Offset = int64(ack.Sequence) //nolint:gosec // a sequence stays below 2^63
		workload.Raise(s.acked, op.Offset)
		return ledger.OK, nil
	case errors.As(err, &api), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrInvalidConnection):
		return ledger.Failed, err
	}
	return ledger.Unknown, err
}

// Final reads the stream from its first message to the last one that it has when the read begins, and at least to the one that was
// acknowledged last.
func (s system) Final(ctx context.Context) ([]ledger.Op, error) {
	c, err := s.connect(s.servers.All())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	stream, err := s.find(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return workload.Elements(nil), nil // it is gone, and with it everything
	}
	if err != nil {
		return nil, fmt.Errorf("look for stream %s: %w", s.o.Stream, err)
	}
	found, err := settled(ctx, uint64(s.acked.Load()), func() ([]string, uint64, error) { //nolint:gosec // a sequence
		info, err := ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return stream.Info(ctx) })
		if err != nil {
			return nil, 0, fmt.Errorf("look at stream %s: %w", s.o.Stream, err)
		}
		return read(ctx, stream, info.State)
	})
	if err != nil {
		return nil, err
	}
	return workload.Elements(found), nil
}

// A server that has just started may not know a stream yet that the others have. One that led it until it was cut off may tell
// of its state as of then, for seconds after it came back (NATS 2.15: seen 5 s after the heal).
const (
	missingFor   = 15 * time.Second
	missingEvery = 500 * time.Millisecond
)

// settled reads until what was read goes to the message that was acknowledged last, or for missingFor: then the rest is lost.
func settled(ctx context.Context, acked uint64, read func() (found []string, last uint64, err error)) ([]string, error) {
	until := time.Now().Add(missingFor)
	for {
		found, last, err := read()
		if err != nil || last >= acked || time.Now().After(until) {
			return found, err
		}
		select {
		case <-time.After(missingEvery):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// find looks for the stream; it is not there where it stays away for a time.
func (s system) find(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	until := time.NewTimer(missingFor)
	defer until.Stop()
	again := time.NewTicker(missingEvery)
	defer again.Stop()
	for {
		stream, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, s.o.Stream) })
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return stream, err
		}
		select {
		case <-again.C:
		case <-until.C:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// askTime is how long a final read waits for one answer: a question that is put while there is no leader never gets one.
const askTime = 5 * time.Second

func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return question(ctx)
}

// batch is how many messages one fetch asks for.
const batch = 500

// read fetches what a stream held when state was told, and returns the sequence of its last message.
func read(ctx context.Context, stream jetstream.Stream, state jetstream.StreamState) (found []string, last uint64, err error) {
	if state.Msgs == 0 {
		return nil, 0, nil
	}
	consumer, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	})
	if err != nil {
		return nil, 0, fmt.Errorf("make a consumer: %w", err)
	}
	quiet := 0
	for last < state.LastSeq {
		got, err := consumer.Fetch(batch, jetstream.FetchMaxWait(dialTime))
		if err != nil {
			return nil, 0, fmt.Errorf("fetch after message %d: %w", last, err)
		}
		before := last
		for m := range got.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, 0, fmt.Errorf("read metadata: %w", err)
			}
			last = meta.Sequence.Stream
			found = append(found, element(m.Data()))
		}
		if err := errors.Join(got.Error(), ctx.Err()); err != nil {
			return nil, 0, fmt.Errorf("fetch after message %d: %w", last, err)
		}
		if last > before {
			quiet = 0
			continue
		}
		if uint64(len(found)) >= state.Msgs {
			break // what is missing at the end was removed
		}
		if quiet++; quiet == mostQuiet { // its server has lost the consumer: the next try makes another
			return nil, 0, fmt.Errorf("fetch after message %d: nothing came in %d requests, and the stream goes on to %d", last, quiet, state.LastSeq)
		}
	}
	return found, last, nil
}

// mostQuiet is how many requests in a row may bring nothing.
const mostQuiet = 3

// element is the number of a message without what fills it up.
func element(body []byte) string {
	for i, c := range body {
		if c == ' ' {
			return string(body[:i])
		}
	}
	if len(body) > leastSize {
		return strconv.Quote(string(body[:leastSize]))
	}
	return string(body)
}
