package httpdriver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/discompose/discompose/workload"
)

// client is one connection to a server, made anew where it has gone. It carries one request at a time.
type client struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

// message is one request, ready to send.
type message struct {
	method string
	raw    []byte
}

// newMessage writes a request whose headers, target and body are final.
func newMessage(ctx context.Context, method, target string, headers map[string]string, body string) (message, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return message{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", "discompose")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return message{}, fmt.Errorf("write request: %w", err)
	}
	return message{method, b.Bytes()}, nil
}

// answer is what a server said.
type answer struct {
	status int
	html   bool   // its body is a page for people
	body   []byte // as far as it was read
	broken error  // what ended the body early
}

// errTooLong says that a body is longer than was asked for.
var errTooLong = errors.New("the body is too long")

// exchange sends one request and reads the answer, its body up to most bytes. sent says that some of the request may have
// left, also where there is no answer.
func (c *client) exchange(ctx context.Context, m message, most int64) (a answer, sent bool, err error) {
	if c.conn != nil && (c.in.Buffered() > 0 || gone(c.conn)) {
		c.close()
	}
	if c.conn == nil {
		var d net.Dialer
		if c.conn, err = d.DialContext(ctx, "tcp", c.addr); err != nil {
			c.conn = nil
			return a, false, workload.Concise(err)
		}
		c.in = bufio.NewReader(c.conn)
	}
	if err := ctx.Err(); err != nil {
		return a, false, err
	}
	conn := c.conn
	if err := conn.SetDeadline(time.Time{}); err != nil {
		c.close()
		return a, false, workload.Concise(err)
	}
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) }) // a closed connection needs none
	defer stop()
	if n, err := conn.Write(m.raw); err != nil {
		c.close()
		return a, n > 0, workload.Concise(err)
	}
	resp, err := c.head(m.method)
	if err != nil {
		c.close()
		return a, true, noAnswer(ctx, err)
	}
	a = answer{status: resp.StatusCode, html: strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")}
	a.body, a.broken = io.ReadAll(io.LimitReader(resp.Body, most+1))
	if int64(len(a.body)) > most {
		a.body, a.broken = a.body[:most], errTooLong
	}
	if a.broken != nil || resp.Close || !stop() {
		c.close() // before the body: closing that one would read on to its end
	}
	_ = resp.Body.Close()
	return a, true, nil
}

// head reads the head of the final answer to a request.
func (c *client) head(method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
}

// noAnswer says why there is none. net/http calls a head that breaks off malformed, whatever broke it off.
func noAnswer(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("await the answer: %w", ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed without an answer")
	}
	return workload.Concise(err)
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // what it still carries is lost, and known to be
		c.conn = nil
	}
}
