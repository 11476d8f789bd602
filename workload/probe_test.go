package workload_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func TestHTTPProbe(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "status: green\n") })
	mux.HandleFunc("/down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" ")
		_, _ = io.Copy(w, r.Body)
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	for _, c := range []struct {
		name string
		give workload.ProbeConfig
		want string // the error; empty: it holds
	}{
		{"status 200", workload.ProbeConfig{Target: "/ok"}, ""},
		{"match", workload.ProbeConfig{Target: "/ok", Match: `status: (green|yellow)`}, ""},
		{"no match", workload.ProbeConfig{Target: "/ok", Match: `^red`}, `body does not match "^red"`},
		{"another status", workload.ProbeConfig{Target: "/down"}, "status 503"},
		{"a status that is asked for", workload.ProbeConfig{Target: "/down", Status: []int{200, 503}}, ""},
		{"a redirect is not followed", workload.ProbeConfig{Target: "/moved", Status: []int{302}}, ""},
		{"method and body", workload.ProbeConfig{Target: "/echo", Method: "POST", Body: "ping", Match: "^POST ping$"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.give.Kind, c.give.Target = "http", server.URL+c.give.Target
			eval, err := workload.NewProbe(c.give)
			if err != nil {
				t.Fatal(err)
			}
			before := connections.Load()
			for range 2 {
				if got := text(eval(t.Context())); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
			if n := connections.Load() - before; n != 2 {
				t.Errorf("2 evaluations made %d connections", n)
			}
		})
	}
}

func TestProbeRefused(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	for _, c := range []workload.ProbeConfig{{Kind: "tcp", Target: addr}, {Kind: "http", Target: "http://" + addr}} {
		eval, err := workload.NewProbe(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(eval(t.Context())); got != "connect: connection refused" {
			t.Errorf("%s: got %q", c.Kind, got)
		}
	}
}

func TestTCPProbeHolds(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eval, err := workload.NewProbe(workload.ProbeConfig{Kind: "tcp", Target: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := eval(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewProbeRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		give workload.ProbeConfig
		want string
	}{
		{workload.ProbeConfig{Kind: "exec"}, `kind "exec" does not run in a client`},
		{workload.ProbeConfig{Kind: "tcp", Target: "kafka"}, `target "kafka" is not host:port`},
		{workload.ProbeConfig{Kind: "http", Target: "web:80"}, "target"},
		{workload.ProbeConfig{Kind: "http", Target: "http://web", Match: "("}, "match: "},
		{workload.ProbeConfig{Kind: "http", Target: "http://web", Every: -1}, "must not be negative"},
	} {
		if _, err := workload.NewProbe(c.give); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.give, err, c.want)
		}
	}
}

func TestProbeTimesOut(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	defer server.Close()
	defer close(block)
	cfg := workload.ProbeConfig{Name: "web", Kind: "http", Target: server.URL, Every: int64(20 * time.Millisecond), Timeout: int64(50 * time.Millisecond)}
	eval, err := workload.NewProbe(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &history{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		workload.RunProbe(ctx, cfg, eval, workload.Now, h.emit)
	}()
	eventually(t, "5 evaluations time out", func() bool { return len(h.all()) >= 5 })
	cancel()
	<-done
	for _, o := range h.all() {
		if o.Outcome != ledger.Failed || o.Error != "timeout" || o.Func != ledger.FuncProbe || o.Workload != "web" || o.Complete-o.Invoke < cfg.Timeout {
			t.Errorf("recorded as %+v", o)
		}
	}
}

func TestRunProbeIsAnOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() int64 { return int64(time.Since(began)) }
		const second = int64(time.Second)
		var calls atomic.Int64
		eval := func(ctx context.Context) error {
			switch calls.Add(1) {
			case 1:
				<-ctx.Done() // slow: heeds its context
				return ctx.Err()
			case 2:
				return errors.New("status 503")
			case 3:
				time.Sleep(time.Hour) // hangs: does not heed its context
			}
			return nil
		}
		h := &history{}
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second+time.Second/2)
		defer cancel()
		cfg := workload.ProbeConfig{Name: "p", Every: second, Timeout: 5 * second}
		workload.RunProbe(ctx, cfg, eval, now, h.emit)
		if got := now(); got != 9*second+second/2 {
			t.Errorf("it returned at %d", got)
		}
		byInvoke := map[int64]ledger.Op{}
		for _, o := range h.all() {
			if o.Planned != o.Invoke {
				t.Errorf("invoked late: %+v", o)
			}
			byInvoke[o.Invoke/second] = o
		}
		if len(byInvoke) != 10 {
			t.Fatalf("%d evaluations, want 10", len(byInvoke))
		}
		want := map[int64]struct {
			outcome ledger.Outcome
			err     string
			took    int64
		}{
			0: {ledger.Failed, "timeout", 5 * second}, 1: {ledger.Failed, "status 503", 0},
			2: {ledger.Failed, "timeout", 5 * second}, 3: {ledger.OK, "", 0}, 9: {ledger.OK, "", 0},
		}
		for at, w := range want {
			if o := byInvoke[at]; o.Outcome != w.outcome || o.Error != w.err || o.Complete-o.Invoke != w.took {
				t.Errorf("evaluation %d is %+v, want %+v", at, o, w)
			}
		}
		time.Sleep(2 * time.Hour) // the one that hangs returns
	})
}

func TestRunProbeBoundsWhatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var running atomic.Int64
		h := &history{}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Second)
		defer cancel()
		began := time.Now()
		workload.RunProbe(ctx, workload.ProbeConfig{Name: "p"}, func(context.Context) error {
			running.Add(1)
			<-release
			return nil
		}, func() int64 { return int64(time.Since(began)) }, h.emit)
		if n := running.Load(); n != 100 {
			t.Errorf("%d evaluations hang, want the bound of 100", n)
		}
		last := h.all()[len(h.all())-1]
		if !strings.Contains(last.Error, "have not returned") || last.Outcome != ledger.Failed {
			t.Errorf("beyond the bound: %+v", last)
		}
		close(release)
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
