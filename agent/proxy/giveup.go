package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// clientWatch ends a dial whose client gives up. A RST says so. A FIN does not: it may be that of a client that has sent
// its request and waits for the answer, and TCP cannot tell it from that of a client that has closed its socket. But the
// client is in the listener's network namespace, where the kernel knows whether its socket still belongs to anybody.
type clientWatch struct {
	cancel context.CancelFunc // of the dial
	client netip.AddrPort
	to     []netip.AddrPort // what the client's socket is connected to: the original destination, or the listener
	done   chan struct{}    // closed by end

	mu      sync.Mutex
	over    bool
	gaveUp  bool
	looking bool
	work    sync.WaitGroup
}

func newClientWatch(client *net.TCPConn, to netip.AddrPort, cancel context.CancelFunc) *clientWatch {
	w := &clientWatch{cancel: cancel, to: []netip.AddrPort{to}, done: make(chan struct{})}
	if a, ok := client.LocalAddr().(*net.TCPAddr); ok {
		w.to = append(w.to, a.AddrPort())
	}
	if a, ok := client.RemoteAddr().(*net.TCPAddr); ok {
		w.client = a.AddrPort()
	}
	return w
}

// hungUp is told that the client has ended its side, or that its connection is broken. It does not wait.
func (w *clientWatch) hungUp(s *sock, broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case broken:
		w.gaveUp = true
		w.cancel()
	case !w.looking:
		w.looking = true
		w.work.Go(func() { w.look(s) })
	}
}

// end is called when the dial is over. It reports whether the client has ended it.
func (w *clientWatch) end() bool {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	close(w.done)
	w.work.Wait()
	return w.gaveUp
}

// look looks now and then whether the client's socket belongs to nobody. Where the kernel does not say, the dial goes on.
func (w *clientWatch) look(s *sock) {
	d, err := s.openDiag()
	if err != nil {
		return
	}
	defer d.close()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		for _, to := range w.to {
			if d.orphan(w.client, to) {
				w.mu.Lock()
				w.gaveUp = true
				w.mu.Unlock()
				w.cancel()
				return
			}
		}
		select {
		case <-again.C:
		case <-w.done:
			return
		}
	}
}
