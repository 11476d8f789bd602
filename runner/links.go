package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// links drives the proxies of a run. Toxiproxy's client knows only an endpoint: it talks to a listener on this machine's
// loopback, which hands each request over the agent's stream to the process that has the proxies. It implements
// faults.Links.
type links struct {
	host   *session
	routes []scenarios.LinkRef
	client *toxiproxy.Client
	server *http.Server // the run's own way in
	people *http.Server // everybody's; nil where nobody asked for one

	mu       sync.Mutex
	disabled map[string]map[string]bool // link → who disabled it
}

// apiBudget bounds one request of Toxiproxy's API.
const apiBudget = 30 * time.Second

// mostBody bounds the body of a request: a toxic is some hundred bytes.
const mostBody = 1 << 20

// openLinks opens the run's own way to the proxies.
func openLinks(ctx context.Context, host *session, routes []scenarios.LinkRef) (*links, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the way to the proxies: %w", err)
	}
	l := &links{host: host, routes: routes, client: toxiproxy.NewClient(listener.Addr().String()), disabled: map[string]map[string]bool{}}
	l.client.UserAgent = "discompose"
	l.server = serveToxiproxy(ctx, listener, host, true)
	return l, nil
}

// serveToxiproxy serves Toxiproxy's API on a listener until the server is closed. own says whose changes they are.
func serveToxiproxy(ctx context.Context, listener net.Listener, host *session, own bool) *http.Server {
	ctx = context.WithoutCancel(ctx) // healing goes through it, too
	s := &http.Server{
		ReadHeaderTimeout: apiBudget,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), apiBudget)
			defer cancel()
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			var a agent.HTTPResponse
			req := agent.HTTPRequest{Method: r.Method, Path: r.URL.RequestURI(), UserAgent: r.UserAgent(), Body: body, Own: own}
			if err := host.Call(ctx, agent.OpNetToxiproxy, req, &a); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			if a.Type != "" {
				w.Header().Set("Content-Type", a.Type)
			}
			w.WriteHeader(a.Status)
			_, _ = w.Write(a.Body) // the caller has gone
		}),
	}
	go func() { _ = s.Serve(listener) }() // until it is closed
	return s
}

func (l *links) close() error {
	err := l.server.Close()
	if l.people != nil {
		err = errors.Join(err, l.people.Close())
	}
	return err
}

// each does something with every routed link that a name stands for.
func (l *links) each(link string, do func(edge string) error) error {
	ref, ok := scenarios.ParseLink(link)
	var errs []error
	found := false
	for _, edge := range l.routes {
		if !ok || !ref.Covers(edge) {
			continue
		}
		found = true
		errs = append(errs, do(edge.String()))
	}
	if !found {
		return fmt.Errorf("%w: %s", faults.ErrNoLink, link)
	}
	return errors.Join(errs...)
}

// AddToxic adds a toxic to every connection of a link; one of that name is replaced.
func (l *links) AddToxic(_ context.Context, link string, t faults.Toxic) error {
	return l.each(link, func(edge string) error {
		p := l.proxy(edge)
		add := func() error {
			_, err := p.AddToxic(t.Name, t.Type, t.Stream, float32(t.Toxicity), t.Attributes)
			return err
		}
		err := add()
		if status(err) == http.StatusConflict {
			if err := p.RemoveToxic(t.Name); err != nil {
				return fmt.Errorf("replace toxic %s of %s: %w", t.Name, edge, err)
			}
			err = add()
		}
		if err != nil {
			return fmt.Errorf("add toxic %s to %s: %w", t.Name, edge, err)
		}
		return nil
	})
}

// proxy is a link as Toxiproxy's client knows it, without asking for its state.
func (l *links) proxy(edge string) *toxiproxy.Proxy {
	p := l.client.NewProxy()
	p.Name = edge
	return p
}

// status is the HTTP status of an error of Toxiproxy's API; 0 for any other.
func status(err error) int {
	var api *toxiproxy.ApiError
	if errors.As(err, &api) {
		return api.Status
	}
	return 0
}

// RemoveToxic takes a toxic away; one that is not there is fine.
func (l *links) RemoveToxic(_ context.Context, link, name string) error {
	return l.each(link, func(edge string) error {
		err := l.proxy(edge).RemoveToxic(name)
		if err != nil && status(err) != http.StatusNotFound {
			return fmt.Errorf("remove toxic %s of %s: %w", name, edge, err)
		}
		return nil
	})
}

// Disable closes the link's connections and refuses new ones, until all who disabled it have enabled it.
func (l *links) Disable(_ context.Context, link, by string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.each(link, func(edge string) error {
		if l.disabled[edge] == nil {
			l.disabled[edge] = map[string]bool{}
		}
		l.disabled[edge][by] = true
		return l.set(edge, false)
	})
}

// Enable takes one name back.
func (l *links) Enable(_ context.Context, link, by string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.each(link, func(edge string) error {
		delete(l.disabled[edge], by)
		if len(l.disabled[edge]) > 0 {
			return nil
		}
		return l.set(edge, true)
	})
}

func (l *links) set(edge string, enabled bool) error {
	p, err := l.client.Proxy(edge)
	if err != nil {
		return fmt.Errorf("find link %s: %w", edge, err)
	}
	if p.Enabled == enabled {
		return nil
	}
	p.Enabled = enabled
	if err := p.Save(); err != nil {
		return fmt.Errorf("change link %s: %w", edge, err)
	}
	return nil
}

// State tells what a link has done; of several it is the sum.
func (l *links) State(ctx context.Context, link string) (faults.LinkState, error) {
	reports, err := l.reports(ctx)
	if err != nil {
		return faults.LinkState{}, err
	}
	var sum faults.LinkState
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.each(link, func(edge string) error {
		i := slices.IndexFunc(reports, func(r linkReport) bool { return r.Name == edge })
		if i < 0 {
			return fmt.Errorf("%w: %s", faults.ErrNoLink, edge)
		}
		one := reports[i].State
		one.Refused = max(0, reports[i].Redirects-one.Accepted) // sent to a listener that took none
		one.Disabled = sortedKeys(l.disabled[edge])
		sum = sum.Plus(one)
		return nil
	})
	sum.Name = link
	return sum, err
}

// linkReport is agent.LinkReport with its state decoded.
type linkReport struct {
	agent.LinkReport
	State faults.LinkState `json:"state"`
}

func (l *links) reports(ctx context.Context) ([]linkReport, error) {
	var out []linkReport
	if err := l.host.Call(ctx, agent.OpNetLinks, nil, &out); err != nil {
		return nil, fmt.Errorf("ask for the links: %w", err)
	}
	return out, nil
}

// route puts the plan's links in place, before the environment is started.
func (r *run) route(ctx context.Context) error {
	if r.host == nil || !r.host.facts.Can(faults.CapPackets) || (len(r.plan.Routes) == 0 && !r.plan.cutsPackets()) {
		return nil
	}
	start := agent.NetStart{Run: r.info.ID, Project: r.info.Project, Seed: r.info.Seed, Attached: r.info.Attached, Afresh: r.taken != nil}
	for _, e := range r.plan.Routes {
		start.Links = append(start.Links, agent.Edge{Name: e.String(), From: e.From, To: e.To, Port: e.Port})
	}
	if err := r.host.Call(ctx, agent.OpNetStart, start, nil); err != nil {
		return fmt.Errorf("route the links: %w", err)
	}
	var err error
	if r.links, err = openLinks(ctx, r.host, r.plan.Routes); err != nil {
		return err
	}
	r.fenv.Links = r.links
	return r.openAPI(ctx)
}

// cutsPackets reports whether a fault of the plan needs rules in namespaces.
func (p *Plan) cutsPackets() bool {
	return slices.ContainsFunc(p.Injections, func(in Injection) bool { return in.Fault.Spec.Family == faults.Network })
}

// openAPI opens Toxiproxy's API to people.
func (r *run) openAPI(ctx context.Context) error {
	if r.o.ToxiproxyAPI == "" {
		return nil
	}
	if len(r.plan.Routes) == 0 {
		r.say(Event{Kind: EventWarn, Text: "Toxiproxy's API shows nothing: no link is routed in this run"})
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.o.ToxiproxyAPI)
	if err != nil {
		return fmt.Errorf("open Toxiproxy's API on %s: %w", r.o.ToxiproxyAPI, err)
	}
	r.links.people = serveToxiproxy(ctx, listener, r.host, false)
	r.say(Event{Kind: EventStep, Text: fmt.Sprintf("Toxiproxy's API: http://%s (a change through it makes the run inconclusive)", listener.Addr())})
	return nil
}

// closeLinks ends the ways to the proxies.
func (r *run) closeLinks() {
	if r.links == nil {
		return
	}
	if err := r.links.close(); err != nil {
		r.o.Log.Debug("close the way to the proxies", "err", err)
	}
}

// keepLinks writes what the links did into run.json.
func (r *run) keepLinks(ctx context.Context) {
	if r.links == nil || r.host.lost() {
		return
	}
	reports, err := r.links.reports(ctx)
	if err != nil {
		r.say(Event{Kind: EventWarn, Text: err.Error()})
		return
	}
	r.info.Links = nil
	names := r.plan.toxicNames()
	for _, l := range reports {
		out := ledger.Link{
			Name: l.Name, From: l.From, To: l.To, Port: l.Port, Clients: l.Clients, Unrouted: l.Unrouted,
			Accepted: l.State.Accepted, Dialled: l.State.Dialled, DialFailed: l.State.DialFailed, Dialling: l.State.Dialling, Upstream: l.State.Upstream.Bytes, Downstream: l.State.Downstream.Bytes,
			Direct: l.Direct, Arrived: l.Arrived, Guarded: l.Guarded, Passed: l.Passed,
		}
		for _, c := range l.State.Closed {
			out.Closed = append(out.Closed, ledger.LinkClose{By: cmp.Or(names[c.By], c.By), How: c.How, Count: c.Count})
		}
		for _, x := range l.Resets {
			out.Resets = append(out.Resets, ledger.LinkReset{Count: x.Count, Why: x.Why, At: x.At})
		}
		r.info.Links = append(r.info.Links, out)
	}
}

// toxicNames maps the name of each toxic that the plan may add to the id of its fault's occurrence.
func (p *Plan) toxicNames() map[string]string {
	out := map[string]string{}
	for _, in := range p.Injections {
		for _, ref := range in.Targets {
			name := faults.ToxicName(recordID(in, ref))
			for _, suffix := range []string{"", "_upstream", "_downstream"} {
				out[name+suffix] = in.ID
			}
		}
	}
	return out
}

// agentEvent takes what the agent tells.
func (r *run) agentEvent(cancel context.CancelCauseFunc, e agent.Event) {
	switch e.Name {
	case agent.EventForeign:
		var f agent.Foreign
		if json.Unmarshal(e.Data, &f) == nil {
			text := fmt.Sprintf("somebody changed %s through Toxiproxy's API: %s", f.Link, f.What)
			r.event(ledger.Event{At: f.At, Source: "agent", Type: string(oracle.ForeignChange), Service: f.Link, Detail: text})
			r.say(Event{Kind: EventWarn, Text: text})
			return
		}
	case agent.EventReset:
		var x agent.LinkReset
		if json.Unmarshal(e.Data, &x) == nil {
			text := fmt.Sprintf("%d connections reset: %s", x.Count, x.Why)
			r.event(ledger.Event{At: x.At, Source: "agent", Type: "link-reset", Service: x.Link, Detail: text})
			return
		}
	case agent.EventNetLost:
		var why string
		_ = json.Unmarshal(e.Data, &why) // it is told as it is otherwise
		r.note("agent", "net-lost", "", why)
		cancel(fmt.Errorf("%w: %s", ErrAgentLost, why))
		return
	}
	r.note("agent", e.Name, "", string(e.Data))
}

// direct tells the agent that the target of a fault cannot be reached while it lasts, or can be again.
func (r *run) direct(ctx context.Context, in Injection, record faults.Record, on bool) {
	if r.links == nil || !in.Fault.Spec.Cuts || record.On.Container == "" {
		return
	}
	err := r.host.Call(ctx, agent.OpNetDirect, agent.Direct{ID: record.ID, Container: record.On.Container, On: on}, nil)
	if err != nil {
		r.o.Log.Error("route past the proxy", "fault", record.ID, "on", on, "err", err)
	}
}
