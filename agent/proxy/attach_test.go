package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/discompose/discompose/agent/proxy"
)

// canceled is a context that has ended.
func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func (r *rig) attach() *proxy.Attachment {
	r.t.Helper()
	a, err := r.link.Attach(r.t.Context(), loopback{to: addr(r.server.Addr())})
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// echo sends a few bytes from a to b.
func (r *rig) echo(a, b *net.TCPConn) {
	r.t.Helper()
	if _, err := a.Write([]byte("ping")); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, 4)); err != nil {
		r.t.Fatal(err)
	}
}

func refused(t *testing.T, at netip.AddrPort) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp4", at.String())
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to %v gave %v, want ECONNREFUSED", at, err)
	}
}

func TestAttachmentsComeAndGo(t *testing.T) {
	r := newRig(t, proxy.Options{Network: nothing{}})
	one, two := r.attach(), r.attach()
	if n := r.link.Snapshot().Clients; n != 3 { // with the rig's own
		t.Errorf("%d clients, want 3", n)
	}
	c1, s1 := r.through(one)
	c2, s2 := r.through(two)
	closed := make(chan error, 1)
	go func() { closed <- one.Close(t.Context()) }()
	r.eventually("the attachment is gone", func() bool { return r.link.Snapshot().Clients == 2 })
	refused(t, one.Addrs()[0])
	for range 3 { // its connection lives, and so does the other attachment
		r.echo(c1, s1)
		r.echo(s2, c2)
	}
	r.add(toxicOf("slow_close", "upstream", nil))
	if n := r.link.Snapshot().Upstream.Chained; n != 2 {
		t.Errorf("a toxic reached %d connections, want those of both attachments", n)
	}
	r.remove("slow_close_upstream")
	select {
	case err := <-closed:
		t.Errorf("closing did not wait for the connection: %v", err)
	default:
	}
	c1.Close()
	s1.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Errorf("closing again: %v", err)
	}
	r.echo(c2, s2)
	if err := two.Close(canceled(t)); err != nil {
		t.Error(err)
	}
	if _, err := c2.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after Close with an ended context the client got %v, want EOF", err)
	}
	r.eventually("no connection is left", func() bool { return r.link.Snapshot().Open == 0 })
	if got := r.link.Snapshot().Closed; len(got) != 1 || got[0] != (proxy.Closed{By: "close", Type: "close", How: "fin", Count: 1}) {
		t.Errorf("closed by the link: %+v", got)
	}
}

func TestNewAttachmentHasTheLinksState(t *testing.T) {
	r := newRig(t, proxy.Options{Network: nothing{}})
	if err := r.link.SetEnabled(false); err != nil {
		t.Fatal(err)
	}
	a := r.attach()
	refused(t, a.Addrs()[0])
	r.add(toxicOf("latency", "downstream", map[string]any{"latency": 1}))
	if err := r.link.SetEnabled(true); err != nil {
		t.Fatal(err)
	}
	b := r.attach()
	for _, x := range []*proxy.Attachment{a, b} {
		client, server := r.through(x)
		r.echo(server, client)
	}
	r.eventually("the toxic has acted on both from their first byte", func() bool {
		s := r.link.Snapshot().Downstream
		return s.Chained == 2 && s.Samples == 2
	})
}

func TestAttachmentsAskTheirOwnNetwork(t *testing.T) {
	r, other := newRig(t, proxy.Options{Network: nothing{}}), newRig(t, proxy.Options{})
	a := r.attach()
	b, err := r.link.Attach(t.Context(), loopback{to: addr(other.server.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	client, server := r.through(a)
	r.echo(client, server)
	r.server, other.server = other.server, r.server
	client, server = r.through(b)
	r.echo(client, server)
	r.server, other.server = other.server, r.server
}

func TestClosedLinkTakesNoAttachment(t *testing.T) {
	r := newRig(t, proxy.Options{Network: nothing{}})
	a := r.attach()
	if err := r.link.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, a.Addrs()[0])
	n := &counted{loopback: loopback{to: addr(r.server.Addr())}}
	if _, err := r.link.Attach(t.Context(), n); !errors.Is(err, net.ErrClosed) {
		t.Errorf("attaching to a closed link: %v", err)
	}
	refused(t, addr(n.opened.Addr()))
}

// counted remembers the listener that it opened.
type counted struct {
	loopback
	opened *net.TCPListener
}

func (n *counted) Listen(ctx context.Context) ([]*net.TCPListener, error) {
	ls, err := n.loopback.Listen(ctx)
	if err == nil {
		n.opened = ls[0]
	}
	return ls, err
}

// nothing is a Network without listeners.
type nothing struct{ loopback }

func (nothing) Listen(context.Context) ([]*net.TCPListener, error) { return nil, nil }

func TestLinksShareMovers(t *testing.T) {
	movers, err := proxy.NewMovers()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(movers.Close) // after the links
	one, two := newRig(t, proxy.Options{Movers: movers}), newRig(t, proxy.Options{Movers: movers})
	client, server := one.connect()
	for range 10 { // on every mover
		two.echo(two.connect())
	}
	one.echo(client, server)
	if err := two.link.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	one.echo(server, client)
	client, server = one.connect()
	one.echo(client, server)
}
