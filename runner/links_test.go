package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/agent/proxy"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

type ownKey struct{}

// linksRig is the runner's end of real proxies, over a stream as the agent's is.
type linksRig struct {
	*testing.T
	links *links
	open  []*proxy.Link
	own   []bool // of each change that came in
}

func newLinksRig(t *testing.T, names ...string) *linksRig {
	t.Helper()
	r := &linksRig{T: t}
	api := &proxy.API{
		Own:      func(q *http.Request) bool { return q.Context().Value(ownKey{}) == true },
		OnChange: func(c proxy.Change) { r.own = append(r.own, c.Own) },
	}
	var routes []scenarios.LinkRef
	for _, name := range names {
		ref, ok := scenarios.ParseLink(name)
		if !ok {
			t.Fatalf("%s is no link", name)
		}
		routes = append(routes, ref)
		l, err := proxy.Open(t.Context(), proxy.Options{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		api.Add(l)
		r.open = append(r.open, l)
	}
	here, there := io.Pipe()
	back, answers := io.Pipe()
	conn := agent.NewConn(back, there, nil)
	served := make(chan error, 1)
	go func() { served <- agent.Serve(context.WithoutCancel(t.Context()), here, answers, r.handler(api)) }()
	host := &session{conn: conn}
	var err error
	if r.links, err = openLinks(t.Context(), host, routes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.links.close(), conn.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *linksRig) handler(api *proxy.API) agent.Handler {
	return agent.Handler{
		agent.OpNetToxiproxy: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q agent.HTTPRequest
			if err := json.Unmarshal(raw, &q); err != nil {
				return nil, err
			}
			req := httptest.NewRequestWithContext(context.WithValue(ctx, ownKey{}, q.Own), q.Method, q.Path, bytes.NewReader(q.Body))
			w := httptest.NewRecorder()
			api.Handler().ServeHTTP(w, req)
			return agent.HTTPResponse{Status: w.Code, Type: w.Header().Get("Content-Type"), Body: w.Body.Bytes()}, nil
		},
		agent.OpNetLinks: func(context.Context, json.RawMessage) (any, error) {
			var out []agent.LinkReport
			for i, l := range r.open {
				out = append(out, agent.LinkReport{Edge: agent.Edge{Name: l.Name()}, State: l.Snapshot(), Redirects: int64(i + 1)})
			}
			return out, nil
		},
	}
}

// toxics are the names of a link's toxics.
func (r *linksRig) toxics(i int) []string {
	var out []string
	for _, x := range r.open[i].Toxics() {
		out = append(out, x.Name)
	}
	return out
}

func TestAToxicGoesToEveryLinkThatItsTargetStandsFor(t *testing.T) {
	r := newLinksRig(t, "api->db:5432", "web->db:5432", "web->cache:6379")
	slow := faults.Toxic{Name: "slow", Type: "latency", Stream: "upstream", Toxicity: 0.5, Attributes: map[string]any{"latency": 100}}
	for range 2 { // the second replaces the first
		if err := r.links.AddToxic(t.Context(), "*->db:5432", slow); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range [][]string{{"slow"}, {"slow"}, nil} {
		if got := r.toxics(i); !slices.Equal(got, want) {
			t.Errorf("%s has toxics %v, want %v", r.open[i].Name(), got, want)
		}
	}
	if got := r.open[0].Toxics()[0]; got.Toxicity != 0.5 || got.Stream != "upstream" || got.Attributes["latency"] != float64(100) {
		t.Errorf("the toxic is %+v", got)
	}
	if slices.Contains(r.own, false) || len(r.own) == 0 {
		t.Errorf("changes were taken for the run's own: %v", r.own)
	}
	for range 2 { // the second finds none
		if err := r.links.RemoveToxic(t.Context(), "*->db:5432", "slow"); err != nil {
			t.Fatal(err)
		}
	}
	if got := append(r.toxics(0), r.toxics(1)...); len(got) > 0 {
		t.Errorf("toxics stay: %v", got)
	}
	if err := r.links.AddToxic(t.Context(), "web->mail:25", slow); !errors.Is(err, faults.ErrNoLink) {
		t.Errorf("a link that is not routed: %v", err)
	}
}

func TestALinkIsUpWhenNobodyHasItDown(t *testing.T) {
	r := newLinksRig(t, "api->db:5432", "web->db:5432")
	ctx := t.Context()
	if err := r.links.Disable(ctx, "*->db:5432", "all"); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want ...bool) {
		t.Helper()
		for i, l := range r.open {
			if l.Enabled() != want[i] {
				t.Errorf("%s: %s is up: %t", when, l.Name(), l.Enabled())
			}
		}
	}
	check("both down", false, false)
	if err := r.links.Disable(ctx, "web->db:5432", "one"); err != nil {
		t.Fatal(err)
	}
	if err := r.links.Enable(ctx, "*->db:5432", "all"); err != nil {
		t.Fatal(err)
	}
	check("one is still down by another", true, false)
	if s, err := r.links.State(ctx, "*->db:5432"); err != nil || s.Enabled || !slices.Equal(s.Disabled, []string{"one"}) || s.Refused != 3 {
		t.Errorf("the state is %+v, %v", s, err)
	}
	for range 2 {
		if err := r.links.Enable(ctx, "web->db:5432", "one"); err != nil {
			t.Fatal(err)
		}
	}
	check("all is over", true, true)
}

func TestPeopleUseToxiproxysOwnClient(t *testing.T) {
	r := newLinksRig(t, "web->db:5432")
	people := httptest.NewUnstartedServer(nil)
	server := serveToxiproxy(t.Context(), people.Listener, r.links.host, false)
	t.Cleanup(func() { server.Close() })
	client := toxiproxy.NewClient(people.Listener.Addr().String())
	proxies, err := client.Proxies()
	if err != nil || proxies["web->db:5432"] == nil {
		t.Fatalf("proxies: %v, %v", proxies, err)
	}
	if _, err := proxies["web->db:5432"].AddToxic("mine", "latency", "downstream", 1, toxiproxy.Attributes{"latency": 1}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.own, []bool{false}) || !slices.Equal(r.toxics(0), []string{"mine"}) {
		t.Errorf("own %v, toxics %v", r.own, r.toxics(0))
	}
	if _, err := client.CreateProxy("x", "127.0.0.1:0", "db:1"); err == nil {
		t.Error("a proxy could be made")
	}
}
