package proxy_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/discompose/discompose/agent/proxy"
)

// hanging is a Network whose dials wait for answer.
type hanging struct {
	loopback
	answer chan struct{}
}

func (n hanging) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	select {
	case <-n.answer:
		return n.loopback.Dial(ctx, to)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hangingRig has a client that is connected to a link whose server has not answered.
func hangingRig(t *testing.T) (*rig, *net.TCPConn, chan struct{}) {
	t.Helper()
	answer := make(chan struct{})
	r := newRig(t, proxy.Options{Network: nothing{}})
	a, err := r.link.Attach(t.Context(), hanging{loopback{to: addr(r.server.Addr())}, answer})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(a.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	if _, err := c.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	r.eventually("the link dials", func() bool { return r.link.Snapshot().Dialling == 1 })
	return r, c, answer
}

func TestClientThatGivesUpEndsTheDial(t *testing.T) {
	for name, giveUp := range map[string]func(*net.TCPConn){
		"by a reset": func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			c.Close()
		},
		"by closing its socket": func(c *net.TCPConn) { c.Close() },
		"by closing its socket after a half-close": func(c *net.TCPConn) {
			_ = c.CloseWrite()
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, c, _ := hangingRig(t)
			giveUp(c)
			r.eventually("the dial has ended", func() bool { s := r.link.Snapshot(); return s.Dialling == 0 && s.Open == 0 })
			if s := r.link.Snapshot(); s.GaveUp != 1 || s.DialFailed != 1 || s.Dialled != 0 || len(s.Closed) != 0 {
				t.Errorf("it is not counted as given up: %+v", s)
			}
		})
	}
}

func TestHalfCloseDoesNotEndTheDial(t *testing.T) {
	r, c, answer := hangingRig(t)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	// Longer than the link takes to look at the client's socket again.
	for end := time.Now().Add(600 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s := r.link.Snapshot(); s.Dialling != 1 {
			t.Fatalf("the dial has ended: %+v", s)
		}
	}
	close(answer)
	_ = r.server.SetDeadline(time.Now().Add(patience))
	s, err := r.server.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := io.ReadAll(s); string(got) != "request" || err != nil {
		t.Errorf("the server got %q, %v", got, err)
	}
	if _, err := s.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
}
