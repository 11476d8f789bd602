package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent"
)

// stream joins a Conn and a Server by pipes. served holds what Serve returned.
type stream struct {
	conn   *agent.Conn
	server *agent.Server
	served chan error
	toConn *io.PipeWriter // closing it ends the runner's input, as a dead container does
}

func connect(t *testing.T, h agent.Handler, onEvent func(agent.Event)) *stream {
	t.Helper()
	requests, toServer := io.Pipe()
	answers, toConn := io.Pipe()
	s := &stream{server: agent.NewServer(toConn), served: make(chan error, 1), toConn: toConn}
	go func() {
		s.served <- s.server.Serve(t.Context(), requests, h)
		toConn.Close()
		requests.Close()
	}()
	s.conn = agent.NewConn(answers, toServer, onEvent)
	t.Cleanup(func() {
		s.conn.Close()
		<-s.conn.Done()
	})
	return s
}

func echo(_ context.Context, args json.RawMessage) (any, error) { return args, nil }

func TestConcurrentCallsGetTheirOwnAnswers(t *testing.T) {
	s := connect(t, agent.Handler{"echo": echo}, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			var got string
			want := strings.Repeat(fmt.Sprint(i), 1+i*20)
			if err := s.conn.Call(t.Context(), "echo", want, &got); err != nil || got != want {
				t.Errorf("call %d: %.20q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestASlowOperationDoesNotHoldUpOthers(t *testing.T) {
	release := make(chan struct{})
	s := connect(t, agent.Handler{
		"echo": echo,
		"slow": func(context.Context, json.RawMessage) (any, error) { <-release; return "done", nil },
	}, nil)
	slow := make(chan error, 1)
	go func() { slow <- s.conn.Call(t.Context(), "slow", nil, nil) }()
	for range 10 {
		if err := s.conn.Call(t.Context(), "echo", 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestCancelledCallReturnsAndCancelsTheOperation(t *testing.T) {
	started, cancelled, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := connect(t, agent.Handler{
		"echo": echo,
		"wait": func(ctx context.Context, _ json.RawMessage) (any, error) {
			close(started)
			<-ctx.Done()
			close(cancelled)
			<-release // it answers long after the caller has gone
			return nil, ctx.Err()
		},
	}, nil)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-started; cancel(cause) }()
	if err := s.conn.Call(ctx, "wait", nil, nil); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	<-cancelled
	close(release)
	if err := s.conn.Call(t.Context(), "echo", 1, nil); err != nil {
		t.Errorf("the stream is of no more use: %v", err)
	}
}

func TestCallGivesUpWhenTheOtherSideDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, toConn := io.Pipe()
		requests, toServer := io.Pipe()
		conn := agent.NewConn(answers, toServer, nil)
		big := strings.Repeat("x", 3<<20) // the first is being written, the second fills the buffer, others wait for room
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := conn.Call(ctx, "stuck", big, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
			cancel()
		}
		requests.Close()
		toConn.Close()
		<-conn.Done()
	})
}

func TestEventsComeInOrderAndBeforeTheAnswerThatFollows(t *testing.T) {
	type record struct{ N, Pad int }
	var got []agent.Event
	var s *stream
	big := strings.Repeat("€", 5<<20)
	s = connect(t, agent.Handler{"emit": func(context.Context, json.RawMessage) (any, error) {
		for i := range 1000 {
			if err := s.server.Emit("op", record{N: i}); err != nil {
				return nil, err
			}
		}
		return nil, errors.Join(s.server.Emit("big", big), s.server.Emit("big", big))
	}}, func(e agent.Event) { got = append(got, e) })
	if err := s.conn.Call(t.Context(), "emit", nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1002 {
		t.Fatalf("%d events came, want 1002", len(got))
	}
	for i, e := range got[:1000] {
		if want := fmt.Sprintf(`{"N":%d,"Pad":0}`, i); e.Name != "op" || string(e.Data) != want {
			t.Fatalf("event %d is %s %s, want op %s", i, e.Name, e.Data, want)
		}
	}
	for _, e := range got[1000:] {
		var text string
		if err := json.Unmarshal(e.Data, &text); err != nil || text != big {
			t.Errorf("a big event came damaged (%v)", err)
		}
	}
}

func TestEmitRefusesANameThatBreaksTheLine(t *testing.T) {
	var out bytes.Buffer
	for _, name := range []string{`a"b`, `a\b`, "a\nb"} {
		if err := agent.NewServer(&out).Emit(name, 1); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestRemoteErrorsKeepTheirMeaning(t *testing.T) {
	s := connect(t, agent.Handler{
		"gone": func(context.Context, json.RawMessage) (any, error) { return nil, fmt.Errorf("%w abc", agent.ErrGone) },
		"busy": func(context.Context, json.RawMessage) (any, error) {
			return nil, fmt.Errorf("write: %w", syscall.EBUSY)
		},
		"panic": func(context.Context, json.RawMessage) (any, error) { panic("oops") },
		"plain": func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("two\nlines") },
	}, nil)
	for _, c := range []struct {
		op   string
		is   error
		text string
	}{
		{"gone", agent.ErrGone, "gone: no such container abc"},
		{"busy", syscall.EBUSY, "busy: write: device or resource busy"},
		{"none", agent.ErrUnknownOp, `none: unknown operation "none"`},
		{"panic", nil, "panic: panic: oops"},
		{"plain", nil, "plain: two\nlines"},
	} {
		err := s.conn.Call(t.Context(), c.op, nil, nil)
		if err == nil || !strings.HasPrefix(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %s", c.op, err, c.text)
		}
		for _, target := range []error{agent.ErrGone, syscall.EBUSY, agent.ErrUnknownOp, agent.ErrNotRunning, agent.ErrLost} {
			if got, want := errors.Is(err, target), target == c.is; got != want { //nolint:errorlint // the very error that the table names
				t.Errorf("%s: errors.Is(%v) is %v, want %v", c.op, target, got, want)
			}
		}
	}
}

func TestEndOfStreamFailsWaitingAndLaterCalls(t *testing.T) {
	started := make(chan struct{})
	s := connect(t, agent.Handler{"wait": func(ctx context.Context, _ json.RawMessage) (any, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, nil)
	go func() { <-started; s.toConn.Close() }()
	if err := s.conn.Call(t.Context(), "wait", nil, nil); !errors.Is(err, agent.ErrLost) {
		t.Errorf("waiting call: %v, want ErrLost", err)
	}
	<-s.conn.Done()
	if err := s.conn.Call(t.Context(), "wait", nil, nil); !errors.Is(err, agent.ErrLost) {
		t.Errorf("later call: %v, want ErrLost", err)
	}
	if !errors.Is(s.conn.Err(), agent.ErrLost) {
		t.Errorf("Err is %v, want ErrLost", s.conn.Err())
	}
}

func TestCloseSendsWhatIsAskedAndEndsInOrder(t *testing.T) {
	s := connect(t, agent.Handler{"echo": echo}, nil)
	if err := s.conn.Call(t.Context(), "echo", 1, nil); err != nil {
		t.Fatal(err)
	}
	if s.conn.Err() != nil {
		t.Errorf("open stream: %v", s.conn.Err())
	}
	s.conn.Close()
	<-s.conn.Done()
	if err := <-s.served; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
	if s.conn.Err() != nil {
		t.Errorf("after Close: %v", s.conn.Err())
	}
	if err := s.conn.Call(t.Context(), "echo", 1, nil); !errors.Is(err, agent.ErrLost) {
		t.Errorf("call after Close: %v, want ErrLost", err)
	}
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

func TestGarbageEndsTheStreamAndIsNamed(t *testing.T) {
	for _, garbage := range []string{"hello\n", "{}\n", "{\"event\":\"op\"}\n", "\n"} {
		conn := agent.NewConn(strings.NewReader(garbage), discard{io.Discard}, nil)
		<-conn.Done()
		if err := conn.Err(); !errors.Is(err, agent.ErrLost) || !strings.Contains(err.Error(), "unreadable line") {
			t.Errorf("runner, %q: %v, want an unreadable line", garbage, err)
		}
		err := agent.Serve(t.Context(), strings.NewReader(garbage), io.Discard, nil)
		if err == nil || !strings.Contains(err.Error(), "unreadable request") {
			t.Errorf("server, %q: %v, want an unreadable request", garbage, err)
		}
	}
}

func TestACutLineIsNotDelivered(t *testing.T) {
	var got []string
	conn := agent.NewConn(strings.NewReader("{\"event\":\"op\",\"data\":1}\n{\"event\":\"op\",\"data\":22}"), discard{io.Discard},
		func(e agent.Event) { got = append(got, string(e.Data)) })
	<-conn.Done()
	if diff := cmp.Diff([]string{"1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestServeEndsThoughAnOperationDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		in := strings.NewReader(`{"id":1,"op":"stuck"}` + "\n")
		start := time.Now()
		err := agent.Serve(t.Context(), in, io.Discard, agent.Handler{"stuck": func(context.Context, json.RawMessage) (any, error) {
			<-release
			return nil, nil //nolint:nilnil // no answer
		}})
		if err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("Serve ended with %v after %v, want nil within 2 s", err, time.Since(start))
		}
		close(release)
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	in, w := io.Pipe()
	cause := errors.New("terminated")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := agent.Serve(ctx, in, io.Discard, nil); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	w.Close()
}
