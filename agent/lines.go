package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	maxPending = 1 << 20  // bytes that may wait for a slow reader before writers wait too
	maxLine    = 64 << 20 // bytes of one message
	readBuffer = 256 << 10
)

var errClosed = errors.New("stream closed")

// lineWriter gathers lines from many goroutines and hands them to one writer in as few writes as possible: what
// arrives during one write goes out with the next. A full buffer makes writers wait.
type lineWriter struct {
	mu     sync.Mutex
	cond   sync.Cond
	buf    []byte
	spare  []byte
	closed bool
	err    error
}

func newLineWriter() *lineWriter {
	l := &lineWriter{}
	l.cond.L = &l.mu
	return l
}

// add appends one line that build writes, without its newline. It waits for room until ctx ends.
func (l *lineWriter) add(ctx context.Context, build func(b []byte) []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full() {
		stop := context.AfterFunc(ctx, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.cond.Broadcast()
		})
		defer stop()
		for l.full() && ctx.Err() == nil {
			l.cond.Wait()
		}
	}
	switch {
	case l.err != nil:
		return l.err
	case l.closed:
		return errClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	l.buf = append(build(l.buf), '\n')
	l.cond.Broadcast()
	return nil
}

func (l *lineWriter) full() bool { return len(l.buf) >= maxPending && l.err == nil && !l.closed }

// close lets run write what is there and end. Lines added later are refused.
func (l *lineWriter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.cond.Broadcast()
}

// fail ends run without writing the rest.
func (l *lineWriter) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.cond.Broadcast()
}

// run writes to w until close or an error, which it returns.
func (l *lineWriter) run(w io.Writer) error {
	for {
		l.mu.Lock()
		for len(l.buf) == 0 && !l.closed && l.err == nil {
			l.cond.Wait()
		}
		out, err := l.buf, l.err
		l.buf = l.spare[:0]
		l.cond.Broadcast()
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if len(out) == 0 {
			return nil
		}
		if _, err := w.Write(out); err != nil {
			l.fail(fmt.Errorf("write stream: %w", err))
			continue
		}
		if cap(out) <= 2*maxPending {
			l.spare = out
		} else {
			l.spare = nil
		}
	}
}

// lineReader splits a stream into lines. A line without its newline at the end of the stream is cut off there, and
// not returned.
type lineReader struct {
	r    *bufio.Reader
	long []byte
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, readBuffer)}
}

// next returns the next line without its newline. It is valid until the following call.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	l.long = l.long[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long, line...)
		if len(l.long) > maxLine {
			return nil, fmt.Errorf("read stream: a message is longer than %d bytes", maxLine)
		}
		line, err = l.r.ReadSlice('\n')
	}
	if err != nil {
		return nil, err
	}
	l.long = append(l.long, line...)
	return l.long[:len(l.long)-1], nil
}

// stuck reports whether the reader of the stream is so slow that another line would have to wait.
func (l *lineWriter) stuck() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full()
}

// The form of an event's line is fixed, so that reading one costs no JSON parser.
const (
	eventHead = `{"event":"`
	eventMid  = `","data":`
)

func appendEvent(b []byte, name string, data []byte) []byte {
	b = append(b, eventHead...)
	b = append(b, name...)
	b = append(b, eventMid...)
	b = append(b, data...)
	return append(b, '}')
}

func cutEvent(line []byte) (name, data []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(eventHead))
	if !ok {
		return nil, nil, false
	}
	name, data, ok = bytes.Cut(rest, []byte(eventMid))
	if !ok || len(data) < 2 || data[len(data)-1] != '}' {
		return nil, nil, false
	}
	return name, data[:len(data)-1], true
}
