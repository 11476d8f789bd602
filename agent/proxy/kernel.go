package proxy

import "bytes"

const (
	shareBytes = 1 << 20   // what a direction may move before the next one's turn
	pipeBytes  = 256 << 10 // asked for; the kernel may give less
	smallBytes = 16 << 10  // the mover's buffer
)

// phase is who moves a direction's bytes.
type phase uint8

const (
	unborn   phase = iota // nobody yet
	inKernel              // a mover: advance
	inChain               // goroutines of its own: chain
	ended                 // nobody any more
)

// pump is the kernel phase of a direction. Messages that fit into the mover's buffer are copied through that: it costs as
// many system calls as splice, and they are cheaper. Longer ones go through a pipe, which the direction has only while
// bytes are in it, so that an idle connection costs two descriptors. direction.turn guards it.
type pump struct {
	p     *pipe
	piped int    // bytes in p
	rest  []byte // of a message: in the mover's buffer, or kept because dst did not take it whole
	kept  bool
	bulk  bool // the last message did not fit
}

// result is how a turn of a direction ended.
type result uint8

const (
	waits    result = iota // for src or dst
	hasMore                // but it is the next one's turn
	atEnd                  // src has ended
	lost                   // dst has gone
	closed                 // somebody closed the connection
	noSplice               // no pipe can be had
	blocked                // waits for dst, while src is broken
)

// advance moves what has come. Only the mover calls it. It reports whether there may be more to move at once.
func (d *direction) advance() bool {
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.phase != inKernel {
		return false
	}
	r, err := d.move()
	switch r {
	case waits:
	case hasMore:
		return true
	case atEnd:
		d.leave(d.endOf(err))
	case lost:
		d.dstGone.Store(true) // as lostDst
		d.leave(end{})
	case closed:
		d.leave(end{})
	case noSplice:
		d.c.l.opts.Log.Warn("splice", "link", d.c.l.opts.Name, "err", err)
		d.spliceless.Store(true)
		d.enterChain()
	case blocked:
		if d.resetBy(d.src, d.c.back(d)) {
			d.leave(end{how: atReset})
		}
	}
	return false
}

// move needs d.turn.
func (d *direction) move() (result, error) {
	if !d.src.hold() {
		return closed, nil
	}
	defer d.src.release()
	if !d.dst.hold() {
		return closed, nil
	}
	defer d.dst.release()
	for moved := 0; moved < shareBytes; {
		if !d.pump.empty() {
			n, again, err := d.drain()
			moved += n
			d.flow.bytes.Add(int64(n))
			switch {
			case err != nil:
				return lost, err
			case again && d.src.hup.Load():
				return blocked, nil
			case again:
				return waits, nil
			}
			continue
		}
		if r, err := d.fill(); r != hasMore {
			return r, err
		}
	}
	return hasMore, nil
}

func (m *pump) empty() bool { return m.piped == 0 && len(m.rest) == 0 }

// fill takes bytes from src. It returns hasMore where there are some.
func (d *direction) fill() (result, error) {
	m := &d.pump
	var n int
	var again bool
	var err error
	if m.bulk {
		if m.p == nil {
			if m.p, err = d.c.l.pipes.get(); err != nil {
				return noSplice, err
			}
		}
		n, again, err = m.p.fill(d.src.fd)
		m.piped = n
		if n == 0 {
			d.c.l.pipes.put(m.p)
			m.p = nil
		}
	} else {
		buf := d.src.m.buf[:]
		n, again, err = readOnce(d.src.fd, buf)
		m.rest = buf[:n]
	}
	switch {
	case again:
		return waits, nil
	case n == 0:
		return atEnd, err
	}
	if m.bulk = n >= smallBytes; m.bulk {
		d.src.m.spinner.bulk = true
	}
	return hasMore, nil
}

// drain gives dst what fill took. The mover's buffer is somebody else's at the next turn: what dst does not take is kept.
func (d *direction) drain() (n int, again bool, err error) {
	m := &d.pump
	if m.piped > 0 {
		d.src.m.spinner.bulk = true
		n, again, err = m.p.drain(d.dst.fd, m.piped)
		if m.piped -= n; m.piped == 0 {
			d.c.l.pipes.put(m.p)
			m.p = nil
		}
		return n, again, err
	}
	n, again, err = writeOnce(d.dst.fd, m.rest)
	switch m.rest = m.rest[n:]; {
	case len(m.rest) == 0:
		m.rest, m.kept = nil, false
	case !m.kept:
		m.rest, m.kept = bytes.Clone(m.rest), true
	}
	return n, again, err
}

// engage has bytes go through the chain from now on, if a toxic is there.
func (d *direction) engage() {
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.phase == inKernel && d.wantsChain() {
		d.enterChain()
	}
}

// enterChain makes what the pump has the chain's first bytes. It needs d.turn.
func (d *direction) enterChain() {
	m := &d.pump
	for m.piped > 0 {
		b := make([]byte, min(m.piped, chunkBytes))
		n, err := m.p.read(b)
		if err != nil {
			d.c.l.opts.Log.Error("read pipe", "link", d.c.l.opts.Name, "err", err)
			d.leave(end{how: atReset}) // bytes are lost: nobody must go on as if they were not
			return
		}
		m.piped -= n
		d.take(b[:n])
	}
	if m.p != nil {
		d.c.l.pipes.put(m.p)
		m.p = nil
	}
	if len(m.rest) > 0 {
		d.take(bytes.Clone(m.rest))
		m.rest, m.kept = nil, false
	}
	d.phase = inChain
	d.setChained(true)
	go d.chain()
}

// enterKernel ends the chain phase, unless a toxic came meanwhile. The chain is empty, and only its reader calls this.
func (d *direction) enterKernel() bool {
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.wantsChain() {
		return false
	}
	d.setChained(false)
	d.phase = inKernel
	d.src.m.post(d) // what came meanwhile was told to the chain
	return true
}

// leave ends the direction from the kernel phase. It needs d.turn.
func (d *direction) leave(e end) {
	if m := &d.pump; m.p != nil {
		m.p.close() // with what is in it
		m.p = nil
	}
	d.phase = ended
	if e.aborts() { // which waits
		go func() {
			d.finish(e)
			d.over()
		}()
		return
	}
	d.finish(e)
	d.over()
}
