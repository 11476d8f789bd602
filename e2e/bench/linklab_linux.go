package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	linkDelay   = 25 * time.Millisecond // of the toxic whose effect is timed
	linkToxics  = 100
	nearEnd     = "bench0"
	farEnd      = "bench1"
	nearAddress = "10.99.0.1/30"
	farAddress  = "10.99.0.2/30"
	congestion  = "/proc/sys/net/ipv4/tcp_congestion_control" // of the namespace
)

// linkLab is the network of the measurements: load and proxies here, the server at the other end of a veth pair.
type linkLab struct {
	server, load, ours, stock *role
	ways                      map[string]netip.AddrPort
}

func startLab(ctx context.Context) (func(order) (answer, error), error) {
	return func(o order) (a answer, err error) {
		l := &linkLab{ways: map[string]netip.AddrPort{}}
		defer func() { err = errors.Join(err, l.close()) }()
		if err := l.open(ctx, o); err != nil {
			return a, err
		}
		a.Lab, err = l.measure(o)
		return a, err
	}, nil
}

func (l *linkLab) open(ctx context.Context, o order) (err error) {
	if l.server, err = startRole(ctx, roleServer, o.Space); err != nil {
		return err
	}
	at := netip.MustParseAddrPort("127.0.0.1:0")
	if o.Space {
		if err := setCongestion(o.Congestion); err != nil {
			return err
		}
		if err := makeEnds(l.server.cmd.Process.Pid); err != nil {
			return err
		}
		at = netip.AddrPortFrom(netip.MustParsePrefix(farAddress).Addr(), 0)
	}
	a, err := l.server.ask(order{Do: doServe, At: at, Space: o.Space, Congestion: o.Congestion})
	if err != nil {
		return err
	}
	l.ways[wayDirect] = a.At
	if l.load, err = startRole(ctx, roleLoad, false); err != nil {
		return err
	}
	if l.ours, err = l.proxy(ctx, roleOurs, wayOurs, a.At); err != nil {
		return err
	}
	l.stock, err = l.proxy(ctx, roleToxiproxy, wayToxiproxy, a.At)
	return err
}

// proxy starts a proxy to the server.
func (l *linkLab) proxy(ctx context.Context, name, way string, server netip.AddrPort) (*role, error) {
	r, err := startRole(ctx, name, false)
	if err != nil {
		return nil, err
	}
	a, err := r.ask(order{Do: doOpen, At: server})
	l.ways[way] = a.At
	return r, err
}

func (l *linkLab) close() error {
	var errs []error
	for _, r := range []*role{l.load, l.ours, l.stock, l.server} {
		if r != nil {
			errs = append(errs, r.stop())
		}
	}
	return errors.Join(errs...)
}

// makeEnds makes a veth pair between this network namespace, which is new, and that of a process.
func makeEnds(pid int) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nearEnd}, PeerName: farEnd, PeerNamespace: netlink.NsPid(pid)}
	if err := errors.Join(netlink.LinkSetUp(lo), netlink.LinkAdd(pair)); err != nil {
		return fmt.Errorf("make veth pair: %w", err)
	}
	return raise(nearEnd, nearAddress)
}

// takeEnd raises the end of the pair that is here.
func takeEnd(at netip.AddrPort, algorithm string) error {
	return errors.Join(setCongestion(algorithm), raise(farEnd, netip.PrefixFrom(at.Addr(), 30).String()))
}

// setCongestion chooses the congestion control of this network namespace; empty leaves it.
func setCongestion(algorithm string) error {
	if algorithm == "" {
		return nil
	}
	if err := os.WriteFile(congestion, []byte(algorithm), 0o644); err != nil {
		return fmt.Errorf("choose congestion control: %w", err)
	}
	return nil
}

func raise(name, address string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address of %s: %w", name, err)
	}
	if err := errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l)); err != nil {
		return fmt.Errorf("raise %s: %w", name, err)
	}
	return nil
}

// measure takes all quantities of all ways in turn, and the order of the ways turns too.
func (l *linkLab) measure(o order) (*linkNumbers, error) {
	used, err := os.ReadFile(congestion)
	if err != nil {
		return nil, fmt.Errorf("read congestion control: %w", err)
	}
	n := &linkNumbers{Congestion: strings.TrimSpace(string(used)), Ways: map[string]map[string]series{}}
	ways := []string{wayDirect, wayOurs, wayToxiproxy}
	for i := range o.Count {
		for _, q := range quantities() {
			if o.BulkOnly && !q.isBulk() {
				continue
			}
			if n.Ways[q.name] == nil {
				n.Ways[q.name] = map[string]series{}
			}
			for j := range ways {
				if err := l.sample(q, ways[(i+j)%len(ways)], n); err != nil {
					return nil, err
				}
			}
		}
	}
	if o.BulkOnly {
		return n, nil
	}
	return n, l.toxics(n)
}

// sample takes one round's samples of a quantity of a way.
func (l *linkLab) sample(q quantity, way string, n *linkNumbers) error {
	q.ask.At = l.ways[way]
	for range q.samples {
		a, err := l.load.ask(q.ask)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", q.name, way, err)
		}
		n.Ways[q.name][way] = append(n.Ways[q.name][way], a.Value)
	}
	return nil
}

// toxics times a toxic, from the decision to its effect on bytes, and back.
func (l *linkLab) toxics(n *linkNumbers) error {
	if _, err := l.load.ask(order{Do: doWatch, At: l.ways[wayOurs]}); err != nil {
		return err
	}
	for range linkToxics {
		for _, x := range []struct {
			do      string
			delayed int
			seen    *series
			call    *series
		}{{doAdd, 1, &n.Added, &n.AddCall}, {doRemove, 0, &n.Removed, &n.RemoveCall}} {
			a, err := l.ours.ask(order{Do: x.do, For: linkDelay})
			if err != nil {
				return err
			}
			b, err := l.load.ask(order{Do: doSeen, Count: x.delayed, For: linkDelay, After: a.Began})
			if err != nil {
				return err
			}
			x.seen.add(time.Duration(b.Seen - a.Began))
			x.call.add(time.Duration(a.Ended - a.Began))
		}
	}
	return nil
}

// watcher echoes one byte after the other, and remembers when.
type watcher struct {
	mu   sync.Mutex
	more *sync.Cond
	echo []echo // the newest ones
	lost int    // how many came before them
	err  error
}

type echo struct{ sent, back int64 }

const manyEchoes = 1 << 16

func watch(at netip.AddrPort) (*watcher, error) {
	s, err := connect(at, modeEcho)
	if err != nil {
		return nil, err
	}
	w := &watcher{}
	w.more = sync.NewCond(&w.mu)
	go w.run(s) // ends with the process
	return w, nil
}

func (w *watcher) run(s socket) {
	defer s.close()
	b := []byte{0}
	for {
		sent := monotonic()
		err := errors.Join(s.writeAll(b), s.readFull(b))
		w.mu.Lock()
		if w.err = err; len(w.echo) == manyEchoes {
			w.echo = w.echo[:copy(w.echo, w.echo[manyEchoes/2:])]
			w.lost += manyEchoes / 2
		}
		w.echo = append(w.echo, echo{sent, monotonic()})
		w.more.Signal()
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// seen returns when the path changed, by the first echo that came back later than after and took at least delay, or less.
// The change is as late as its byte can have entered the delaying chain; one that was let go, when it came.
func (w *watcher) seen(delayed bool, delay time.Duration, after int64) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for from := 0; ; w.more.Wait() {
		for ; from < w.lost+len(w.echo); from++ {
			e := w.echo[max(from-w.lost, 0)]
			switch slow := e.back-e.sent >= int64(delay); {
			case e.back <= after || slow != delayed:
			case delayed:
				return e.back - int64(delay), nil
			default:
				return e.back, nil
			}
		}
		if w.err != nil {
			return 0, fmt.Errorf("watch echoes: %w", w.err)
		}
	}
}
