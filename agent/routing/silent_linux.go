package routing

import (
	"time"

	"github.com/discompose/discompose/agent"
)

// listens is how often a server that a fault stops is looked at: a client that connects in between is accepted by the proxy
// and then reset, where the server would have refused it.
const listens = 5 * time.Millisecond

// door is one port of a container.
type door struct {
	container string
	port      uint16
}

// SetDirect notes that a fault ends a container's program, or no longer does. Until then its ports are watched: while one
// is closed, new connections to it go past the proxy, so that they are refused as they would be without one. As soon as it
// is open again they are routed again.
func (m *Manager) SetDirect(d agent.Direct) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.direct[d.Container]
	switch {
	case d.On && len(ids) == 0:
		m.direct[d.Container] = map[string]bool{d.ID: true}
		m.knock(d.Container)
		m.work.Go(func() { m.watchDoors(d.Container) })
	case d.On:
		ids[d.ID] = true
	default:
		delete(ids, d.ID)
		if len(ids) > 0 {
			break
		}
		for at := range m.silent {
			if at.container == d.Container {
				delete(m.silent, at)
			}
		}
	}
	return m.render()
}

// watchDoors looks at a container's ports until no fault ends its program any more.
func (m *Manager) watchDoors(container string) {
	tick := time.NewTicker(listens)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			return
		}
		m.mu.Lock()
		if len(m.direct[container]) == 0 {
			m.mu.Unlock()
			return
		}
		if m.knock(container) {
			if err := m.render(); err != nil && m.ctx.Err() == nil {
				m.o.Log(err.Error())
			}
		}
		m.mu.Unlock()
	}
}

// knock looks which ports of a container are closed, and reports whether that has changed. Of one that does not run nothing
// is known, and nothing goes there: it has no address. The caller holds mu.
func (m *Manager) knock(container string) (changed bool) {
	x := m.members[container]
	if x == nil {
		return false
	}
	open, err := listeningPorts(x.space.ns)
	if err != nil {
		return false // its namespace has just ended
	}
	for _, e := range m.edges {
		at := door{container, uint16(e.Port)} //nolint:gosec // a port
		if e.To != x.who || m.silent[at] == !open[at.port] {
			continue
		}
		changed = true
		if open[at.port] {
			delete(m.silent, at)
		} else {
			m.silent[at] = true
		}
	}
	return changed
}
