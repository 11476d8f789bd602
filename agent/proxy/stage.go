package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// stage runs one toxic on one direction of one connection:
//
//	in ──feed──▶ stub.Input ──Pipe──▶ stub.Output ──collect──▶ out
//
// Toxiproxy's toxics write to their output without looking whether they are interrupted. So somebody always takes from
// it: collect does, and once the stage is being halted it no longer minds whether out is full. Then a toxic stops within
// microseconds, whatever the peers do, and every byte that it held is in out.
type stage struct {
	d    *direction
	t    *toxic
	acts bool // the draw: otherwise bytes pass untouched
	in   *queue
	out  atomic.Pointer[queue]

	state     any          // what a stateful toxic remembers, over updates
	swallowed atomic.Int64 // bytes that the toxic dropped

	stub   *toxics.ToxicStub
	stop   chan struct{}
	fedEnd atomic.Bool
	work   sync.WaitGroup
}

// start runs the toxic. halt must have been called since the last start.
func (s *stage) start() {
	input, output := make(chan *stream.StreamChunk), make(chan *stream.StreamChunk)
	s.stub = toxics.NewToxicStub(input, output)
	s.stub.State = s.state
	s.stop = make(chan struct{})
	s.fedEnd.Store(false)

	pipe := toxics.Toxic(new(toxics.NoopToxic))
	if s.acts {
		pipe = s.t.pipe
		s.t.stats.acted.Add(1)
	}
	done := make(chan struct{})
	s.work.Add(3)
	go func() {
		defer s.work.Done()
		s.feed(input)
	}()
	go func() {
		defer s.work.Done()
		defer close(done)
		pipe.Pipe(s.stub)
	}()
	go func() {
		defer s.work.Done()
		s.collect(output, done)
	}()
}

// halt stops the toxic and returns when everything that it took is in out. It does not wait for a peer.
func (s *stage) halt() {
	close(s.stop)
	close(s.stub.Interrupt)
	s.work.Wait()
	s.state = s.stub.State
}

// feed gives chunks to the toxic, and the end of the stream as a closed channel. A chunk leaves the queue when the toxic
// has it.
func (s *stage) feed(input chan<- *stream.StreamChunk) {
	for {
		c, e, wait := s.in.peek()
		switch {
		case c != nil:
			n := len(c.Data) // the toxic may shorten c
			select {
			case input <- c:
			case <-s.stop:
				return
			}
			s.in.pop(n)
			s.fed(n)
		case e.how != open:
			s.fedEnd.Store(true)
			close(input)
			return
		default:
			select {
			case <-wait:
			case <-s.stop:
				return
			}
		}
	}
}

func (s *stage) fed(n int) {
	if !s.acts {
		return
	}
	s.t.stats.chunksIn.Add(1)
	s.t.stats.bytesIn.Add(int64(n))
	if s.t.swallows() {
		s.swallowed.Add(int64(n))
		s.d.marks.dropped(n)
		s.d.release(n)
	}
}

// collect takes what the toxic emits until the toxic has ended.
func (s *stage) collect(output <-chan *stream.StreamChunk, done <-chan struct{}) {
	for {
		select {
		case c, ok := <-output:
			if !ok {
				s.closed()
				return
			}
			if len(c.Data) == 0 { // slicer and bandwidth make them
				continue
			}
			if s.acts {
				s.t.stats.chunksOut.Add(1)
				s.t.stats.bytesOut.Add(int64(len(c.Data)))
			}
			s.awaitRoom()
			s.out.Load().put(c)
		case <-done:
			if s.stub.Closed() {
				s.closed()
			}
			return
		}
	}
}

// awaitRoom holds the toxic back while the next queue is full.
func (s *stage) awaitRoom() {
	for {
		full := s.out.Load().full()
		if full == nil {
			return
		}
		select {
		case <-full:
		case <-s.stop:
			return
		}
	}
}

// closed passes on that the toxic closed its output: at the end of the stream, or because it kills the connection.
func (s *stage) closed() {
	out := s.out.Load()
	switch {
	case s.acts && s.t.Type == "reset_peer":
		out.close(end{killedRST, s.t})
	case !s.fedEnd.Load():
		out.close(end{killedFIN, s.t})
	default:
		if s.acts {
			s.t.stats.ends.Add(1)
		}
		out.close(s.in.ending())
	}
}
