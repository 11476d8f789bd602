package routing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
)

// Serve is the networks' child: it serves the net.* operations on in and out until in ends, and leaves nothing behind.
func Serve(ctx context.Context, in io.Reader, out io.Writer, docker *client.Client, log func(string)) error {
	server := agent.NewServer(out)
	m := NewManager(ctx, Options{Docker: docker, Log: log, Emit: func(name string, data any) {
		if err := server.Emit(name, data); err != nil && ctx.Err() == nil {
			log("emit: " + err.Error())
		}
	}})
	return errors.Join(server.Serve(ctx, in, m.Ops()), m.Close()) //nolint:contextcheck // it ends after ctx, too
}

// Ops are the operations by name: see package agent for their types.
func (m *Manager) Ops() agent.Handler {
	return agent.Handler{
		agent.OpNetStart: op(func(ctx context.Context, s agent.NetStart) (any, error) { return nil, m.Start(ctx, s) }),
		agent.OpNetLinks: op(func(context.Context, struct{}) (any, error) { return m.Reports() }),
		agent.OpNetLeft:  op(func(ctx context.Context, l agent.NetLeft) (any, error) { return m.Left(ctx, l.Project) }),
		agent.OpNetToxiproxy: op(func(ctx context.Context, r agent.HTTPRequest) (any, error) {
			return m.handler.serve(ctx, r)
		}),
		agent.OpNetDirect: op(func(_ context.Context, d agent.Direct) (any, error) { return nil, m.SetDirect(d) }),
		agent.OpNetConns:  op(func(context.Context, struct{}) (any, error) { return m.Connections() }),
		agent.OpCut:       op(func(_ context.Context, c agent.Cut) (any, error) { return nil, m.Cut(c) }),
		agent.OpUncut:     op(func(_ context.Context, c agent.CutID) (any, error) { return nil, m.Uncut(c.ID) }),
		agent.OpCutState:  op(func(_ context.Context, c agent.CutID) (any, error) { return m.CutState(c.ID) }),
		agent.OpReach:     op(func(ctx context.Context, r agent.Reach) (any, error) { return m.Reach(ctx, r) }),
		agent.OpPeers:     op(func(_ context.Context, p agent.Peers) (any, error) { return m.Peers(p), nil }),
	}
}

func op[A any](f func(context.Context, A) (any, error)) agent.Op {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &args); err != nil {
				return nil, fmt.Errorf("decode arguments: %w", err)
			}
		}
		return f(ctx, args)
	}
}

func bootTime() int64 {
	t, _ := agent.BootTime() // 0 where there is no clock
	return t
}

// Cut begins a cut, or replaces the one of its id.
func (m *Manager) Cut(c agent.Cut) error {
	if c.ID == "" || c.Container == "" || !c.In && !c.Out {
		return errors.New("cut: it needs an id, a container and a direction")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.started {
		return errNotStarted
	}
	if old := m.cuts[c.ID]; old != nil {
		old.Cut = c
		return m.render()
	}
	m.lastCut++
	m.cuts[c.ID] = &cut{Cut: c, index: m.lastCut, totals: map[string]int64{}}
	return m.render()
}

var errNotStarted = errors.New("routing has not been started")

// Uncut ends a cut; one that is not there is fine.
func (m *Manager) Uncut(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cuts[id] == nil {
		return nil
	}
	delete(m.cuts, id)
	return m.render()
}

// CutState tells what a cut has stopped so far.
func (m *Manager) CutState(id string) (agent.CutCount, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cuts[id]
	if c == nil {
		return agent.CutCount{}, nil
	}
	counts, err := m.counts()
	if err != nil {
		return agent.CutCount{}, err
	}
	sum := func(what string) int64 { return c.totals[what] + counts[c.counter(what)] }
	return agent.CutCount{Active: true, In: sum(counterIn), Out: sum(counterOut)}, nil
}

// Peers lists the running containers that names stand for.
func (m *Manager) Peers(p agent.Peers) agent.PeerList {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := agent.PeerList{Peers: []agent.Peer{}}
	for _, x := range m.peers(p.Against, p.Container) {
		out.Peers = append(out.Peers, agent.Peer{Container: x.id, Name: x.name})
	}
	return out
}

// counts sums the counters of all namespaces that are there. The caller holds mu.
func (m *Manager) counts() (map[string]int64, error) {
	out := map[string]int64{}
	var errs []error
	for _, s := range m.spaces {
		counts, err := s.table.read()
		errs = append(errs, err)
		for name, n := range counts {
			out[name] += n
		}
	}
	return out, errors.Join(errs...)
}

// Reports tells what every link did, sorted by name.
func (m *Manager) Reports() ([]agent.LinkReport, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.started {
		return nil, errNotStarted
	}
	counts, err := m.counts()
	if err != nil {
		return nil, err
	}
	m.noteUnrouted()
	out := make([]agent.LinkReport, 0, len(m.edges))
	for _, e := range m.edges {
		sum := func(what string) int64 { return e.totals[what] + counts[e.counter(what)] }
		out = append(out, agent.LinkReport{
			Edge: e.Edge, State: e.link.Snapshot(), Clients: e.clients, Unrouted: strings.Join(e.unrouted, "; "), Resets: slices.Clone(e.resets),
			Redirects: sum(counterRedirect), Direct: sum(counterDirect), Early: sum(counterEarly),
			Guarded: sum(counterGuarded), Passed: sum(counterPassed), Arrived: sum(counterArrived),
		})
	}
	slices.SortFunc(out, func(a, b agent.LinkReport) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Connections lists the established connections between the project's containers, sorted.
func (m *Manager) Connections() ([]agent.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	owners := map[string]*member{}
	for _, s := range m.spaces {
		for _, a := range s.addrs() {
			owners[a.String()] = membersOf(s)[0]
		}
	}
	found := map[agent.Connection]int{}
	for _, s := range m.spaces {
		list, err := established(s.ns)
		if err != nil {
			return nil, err
		}
		listening, err := listeningPorts(s.ns)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			to := owners[c.remote.Addr().String()]
			// The server's end of it is the same connection, and so is the proxy's own.
			if to == nil || to.space == s || listening[c.local.Port()] || c.mark == markOwn {
				continue
			}
			found[agent.Connection{From: membersOf(s)[0].who, To: to.who, Port: int(c.remote.Port())}]++
		}
	}
	out := make([]agent.Connection, 0, len(found))
	for c, n := range found {
		c.Count = n
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b agent.Connection) int {
		return strings.Compare(fmt.Sprint(a.From, a.To, a.Port), fmt.Sprint(b.From, b.To, b.Port))
	})
	return out, nil
}

// handler serves requests that came over the stream.
type handler struct{ h http.Handler }

type ownKey struct{}

// isOwn reports whether a request is the run's own.
func isOwn(r *http.Request) bool {
	own, _ := r.Context().Value(ownKey{}).(bool)
	return own
}

func (h handler) serve(ctx context.Context, r agent.HTTPRequest) (any, error) {
	req, err := http.NewRequestWithContext(context.WithValue(ctx, ownKey{}, r.Own), r.Method, r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", r.UserAgent)
	w := &answer{header: http.Header{}, status: http.StatusOK}
	h.h.ServeHTTP(w, req)
	return agent.HTTPResponse{Status: w.status, Type: w.header.Get("Content-Type"), Body: w.body.Bytes()}, nil
}

// answer is a response in memory.
type answer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.status, a.wrote = status, true
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.wrote = true
	return a.body.Write(p)
}

// Probe tells which of the network capabilities this host has, by trying in a namespace of its own.
func Probe() (has []string, missing map[string]string) {
	missing = map[string]string{}
	err := inNew(tryRules)
	for _, c := range []string{"packets", "links"} {
		if err != nil {
			missing[c] = fmt.Sprintf("nftables in a network namespace: %v; the kernel needs nf_tables, nft_nat, nft_redir, nft_ct and nf_conntrack_netlink (5.2 or later)", err)
			continue
		}
		has = append(has, c)
	}
	return has, missing
}
