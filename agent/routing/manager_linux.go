package routing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/agent/proxy"
)

// lingers is how long the connections of a namespace whose program has ended may take to end too: their last bytes are on
// their way.
const lingers = 2 * time.Second

// Options says what a Manager works with. All fields are required.
type Options struct {
	Docker Engine
	Emit   func(event string, data any) // must not wait for long
	Log    func(string)
}

// Manager keeps the networks of one project as they are wanted. It is safe for concurrent use.
type Manager struct {
	o       Options
	api     proxy.API
	handler handler
	paths   paths
	ctx     context.Context //nolint:containedctx // the Manager's life
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu       sync.Mutex
	started  bool
	stale    bool // the rules are behind the addresses
	start    agent.NetStart
	edges    []*edge
	spaces   map[uint64]*space
	members  map[string]*member
	cuts     map[string]*cut
	lastCut  int
	direct   map[string]map[string]bool // container → ids of faults that end its program
	silent   map[door]bool              // ports of links' servers that are closed
	watching map[string]bool            // containers whose ports are looked at
	sockets  bool                       // rules can tell whether somebody listens

	movers *proxy.Movers // of every link

	waiting atomic.Int64 // changes of addresses that are about to be taken in
}

// member is one running container of the project.
type member struct {
	id    string
	who   string // service, "workload.<name>" or "probes"
	name  string // for people: "kafka", "web[2]"
	pid   int
	space *space
}

// edge is one link.
type edge struct {
	agent.Edge
	index    int
	link     *proxy.Link
	clients  int
	guarding bool             // nothing goes past the proxy: the link has toxics, or is down
	totals   map[string]int64 // counters of namespaces that are gone
	resets   []agent.LinkReset
	unrouted []string // what could not be routed, and why
}

// note keeps why something is not routed, once.
func (e *edge) note(why string) {
	if !slices.Contains(e.unrouted, why) {
		e.unrouted = append(e.unrouted, why)
	}
}

func (e *edge) counter(what string) string { return fmt.Sprintf("%s-%d", what, e.index) }

// cut is one cut and what its rules in namespaces that are gone have stopped.
type cut struct {
	agent.Cut
	index  int
	totals map[string]int64
}

func (c *cut) counter(what string) string { return fmt.Sprintf("cut-%s-%d", what, c.index) }

// NewManager makes a Manager that routes nothing yet. It ends with Close, or when ctx ends.
func NewManager(ctx context.Context, o Options) *Manager {
	m := &Manager{
		o: o, spaces: map[uint64]*space{}, members: map[string]*member{},
		cuts: map[string]*cut{}, direct: map[string]map[string]bool{}, silent: map[door]bool{}, watching: map[string]bool{},
	}
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.api.Own = isOwn
	m.api.OnChange = m.changed
	m.handler = handler{m.api.Handler()}
	return m
}

// Start opens the links, arms the project's running containers, and watches for new ones.
func (m *Manager) Start(ctx context.Context, s agent.NetStart) error {
	err := m.open(s) //nolint:contextcheck // links outlive this call
	if err != nil {
		return err
	}
	if m.paths, err = findPaths("/proc", "/sys/fs/cgroup"); err != nil {
		return err
	}
	if err := m.watch(); err != nil { //nolint:contextcheck // it outlives this call
		return err
	}
	if err := m.adoptRunning(ctx); err != nil {
		return err
	}
	m.afresh()
	return nil
}

// open makes the links.
func (m *Manager) open(s agent.NetStart) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started {
		return errors.New("start routing: it has been started")
	}
	m.sockets = inNew(trySocket) == nil
	var err error
	if m.movers, err = proxy.NewMovers(); err != nil {
		return err
	}
	m.started, m.start = true, s
	for i, x := range s.Links {
		e := &edge{Edge: x, index: i, totals: map[string]int64{}}
		e.link, err = proxy.Open(m.ctx, proxy.Options{Name: x.Name, Upstream: fmt.Sprintf("%s:%d", x.To, x.Port), Seed: uint64(s.Seed), Movers: m.movers}) //nolint:gosec // any bits are a seed
		if err != nil {
			return err
		}
		m.edges = append(m.edges, e)
		m.api.Add(e.link)
	}
	return nil
}

// Close ends everything: rules, listeners, connections. It returns the first problems, joined.
func (m *Manager) Close() error {
	m.cancel()
	m.mu.Lock()
	var errs []error
	for _, s := range m.spaces {
		errs = append(errs, m.forget(s))
	}
	edges := m.edges
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), lingers)
	defer cancel()
	for _, e := range edges {
		errs = append(errs, e.link.Close(ctx))
	}
	m.work.Wait()
	if m.movers != nil {
		m.movers.Close()
	}
	return errors.Join(errs...)
}

// join makes a container a member: its namespace gets a table, listeners and rules. The caller has made sure that the
// namespace is the container's.
func (m *Manager) join(x *member, ns nsFile, late bool) (joined bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.members[x.id]; old != nil && old.space.inode != ns.inode {
		m.remove(old) // it has started again, and its end was not noticed yet
	}
	if m.ctx.Err() != nil || m.members[x.id] != nil {
		return false, ns.Close()
	}
	s := m.spaces[ns.inode]
	if s == nil {
		if s, err = m.openSpace(ns); err != nil {
			return false, errors.Join(fmt.Errorf("arm %s: %w", x.name, err), ns.Close())
		}
		m.spaces[ns.inode] = s
	} else if err := ns.Close(); err != nil {
		return false, err
	}
	x.space = s
	s.members[x.id], m.members[x.id] = x, x
	m.enter(s, x)
	m.watchDoors(x.id)
	err = m.render()
	m.o.Emit(agent.EventArmed, agent.Armed{Container: x.id, Service: x.who, Late: late, Listeners: len(s.entries), At: bootTime()})
	return true, err
}

func (m *Manager) openSpace(ns nsFile) (*space, error) {
	var s *space
	ready := make(chan struct{}) // the watch may tell of addresses before s is set
	s, err := openSpace(ns.File, ns.inode, tableName(m.start.Run), func(add bool, p netip.Prefix, loop bool) {
		<-ready
		m.address(s, add, p, loop)
	})
	close(ready)
	return s, err
}

// address takes in a change of a namespace's addresses. Where more are waiting the last of them renders: when an environment
// starts, they come faster than the kernel takes rules.
func (m *Manager) address(s *space, add bool, p netip.Prefix, loop bool) {
	m.waiting.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.waiting.Add(-1) == 0
	if m.spaces[s.inode] == s && s.take(add, p, loop) {
		m.stale = true
	}
	if !last || !m.stale {
		return
	}
	if err := m.render(); err != nil && m.ctx.Err() == nil {
		m.o.Log(err.Error())
	}
}

// tableName carries the run, so that a sweep knows whose a table is.
func tableName(run string) string { return prefix + run }

// enter opens the listeners of the links whose client x is. Two links of one namespace to one port are one: the first has it.
func (m *Manager) enter(s *space, x *member) {
	for _, e := range m.edges {
		if e.From != x.who || s.entries[e] != nil {
			continue
		}
		if other := s.twin(e); other != nil {
			e.note(fmt.Sprintf("%s shares its network namespace: its connections go through %s", x.name, other.Name))
			continue
		}
		at, err := e.link.Attach(m.ctx, sockets{s.ns, s.ports, m.refused})
		if err != nil {
			e.note(fmt.Sprintf("%s: %v", x.name, err))
			m.o.Log("route " + e.Name + ": " + err.Error())
			continue
		}
		n := &entry{at: at}
		for _, a := range at.Addrs() {
			if a.Addr().Is4() {
				n.port4 = a.Port()
			} else {
				n.port6 = a.Port()
			}
		}
		e.clients++
		s.entries[e] = n
	}
}

// twin is another link of the namespace to the same port.
func (s *space) twin(e *edge) *edge {
	for o := range s.entries {
		if o.To == e.To && o.Port == e.Port {
			return o
		}
	}
	return nil
}

// leave takes a container out whose program has ended.
func (m *Manager) leave(x *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.members[x.id] != x {
		return
	}
	m.remove(x)
	if err := m.render(); err != nil && m.ctx.Err() == nil {
		m.o.Log(err.Error())
	}
}

// remove takes a container out. The caller holds mu.
func (m *Manager) remove(x *member) {
	m.noteUnrouted()
	delete(m.members, x.id)
	m.shut(x.id)
	delete(x.space.members, x.id)
	if len(x.space.members) > 0 {
		return
	}
	if err := m.forget(x.space); err != nil && m.ctx.Err() == nil {
		m.o.Log(err.Error())
	}
}

// forget lets a namespace go, keeping what it counted. The caller holds mu.
func (m *Manager) forget(s *space) error {
	delete(m.spaces, s.inode)
	close(s.done)
	counts, err := s.table.read()
	m.keep(counts)
	for _, n := range s.entries {
		closeSoon(&m.work, n.at, lingers)
	}
	return errors.Join(err, s.table.close(), s.ns.Close())
}

// keep adds the counters of a namespace that goes.
func (m *Manager) keep(counts map[string]int64) {
	for _, e := range m.edges {
		for _, what := range edgeCounters() {
			e.totals[what] += counts[e.counter(what)]
		}
	}
	for _, c := range m.cuts {
		for _, what := range cutCounters() {
			c.totals[what] += counts[c.counter(what)]
		}
	}
}

// stands reports whether a member is one of those that a name stands for.
func stands(name, who string) bool {
	if name == "workload" && strings.HasPrefix(who, "workload.") {
		return true
	}
	ok, err := path.Match(name, who)
	return ok && err == nil
}

// peers lists the members that names stand for, one container excepted, sorted by name. The caller holds mu.
func (m *Manager) peers(names []string, but string) []*member {
	var out []*member
	for _, x := range m.members {
		if x.id != but && slices.ContainsFunc(names, func(n string) bool { return stands(n, x.who) }) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, byName)
	return out
}

// noteUnrouted notes what is not routed. It is asked late, in a report or when a container goes: while one starts, its
// addresses come one by one. The caller holds mu.
func (m *Manager) noteUnrouted() {
	for _, s := range m.spaces {
		m.noteUnroutedIn(s)
	}
}

func (m *Manager) noteUnroutedIn(s *space) {
	for _, e := range m.entriesOf(s) {
		for _, x := range m.members {
			if x.who != e.To {
				continue
			}
			switch {
			case x.space == s:
				e.note(fmt.Sprintf("%s shares its network namespace with %s", x.name, e.From))
			case (!s.loop6 || s.entries[e].port6 == 0) && slices.ContainsFunc(x.space.shared(s), netip.Addr.Is6):
				e.note(fmt.Sprintf("%s has no ::1: its connections over IPv6 go past the proxy", e.From))
			}
		}
	}
}

// changed is told of every change that came through Toxiproxy's API, after it took effect.
func (m *Manager) changed(c proxy.Change) {
	if !c.Own {
		what := c.Op
		if c.Toxic.Name != "" {
			what += " " + c.Toxic.Name
		}
		if c.Toxic.Type != "" {
			what += " (" + c.Toxic.Type + ")"
		}
		m.o.Emit(agent.EventForeign, agent.Foreign{Link: c.Link, What: what, At: bootTime()})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.edges {
		if e.Name != c.Link {
			continue
		}
		m.guard(e, len(e.link.Toxics()) > 0 || !e.link.Enabled())
	}
}
