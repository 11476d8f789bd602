package embedded_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/discompose/discompose/workload/embedded"
)

// startProxy serves a proxy until the test ends and returns its URL.
func startProxy(t *testing.T, to string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- embedded.ServeProxy(ctx, embedded.ProxyOptions{Listen: addr, To: to}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	for dialed := false; !dialed; {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if dialed = err == nil; dialed {
			_ = c.Close()
		}
	}
	return "http://" + addr
}

func fetch(t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestProxy(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/die" {
			panic(http.ErrAbortHandler)
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
	}))
	defer app.Close()
	base := startProxy(t, app.URL)
	if status, text := fetch(t, http.MethodPost, base+"/orders?x=1", "7"); status != http.StatusCreated || text != "POST /orders?x=1 7" {
		t.Errorf("handed on: %d %s", status, text)
	}
	requests.Store(0)
	if status, _ := fetch(t, http.MethodGet, base+"/die", ""); status != http.StatusBadGateway || requests.Load() != 1 {
		t.Errorf("an application that breaks off: %d after %d requests", status, requests.Load())
	}
	if status, text := fetch(t, http.MethodGet, base+"/", ""); status != http.StatusOK || !strings.Contains(text, "not nginx") || requests.Load() != 1 {
		t.Errorf("its own page: %d %s", status, text)
	}
	gone := startProxy(t, "http://127.0.0.1:1")
	if status, _ := fetch(t, http.MethodPost, gone+"/orders", "7"); status != http.StatusBadGateway {
		t.Errorf("without an application: %d", status)
	}
}

func TestProxyRefusesWhatIsNoURL(t *testing.T) {
	t.Parallel()
	if err := embedded.ServeProxy(t.Context(), embedded.ProxyOptions{Listen: "127.0.0.1:0", To: "app:8080"}); err == nil || !strings.Contains(err.Error(), "--to") {
		t.Errorf("got %v", err)
	}
}
