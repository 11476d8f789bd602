package workload

import (
	"sync"
	"time"
)

// spareIdle is how long a spare process that nobody needs keeps its session.
const spareIdle = 5 * time.Second

// crew is the processes of a loop. It is safe for concurrent use.
type crew struct {
	mu      sync.Mutex
	regular []*process // idle ones, the longest idle first
	spare   []*process // idle ones, the longest idle first
	live    int        // idle and busy ones, without those that were given up
	most    int        // live ones
	next    numbers
	closing sync.WaitGroup
}

// process is one process of the history. It belongs to the goroutine that acquired it.
type process struct {
	number  int
	seq     int64   // of its last operation
	session Session // nil while it is not connected
	spare   bool
	idle    int64 // since when
}

func (p *process) close() {
	if p.session != nil {
		p.session.Close()
		p.session = nil
	}
}

// numbers makes the numbers of fresh processes: client i of a Config that has clients of them, from first on, hands on to
// first + i + stride, first + i + 2 stride and so on, so that no two Configs of a workload (which has stride clients in
// all) ever use the same number.
type numbers struct{ first, clients, stride, made int }

func (n *numbers) take() int {
	k := n.made
	n.made++
	return n.first + k%n.clients + (k/n.clients)*n.stride
}

func newCrew(first, clients, all, most int) *crew {
	c := &crew{most: most, live: clients, next: numbers{first: first, clients: clients, stride: max(all, first+clients)}}
	for range clients {
		c.regular = append(c.regular, &process{number: c.next.take()})
	}
	return c
}

// fresh is a number that no process has or will have.
func (c *crew) fresh() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next.take()
}

// acquire takes an idle process: the regular ones in turn, then the spare one that was used last, then a fresh one. It is
// nil if the crew is as large as it may be. Spare ones that were idle for long are dismissed on the way.
func (c *crew) acquire(now int64) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.spare) > 0 && now-c.spare[0].idle > int64(spareIdle) {
		c.dismiss(c.spare[0])
		c.spare = c.spare[1:]
		c.live--
	}
	if len(c.regular) > 0 {
		p := c.regular[0]
		c.regular = c.regular[1:]
		return p
	}
	if n := len(c.spare); n > 0 {
		p := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return p
	}
	if c.live >= c.most {
		return nil
	}
	c.live++
	return &process{number: c.next.take(), spare: true}
}

// release gives a process back whose operation has returned; one that is retired is closed, and another takes its place.
func (c *crew) release(p *process, retired bool, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if retired {
		c.dismiss(p)
		p = &process{number: c.next.take(), spare: p.spare}
	}
	c.add(p, now)
}

// replace puts a fresh process in the place of p, which stays with its operation.
func (c *crew) replace(p *process, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(&process{number: c.next.take(), spare: p.spare}, now)
}

func (c *crew) add(p *process, now int64) {
	p.idle = now
	if p.spare {
		c.spare = append(c.spare, p)
		return
	}
	c.regular = append(c.regular, p)
}

// dismiss closes p, which may take the network's time.
func (c *crew) dismiss(p *process) { c.closing.Go(p.close) }

// disband closes all that are idle; the group ends when every process that was dismissed is closed. None is acquired after it.
func (c *crew) disband() *sync.WaitGroup {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range append(c.regular, c.spare...) {
		c.dismiss(p)
	}
	c.regular, c.spare = nil, nil
	return &c.closing
}
