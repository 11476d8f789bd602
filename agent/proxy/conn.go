package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// conn is one connection through a link: two sockets, two directions.
type conn struct {
	l      *Link
	a      *Attachment // that it came through; nil: adopted
	id     uint64      // by order of acceptance, for the draws of toxicity
	client *net.TCPConn
	server *net.TCPConn // nil while it is being dialled
	dirs   [2]*direction

	once   sync.Once
	closed chan struct{} // closed by abort and shut
}

// back returns the other direction.
func (c *conn) back(d *direction) *direction { return c.dirs[1-d.dir] }

// abort ends the connection with a RST to both sides. It reports whether it did: a connection ends once.
func (c *conn) abort() bool {
	return c.end(func(s *net.TCPConn) {
		_ = s.SetLinger(0)
		_ = s.Close()
	})
}

// shut ends the connection with a FIN to both sides, and reports whether it did.
func (c *conn) shut() bool { return c.end(hangUp) }

func (c *conn) end(how func(*net.TCPConn)) (did bool) {
	c.once.Do(func() {
		did = true
		c.l.mu.Lock()
		client, server := c.client, c.server
		close(c.closed)
		c.l.mu.Unlock()
		how(client)
		if server != nil {
			how(server)
		}
	})
	return did
}

// serve dials the destination that client asked for, and moves bytes until both sides have ended.
func (l *Link) serve(a *Attachment, client *net.TCPConn) {
	c, err := l.register(a, client)
	if err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	defer l.forget(c)
	l.dialling.Add(1)
	server, err := l.dial(c)
	l.dialling.Add(-1)
	if err != nil {
		l.dialFailed.Add(1) // one that was given up too: it may have reached the server
		select {
		case <-c.closed: // by the link, meanwhile: the server, if it answered, learns it from join
			return
		default:
		}
		how := l.opts.OnDialError(err)
		l.closedBy("dial", "dial", how.String())
		if how == FIN {
			c.shut()
		}
		c.abort()
		return
	}
	l.dialled.Add(1)
	l.join(c, server)
}

// dial connects to the original destination, unless the connection is closed meanwhile.
func (l *Link) dial(c *conn) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-c.closed:
			cancel()
		case <-done:
		}
	}()
	to, err := c.a.network.Original(c.client)
	if err != nil {
		return nil, err
	}
	return c.a.network.Dial(ctx, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
}

// join connects the two sockets of c and returns when both are closed.
func (l *Link) join(c *conn, server *net.TCPConn) {
	if err := l.start(c, server); err != nil {
		hangUp(server)
		c.abort()
		return
	}
	var both sync.WaitGroup
	for _, d := range c.dirs {
		both.Go(d.run)
	}
	both.Wait()
	for _, d := range c.dirs {
		if d.dstGone.Load() {
			c.abort()
		}
	}
	c.end(func(s *net.TCPConn) { _ = s.Close() })
}

// register makes a conn that Close and SetEnabled know of. a is nil for one that is adopted.
func (l *Link) register(a *Attachment, client *net.TCPConn) (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || !l.enabled || a != nil && a.closed {
		return nil, net.ErrClosed
	}
	l.nextID++
	c := &conn{l: l, a: a, id: l.nextID, client: client, closed: make(chan struct{})}
	l.conns[c] = struct{}{}
	l.work.Add(1) // until forget; here, so that Close waits for it
	if a != nil {
		a.conns[c] = struct{}{}
	}
	return c, nil
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
// either both in place, or none.
func (l *Link) start(c *conn, server *net.TCPConn) error {
	var dirs [2]*direction
	var err error
	if dirs[stream.Upstream], err = newDirection(c, stream.Upstream, c.client, server); err != nil {
		return err
	}
	if dirs[stream.Downstream], err = newDirection(c, stream.Downstream, server, c.client); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	for _, t := range l.toxics {
		dirs[t.dir].add(t)
	}
	c.server, c.dirs = server, dirs
	return nil
}
