package httpdriver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Spec is the driver "http".
func Spec() workload.Spec {
	return workload.Spec{
		Name:    "http",
		Options: func() any { return &Options{} },
		New: func(c workload.Config) (workload.Driver, error) {
			o, err := workload.ReadOptions[Options](c.Options)
			if err != nil {
				return nil, err
			}
			if err := o.ForClients(c.Processes); err != nil {
				return nil, fmt.Errorf("options: %w", err)
			}
			build := func(c *workload.Config, o Options) (workload.System, error) {
				o = o.WithDefaults()
				s := newSystem(c.Target, o, c.Seed)
				if m, ok := s.model.(objects); ok && o.LiveKeys > 0 {
					m.live = workload.NewLive(workload.Bounds{Keys: int64(o.LiveKeys), Low: o.LowWater}.Share(c.Clients, c.Processes))
					s.model = m
				}
				return s, nil
			}
			s, err := build(&c, o)
			if err != nil {
				return nil, err
			}
			phases, err := workload.PhaseSystems(c, s, build)
			if err != nil {
				return nil, err
			}
			return workload.NewLoop(c, s, workload.LoopOptions{Patience: o.WithDefaults().Timeout.Std(), Phases: phases}), nil
		},
	}
}

// Bounds of what is read of an answer's body.
const (
	maxShown = 4 << 10   // of one that tells little, or an error
	maxRead  = 256 << 20 // of a read's
)

// system is a workload.System: what a model is, behind an HTTP API.
type system struct {
	addr    string
	servers *workload.Servers
	opts    Options // with defaults
	model   model
	sent    atomic.Int64 // numbers requests, for {{op}}
}

func newSystem(addr string, o Options, seed int64) *system {
	return &system{addr: addr, opts: o, model: newModel(o, seed), servers: workload.NewServers(addr, o.Endpoints)}
}

// open makes the session of one process. The connection is made with the first request.
func (s *system) open(addr string, process int) *session {
	return &session{s: s, c: client{addr: addr}, process: process, seen: map[string]int64{}, back: func() {}}
}

// Setup implements workload.System: the API answers, and nothing is there yet.
func (s *system) Setup(ctx context.Context) error {
	for _, addr := range s.servers.All() {
		one := s.open(addr, 0)
		err := s.model.empty(ctx, one)
		one.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Next implements workload.System.
func (s *system) Next(r *rand.Rand, t workload.Turn) ledger.Op { return s.model.next(r, t) }

// Govern implements workload.Governor, for objects with live_keys.
func (s *system) Govern(op ledger.Op) (ledger.Op, func(ledger.Outcome)) {
	if m, ok := s.model.(objects); ok && m.live != nil {
		return m.live.Govern(op)
	}
	return op, func(ledger.Outcome) {}
}

// Connect implements workload.System.
func (s *system) Connect(_ context.Context, process int) (workload.Session, error) {
	list, back := s.servers.Take(process)
	one := s.open(list[0], process)
	one.back = back
	return one, nil
}

// Final implements workload.System. It reads from the target, whatever the endpoints are.
func (s *system) Final(ctx context.Context) ([]ledger.Op, error) {
	one := s.open(s.addr, 0)
	defer one.Close()
	return s.model.final(ctx, one)
}

// session is the client of one process.
type session struct {
	s       *system
	c       client
	process int
	seen    map[string]int64 // key → the value that this process saw last; 0: absent
	back    func()           // gives the server back
}

// Close implements workload.Session.
func (s *session) Close() {
	s.c.close()
	s.back()
}

// Do implements workload.Session.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	return s.s.model.do(ctx, s, op)
}

// outcome is the table of the package's documentation. status is 0 without an answer.
func outcome(ok, fail []int, sent bool, status int) ledger.Outcome {
	switch {
	case !sent:
		return ledger.Failed
	case status == 0:
		return ledger.Unknown
	case slices.Contains(ok, status):
		return ledger.OK
	case slices.Contains(fail, status):
		return ledger.Failed
	case fail != nil || status < 400 || status > 499:
		return ledger.Unknown
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return ledger.Unknown
	}
	return ledger.Failed
}

// err is an answer that is no success, as an operation's error.
func (a answer) err() error {
	text := strings.Join(strings.Fields(string(a.body[:min(len(a.body), 150)])), " ")
	if text == "" || a.html {
		return fmt.Errorf("status %d %s", a.status, http.StatusText(a.status))
	}
	return fmt.Errorf("status %d: %s", a.status, text)
}
