package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/docker/docker/client"
)

// DefaultLease is how long an agent waits for a renewal before it takes its runner for dead.
const DefaultLease = 10 * time.Second

// ServeOptions says what the agent does around its operations. Zero functions do nothing.
type ServeOptions struct {
	Docker *client.Client
	// Host carries the host operations out; nil makes one from Docker. Heal uses the same one, through its Call.
	Host *Host
	// Lease without a renewal ends the service; zero is DefaultLease. Hello may change it.
	Lease time.Duration
	// Budgets bound Heal and Clean, each by itself; zero is a minute.
	Budget time.Duration
	// Ops are more operations.
	Ops Handler
	// MoreFacts finds capabilities that Probe does not know of; missing says why for each that is not there.
	MoreFacts func() (has []string, missing map[string]string)
	// OnHello is told who the run is; an error refuses it.
	OnHello func(Hello) error
	// OnJournal keeps one journal entry before it is acknowledged; calls do not overlap. An error refuses the entry.
	OnJournal func(line json.RawMessage) error
	// Heal undoes what the journal still owes.
	Heal func(ctx context.Context) error
	// Clean removes what the run made, the agent's own container excepted.
	Clean func(ctx context.Context) error
	// Log is told, in one line each, what people should know; nil writes nothing.
	Log func(string)
}

// Why a service ended.
var (
	errLease = errors.New("the lease expired: the runner did not renew it")
	errBye   = errors.New("the runner said good-bye")
)

// ServeAgent serves the agent's role until the runner says good-bye and ends the stream. If the stream ends without
// that, the lease expires or ctx ends (a SIGTERM, say), it heals, cleans, and returns their errors. A Hello must come
// first; without one there is nothing to heal.
func ServeAgent(ctx context.Context, in io.Reader, out io.Writer, o ServeOptions) error {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	if o.Budget <= 0 {
		o.Budget = time.Minute
	}
	if o.Host == nil {
		o.Host = NewHost(o.Docker, o.Log)
	}
	defer o.Host.Close()
	s := &session{o: o, server: NewServer(out), lease: o.Lease}
	o.Host.OnRewrite(func(r Rewritten) {
		// The stream may be gone already; the value is held all the same.
		_ = s.server.Emit(EventRewritten, r)
	})

	o.Host.OnNet(func(name string, data json.RawMessage) { _ = s.server.Emit(name, data) }) // as above

	serving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.timer = time.AfterFunc(o.Lease, func() { stop(errLease) })
	defer s.timer.Stop()
	err := s.server.Serve(serving, in, s.ops())
	return s.end(ctx, err)
}

// session is the state of one run's agent.
type session struct {
	o      ServeOptions
	server *Server
	timer  *time.Timer

	mu    sync.Mutex
	lease time.Duration
	hello bool
	bye   bool

	journal sync.Mutex
}

func (s *session) ops() Handler {
	h := Handler{
		OpHello:   op(s.onHello),
		OpPing:    op(func(context.Context, struct{}) (any, error) { return now() }),
		OpRenew:   op(s.onRenew),
		OpJournal: op(s.onJournal),
		OpBye:     op(s.onBye),
	}
	for name, op := range mergeOps(s.o.Host.Ops(), s.o.Ops) {
		h[name] = s.greeted(op)
	}
	return h
}

func mergeOps(all ...Handler) Handler {
	out := Handler{}
	for _, h := range all {
		maps.Copy(out, h)
	}
	return out
}

// greeted refuses an operation before the run is known, and after good-bye: nobody would undo it.
func (s *session) greeted(op Op) Op {
	return func(ctx context.Context, args json.RawMessage) (any, error) {
		s.mu.Lock()
		hello, bye := s.hello, s.bye
		s.mu.Unlock()
		if !hello {
			return nil, errors.New("the first call must be hello")
		}
		if bye {
			return nil, errBye
		}
		return op(ctx, args)
	}
}

func now() (any, error) {
	t, err := BootTime()
	return Instant{Now: t}, err
}

func (s *session) onHello(ctx context.Context, hello Hello) (any, error) {
	if hello.Run == "" {
		return nil, errors.New("hello names no run")
	}
	if s.o.OnHello != nil {
		if err := s.o.OnHello(hello); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.hello = true
	if hello.LeaseMs > 0 {
		s.lease = time.Duration(hello.LeaseMs) * time.Millisecond
	}
	s.timer.Reset(s.lease)
	s.mu.Unlock()
	r := HelloResult{Facts: Probe(ctx)}
	if s.o.MoreFacts != nil {
		has, missing := s.o.MoreFacts()
		r.Has = append(r.Has, has...)
		maps.Copy(r.Missing, missing)
	}
	var err error
	r.Now, err = BootTime()
	return r, err
}

func (s *session) onRenew(context.Context, struct{}) (any, error) {
	s.mu.Lock()
	if !s.bye {
		s.timer.Reset(s.lease)
	}
	s.mu.Unlock()
	return now()
}

func (s *session) onJournal(ctx context.Context, j Journal) (any, error) {
	return s.greeted(func(context.Context, json.RawMessage) (any, error) {
		s.journal.Lock()
		defer s.journal.Unlock()
		if s.o.OnJournal == nil {
			return nil, nil
		}
		return nil, s.o.OnJournal(j.Entry)
	})(ctx, nil)
}

// onBye leaves the runner a moment to end the stream.
func (s *session) onBye(context.Context, struct{}) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bye = true
	s.timer.Reset(grace)
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

// end heals and cleans, unless the runner has done so.
func (s *session) end(ctx context.Context, cause error) error {
	s.mu.Lock()
	hello, bye := s.hello, s.bye
	s.mu.Unlock()
	if bye || !hello {
		return nil
	}
	if cause == nil {
		cause = errors.New("the stream ended: the runner is gone")
	}
	s.o.Log(fmt.Sprintf("heal: %v", cause))
	var errs []error
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"heal", s.o.Heal}, {"clean", s.o.Clean}} {
		if step.do == nil {
			continue
		}
		// Healing outlives whatever ended the service.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Budget)
		if err := step.do(bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
			s.o.Log(fmt.Sprintf("%s: %v", step.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}
