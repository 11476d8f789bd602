package proxy

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mostMovers = 4
	manyEvents = 128
)

// Movers are the threads that move bytes while no toxic is active: each waits for its share of the sockets, and moves
// what has come at once, so that a message costs one wake-up. Links may share them. Make them with NewMovers.
type Movers struct {
	all      []*mover
	next     atomic.Uint32
	spinning atomic.Bool // one of them does not sleep
	work     sync.WaitGroup
}

// NewMovers starts as many movers as there are processors, four at most. Close ends them.
func NewMovers() (*Movers, error) {
	x := &Movers{}
	n := min(runtime.GOMAXPROCS(0), mostMovers)
	for range n {
		m, err := newMover(x, n > 1)
		if err != nil {
			x.Close()
			return nil, err
		}
		x.all = append(x.all, m)
		x.work.Go(m.run)
	}
	return x, nil
}

// Close ends the movers, after the last link that uses them is closed.
func (x *Movers) Close() {
	for _, m := range x.all {
		m.mu.Lock()
		m.closing = true
		m.wake()
		m.mu.Unlock()
	}
	x.work.Wait()
	for _, m := range x.all {
		m.mu.Lock()
		_ = unix.Close(m.epoll)
		_ = unix.Close(m.bell)
		m.bell = -1
		m.mu.Unlock()
	}
}

// pick returns the mover of a new connection.
func (x *Movers) pick() *mover { return x.all[int(x.next.Add(1))%len(x.all)] }

// mover is one of them.
type mover struct {
	all         *Movers
	epoll, bell int // bell is an eventfd that wakes it
	spinner     spinner
	buf         [smallBytes]byte // of the direction whose turn it is

	mu      sync.Mutex
	asleep  bool    // or about to be: ring the bell after posting
	socks   []*sock // by slot
	lives   []int32
	free    []int32
	posted  []*direction // to be looked at, besides those with events
	closing bool
}

func newMover(x *Movers, spins bool) (*mover, error) {
	m := &mover{all: x, spinner: spinner{allowed: spins}}
	var err error
	if m.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if m.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(m.epoll)
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	// Edge-triggered, so that nobody has to read it.
	err = unix.EpollCtl(m.epoll, unix.EPOLL_CTL_ADD, m.bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
	if err != nil {
		_ = unix.Close(m.epoll)
		_ = unix.Close(m.bell)
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	return m, nil
}

// watch gives s a slot, and has the mover told of its events.
func (m *mover) watch(s *sock) error {
	m.mu.Lock()
	if n := len(m.free); n > 0 {
		s.slot, m.free = m.free[n-1], m.free[:n-1]
	} else {
		s.slot = int32(len(m.socks)) //nolint:gosec // there are fewer descriptors
		m.socks, m.lives = append(m.socks, nil), append(m.lives, 0)
	}
	m.socks[s.slot], s.life = s, m.lives[s.slot]
	m.mu.Unlock()
	err := unix.EpollCtl(m.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: s.slot, Pad: s.life,
	})
	if err != nil {
		m.forget(s)
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// forget frees the slot of s. Closing its descriptor ends its events; those that are on their way carry an old life.
func (m *mover) forget(s *sock) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.socks[s.slot] = nil
	m.lives[s.slot]++
	m.free = append(m.free, s.slot)
}

// post has the mover look at d.
func (m *mover) post(d *direction) {
	if d.queued.Swap(true) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.posted = append(m.posted, d)
	if m.asleep {
		m.wake()
	}
}

// wake needs mu. It fails only when the bell is ringing already, or gone.
func (m *mover) wake() { _, _ = unix.Write(m.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// run moves bytes until closing.
func (m *mover) run() {
	events := make([]unix.EpollEvent, manyEvents)
	var turn, more []*direction
	for {
		n := m.wait(events, len(more) > 0)
		turn = append(turn[:0], more...)
		var closing bool
		if turn, closing = m.due(events[:n], turn); closing {
			return
		}
		more = more[:0]
		m.spinner.bulk = false
		for _, d := range turn {
			d.queued.Store(false)
			if d.advance() && !d.queued.Swap(true) {
				more = append(more, d)
			}
		}
	}
}

// due adds to turn the directions that events and posts name, each once, and wakes goroutines that wait for a socket.
func (m *mover) due(events []unix.EpollEvent, turn []*direction) (_ []*direction, closing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asleep = false
	turn, m.posted = append(turn, m.posted...), m.posted[:0]
	for _, e := range events {
		if e.Fd < 0 || m.lives[e.Fd] != e.Pad || m.socks[e.Fd] == nil {
			continue
		}
		s := m.socks[e.Fd]
		broken := e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
		if broken {
			s.hup.Store(true)
		}
		if broken || e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
			turn = s.ready(&s.in, s.from.Load(), turn)
		}
		if broken || e.Events&unix.EPOLLOUT != 0 {
			turn = s.ready(&s.out, s.to.Load(), turn)
		}
		if (broken || e.Events&unix.EPOLLRDHUP != 0) && s.onHangup != nil {
			s.onHangup(s, broken)
		}
	}
	return turn, m.closing
}

func (s *sock) ready(which *signal, d *direction, turn []*direction) []*direction {
	which.broadcast()
	if d != nil && !d.queued.Swap(true) {
		turn = append(turn, d)
	}
	return turn
}

// wait returns when there are events or posts; at once when busy.
func (m *mover) wait(events []unix.EpollEvent, busy bool) int {
	if busy {
		return m.look(events)
	}
	began := time.Now()
	if m.spinner.worth(began) && m.all.spinning.CompareAndSwap(false, true) {
		n := m.spin(events, began)
		m.all.spinning.Store(false)
		if n != 0 {
			m.spinner.waited(began, time.Now())
			return max(n, 0)
		}
	}
	if !m.fallAsleep() {
		return m.look(events)
	}
	for {
		n, err := unix.EpollWait(m.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		m.spinner.waited(began, time.Now())
		return max(n, 0)
	}
}

// spin looks for events until one comes or it has been enough. It returns -1 where there are posts instead, else 0.
func (m *mover) spin(events []unix.EpollEvent, began time.Time) int {
	for last := began; ; {
		if n := m.look(events); n > 0 {
			return n
		}
		if m.hasPosts() {
			return -1
		}
		now := time.Now()
		if !m.spinner.goOn(began, last, now) {
			return 0
		}
		last = now
	}
}

func (m *mover) look(events []unix.EpollEvent) int {
	n, _ := unix.EpollWait(m.epoll, events, 0) // it is interrupted or right
	return max(n, 0)
}

// fallAsleep reports whether there is nothing to do but to wait. due wakes it up.
func (m *mover) fallAsleep() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asleep = len(m.posted) == 0 && !m.closing
	return m.asleep
}

func (m *mover) hasPosts() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.posted) > 0 || m.closing
}
