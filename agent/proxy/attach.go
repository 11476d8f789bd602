package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Attachment is what a link has in one network namespace: its listeners there, and the connections that came through
// them. Make it with Link.Attach; Close ends it, and so does the link's Close.
type Attachment struct {
	l         *Link
	network   Network
	listeners []*net.TCPListener

	// Guarded by l.mu.
	conns  map[*conn]struct{}
	closed bool
	fewer  signal // conns
}

// Attach opens the link's listeners in n and serves them until the attachment or the link is closed; ctx bounds only the
// call itself. A new attachment has the link's state at once: it refuses connections while the link is disabled, and its
// connections have the link's toxics from their first byte. The error is that of n.Listen, or wraps net.ErrClosed when the
// link is closed.
func (l *Link) Attach(ctx context.Context, n Network) (*Attachment, error) {
	ls, err := n.Listen(ctx)
	if err != nil {
		return nil, fmt.Errorf("attach link %s: %w", l.opts.Name, err)
	}
	a := &Attachment{l: l, network: n, listeners: ls, conns: map[*conn]struct{}{}}
	if err := l.attach(a); err != nil { //nolint:contextcheck // what it serves outlives this call
		a.closeListeners()
		return nil, fmt.Errorf("attach link %s: %w", l.opts.Name, err)
	}
	return a, nil
}

func (l *Link) attach(a *Attachment) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	if !l.Enabled() {
		if err := a.setEnabled(false); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return net.ErrClosed
	}
	l.attached = append(l.attached, a)
	for _, x := range a.listeners {
		l.work.Go(func() { l.accept(a, x) })
	}
	return nil
}

// Addrs returns the addresses of the attachment's listeners.
func (a *Attachment) Addrs() []netip.AddrPort {
	out := make([]netip.AddrPort, 0, len(a.listeners))
	for _, x := range a.listeners {
		if at, ok := x.Addr().(*net.TCPAddr); ok {
			out = append(out, at.AddrPort())
		}
	}
	return out
}

// Close closes the attachment's listeners at once, and waits for its connections. Those that are left when ctx ends are
// closed with a FIN to both sides, and counted as closed by "close"; that is not an error. Closing again does the same with
// what is left. The error is always nil so far.
func (a *Attachment) Close(ctx context.Context) error {
	a.detach()
	for {
		fewer := a.fewer.wait()
		left := a.connections()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-fewer:
		case <-ctx.Done():
			a.l.hangUpAll(left, "close")
			return nil
		}
	}
}

// setEnabled needs l.changing. A listener that is being closed meanwhile is nobody's error.
func (a *Attachment) setEnabled(on bool) error {
	set := refuse
	if on {
		set = listenAgain
	}
	var errs []error
	for _, x := range a.listeners {
		if err := set(x); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("listener %v: %w", x.Addr(), err))
		}
	}
	return errors.Join(errs...)
}

// detach makes the link forget the attachment, and closes its listeners.
func (a *Attachment) detach() {
	l := a.l
	l.mu.Lock()
	a.closed = true
	l.attached = slices.DeleteFunc(l.attached, func(x *Attachment) bool { return x == a })
	l.mu.Unlock()
	a.closeListeners()
	l.resume.broadcast()
}

func (a *Attachment) closeListeners() {
	for _, x := range a.listeners {
		_ = x.Close()
	}
}

func (a *Attachment) connections() []*conn {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	out := make([]*conn, 0, len(a.conns))
	for c := range a.conns {
		out = append(out, c)
	}
	return out
}

// accept serves one listener.
func (l *Link) accept(a *Attachment, x *net.TCPListener) {
	for {
		c, err := x.AcceptTCP()
		if err == nil {
			l.accepted.Add(1)
			l.work.Go(func() { l.serve(a, c) })
			continue
		}
		resume := l.resume.wait()
		l.mu.Lock()
		closing, enabled := l.closing || a.closed, l.enabled
		l.mu.Unlock()
		if closing {
			return
		}
		var retry <-chan time.Time
		if enabled { // out of descriptors, say
			l.opts.Log.Warn("accept", "link", l.opts.Name, "err", err)
			retry = time.After(20 * time.Millisecond)
		}
		select {
		case <-retry:
		case <-resume:
		case <-l.ctx.Done():
			return
		}
	}
}
