package proxy_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent/proxy"
)

func TestToxiproxyClient(t *testing.T) { //nolint:gocognit // one client's session, step by step
	r := newRig(t, proxy.Options{Name: "orders->db:5432", Upstream: "db:5432"})
	var changes []proxy.Change
	api := &proxy.API{
		Own:      func(r *http.Request) bool { return r.UserAgent() == "ours" },
		OnChange: func(c proxy.Change) { changes = append(changes, c) },
	}
	api.Add(r.link)
	server := httptest.NewServer(api.Handler())
	defer http.DefaultClient.CloseIdleConnections()
	defer server.Close()
	ours, theirs := toxiproxy.NewClient(server.URL), toxiproxy.NewClient(server.URL)
	ours.UserAgent = "ours"

	if v, err := ours.Version(); err != nil || !strings.Contains(string(v), `"2.12.0"`) {
		t.Errorf("version %s, %v", v, err)
	}
	all, err := ours.Proxies()
	if err != nil || len(all) != 1 {
		t.Fatalf("proxies %v, %v", all, err)
	}
	p, err := ours.Proxy("orders->db:5432")
	if err != nil {
		t.Fatal(err)
	}
	if p.Upstream != "db:5432" || p.Listen != r.link.Addrs()[0].String() || !p.Enabled || len(p.ActiveToxics) != 0 {
		t.Errorf("proxy %+v", p)
	}

	got, err := p.AddToxic("", "latency", "downstream", -1, toxiproxy.Attributes{"latency": 30})
	if err != nil {
		t.Fatal(err)
	}
	want := &toxiproxy.Toxic{
		Name: "latency_downstream", Type: "latency", Stream: "downstream", Toxicity: 1,
		Attributes: toxiproxy.Attributes{"latency": 30.0, "jitter": 0.0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	client, end := r.connect()
	start := time.Now()
	write(t, end, 1)
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil || time.Since(start) < 30*time.Millisecond {
		t.Errorf("a byte came after %v, %v", time.Since(start), err)
	}
	foreign, err := theirs.Proxy(p.Name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = foreign.UpdateToxic("latency_downstream", -1, toxiproxy.Attributes{"jitter": 3}); err != nil {
		t.Fatal(err)
	}
	want.Attributes["jitter"] = 3.0
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if list, err := p.Toxics(); err != nil || len(list) != 1 || !cmp.Equal(list[0], *want) {
		t.Errorf("toxics %+v, %v", list, err)
	}
	if err := foreign.Disable(); err != nil || r.link.Enabled() {
		t.Errorf("disable: %v", err)
	}
	if err := ours.ResetState(); err != nil || !r.link.Enabled() || len(r.link.Toxics()) != 0 {
		t.Errorf("reset: %v, %v", err, r.link.Toxics())
	}

	ops := make([]string, 0, len(changes))
	for _, c := range changes {
		who := "foreign"
		if c.Own {
			who = "own"
		}
		ops = append(ops, strings.TrimSpace(who+" "+c.Op+" "+c.Toxic.Name))
	}
	wantOps := []string{
		"own add latency_downstream", "foreign update latency_downstream", "foreign disable", "own enable",
		"own remove latency_downstream",
	}
	if d := cmp.Diff(wantOps, ops); d != "" {
		t.Error(d)
	}
}

func TestAPIRefuses(t *testing.T) {
	r := newRig(t, proxy.Options{Name: "a", Upstream: "b:1"})
	api := &proxy.API{OnChange: func(c proxy.Change) { t.Errorf("change %+v", c) }}
	api.Add(r.link)
	server := httptest.NewServer(api.Handler())
	defer http.DefaultClient.CloseIdleConnections()
	defer server.Close()
	c := toxiproxy.NewClient(server.URL)
	p, err := c.Proxy("a")
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, err error, status int, text string) {
		t.Helper()
		var api *toxiproxy.ApiError
		if !errors.As(err, &api) || api.Status != status || !strings.Contains(api.Message, text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = c.Proxy("nobody")
	is("unknown proxy", err, 404, "proxy not found")
	_, err = c.CreateProxy("x", "127.0.0.1:0", "y:1")
	is("create", err, 403, "[[link]]")
	_, err = c.Populate([]toxiproxy.Proxy{{Name: "x"}})
	is("populate", err, 403, "[[link]]")
	is("delete", p.Delete(), 403, "[[link]]")
	moved := *p
	moved.Upstream = "c:1"
	is("move", moved.Save(), 403, "[[link]]")
	_, err = p.AddToxic("", "lag", "upstream", 1, nil)
	is("type", err, 400, "invalid toxic type")
	_, err = p.AddToxic("", "latency", "up", 1, nil)
	is("stream", err, 400, "stream was invalid")
	_, err = p.AddToxic("", "slicer", "upstream", 1, toxiproxy.Attributes{"average_size": 0})
	is("attribute", err, 400, "average_size 0 is less than 1")
	_, err = p.AddToxic("", "latency", "upstream", 1, toxiproxy.Attributes{"delay": 1})
	is("unknown attribute", err, 400, "delay")
	_, err = p.UpdateToxic("none", 1, nil)
	is("update", err, 404, "toxic not found")
	is("remove", p.RemoveToxic("none"), 404, "toxic not found")
	c.UserAgent = "Mozilla/5.0"
	if _, err := c.Proxies(); err == nil {
		t.Error("a browser is served")
	}
}
