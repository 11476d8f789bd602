package proxy

import (
	"sync"
	"time"
)

// marks remembers when the bytes that are in a direction's chain were read, for the residences.
type marks struct {
	mu         sync.Mutex
	list       []mark
	rd, wr     int64 // bytes read into and written out of the chain
	lastBusyAt time.Time
}

// mark is one read: the bytes up to offset upTo arrived at at.
type mark struct {
	upTo int64
	at   time.Time
}

// busyFrom notes that the chain, empty so far, holds bytes from now on.
func (m *marks) busyFrom(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastBusyAt = now
}

func (m *marks) read(n int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rd += int64(n)
	m.list = append(m.list, mark{m.rd, now})
}

// written tells f about the reads that n more bytes belong to. A read's residence ends with its last byte.
func (m *marks) written(n int, now time.Time, f *flowStats, window time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wr += int64(n)
	if len(m.list) == 0 {
		return
	}
	f.worked(n, m.list[0].at, m.lastBusyAt, now, window)
	m.lastBusyAt = now
	for len(m.list) > 0 && m.list[0].upTo <= m.wr {
		f.resided(m.list[0].at, now)
		m.list = m.list[1:]
	}
}

// dropped forgets n bytes that a toxic swallowed.
func (m *marks) dropped(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wr += int64(n)
	for len(m.list) > 0 && m.list[0].upTo <= m.wr {
		m.list = m.list[1:]
	}
}
