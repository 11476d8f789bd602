package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// pump is the kernel phase of a direction: it keeps a pipe only while bytes are in it, so that an idle connection costs
// two descriptors. Its functions for RawConn are made once.
type pump struct {
	d      *direction
	p      *pipe
	piped  int   // bytes in p
	n      int   // what the last splice moved
	err    error // and how it failed
	broken bool  // there is no splice here: the chain does the work

	fill      func(fd uintptr) bool
	drain     func(fd uintptr) bool
	awaitRoom func(fd uintptr) bool
}

// errBlocked is what drain reports where it would have to wait.
var errBlocked = errors.New("receiver does not read")

func (m *pump) init(d *direction) {
	m.d = d
	m.fill = func(fd uintptr) bool {
		if m.p == nil {
			if m.p, m.err = d.c.l.pipes.get(); m.err != nil {
				m.broken = true
				return true
			}
		}
		var again bool
		m.n, again, m.err = m.p.fill(int(fd))
		if again {
			d.c.l.pipes.put(m.p)
			m.p = nil
		}
		return !again
	}
	drain := func(fd uintptr) bool {
		var again bool
		m.n, again, m.err = m.p.drain(int(fd), m.piped)
		return !again
	}
	m.awaitRoom = drain
	m.drain = func(fd uintptr) bool {
		if !drain(fd) {
			m.err = errBlocked
		}
		return true
	}
}

// kernel moves bytes by splice until the chain is wanted or the stream ends.
func (d *direction) kernel() outcome {
	m := &d.pump
	d.rearm()
	for {
		if d.wantsChain() {
			return toChain
		}
		switch err := d.rawSrc.Read(m.fill); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			d.rearm()
			continue
		case err != nil:
			return finished // closed
		case m.broken:
			d.c.l.opts.Log.Warn("splice", "link", d.c.l.opts.Name, "err", m.err)
			continue
		case m.err != nil:
			m.close()
			d.finish(d.endOf(m.err))
			return finished
		case m.n == 0:
			m.close()
			d.finish(d.endOf(io.EOF))
			return finished
		}
		m.piped = m.n
		if o, done := d.drainPipe(); done {
			return o
		}
		d.c.l.pipes.put(m.p)
		m.p = nil
	}
}

// drainPipe empties the pipe into dst, or into the chain if that is wanted meanwhile. done means that the phase is over.
func (d *direction) drainPipe() (o outcome, done bool) {
	m := &d.pump
	attempt, waited := m.drain, false
	for m.piped > 0 {
		err := d.rawDst.Write(attempt)
		if err == nil {
			err = m.err
		} else {
			m.n = 0
		}
		switch {
		case err == nil:
			m.piped -= m.n
			d.flow.bytes.Add(int64(m.n))
			continue
		case errors.Is(err, net.ErrClosed):
			return finished, true
		case errors.Is(err, os.ErrDeadlineExceeded):
			d.rearm()
		case !errors.Is(err, errBlocked):
			m.close()
			d.lostDst()
			return finished, true
		}
		_ = d.dst.SetWriteDeadline(time.Now().Add(lookEvery))
		attempt, waited = m.awaitRoom, true
		if d.wantsChain() {
			d.takePipe()
			return toChain, true
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && (d.srcReset.Load() || d.resetBy(d.rawSrc, d.c.back(d))) {
			d.finish(end{how: atReset})
			return finished, true
		}
	}
	if waited {
		d.rearm()
	}
	return toChain, false
}

// takePipe makes what is left in the pipe the chain's first bytes.
func (d *direction) takePipe() {
	m := &d.pump
	for m.piped > 0 {
		b := make([]byte, min(m.piped, chunkBytes))
		n, err := m.p.read(b)
		if err != nil {
			d.c.l.opts.Log.Error("read pipe", "link", d.c.l.opts.Name, "err", err)
			d.c.abort() // bytes are lost: nobody must go on as if they were not
			return
		}
		m.piped -= n
		d.take(b[:n])
	}
	d.c.l.pipes.put(m.p)
	m.p = nil
}

// close gives the pipe up, with what is in it.
func (m *pump) close() {
	if m.p != nil {
		m.p.close()
		m.p = nil
	}
}
