package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/payload"
)

// EnsureImage loads the image of agent and clients into the engine unless it is there. It is made from this program, or
// from the embedded Linux build where this program does not run on the engine; the error wraps agent.ErrPayload where
// neither does. log is told, in one line each, what takes time; it may be nil.
func EnsureImage(ctx context.Context, docker *client.Client, log func(string)) (agent.Image, error) {
	return agent.ImageSource{Payload: payload.Open, Log: log}.Ensure(ctx, docker)
}

// ImageOnce lets one run at a time make the image, so that those that start together do not each load it. The zero value is
// ready; nil works too.
type ImageOnce struct{ mu sync.Mutex }

func (o *ImageOnce) ensure(ctx context.Context, docker *client.Client, log func(string)) (agent.Image, error) {
	if o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
	}
	return EnsureImage(ctx, docker, log)
}

// Lease of the agent: it heals when it was not renewed for that long.
const (
	leaseTime  = 10 * time.Second
	renewEvery = time.Second
)

// session is the runner's end of the agent's stream. It implements faults.Host.
type session struct {
	conn  *agent.Conn
	facts faults.Facts
	stop  context.CancelFunc
}

// newSession greets the agent and keeps its lease until close. lost is called once when the stream ends before that.
func newSession(ctx context.Context, conn *agent.Conn, hello agent.Hello, lost func(error)) (*session, error) {
	s := &session{conn: conn}
	hello.LeaseMs = leaseTime.Milliseconds()
	if err := conn.Call(ctx, agent.OpHello, hello, &s.facts); err != nil {
		return nil, fmt.Errorf("greet the agent: %w", err)
	}
	rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	go s.renew(rctx, lost)
	return s, nil
}

func (s *session) renew(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.conn.Done():
			if ctx.Err() == nil {
				lost(fmt.Errorf("%w: %w", ErrAgentLost, s.conn.Err()))
			}
			return
		case <-tick.C:
			rctx, cancel := context.WithTimeout(ctx, leaseTime)
			err := s.conn.Call(rctx, agent.OpRenew, nil, nil)
			cancel()
			if err != nil && ctx.Err() == nil {
				lost(fmt.Errorf("%w: renew its lease: %w", ErrAgentLost, err))
				return
			}
		}
	}
}

// Call runs one operation of the agent.
func (s *session) Call(ctx context.Context, op string, args, out any) error {
	return s.conn.Call(ctx, op, args, out)
}

// Facts is what the agent's probe found.
func (s *session) Facts() faults.Facts { return s.facts }

// journal hands one entry to the agent and waits until it has its copy.
func (s *session) journal(ctx context.Context, line json.RawMessage) error {
	return s.conn.Call(ctx, agent.OpJournal, agent.Journal{Entry: line}, nil)
}

// ping reads the host's boot-time clock, ns.
func (s *session) ping(ctx context.Context) (int64, error) { return ping(ctx, s.conn) }

func ping(ctx context.Context, conn caller) (int64, error) {
	var at agent.Instant // a client answers with the same shape
	err := conn.Call(ctx, agent.OpPing, nil, &at)
	return at.Now, err
}

// lost reports whether the stream has ended.
func (s *session) lost() bool {
	select {
	case <-s.conn.Done():
		return true
	default:
		return false
	}
}

// bye ends the session in order: nothing is open, so the agent leaves without healing.
func (s *session) bye(ctx context.Context) error {
	s.stop()
	err := s.conn.Call(ctx, agent.OpBye, nil, nil)
	return errors.Join(err, s.conn.Close())
}
