package proxy

import (
	"sync"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// manyChunks is how many chunks a queue takes before its producer has to wait, however small they are.
const manyChunks = 1024

// how says in which way a stream ends.
type how uint8

const (
	open      how = iota // it has not ended
	atEOF                // the sender closed its side: pass a FIN on
	atReset              // the sender reset the connection: pass a RST on
	killedFIN            // a toxic closed the connection
	killedRST            // a toxic reset the connection
)

// end is the last thing in a queue.
type end struct {
	how how
	by  *toxic // the toxic that killed the connection
}

// aborts reports whether the end is a RST, for which nobody waits until a blocked peer reads.
func (e end) aborts() bool { return e.how == atReset || e.how == killedRST }

// queue is what lies between two stages of a chain: chunks in order, then an end. One goroutine puts, one takes. Its
// limit is for the producer to respect (full): put itself never waits, so that a toxic can always be emptied.
type queue struct {
	limit int // bytes

	mu    sync.Mutex
	items []*stream.StreamChunk
	bytes int
	end   end
	next  *queue // set when this queue was merged into another one: what is put here goes there

	ready signal // something to take
	room  signal // something was taken, or the producer has to look again
}

// put appends c. What comes after the end is dropped: only a killed connection gets there.
func (q *queue) put(c *stream.StreamChunk) {
	q.mu.Lock()
	if next := q.next; next != nil {
		q.mu.Unlock()
		next.put(c)
		return
	}
	if q.end.how == open {
		q.items = append(q.items, c)
		q.bytes += len(c.Data)
	}
	q.mu.Unlock()
	q.ready.broadcast()
}

// close puts the end; the first one counts.
func (q *queue) close(e end) {
	q.mu.Lock()
	if next := q.next; next != nil {
		q.mu.Unlock()
		next.close(e)
		return
	}
	if q.end.how == open {
		q.end = e
	}
	q.mu.Unlock()
	q.ready.broadcast()
}

// peek returns the first chunk, or the end when there is no chunk, or a channel that is closed when either may have come.
func (q *queue) peek() (*stream.StreamChunk, end, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.items) > 0:
		return q.items[0], end{}, nil
	case q.end.how != open:
		return nil, q.end, nil
	default:
		return nil, end{}, q.ready.wait()
	}
}

// ending returns the end even while chunks lie before it.
func (q *queue) ending() end {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end
}

// pop removes the first chunk, which was n bytes long when it was put.
func (q *queue) pop(n int) {
	q.mu.Lock()
	q.items[0] = nil
	q.items = q.items[1:]
	q.bytes -= n
	q.mu.Unlock()
	q.room.broadcast()
}

// full returns nil if there is room, else a channel that is closed when the producer should look again.
func (q *queue) full() <-chan struct{} {
	q.mu.Lock()
	if next := q.next; next != nil {
		q.mu.Unlock()
		return next.full()
	}
	defer q.mu.Unlock()
	if q.bytes < q.limit && len(q.items) < manyChunks {
		return nil
	}
	return q.room.wait()
}

// mergeInto moves everything behind what is in dst and sends there what is put from now on. Nobody takes from q any more.
func (q *queue) mergeInto(dst *queue) {
	q.mu.Lock()
	dst.mu.Lock()
	if dst.end.how == open {
		dst.items = append(dst.items, q.items...)
		dst.bytes += q.bytes
		dst.end = q.end
	}
	q.items, q.bytes, q.next = nil, 0, dst
	dst.mu.Unlock()
	q.mu.Unlock()
	dst.ready.broadcast()
	q.room.broadcast()
}

// signal wakes everybody who waits for a change. Take the channel, look at the condition, then wait.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
