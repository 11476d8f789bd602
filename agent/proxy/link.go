// Package proxy is the data path of a link: it accepts connections, dials the destination that each client asked for,
// and moves bytes both ways, through Toxiproxy's toxics while the link has any and within the kernel while it has none.
//
// It never drops, doubles or reorders a byte that a toxic is not meant to drop: toxics come and go in mid-stream without
// waiting for a peer. FIN and RST are passed on as what they are. It knows nothing of containers, namespaces or rules:
// the caller supplies the sockets (Network).
//
// Everything exported is safe for concurrent use. The package imports nothing of this module.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// The defaults of Options.
const (
	DefaultWindow  = 2 << 20
	DefaultSliding = 10 * time.Second
)

// Network makes a link's sockets.
type Network interface {
	// Listen opens the link's listeners, one per loopback that exists, each with the package's Listen. The link closes them.
	Listen(ctx context.Context) ([]*net.TCPListener, error)
	// Dial connects to a server. It ends when ctx does.
	Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error)
	// Original returns the destination that the client of an accepted connection asked for.
	Original(accepted *net.TCPConn) (netip.AddrPort, error)
}

// Hangup is how a connection is closed. The zero value is RST.
type Hangup uint8

// The ways to close a connection.
const (
	RST Hangup = iota // reset
	FIN               // closed in good order
)

// String returns "rst" or "fin".
func (h Hangup) String() string {
	if h == FIN {
		return "fin"
	}
	return "rst"
}

// Options describes a link. Nothing is needed.
type Options struct {
	Name     string
	Upstream string        // shown by the API: the destination's name and port
	Network  Network       // attached by Open; nil: none, see Link.Attach
	Seed     uint64        // of the draws of toxicity
	Window   int           // bytes that a connection may hold per direction while a toxic is active; 0: DefaultWindow
	Sliding  time.Duration // the window of residences and rates; 0: DefaultSliding

	Movers *Movers // shared with other links; nil: the link has its own

	// OnDialError says how a client is told that its server cannot be reached; nil: RST.
	OnDialError func(error) Hangup
	Log         *slog.Logger // nil: none
}

// Link is one proxied link, for any number of clients' network namespaces (Attach), which have its toxics, its state and
// its counters in common. Make it with Open; Close ends it.
type Link struct {
	opts   Options
	ctx    context.Context //nolint:containedctx // the link's life
	cancel context.CancelFunc
	end    func()
	movers *Movers
	pipes  pipePool
	flows  [stream.NumDirections]flowStats
	work   sync.WaitGroup

	accepted, dialling, dialled, dialFailed, gaveUp, adopted, passedRST atomic.Int64

	changing sync.Mutex // one change of toxics, of enabled, or of attachments, at a time

	mu       sync.Mutex // guards what follows; held neither across I/O nor while anything is waited for
	toxics   []*toxic   // in the order of their stages
	removed  []*toxic
	attached []*Attachment // in the order of Attach
	conns    map[*conn]struct{}
	nextID   uint64
	enabled  bool
	closing  bool
	hangups  map[Closed]int64 // with Count 0
	resume   signal           // enabled, closing or an attachment changed
}

// Open makes a link, which lives until Close, or until ctx ends. It attaches o.Network, if there is one.
func Open(ctx context.Context, o Options) (*Link, error) {
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.Sliding <= 0 {
		o.Sliding = DefaultSliding
	}
	if o.OnDialError == nil {
		o.OnDialError = func(error) Hangup { return RST }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Link{opts: o, movers: o.Movers, conns: map[*conn]struct{}{}, hangups: map[Closed]int64{}, enabled: true}
	if l.movers == nil {
		var err error
		if l.movers, err = NewMovers(); err != nil {
			return nil, fmt.Errorf("open link %s: %w", o.Name, err)
		}
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.end = sync.OnceFunc(l.finish)
	context.AfterFunc(l.ctx, l.end) //nolint:contextcheck // it runs because ctx has ended
	if o.Network == nil {
		return l, nil
	}
	if _, err := l.Attach(ctx, o.Network); err != nil {
		l.cancel()
		return nil, fmt.Errorf("open link: %w", err)
	}
	return l, nil
}

// Name returns the link's name.
func (l *Link) Name() string { return l.opts.Name }

// Addrs returns the addresses of the listeners of every attachment, in the order of Attach.
func (l *Link) Addrs() []netip.AddrPort {
	out := []netip.AddrPort{}
	for _, a := range l.attachments() {
		out = append(out, a.Addrs()...)
	}
	return out
}

func (l *Link) attachments() []*Attachment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.attached)
}

// Adopt puts the link between two connections that are already open, and returns at once. The link owns them from now on.
func (l *Link) Adopt(client, server *net.TCPConn) error {
	c, err := l.newConn(nil, client, func() {}, nil)
	if err != nil {
		_ = server.Close()
		return fmt.Errorf("adopt connection on link %s: %w", l.opts.Name, err)
	}
	l.adopted.Add(1)
	l.join(c, server)
	return nil
}

// Close closes every attachment and every connection, and returns when nothing of the link is left, or when ctx ends.
func (l *Link) Close(ctx context.Context) error {
	l.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.end()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close link %s: %w", l.opts.Name, context.Cause(ctx))
	}
}

// finish closes all that the link has, and waits until it is gone. Call end instead, which does it once.
func (l *Link) finish() {
	l.stop()
	l.work.Wait()
	l.pipes.close()
	if l.opts.Movers == nil {
		l.movers.Close()
	}
}

// stop closes what the link has open.
func (l *Link) stop() {
	l.mu.Lock()
	first := !l.closing
	l.closing = true
	all := l.connections()
	l.mu.Unlock()
	l.resume.broadcast()
	if !first {
		return
	}
	for _, a := range l.attachments() {
		a.detach()
	}
	l.hangUpAll(all, "close")
}

func (l *Link) hangUpAll(all []*conn, why string) {
	for _, c := range all {
		if c.shut() {
			l.closedBy(why, why, "fin")
		}
	}
}

// connections needs l.mu.
func (l *Link) connections() []*conn {
	all := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	return all
}

// Enabled reports whether the link accepts connections.
func (l *Link) Enabled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enabled
}

// SetEnabled with false closes the link's connections and refuses new ones (ECONNREFUSED); with true it undoes that.
func (l *Link) SetEnabled(on bool) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return fmt.Errorf("enable link %s: %w", l.opts.Name, net.ErrClosed)
	}
	same := l.enabled == on
	l.enabled = on
	all := l.connections()
	l.mu.Unlock()
	if same {
		return nil
	}
	var errs []error
	for _, a := range l.attachments() {
		errs = append(errs, a.setEnabled(on))
	}
	l.resume.broadcast()
	if !on {
		l.hangUpAll(all, "down")
	}
	return errors.Join(errs...)
}

// closedBy counts a connection that the proxy itself closed.
func (l *Link) closedBy(by, kind, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangups[Closed{By: by, Type: kind, How: how}]++
}
