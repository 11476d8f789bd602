package link_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/discompose/discompose/agent/proxy"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/link"
	"github.com/discompose/discompose/internal/units"
)

// These tests run the kinds on a real proxy, so that what the fake world and the scripted states say of its counters holds.

// routed is a proxied link to a web server, as faults see it.
type routed struct{ l *proxy.Link }

func (r routed) AddToxic(ctx context.Context, _ string, t faults.Toxic) error {
	_, err := r.l.AddToxic(ctx, proxy.Toxic{Name: t.Name, Type: t.Type, Stream: t.Stream, Toxicity: float32(t.Toxicity), Attributes: t.Attributes})
	return err
}

func (r routed) RemoveToxic(_ context.Context, _, name string) error {
	if err := r.l.RemoveToxic(name); !errors.Is(err, proxy.ErrToxicNotFound) {
		return err
	}
	return nil
}

func (r routed) Disable(context.Context, string, string) error { return r.l.SetEnabled(false) }
func (r routed) Enable(context.Context, string, string) error  { return r.l.SetEnabled(true) }

func (r routed) State(context.Context, string) (s faults.LinkState, err error) {
	raw, err := json.Marshal(r.l.Snapshot())
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, &s)
}

// loopback is the network of the link: every client asked for one server.
type loopback struct{ to netip.AddrPort }

func (loopback) Listen(ctx context.Context) ([]*net.TCPListener, error) {
	l, err := proxy.Listen(ctx, "tcp4", "127.0.0.1")
	return []*net.TCPListener{l}, err
}

func (loopback) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil //nolint:forcetypeassert // of a tcp dial
}

func (n loopback) Original(*net.TCPConn) (netip.AddrPort, error) { return n.to, nil }

// route opens a link to a web server whose clients open a connection per request, as probes do, until the test ends. One
// more connection stays open and says nothing.
func route(t *testing.T) faults.Env {
	t.Helper()
	page := []byte(strings.Repeat("0123456789abcdef", 40))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l, err := proxy.Open(ctx, proxy.Options{Name: on.Link, Seed: 1, Network: loopback{netip.MustParseAddrPort(server.Listener.Addr().String())}})
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addrs()[0].String()
	idle, err := (&net.Dialer{}).DialContext(ctx, "tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for l.Snapshot().Dialled == 0 { // else a link that goes down in this instant may only refuse it
		if err := faults.Pause(ctx, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		cancel()
		clients.Wait()
		idle.Close()
		if err := l.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	for range 4 {
		clients.Go(func() { ask(ctx, "http://"+at) })
	}
	return faults.Env{Host: capable{}, Links: routed{l}, Journal: &faults.State{}}
}

// ask sends one request after another, each on a connection of its own.
func ask(ctx context.Context, url string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for faults.Pause(ctx, 10*time.Millisecond) == nil {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		req, err := http.NewRequestWithContext(once, http.MethodGet, url, nil)
		if err != nil {
			panic(err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		cancel()
	}
}

func hold(t *testing.T, s faults.Spec, f faults.Fault, confirm time.Duration) (witnesses []faults.Witness, err error) {
	t.Helper()
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	env := route(t)
	r, err := f.Prepare(t.Context(), env, on)
	if err != nil {
		t.Fatal(err)
	}
	r.ID = "a/" + on.Link
	see := func(_ faults.Record, w faults.Witness) { witnesses = append(witnesses, w) }
	o := faults.Observer{Confirmed: see, Gone: see}
	err = faults.Hold(t.Context(), env, s.Effect, r, faults.Budgets{Confirm: confirm, Heal: 20 * time.Second}, o,
		func(context.Context, faults.Witness) error { return nil })
	return witnesses, err
}

func TestARealProxyWitnessesEveryKind(t *testing.T) {
	half := link.Scope{Direction: "both", Toxicity: ptr(0.5)}
	more := map[faults.Kind][]faults.Fault{
		"bandwidth":  {&link.Bandwidth{Rate: 8_000, Scope: half}, &link.Bandwidth{Rate: 8_000, Scope: link.Scope{Direction: "upstream"}}},
		"latency":    {&link.Latency{Delay: 50 * ms, Jitter: 50 * ms}, &link.Latency{Delay: 50 * ms, Scope: half}},
		"limit_data": {&link.LimitData{Bytes: ptr(units.Size(0))}, &link.LimitData{Bytes: ptr(units.Size(20)), Scope: half}},
		"reset_peer": {&link.ResetPeer{After: 20 * ms}, &link.ResetPeer{Scope: half}},
		"slicer":     {&link.Slicer{AverageSize: 10, Scope: half}},
		"slow_close": {&link.SlowClose{Delay: 20 * ms, Scope: half}},
		"timeout":    {&link.Timeout{}, &link.Timeout{After: 20 * ms, Scope: link.Scope{Direction: "upstream", Toxicity: ptr(0.5)}}},
	}
	for _, s := range specs() {
		for _, f := range append([]faults.Fault{faulttest.Example(t, s)}, more[s.Kind]...) {
			t.Run(string(s.Kind), func(t *testing.T) {
				t.Parallel()
				seen, err := hold(t, s, f, 30*time.Second)
				if err != nil || len(seen) != 2 {
					t.Fatalf("%d witnesses: %v", len(seen), err)
				}
				t.Logf("%s | %s", seen[0].Note, seen[1].Note)
			})
		}
	}
}

func TestARealProxyThatChangesNothingIsNoWitness(t *testing.T) {
	for kind, f := range map[faults.Kind]faults.Fault{
		"bandwidth":  &link.Bandwidth{Rate: 8_000_000_000},
		"limit_data": &link.LimitData{Bytes: ptr(units.Size(1 << 20))},
		"slicer":     &link.Slicer{AverageSize: 1 << 20},
		"slow_close": &link.SlowClose{Delay: 600_000 * ms},
		"reset_peer": &link.ResetPeer{After: 600_000 * ms},
	} {
		for _, s := range specs() {
			if s.Kind != kind {
				continue
			}
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				seen, err := hold(t, s, f, time.Second)
				var dirty *faults.HealError
				if !errors.Is(err, faults.ErrNoWitness) || errors.As(err, &dirty) || len(seen) != 1 {
					t.Errorf("%d witnesses: %v", len(seen), err)
				}
				t.Log(err)
			})
		}
	}
}
