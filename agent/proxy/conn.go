package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// conn is one connection through a link: two sockets, two directions.
type conn struct {
	l      *Link
	a      *Attachment // that it came through; nil: adopted
	id     uint64      // by order of acceptance, for the draws of toxicity
	m      *mover
	client *sock
	server *sock         // nil while it is being dialled
	dirs   [2]*direction // the same
	left   atomic.Int32  // directions that have not ended
	cancel context.CancelFunc

	once   sync.Once
	closed chan struct{} // closed by abort and shut
}

// back returns the other direction.
func (c *conn) back(d *direction) *direction { return c.dirs[1-d.dir] }

// abort ends the connection with a RST to both sides. It reports whether it did: a connection ends once.
func (c *conn) abort() bool { return c.end((*sock).reset) }

// shut ends the connection with a FIN to both sides, and reports whether it did.
func (c *conn) shut() bool { return c.end((*sock).hangUp) }

func (c *conn) end(how func(*sock)) (did bool) {
	c.once.Do(func() {
		did = true
		c.l.mu.Lock()
		client, server, dirs := c.client, c.server, c.dirs
		close(c.closed)
		c.l.mu.Unlock()
		c.cancel()
		how(client)
		if server == nil {
			return
		}
		how(server)
		for _, d := range dirs {
			c.m.post(d)
		}
	})
	return did
}

// newConn makes a connection of a socket, which it owns from now on even after an error. Close and SetEnabled know of it.
func (l *Link) newConn(a *Attachment, client *net.TCPConn, cancel context.CancelFunc, onHangup func(*sock, bool)) (*conn, error) {
	c := &conn{l: l, a: a, m: l.movers.pick(), cancel: cancel, closed: make(chan struct{})}
	var err error
	if c.client, err = newSock(c.m, client, onHangup); err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return nil, err
	}
	if err := l.register(c); err != nil {
		c.client.reset()
		return nil, err
	}
	return c, nil
}

// serve dials the destination that client asked for, and has bytes moved.
func (l *Link) serve(a *Attachment, client *net.TCPConn) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	to, err := a.network.Original(client)
	w := newClientWatch(client, to, cancel)
	c, cerr := l.newConn(a, client, cancel, w.hungUp)
	if cerr != nil {
		return
	}
	// It is counted as one of the three all the time: a server may have seen it from now on.
	l.dialling.Add(1)
	counted := func(as *atomic.Int64) {
		as.Add(1)
		l.dialling.Add(-1)
	}
	var server *net.TCPConn
	if err == nil {
		server, err = a.network.Dial(ctx, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
	}
	gaveUp := w.end()
	if err == nil {
		counted(&l.dialled)
		l.join(c, server)
		return
	}
	defer l.forget(c)
	counted(&l.dialFailed) // one that was given up too: it may have reached the server
	select {
	case <-c.closed: // by the link, meanwhile
		return
	default:
	}
	if gaveUp {
		l.gaveUp.Add(1)
		c.abort()
		return
	}
	how := l.opts.OnDialError(err)
	l.closedBy("dial", "dial", how.String())
	if how == FIN {
		c.shut()
	}
	c.abort()
}

// join connects the two sockets of c. It owns server.
func (l *Link) join(c *conn, server *net.TCPConn) {
	s, err := newSock(c.m, server, nil)
	if err != nil {
		_ = server.Close()
		c.abort()
		l.forget(c)
		return
	}
	if !l.start(c, s) {
		s.hangUp()
		c.abort()
		l.forget(c)
		return
	}
	for _, d := range c.dirs {
		d.start()
	}
}

// oneLess notes that one direction has ended. After the other one too, nothing is left of the connection.
func (c *conn) oneLess() {
	if c.left.Add(-1) > 0 {
		return
	}
	for _, d := range c.dirs {
		if d.dstGone.Load() {
			c.abort()
		}
	}
	c.end((*sock).close)
	c.l.forget(c)
}

// register makes c known to Close and SetEnabled.
func (l *Link) register(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || !l.enabled || c.a != nil && c.a.closed {
		return net.ErrClosed
	}
	l.nextID++
	c.id = l.nextID
	l.conns[c] = struct{}{}
	l.work.Add(1) // until forget; here, so that Close waits for it
	if c.a != nil {
		c.a.conns[c] = struct{}{}
	}
	return nil
}

func (l *Link) forget(c *conn) {
	defer l.work.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if c.a != nil {
		delete(c.a.conns, c)
		c.a.fewer.broadcast()
	}
}

// start gives c its server and its directions the link's toxics, in one step: a toxic that is added meanwhile finds
// either both in place, or none. It reports false when c is closed.
func (l *Link) start(c *conn, server *sock) bool {
	var dirs [2]*direction
	dirs[stream.Upstream] = newDirection(c, stream.Upstream, c.client, server)
	dirs[stream.Downstream] = newDirection(c, stream.Downstream, server, c.client)
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-c.closed:
		return false
	default:
	}
	for _, t := range l.toxics {
		dirs[t.dir].add(t)
	}
	c.server, c.dirs = server, dirs
	c.left.Store(int32(len(dirs)))
	for _, d := range dirs {
		d.src.from.Store(d)
		d.dst.to.Store(d)
	}
	return true
}
