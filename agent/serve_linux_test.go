package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent"
)

// duty is an agent under test: what it did, in order, and when.
type duty struct {
	conn  *agent.Conn
	did   []string
	err   error
	start time.Time
	ended chan struct{}
	term  context.CancelFunc
	drop  func() // the stream ends as it does when the runner is killed
}

// serve runs an agent inside a synctest bubble. Its journal, heal and clean only note that they ran.
func serve(t *testing.T, o agent.ServeOptions) *duty {
	t.Helper()
	requests, toAgent := io.Pipe()
	answers, toConn := io.Pipe()
	d := &duty{ended: make(chan struct{}), start: time.Now(), drop: func() { toAgent.Close() }}
	o.OnJournal = func(line json.RawMessage) error {
		if string(line) == `"bad"` {
			return errors.New("disk full")
		}
		d.did = append(d.did, "journal "+string(line))
		return nil
	}
	o.Heal = func(ctx context.Context) error {
		if ctx.Err() != nil {
			t.Error("heal got a context that has ended")
		}
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("heal has no deadline")
		}
		d.did = append(d.did, "heal")
		return errors.New("one is stuck")
	}
	o.Clean = func(context.Context) error { d.did = append(d.did, "clean"); return nil }
	ctx, term := context.WithCancel(t.Context())
	d.term = term
	go func() {
		d.err = agent.ServeAgent(ctx, requests, toConn, o)
		toConn.Close() // the process exits
		requests.Close()
		close(d.ended)
	}()
	d.conn = agent.NewConn(answers, toAgent, nil)
	return d
}

func (d *duty) call(t *testing.T, op string, args any) {
	t.Helper()
	if err := d.conn.Call(t.Context(), op, args, nil); err != nil {
		t.Error(err)
	}
}

// over waits for the agent's end and checks what it did and after how long.
func (d *duty) over(t *testing.T, after time.Duration, want ...string) {
	t.Helper()
	<-d.ended
	took := time.Since(d.start)
	d.term()
	d.drop()
	<-d.conn.Done()
	if diff := cmp.Diff(want, d.did); diff != "" {
		t.Errorf("what the agent did (-want +got):\n%s", diff)
	}
	if took != after {
		t.Errorf("it ended after %v, want %v", took, after)
	}
	if healed := strings.Contains(strings.Join(want, " "), "heal"); healed != (d.err != nil && strings.Contains(d.err.Error(), "one is stuck")) {
		t.Errorf("ServeAgent returned %v", d.err)
	}
}

func TestLeaseExpiresWhenRenewalStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, agent.ServeOptions{})
		d.call(t, agent.OpHello, agent.Hello{Run: "r"})
		d.call(t, agent.OpJournal, agent.Journal{Entry: json.RawMessage(`"a"`)})
		for range 30 { // well beyond one lease
			time.Sleep(time.Second)
			d.call(t, agent.OpRenew, nil)
		}
		pinged := make(chan struct{})
		go func() { // pings do not renew
			defer close(pinged)
			for d.conn.Call(t.Context(), agent.OpPing, nil, nil) == nil {
				time.Sleep(time.Second)
			}
		}()
		d.over(t, 40*time.Second, `journal "a"`, "heal", "clean")
		<-pinged
		if !errors.Is(d.conn.Err(), agent.ErrLost) {
			t.Errorf("the runner sees %v, want ErrLost", d.conn.Err())
		}
	})
}

func TestHelloSetsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, agent.ServeOptions{Lease: time.Hour})
		d.call(t, agent.OpHello, agent.Hello{Run: "r", LeaseMs: 2500})
		d.over(t, 2500*time.Millisecond, "heal", "clean")
	})
}

func TestEndOfStreamHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, agent.ServeOptions{})
		d.call(t, agent.OpHello, agent.Hello{Run: "r"})
		d.drop()
		d.over(t, 0, "heal", "clean")
	})
}

func TestTerminationHealsWithALivingContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, agent.ServeOptions{})
		d.call(t, agent.OpHello, agent.Hello{Run: "r"})
		d.term()
		d.over(t, 0, "heal", "clean")
	})
}

func TestGoodByeEndsWithoutHealing(t *testing.T) {
	t.Run("with the stream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := serve(t, agent.ServeOptions{})
			d.call(t, agent.OpHello, agent.Hello{Run: "r"})
			d.call(t, agent.OpBye, nil)
			if err := d.conn.Call(t.Context(), agent.OpJournal, agent.Journal{}, nil); err == nil {
				t.Error("a journal entry was taken after good-bye: nobody would undo it")
			}
			d.conn.Close()
			d.over(t, 0)
		})
	})
	t.Run("by itself where the stream stays", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := serve(t, agent.ServeOptions{})
			d.call(t, agent.OpHello, agent.Hello{Run: "r"})
			d.call(t, agent.OpBye, nil)
			d.over(t, time.Second)
		})
	})
}

func TestWithoutHelloNothingIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, agent.ServeOptions{})
		for op, args := range map[string]any{
			agent.OpJournal: agent.Journal{Entry: json.RawMessage(`"a"`)},
			agent.OpSignal:  agent.Signal{Container: strings.Repeat("a", 64), PID: 2, Signal: "SIGKILL"},
		} {
			if err := d.conn.Call(t.Context(), op, args, nil); err == nil || !strings.Contains(err.Error(), "hello") {
				t.Errorf("%s: %v, want a refusal", op, err)
			}
		}
		if err := d.conn.Call(t.Context(), agent.OpHello, agent.Hello{}, nil); err == nil {
			t.Error("a hello without a run was taken")
		}
		d.over(t, agent.DefaultLease)
	})
}

func TestRefusedJournalEntryIsNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, agent.ServeOptions{})
		d.call(t, agent.OpHello, agent.Hello{Run: "r"})
		err := d.conn.Call(t.Context(), agent.OpJournal, agent.Journal{Entry: json.RawMessage(`"bad"`)}, nil)
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("got %v", err)
		}
		d.call(t, agent.OpBye, nil)
		d.conn.Close()
		d.over(t, 0)
	})
}
