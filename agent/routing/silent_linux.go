package routing

import (
	"net/netip"
	"slices"
	"time"

	"github.com/discompose/discompose/agent"
)

// listens is how often a server whose port is closed, or may be, is looked at. A client that connects just after it closes is
// accepted by the proxy and then reset, where the server would have refused it.
const listens = 5 * time.Millisecond

// door is one port of a container.
type door struct {
	container string
	port      uint16
}

// SetDirect notes that a fault ends a container's program, or no longer does. Until then its ports are watched all the time:
// while one is closed, new connections to it go past the proxy, so that they are refused as they would be without one. As
// soon as it is open again they are routed again.
func (m *Manager) SetDirect(d agent.Direct) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.direct[d.Container]
	switch {
	case d.On && ids == nil:
		m.direct[d.Container] = map[string]bool{d.ID: true}
	case d.On:
		ids[d.ID] = true
	default:
		if delete(ids, d.ID); len(ids) == 0 {
			delete(m.direct, d.Container)
		}
	}
	m.watchDoors(d.Container)
	return m.render()
}

// watchDoors looks at a container's ports now, and again and again while one of them is closed or a fault ends its program. A
// server that has just started is watched too: what waits for its port must not find it open before it is. The caller holds
// mu and renders.
func (m *Manager) watchDoors(container string) {
	m.knock(container)
	if m.watching[container] || !m.doorsMatter(container) {
		return
	}
	m.watching[container] = true
	m.work.Go(func() {
		tick := time.NewTicker(listens)
		defer tick.Stop()
		for m.watchOnce(container) {
			select {
			case <-tick.C:
			case <-m.ctx.Done():
				return
			}
		}
	})
}

// watchOnce looks at a container's ports once, and reports whether they are to be looked at again.
func (m *Manager) watchOnce(container string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.knock(container) {
		if err := m.render(); err != nil && m.ctx.Err() == nil {
			m.o.Log(err.Error())
		}
	}
	m.watching[container] = m.doorsMatter(container)
	return m.watching[container]
}

// doorsMatter reports whether a container's ports are to be watched. The caller holds mu.
func (m *Manager) doorsMatter(container string) bool {
	if len(m.direct[container]) > 0 {
		return true
	}
	for at := range m.silent {
		if at.container == container {
			return true
		}
	}
	return false
}

// refused looks at the ports of the server that has just refused the proxy: the next connections are to be refused by
// itself.
func (m *Manager) refused(by netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.members {
		if !slices.Contains(x.space.addrs(), by.Addr()) || m.silent[door{x.id, by.Port()}] {
			continue
		}
		m.watchDoors(x.id)
		if err := m.render(); err != nil && m.ctx.Err() == nil {
			m.o.Log(err.Error())
		}
	}
}

// shut forgets the doors of a container that has ended: nothing goes there, for it has no address. The caller holds mu.
func (m *Manager) shut(container string) {
	for at := range m.silent {
		if at.container == container {
			delete(m.silent, at)
		}
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
