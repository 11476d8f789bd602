package proxy

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

const (
	chunkBytes = 32 << 10  // the most that one read takes, as Toxiproxy's
	queueBytes = 128 << 10 // the limit of a queue that does not lead to a toxic that delays
	lookEvery  = 250 * time.Millisecond
)

// direction moves bytes one way through one connection, in one of two phases:
//
//	kernel   src ══splice══▶ pipe ══splice══▶ dst                            no toxic
//	chain    src ──read──▶ head ▶ stage ▶ … ▶ stage ▶ tail ──write──▶ dst    any toxic, and until nothing is held
//
// The first toxic ends the kernel phase: what is left in the pipe becomes the chain's first chunk. After the last toxic
// nothing more is read until the chain is empty, then the kernel takes over. In the kernel phase the mover does the work;
// the chain has goroutines of its own.
type direction struct {
	c        *conn
	dir      stream.Direction
	src, dst *sock
	flow     *flowStats

	mu     sync.Mutex // guards stages and dead; never held across I/O
	stages []*stage
	dead   bool // nothing can be changed any more
	tail   *queue
	head   atomic.Pointer[queue]

	count    atomic.Int32 // len(stages)
	chained  atomic.Bool  // in the chain phase
	held     atomic.Int64
	srcReset atomic.Bool // the sender reset the connection
	dstGone  atomic.Bool // the receiver reset the connection
	sentFIN  atomic.Bool // to dst
	change   signal      // stages, held, phase, dead
	marks    marks

	queued     atomic.Bool // the mover is going to look at it
	turn       sync.Mutex  // guards what follows, across system calls that do not wait; taken before mu
	phase      phase
	pump       pump
	spliceless atomic.Bool // there is no splice here: the chain does the work
}

// outcome is why a chain's reader ended.
type outcome uint8

const (
	goOn     outcome = iota
	toKernel         // the last toxic is gone and nothing is held
	finished         // the stream has ended, or the connection has
)

func newDirection(c *conn, dir stream.Direction, src, dst *sock) *direction {
	d := &direction{c: c, dir: dir, src: src, dst: dst, flow: &c.l.flows[dir], tail: &queue{limit: queueBytes}}
	d.head.Store(d.tail)
	return d
}

// start begins to move bytes.
func (d *direction) start() {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.phase = inKernel
	if d.wantsChain() {
		d.enterChain()
		return
	}
	d.src.m.post(d) // what came before it was there was told to nobody
}

// over is called once, when the direction has passed on its end, or the connection is closed.
func (d *direction) over() {
	d.mu.Lock()
	d.dead = true
	for _, s := range d.stages {
		s.halt()
	}
	d.stages = nil
	d.mu.Unlock()
	d.flow.held.Add(-d.held.Swap(0))
	d.change.broadcast()
	d.c.oneLess()
}

// wantsChain reports whether bytes have to go through the chain.
func (d *direction) wantsChain() bool { return d.count.Load() > 0 || d.spliceless.Load() }

// chain moves bytes until the stream ends, or until the kernel can take over.
func (d *direction) chain() {
	for {
		stop, written := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(written)
			d.write(stop)
		}()
		if d.read(written) == finished {
			<-written
			d.turn.Lock()
			d.phase = ended
			d.setChained(false)
			d.turn.Unlock()
			d.over()
			return
		}
		close(stop)
		<-written // after an error of the writer's too: then the kernel phase meets it
		if d.enterKernel() {
			return
		}
	}
}

// read fills the chain. written is closed when the writer has ended.
func (d *direction) read(written <-chan struct{}) outcome {
	buf := make([]byte, chunkBytes)
	for {
		in, change := d.src.in.wait(), d.change.wait()
		if o := d.awaitRoom(written); o != goOn {
			return o
		}
		n, again, err := d.src.read(buf)
		switch {
		case n > 0:
			d.take(bytes.Clone(buf[:n]))
		case again:
			select {
			case <-in:
			case <-change:
			case <-written:
			}
		case errors.Is(err, net.ErrClosed):
			return finished
		default:
			d.head.Load().close(d.endOf(err))
			return finished
		}
	}
}

// awaitRoom returns goOn when there is room to read more, toKernel when the chain is empty and not needed.
func (d *direction) awaitRoom(written <-chan struct{}) outcome {
	for {
		change := d.change.wait()
		room := d.head.Load().full()
		wants := d.wantsChain()
		if d.dstGone.Load() {
			return finished
		}
		switch {
		case wants && room == nil && d.held.Load() < int64(d.c.l.opts.Window):
			select {
			case <-written:
				return finished
			default:
				return goOn
			}
		case !wants && d.held.Load() == 0:
			return toKernel
		}
		select {
		case <-change:
		case <-room:
		case <-written:
			return finished
		}
	}
}

func (d *direction) setChained(on bool) {
	d.chained.Store(on)
	if on {
		d.flow.chained.Add(1)
	} else {
		d.flow.chained.Add(-1)
	}
	d.change.broadcast()
}

// take puts bytes that were read into the chain.
func (d *direction) take(b []byte) {
	now := time.Now()
	if d.held.Add(int64(len(b))) == int64(len(b)) {
		d.marks.busyFrom(now)
	}
	d.flow.held.Add(int64(len(b)))
	d.marks.read(len(b), now)
	d.head.Load().put(&stream.StreamChunk{Data: b, Timestamp: now})
}

// release counts bytes that left the chain.
func (d *direction) release(n int) {
	d.held.Add(-int64(n))
	d.flow.held.Add(-int64(n))
	d.change.broadcast()
}

// endOf translates what ended reading from src: nil is an end of stream.
func (d *direction) endOf(err error) end {
	if err == nil && !d.resetBy(d.src, d.c.back(d)) {
		return end{how: atEOF}
	}
	d.srcReset.Store(true)
	return end{how: atReset}
}

// resetBy reports whether the peer behind a socket has reset it. toPeer is the direction that writes there.
func (d *direction) resetBy(s *sock, toPeer *direction) bool {
	// A reset is reported to one system call only, which may have been a write: the next read sees an end of stream. A
	// connection that both sides have closed looks the same, so look for our own FIN last: it is noted before it is sent.
	return s.isClosed() && !toPeer.sentFIN.Load()
}

// write writes the chain's tail to dst until its end, an error, or stop.
func (d *direction) write(stop <-chan struct{}) {
	for {
		c, e, wait := d.tail.peek()
		switch {
		case c != nil:
			n := len(c.Data)
			if !d.send(c.Data) {
				return
			}
			d.tail.pop(n)
		case e.how != open:
			d.finish(e)
			return
		default:
			select {
			case <-wait:
			case <-stop:
				return
			case <-d.c.closed:
				return
			}
		}
	}
}

// send writes b, and looks now and then whether it is still worth waiting for a receiver that does not read.
func (d *direction) send(b []byte) bool {
	for len(b) > 0 {
		out := d.dst.out.wait()
		n, again, err := d.dst.write(b)
		b = b[n:]
		d.wrote(n)
		switch {
		case err != nil:
			d.lostDst()
			return false
		case again && !d.awaitOut(out):
			return false
		}
	}
	return true
}

// awaitOut waits until dst may take more. It reports false when that is hopeless.
func (d *direction) awaitOut(out <-chan struct{}) bool {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-out:
			return true
		case <-look.C:
			if d.hopeless() {
				return false
			}
		}
	}
}

// hopeless ends the connection if the blocked receiver has nothing to wait for but a RST, and reports whether it did.
func (d *direction) hopeless() bool {
	if e := d.tail.ending(); e.aborts() {
		d.finish(e)
		return true
	}
	if d.srcReset.Load() || d.resetBy(d.src, d.c.back(d)) {
		d.finish(end{how: atReset})
		return true
	}
	return false
}

func (d *direction) wrote(n int) {
	if n == 0 {
		return
	}
	d.flow.bytes.Add(int64(n))
	d.marks.written(n, time.Now(), d.flow, d.c.l.opts.Sliding)
	d.release(n)
}

// lostDst notes that dst cannot be written to any more. What dst has still sent goes on its way; its own end, or the
// connection's, is the RST for src.
func (d *direction) lostDst() {
	d.dstGone.Store(true)
	d.change.broadcast()
}

// finish passes the end of the stream on.
func (d *direction) finish(e end) {
	switch e.how {
	case open:
	case atEOF:
		d.sentFIN.Store(true)
		d.dst.closeWrite()
	case atReset:
		d.dst.awaitSent(d.c.l.ctx)
		if d.c.abort() {
			d.c.l.passedRST.Add(1)
		}
	case killedFIN:
		if d.c.shut() {
			d.c.l.closedBy(e.by.Name, e.by.Type, "fin")
			e.by.stats.fins.Add(1)
		}
	case killedRST:
		if d.c.abort() {
			d.c.l.closedBy(e.by.Name, e.by.Type, "rst")
			e.by.stats.resets.Add(1)
		}
	}
}

// add appends a toxic to the chain; engage has bytes go through it.
func (d *direction) add(t *toxic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return
	}
	s := &stage{d: d, t: t, acts: t.actsOn(d.c.l.opts.Seed, d.c.id), in: &queue{limit: queueBytes}}
	if t.Type == "latency" {
		s.in.limit = d.c.l.opts.Window
	}
	if x, ok := t.pipe.(toxics.StatefulToxic); ok {
		s.state = x.NewState()
	}
	s.out.Store(d.tail)
	last := &d.head
	if n := len(d.stages); n > 0 {
		last = &d.stages[n-1].out
	}
	s.start()
	d.stages = append(d.stages, s)
	d.count.Add(1)
	last.Store(s.in) // what was put before stays ahead of the stage
	d.tail.room.broadcast()
	d.change.broadcast()
}

// update gives a toxic of the chain new attributes, and draws again.
func (d *direction) update(t *toxic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.stages {
		if s.t.Name != t.Name {
			continue
		}
		s.halt()
		acts := t.actsOn(d.c.l.opts.Seed, d.c.id)
		if !acts && s.swallowed.Load() > 0 {
			s.out.Load().close(end{killedFIN, s.t}) // a stream with a hole must not go on
		}
		s.t, s.acts = t, acts
		s.start()
	}
}

// remove takes a toxic out of the chain. It does not wait for a peer.
func (d *direction) remove(t *toxic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range d.stages {
		if s.t.Name != t.Name {
			continue
		}
		s.halt()
		out := s.out.Load()
		if s.acts && s.t.swallows() {
			out.close(end{killedFIN, s.t}) // as Toxiproxy does
		}
		before := &d.head
		if i > 0 {
			before = &d.stages[i-1].out
		}
		s.in.mergeInto(out) // first: what the stage before puts must not overtake what waits in s.in
		before.Store(out)
		d.stages = append(d.stages[:i:i], d.stages[i+1:]...)
		d.count.Add(-1)
		break
	}
	d.change.broadcast()
}
