package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/discompose/discompose/agent"
)

// The operations of a client.
type (
	dial struct {
		Addr    string
		Timeout time.Duration
	}
	dialled struct {
		ID  int
		Err string
	}
	ask struct {
		ID      int
		Line    string
		Timeout time.Duration
	}
	asked struct{ Answer, Err string }
	bulk  struct {
		Addr  string
		Conns int
	}
	bulked struct {
		Bytes int64
		Errs  []string
	}
)

// holder has the connections that the test opened.
type holder struct {
	mu    sync.Mutex
	last  int
	conns map[int]net.Conn

	stop  chan struct{}
	moved atomic.Int64
	work  sync.WaitGroup
	errs  []string
}

func serveClient(ctx context.Context) error {
	h := &holder{conns: map[int]net.Conn{}}
	return agent.Serve(ctx, os.Stdin, os.Stdout, agent.Handler{
		"dial": op(h.dial), "ask": op(h.ask), "close": op(h.close),
		"bulk": op(h.bulk), "moved": op(func(struct{}) (any, error) { return h.moved.Load(), nil }), "stop": op(h.end),
	})
}

func op[A any](f func(A) (any, error)) agent.Op {
	return func(_ context.Context, raw json.RawMessage) (any, error) {
		var a A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, err
			}
		}
		return f(a)
	}
}

func (h *holder) dial(d dial) (any, error) {
	c, err := net.DialTimeout("tcp", d.Addr, d.Timeout)
	if err != nil {
		return dialled{Err: name(err)}, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.conns[h.last] = c
	return dialled{ID: h.last}, nil
}

func (h *holder) take(id int) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns[id]
}

func (h *holder) ask(a ask) (any, error) {
	c := h.take(a.ID)
	if c == nil {
		return nil, fmt.Errorf("no connection %d", a.ID)
	}
	if err := c.SetDeadline(time.Now().Add(a.Timeout)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(c, a.Line); err != nil {
		return asked{Err: name(err)}, nil
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return asked{Answer: string(bytes.TrimSpace([]byte(line))), Err: name(err)}, nil
}

func (h *holder) close(id int) (any, error) {
	c := h.take(id)
	if c == nil {
		return nil, fmt.Errorf("no connection %d", id)
	}
	return nil, c.Close()
}

// bulk opens connections and sends through each, again and again, bytes that must come back as they are.
func (h *holder) bulk(b bulk) (any, error) {
	h.stop = make(chan struct{})
	for i := range b.Conns {
		c, err := net.DialTimeout("tcp", b.Addr, 20*time.Second)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintln(c, "echo"); err != nil {
			return nil, err
		}
		h.work.Go(func() {
			if err := h.echo(c, rand.New(rand.NewPCG(1, uint64(i)))); err != nil {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.errs = append(h.errs, fmt.Sprintf("connection %d: %v", i, err))
			}
		})
	}
	return nil, nil
}

func (h *holder) echo(c net.Conn, draw *rand.Rand) error {
	defer c.Close()
	const most = 32 << 10
	sent, back := make([]byte, most), make([]byte, most)
	for {
		select {
		case <-h.stop:
			return nil
		default:
		}
		n := 1 + draw.IntN(most)
		for i := range n {
			sent[i] = byte(draw.Uint32())
		}
		wrote := make(chan error, 1)
		go func() { _, err := c.Write(sent[:n]); wrote <- err }()
		_, rerr := io.ReadFull(c, back[:n])
		if err := errors.Join(rerr, <-wrote); err != nil {
			return err
		}
		if !bytes.Equal(sent[:n], back[:n]) {
			return errors.New("other bytes came back")
		}
		h.moved.Add(int64(n))
	}
}

func (h *holder) end(struct{}) (any, error) {
	close(h.stop)
	h.work.Wait()
	return bulked{h.moved.Load(), h.errs}, nil
}
