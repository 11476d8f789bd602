package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Op is one operation of the remote side: JSON arguments in, a value that encodes to JSON out. Its context ends when
// the caller gives up or the stream ends.
type Op func(ctx context.Context, args json.RawMessage) (any, error)

// Handler is what the remote side serves, by operation name. It is read concurrently and must not change.
type Handler map[string]Op

// Server is the remote end of a stream. It serves one stream once, and is safe for concurrent use.
type Server struct {
	w   io.Writer
	out *lineWriter
}

// NewServer makes the remote end that answers on out. Events emitted before Serve wait for it.
func NewServer(out io.Writer) *Server { return &Server{w: out, out: newLineWriter()} }

// Serve answers the requests of in on out until in ends. It is NewServer(out).Serve for handlers that emit nothing.
func Serve(ctx context.Context, in io.Reader, out io.Writer, h Handler) error {
	return NewServer(out).Serve(ctx, in, h)
}

// Emit sends one event; data is encoded as JSON. It costs no write of its own while another is under way, and waits
// while more than 1 MiB is unsent. Many small records are cheapest as one event whose data is a list. name must not
// contain a quote or a backslash.
//
//nolint:contextcheck // its wait ends with the stream, whatever happens to the one who emits
func (s *Server) Emit(name string, data any) error {
	raw, ok := data.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(data); err != nil {
			return fmt.Errorf("encode event %s: %w", name, err)
		}
	}
	if strings.ContainsAny(name, "\"\\\n") {
		return fmt.Errorf("emit event %q: the name has a quote, a backslash or a newline", name)
	}
	return s.out.add(context.Background(), func(b []byte) []byte { return appendEvent(b, name, raw) }) //nolint:forbidigo // ends with the stream
}

// grace bounds how long an ended stream waits for operations that do not heed their context, and for unsent answers.
const grace = time.Second

// Serve answers requests, each in a goroutine of its own, until in ends (nil), ctx ends (its cause), or a line is not
// a request (an error: what follows could not be trusted). Then the contexts of running operations end, and Serve
// waits for them for a second at the most. A read of in that never returns keeps one goroutine.
func (s *Server) Serve(ctx context.Context, in io.Reader, h Handler) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errClosed)
	written := make(chan error, 1)
	go func() {
		err := s.out.run(s.w)
		if err != nil {
			cancel(err)
		}
		written <- err
	}()

	requests := make(chan request)
	ended := make(chan error, 1)
	go func() { ended <- readRequests(ctx, in, requests) }()

	running := newCalls()
	err := func() error {
		for {
			select {
			case r := <-requests:
				if r.Cancel {
					running.cancel(r.ID)
					continue
				}
				running.start(ctx, r, func(ctx context.Context) { s.answer(ctx, r, h) })
			case err := <-ended:
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}()
	cancel(errClosed)
	wait := time.NewTimer(grace)
	defer wait.Stop()
	select {
	case <-running.idle():
	case <-wait.C:
	}
	s.out.close()
	select {
	case werr := <-written:
		if err == nil && parent.Err() == nil && werr != nil {
			err = werr
		}
	case <-wait.C:
	}
	return err
}

func readRequests(ctx context.Context, in io.Reader, to chan<- request) error {
	lines := newLineReader(in)
	for {
		line, err := lines.next()
		if err != nil {
			return err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil || r.ID == 0 {
			return fmt.Errorf("unreadable request %.80q", line)
		}
		select {
		case to <- r:
		case <-ctx.Done():
			return io.EOF
		}
	}
}

func (s *Server) answer(ctx context.Context, r request, h Handler) {
	a := answer{ID: r.ID}
	out, err := call(ctx, r, h)
	if err == nil && out != nil {
		a.Out, err = json.Marshal(out)
	}
	if err != nil {
		a.Out, a.Err, a.Code = nil, err.Error(), codeOf(err)
		if a.Err == "" {
			a.Err = "error without a text"
		}
	}
	line, err := json.Marshal(a)
	if err != nil {
		return // cannot happen: a.Out is valid JSON by then
	}
	// A stream that is gone needs no answer.
	_ = s.out.add(context.WithoutCancel(ctx), func(b []byte) []byte { return append(b, line...) })
}

// call turns a panic into an error, so that one bad operation does not take the agent and its undo work along.
func call(ctx context.Context, r request, h Handler) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v: %s", p, oneLine(string(debug.Stack())))
		}
	}()
	op, ok := h[r.Op]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownOp, r.Op)
	}
	return op(ctx, r.Args)
}

// calls are the operations that run now.
type calls struct {
	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc
	wg      sync.WaitGroup
}

func newCalls() *calls { return &calls{cancels: map[uint64]context.CancelFunc{}} }

func (c *calls) start(ctx context.Context, r request, f func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	c.cancels[r.ID] = cancel
	c.mu.Unlock()
	c.wg.Go(func() {
		defer c.cancel(r.ID)
		f(ctx)
	})
}

func (c *calls) cancel(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.cancels[id]; cancel != nil {
		cancel()
		delete(c.cancels, id)
	}
}

// idle is closed when none is running; nothing may start any more.
func (c *calls) idle() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	return done
}
