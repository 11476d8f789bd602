package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

type request struct {
	ID     uint64          `json:"id"`
	Op     string          `json:"op,omitempty"`
	Args   json.RawMessage `json:"args,omitempty"`
	Cancel bool            `json:"cancel,omitempty"` // the caller of request ID no longer waits
}

type answer struct {
	ID   uint64          `json:"id"`
	Out  json.RawMessage `json:"out,omitempty"`
	Err  string          `json:"err,omitempty"`
	Code string          `json:"code,omitempty"`
}

// Conn is the runner's end of a stream. It lives until the stream ends, whatever becomes of the context it was opened
// with: the runner needs it to heal after an interrupt. It is safe for concurrent use.
type Conn struct {
	out     *lineWriter
	onEvent func(Event)
	stderr  *tail
	abort   func() error
	done    chan struct{}

	mu     sync.Mutex
	last   uint64
	calls  map[uint64]chan answer
	closed bool
	err    error
}

// NewConn opens the runner's end over any pair of streams. Closing w must end the remote side's input. onEvent is
// called for each event, one at a time and in order, from the goroutine that also reads answers: while it runs
// everything else waits, so a slow one slows the sender down. It may be nil, and must not wait for a Call.
func NewConn(r io.Reader, w io.WriteCloser, onEvent func(Event)) *Conn {
	c := newConn(onEvent)
	c.start(r, w)
	return c
}

func newConn(onEvent func(Event)) *Conn {
	return &Conn{
		out: newLineWriter(), onEvent: onEvent, stderr: &tail{},
		done: make(chan struct{}), calls: map[uint64]chan answer{},
	}
}

func (c *Conn) start(r io.Reader, w io.WriteCloser) {
	go func() {
		// A failed write shows as the end of the stream too; closing w makes sure of it.
		_ = c.out.run(w)
		_ = w.Close()
	}()
	go func() { c.end(c.read(newLineReader(r))) }()
}

// Call runs one operation of the remote side with args as JSON, and decodes its answer into out unless that is nil.
// Many calls may be in flight. It returns at once when ctx ends; the remote side is then told to cancel the
// operation. Errors: *RemoteError, ErrLost, or the cause of ctx.
func (c *Conn) Call(ctx context.Context, op string, args, out any) error {
	r := request{Op: op}
	if args != nil {
		raw, err := json.Marshal(args)
		if err != nil {
			return fmt.Errorf("encode %s: %w", op, err)
		}
		r.Args = raw
	}
	reply := make(chan answer, 1)
	c.mu.Lock()
	if c.calls == nil {
		c.mu.Unlock()
		return c.lost(op)
	}
	c.last++
	r.ID = c.last
	c.calls[r.ID] = reply
	c.mu.Unlock()

	if err := c.send(ctx, r); err != nil {
		c.forget(r.ID)
		if ctx.Err() != nil {
			return fmt.Errorf("call %s: %w", op, context.Cause(ctx))
		}
		return fmt.Errorf("call %s: %w: %w", op, ErrLost, err)
	}
	select {
	case a, ok := <-reply:
		if !ok {
			return c.lost(op)
		}
		return a.decode(op, out)
	case <-ctx.Done():
		if c.forget(r.ID) {
			// The line is small and nobody waits for it; where there is no room for it the stream is stuck anyway.
			_ = c.send(ctx, request{ID: r.ID, Cancel: true})
		}
		return fmt.Errorf("call %s: %w", op, context.Cause(ctx))
	}
}

func (a answer) decode(op string, out any) error {
	if a.Err != "" {
		return &RemoteError{Op: op, Code: a.Code, Text: a.Err}
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*json.RawMessage); ok { // also where there is no answer but the acknowledgement
		*raw = a.Out
		return nil
	}
	if err := json.Unmarshal(a.Out, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", op, err)
	}
	return nil
}

func (c *Conn) send(ctx context.Context, r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.Op, err)
	}
	if r.Cancel {
		ctx = context.WithoutCancel(ctx)
		if c.out.stuck() {
			return errClosed
		}
	}
	return c.out.add(ctx, func(b []byte) []byte { return append(b, line...) })
}

// forget gives up waiting for an answer; false if it was there already.
func (c *Conn) forget(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waiting := c.calls[id]
	delete(c.calls, id)
	return waiting
}

func (c *Conn) lost(op string) error {
	if err := c.Err(); err != nil {
		return fmt.Errorf("call %s: %w", op, err)
	}
	return fmt.Errorf("call %s: %w: the stream was closed", op, ErrLost)
}

// read delivers lines until the stream ends.
func (c *Conn) read(in *lineReader) error {
	names := map[string]string{}
	for {
		line, err := in.next()
		if err != nil {
			return err
		}
		if name, data, ok := cutEvent(line); ok {
			if c.onEvent == nil {
				continue
			}
			n, known := names[string(name)]
			if !known {
				n = string(name)
				names[n] = n
			}
			c.onEvent(Event{Name: n, Data: bytes.Clone(data)})
			continue
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil || a.ID == 0 {
			return fmt.Errorf("unreadable line %.80q", line)
		}
		c.mu.Lock()
		reply := c.calls[a.ID]
		delete(c.calls, a.ID)
		c.mu.Unlock()
		if reply != nil {
			reply <- a
		}
	}
}

// end fails every call that is still waiting.
func (c *Conn) end(cause error) {
	if c.abort != nil {
		_ = c.abort() // the stream has ended; this only frees the socket
	}
	c.out.fail(errClosed)
	c.mu.Lock()
	if !c.closed || !errors.Is(cause, io.EOF) {
		c.err = fmt.Errorf("%w: %w", ErrLost, cause)
		if s := oneLine(c.stderr.last(300)); s != "" {
			c.err = fmt.Errorf("%w (stderr: %s)", c.err, s)
		}
	}
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, reply := range calls {
		close(reply)
	}
	close(c.done)
}

// Done is closed when the stream has ended, which for a container is after its process has.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the stream is open, and after it ended because of Close; else it wraps ErrLost and tells why.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the remote side's input in an orderly way: requests already made are sent, and answers and events come
// until the remote side ends, which Done tells. It does not wait. It may be called several times.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.out.close()
	return nil
}

// Abort drops the connection at once, as if this process had died. It may be called several times.
func (c *Conn) Abort() error {
	c.out.fail(errClosed)
	if c.abort != nil {
		return c.abort()
	}
	return nil
}

// Stderr is the last 64 KiB at most of what the remote side wrote to its standard error.
func (c *Conn) Stderr() string { return c.stderr.last(tailBytes) }

const tailBytes = 64 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailBytes; over > tailBytes {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf[max(0, len(t.buf)-n):])
}
