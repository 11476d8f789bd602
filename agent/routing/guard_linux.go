package routing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/google/nftables"

	"github.com/discompose/discompose/agent"
)

// guard decides whether anything may go past the proxy of a link. When that ends, what went past is closed at both ends.
// The caller holds mu.
func (m *Manager) guard(e *edge, on bool) {
	was := e.guarding
	e.guarding = on
	if err := m.render(); err != nil { // first the rules, so that nothing new comes in between
		m.o.Log(err.Error())
	}
	if was || !on {
		return
	}
	m.closePast(e)
}

// closePast closes, at both ends, the connections of a link that go past its proxy. The caller holds mu.
func (m *Manager) closePast(e *edge) {
	for _, s := range m.spaces {
		if s.entries[e] == nil {
			continue
		}
		past, early, err := destroy(s.ns, m.serverAddrs(e, s), uint16(e.Port)) //nolint:gosec // a port
		if err != nil {
			m.o.Log(fmt.Sprintf("close connections past %s: %v", e.Name, err))
		}
		m.reset(e, early, "opened before the link was routed")
		m.reset(e, past, fmt.Sprintf("opened past the proxy while %s could not be reached", e.To))
	}
}

// afresh closes what goes past the proxies of an environment that has been running, where it may be disturbed: what opens
// again is routed from its first packet, as in one that starts after its routes.
func (m *Manager) afresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.start.Afresh {
		return
	}
	for _, e := range m.edges {
		m.closePast(e)
	}
}

// reset tells of connections that the guard closed. The caller holds mu.
func (m *Manager) reset(e *edge, n int, why string) {
	if n == 0 {
		return
	}
	x := agent.LinkReset{Link: e.Name, Count: n, Why: why, At: bootTime()}
	e.resets = append(e.resets, x)
	m.o.Emit(agent.EventReset, x)
}

// Left lists the tables of ours in the namespaces of a project's running containers, as "discompose_0a1b2c3d in web", sorted:
// where no routing goes on, what an earlier run has left. It needs no Start.
func (m *Manager) Left(ctx context.Context, project string) ([]string, error) {
	list, err := m.o.Docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelProject+"="+project))})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := []string{}
	at := paths{proc: "/proc"}
	for _, c := range list {
		got, err := m.o.Docker.ContainerInspect(ctx, c.ID)
		if err != nil || got.State == nil || got.State.Pid <= 0 || !at.owns(got.State.Pid, c.ID) {
			continue // it has ended meanwhile, and its namespace with it
		}
		ns, ok := at.namespace(got.State.Pid)
		if !ok {
			continue
		}
		tables, err := ourTables(ns.File)
		if err = errors.Join(err, ns.Close()); err != nil {
			return nil, fmt.Errorf("look for rules in %s: %w", c.Labels[labelService], err)
		}
		for _, name := range tables {
			out = append(out, name+" in "+c.Labels[labelService])
		}
	}
	slices.Sort(out)
	return out, nil
}

// ourTables lists the names of our tables in a namespace.
func ourTables(ns *os.File) ([]string, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	list, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	var out []string
	for _, t := range list {
		if strings.HasPrefix(t.Name, prefix) {
			out = append(out, t.Name)
		}
	}
	return out, nil
}
