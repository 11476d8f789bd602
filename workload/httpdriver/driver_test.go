package httpdriver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/httpdriver"
)

// script is a server that does with each connection what act says; requests are counted by their head.
type script struct {
	net.Listener
	requests    atomic.Int64
	connections atomic.Int64
}

// serve starts a server; act gets each connection and closes it by returning.
func serve(t *testing.T, act func(s *script, c net.Conn)) *script {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{Listener: l}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			open.Go(func() {
				defer c.Close()
				act(s, c)
			})
		}
	})
	return s
}

// request reads one request from a connection.
func (s *script) request(c net.Conn) (*http.Request, string) {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return nil, ""
	}
	body, _ := io.ReadAll(req.Body)
	s.requests.Add(1)
	return req, string(body)
}

// answers is what a server does that reads a request and says text.
func answers(text string) func(*script, net.Conn) {
	return func(s *script, c net.Conn) {
		for {
			if req, _ := s.request(c); req == nil {
				return
			}
			say(c, text)
			if strings.Contains(text, "Connection: close") {
				return
			}
		}
	}
}

func status(code int) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", code, http.StatusText(code))
}

// reset closes a connection with an RST.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// say writes to a connection; a client that is gone hears nothing.
func say(c net.Conn, text string) { _, _ = io.WriteString(c, text) }

// do carries out one operation with a session of its own and a time-out.
func do(t *testing.T, addr string, o httpdriver.Options, timeout time.Duration, op *ledger.Op) (ledger.Outcome, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	s, err := httpdriver.NewSession(ctx, addr, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Do(ctx, op)
}

// TestOutcomes goes through the table of the package's documentation, row by row.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		act     func(*script, net.Conn) // nil: nobody listens
		timeout time.Duration
		want    ledger.Outcome
		err     string
	}{
		{"connecting is refused", nil, 0, ledger.Failed, "connect: connection refused"},
		{"a status of ok", answers(status(201)), 0, ledger.OK, ""},
		{"a status of ok after an interim one", answers("HTTP/1.1 103 Early Hints\r\n\r\n" + status(200)), 0, ledger.OK, ""},
		{"a status of ok whose body breaks off", answers("HTTP/1.1 201 Created\r\nContent-Length: 90\r\nConnection: close\r\n\r\n{"), 0, ledger.OK, ""},
		{"a status of ok whose body is long", answers("HTTP/1.1 201 Created\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000)), 0, ledger.OK, ""},
		{"Bad Request, with its reason", answers("HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nid  \nis 0"), 0, ledger.Failed, "status 400: id is 0"},
		{"Not Found, with a page", answers("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>"), 0, ledger.Failed, "status 404 Not Found"},
		{"a status of 499", answers(status(499)), 0, ledger.Failed, "status 499"},
		{"Request Timeout", answers(status(408)), 0, ledger.Unknown, "status 408 Request Timeout"},
		{"Conflict", answers(status(409)), 0, ledger.Unknown, "status 409 Conflict"},
		{"Too Early", answers(status(425)), 0, ledger.Unknown, "status 425 Too Early"},
		{"Too Many Requests", answers(status(429)), 0, ledger.Unknown, "status 429 Too Many Requests"},
		{"another success", answers(status(202)), 0, ledger.Unknown, "status 202 Accepted"},
		{"a redirect", answers("HTTP/1.1 307 Temporary Redirect\r\nLocation: /orders\r\nContent-Length: 0\r\n\r\n"), 0, ledger.Unknown, "status 307"},
		{"an error of the server", answers(status(500)), 0, ledger.Unknown, "status 500"},
		{"a proxy without a server", answers(status(502)), 0, ledger.Unknown, "status 502"},
		{"a status of 599", answers(status(599)), 0, ledger.Unknown, "status 599"},
		{"no answer in time", func(s *script, c net.Conn) { s.request(c); s.request(c) }, 100 * time.Millisecond, ledger.Unknown, "await the answer: context deadline exceeded"},
		{"half an answer in time", func(s *script, c net.Conn) { s.request(c); say(c, "HTTP/1.1 2"); s.request(c) }, 100 * time.Millisecond, ledger.Unknown, "await the answer: context deadline exceeded"},
		{"a reset after the request", func(s *script, c net.Conn) { s.request(c); reset(c) }, 0, ledger.Unknown, "read: connection reset by peer"},
		{"the end of the stream after the request", func(s *script, c net.Conn) { s.request(c) }, 0, ledger.Unknown, "closed without an answer"},
		{"an answer that is no HTTP", answers("220 mail.example ESMTP\r\n"), 0, ledger.Unknown, "malformed HTTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr, requests := "127.0.0.1:1", func() int64 { return 0 }
			if c.act != nil {
				s := serve(t, c.act)
				addr, requests = s.Addr().String(), s.requests.Load
			}
			if c.timeout == 0 {
				c.timeout = time.Minute
			}
			got, err := do(t, addr, httpdriver.Options{}, c.timeout, &ledger.Op{Func: ledger.FuncAdd, Value: 7})
			if got != c.want || (err == nil) != (c.want == ledger.OK) || !strings.Contains(fmt.Sprint(err), c.err) {
				t.Errorf("got %s, %v", got, err)
			}
			if n := requests(); n > 1 {
				t.Errorf("one add is %d requests", n)
			}
		})
	}
}

// TestOutcomesWithoutARequest are the rows in which nothing left the client.
func TestOutcomesWithoutARequest(t *testing.T) {
	t.Parallel()
	t.Run("the name has no address", func(t *testing.T) {
		t.Parallel()
		got, err := do(t, "nobody.invalid:80", httpdriver.Options{}, time.Minute, &ledger.Op{Func: ledger.FuncAdd, Value: 7})
		if got != ledger.Failed || err == nil {
			t.Errorf("got %s, %v", got, err)
		}
	})
	t.Run("connecting takes too long", func(t *testing.T) {
		t.Parallel()
		const nobody = "192.0.2.1:80" // an address for documentation: it does not answer, or is refused at once
		got, err := do(t, nobody, httpdriver.Options{}, 100*time.Millisecond, &ledger.Op{Func: ledger.FuncAdd, Value: 7})
		if got != ledger.Failed || err == nil {
			t.Errorf("got %s, %v", got, err)
		}
	})
	t.Run("the connection takes nothing", func(t *testing.T) {
		t.Parallel()
		for n, want := range map[int]ledger.Outcome{0: ledger.Failed, 1: ledger.Unknown} {
			got, err := httpdriver.NewSessionOver(broken{n: n}).Do(t.Context(), &ledger.Op{Func: ledger.FuncAdd, Value: 7})
			if got != want || !errors.Is(err, syscall.EPIPE) {
				t.Errorf("after %d bytes: %s, %v", n, got, err)
			}
		}
	})
}

func TestNothingIsSentWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	s := serve(t, answers(status(201)))
	ctx, cancel := context.WithCancel(t.Context())
	session, err := httpdriver.NewSession(ctx, s.Addr().String(), httpdriver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if got, err := session.Do(ctx, &ledger.Op{Func: ledger.FuncAdd, Value: 7}); got != ledger.OK {
		t.Fatalf("the first: %s, %v", got, err)
	}
	cancel()
	for range 20 { // over an open connection, and over one that is to be made
		if got, err := session.Do(ctx, &ledger.Op{Func: ledger.FuncAdd, Value: 8}); got != ledger.Failed || err == nil {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if n := s.requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestAnIdleConnectionThatTheServerClosedIsReplaced(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(net.Conn){
		"with its end": func(net.Conn) {}, "with a reset": reset, "after a word": func(c net.Conn) { say(c, status(408)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			closed := make(chan struct{}, 1)
			s := serve(t, func(s *script, c net.Conn) {
				s.request(c)
				say(c, status(201))
				how(c)
				c.Close()
				closed <- struct{}{}
			})
			session, err := httpdriver.NewSession(t.Context(), s.Addr().String(), httpdriver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			for i := range 5 {
				if got, err := session.Do(t.Context(), &ledger.Op{Func: ledger.FuncAdd, Value: 7}); got != ledger.OK {
					t.Errorf("request %d: %s, %v", i, got, err)
				}
				<-closed
			}
			if n := s.requests.Load(); n != 5 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// broken is a connection that takes n bytes.
type broken struct {
	net.Conn
	n int
}

func (b broken) Write([]byte) (int, error)   { return b.n, syscall.EPIPE }
func (b broken) SetDeadline(time.Time) error { return nil }
func (b broken) Close() error                { return nil }

func TestOutcomeOfNamedStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		ok, fail []int
		status   int
		want     ledger.Outcome
	}{
		{"ok outdoes the default of 4xx", []int{404}, nil, 404, ledger.OK},
		{"ok outdoes the default of 5xx", []int{500}, nil, 500, ledger.OK},
		{"a fail that is named", []int{201}, []int{503}, 503, ledger.Failed},
		{"a conflict that is named", []int{201}, []int{409}, 409, ledger.Failed},
		{"another than those of fail", []int{201}, []int{503}, 400, ledger.Unknown},
		{"no status fails where fail is empty", []int{201}, []int{}, 400, ledger.Unknown},
		{"without an answer no status counts", []int{0}, nil, 0, ledger.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := httpdriver.Outcome(httpdriver.Add{OK: c.ok, Fail: c.fail}, true, c.status); got != c.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	type seen struct {
		Line, Host, Type, Key, Agent, Body string
	}
	for _, c := range []struct {
		name string
		add  httpdriver.Add
		want seen
	}{
		{"by default", httpdriver.Add{}, seen{"POST /orders", "ADDR", "application/json", "", "discompose", `{"id": 4294967303}`}},
		{
			"every part is a template",
			httpdriver.Add{Method: "PUT", Path: "/o/{{id}}?k={{key}}", Headers: map[string]string{"host": "shop.example", "idempotency-key": "{{id}}-{{key}}", "content-type": "text/plain", "User-Agent": "x"}, Body: "{{key}}={{id}}"},
			seen{"PUT /o/4294967303?k=k3", "shop.example", "text/plain", "4294967303-k3", "x", "k3=4294967303"},
		},
		{"without a body", httpdriver.Add{Method: "GET", Path: "/add/{{id}}"}, seen{"GET /add/4294967303", "ADDR", "", "", "discompose", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got seen
			s := serve(t, func(s *script, conn net.Conn) {
				req, body := s.request(conn)
				got = seen{req.Method + " " + req.RequestURI, strings.ReplaceAll(req.Host, s.Addr().String(), "ADDR"), req.Header.Get("Content-Type"), req.Header.Get("Idempotency-Key"), req.Header.Get("User-Agent"), body}
				say(conn, status(201))
			})
			op := &ledger.Op{Func: ledger.FuncAdd, Value: 1<<32 + 7, Key: "k3"}
			if out, err := do(t, s.Addr().String(), httpdriver.Options{Add: c.add}, time.Minute, op); out != ledger.OK {
				t.Fatalf("%s, %v", out, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingIsSentTwice is about what net/http's own client does: a GET over a connection that breaks is repeated.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	s := serve(t, func(s *script, c net.Conn) {
		s.request(c)
		say(c, status(201))
		s.request(c) // the second gets no answer
	})
	session, err := httpdriver.NewSession(t.Context(), s.Addr().String(), httpdriver.Options{Add: httpdriver.Add{Method: "GET", Path: "/{{id}}"}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for i, want := range []ledger.Outcome{ledger.OK, ledger.Unknown} {
		if got, err := session.Do(t.Context(), &ledger.Op{Func: ledger.FuncAdd, Value: 7}); got != want {
			t.Errorf("request %d: %s, %v", i, got, err)
		}
	}
	if n, c := s.requests.Load(), s.connections.Load(); n != 2 || c != 1 {
		t.Errorf("%d requests over %d connections", n, c)
	}
}

func TestAClientKeepsItsConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		connections  int64
	}{
		{"while the server does", status(201), 1},
		{"after a body", "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1},
		{"after a refusal", status(400), 1},
		{"until the server closes it", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(c.answer))
			session, err := httpdriver.NewSession(t.Context(), s.Addr().String(), httpdriver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			for range 5 {
				if out, err := session.Do(t.Context(), &ledger.Op{Func: ledger.FuncAdd, Value: 7}); out == ledger.Unknown {
					t.Errorf("%s, %v", out, err)
				}
			}
			if n := s.connections.Load(); n != c.connections {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestReading(t *testing.T) {
	t.Parallel()
	body, code := "[1, 22, 4294967297]", http.StatusOK
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodGet || r.RequestURI != "/orders?all=1" || r.Header.Get("Accept") != "text/json" {
			t.Errorf("%s %s %v", r.Method, r.RequestURI, r.Header)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	set := func(text string, status int) {
		mu.Lock()
		defer mu.Unlock()
		body, code = text, status
	}
	addr := server.Listener.Addr().String()
	o := httpdriver.Options{Read: httpdriver.Read{Path: "/orders?all=1", Headers: map[string]string{"Accept": "text/json"}}}
	s := httpdriver.NewSystem(addr, o)

	found, err := s.Final(t.Context())
	if diff := cmp.Diff(workload.Elements([]string{"1", "22", "4294967297"}), found); diff != "" || err != nil {
		t.Errorf("final read: %v (-want +got):\n%s", err, diff)
	}
	if err := s.Setup(t.Context()); !errors.Is(err, workload.ErrNotEmpty) || !errors.Is(err, workload.ErrPermanent) {
		t.Errorf("set up with elements: %v", err)
	}
	op := &ledger.Op{Func: ledger.FuncList}
	if out, err := do(t, addr, o, time.Minute, op); out != ledger.OK || op.Data != "[1,22,4294967297]" {
		t.Errorf("list: %s, %v, %s", out, err, op.Data)
	}
	set("[]", http.StatusOK)
	if err := s.Setup(t.Context()); err != nil {
		t.Errorf("set up without elements: %v", err)
	}
	if found, err := s.Final(t.Context()); err != nil || len(found) != 1 || found[0].Func != ledger.FuncEnd || found[0].Offset != 0 {
		t.Errorf("an empty set: %v, %v", found, err)
	}
	op = &ledger.Op{Func: ledger.FuncList}
	if out, err := do(t, addr, o, time.Minute, op); out != ledger.OK || op.Data != "[]" {
		t.Errorf("list of an empty set: %s, %v, %s", out, err, op.Data)
	}
	set("[1]", http.StatusBadGateway)
	for what, err := range map[string]error{"set up": s.Setup(t.Context()), "final read": last(s.Final(t.Context())), "list": last(do(t, addr, o, time.Minute, op))} {
		if err == nil || errors.Is(err, workload.ErrPermanent) || !strings.Contains(err.Error(), "status 502: [1]") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if out, _ := do(t, addr, o, time.Minute, op); out != ledger.Failed {
		t.Errorf("a list that fails is %s", out)
	}
}

func last[T any](_ T, err error) error { return err }

func TestReadingBreaksOff(t *testing.T) {
	t.Parallel()
	s := serve(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 90\r\nConnection: close\r\n\r\n[1, 2, "))
	system := httpdriver.NewSystem(s.Addr().String(), httpdriver.Options{})
	if found, err := system.Final(t.Context()); err == nil {
		t.Errorf("half of a body counts as all elements: %v", found)
	}
	op := &ledger.Op{Func: ledger.FuncList}
	if out, err := do(t, s.Addr().String(), httpdriver.Options{}, time.Minute, op); out != ledger.Failed || op.Data != "" {
		t.Errorf("list: %s, %v, %s", out, err, op.Data)
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	s := httpdriver.NewSystem("web:80", httpdriver.Options{Lists: 0.25, Add: httpdriver.Add{Path: "/{{key}}/{{id}}"}, Keys: workload.KeyOptions{Count: 4}})
	funcs, keys := map[string]int{}, map[string]int{}
	const n = 10_000
	for k := range int64(n) {
		turn := workload.Turn{K: k, Fresh: k + 1}
		op := s.Next(rand.New(rand.NewPCG(1, uint64(k))), turn)
		if again := s.Next(rand.New(rand.NewPCG(1, uint64(k))), turn); again != op {
			t.Fatalf("turn %d gives %+v, then %+v", k, op, again)
		}
		funcs[op.Func]++
		if op.Func == ledger.FuncAdd {
			keys[op.Key]++
			if op.Value != k+1 {
				t.Fatalf("turn %d adds %d", k, op.Value)
			}
		}
	}
	if len(funcs) != 2 || funcs[ledger.FuncList] < n/5 || funcs[ledger.FuncList] > n/3 || len(keys) != 4 {
		t.Errorf("%v, keys %v", funcs, keys)
	}
	plain := httpdriver.NewSystem("web:80", httpdriver.Options{})
	if op := plain.Next(rand.New(rand.NewPCG(1, 1)), workload.Turn{Fresh: 9}); op != (ledger.Op{Func: ledger.FuncAdd, Value: 9}) {
		t.Errorf("by default: %+v", op)
	}
}

func TestTheDriverRuns(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	orders := []int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			var o struct{ ID int64 }
			if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
				t.Errorf("decode: %v", err)
			}
			orders = append(orders, o.ID)
			w.WriteHeader(http.StatusCreated)
			return
		}
		if err := json.NewEncoder(w).Encode(orders); err != nil {
			t.Errorf("encode: %v", err)
		}
	}))
	defer server.Close()
	d, err := workload.New(workload.Config{Name: "orders", Driver: "http", Target: server.Listener.Addr().String(), Clients: 3, Rate: 500, Seed: 1}, []workload.Spec{httpdriver.Spec()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := tally{enough: make(chan struct{})}
	if err := d.Start(t.Context(), seen.emit); err != nil {
		t.Fatal(err)
	}
	<-seen.enough
	if err := errors.Join(d.Stop(t.Context()), d.Final(t.Context(), seen.emit)); err != nil {
		t.Fatal(err)
	}
	if s := d.Stats(); seen.added != seen.read || seen.read != len(orders) || s.OK != int64(seen.added) || s.Failed+s.Unknown != 0 {
		t.Errorf("%d were added, %d are there, %d were read: %+v", seen.added, len(orders), seen.read, s)
	}
}

// tally counts operations; enough is closed at the 200th that was added.
type tally struct {
	mu          sync.Mutex
	added, read int
	enough      chan struct{}
}

func (y *tally) emit(ops []ledger.Op) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, o := range ops {
		switch {
		case o.Func == ledger.FuncAdd && o.Outcome == ledger.OK:
			if y.added++; y.added == 200 {
				close(y.enough)
			}
		case o.Func == ledger.FuncRead:
			y.read++
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		give httpdriver.Options
		want string
	}{
		{"all defaults", httpdriver.Options{}, ""},
		{"the element in a header alone", httpdriver.Options{Add: httpdriver.Add{Headers: map[string]string{"X-Id": "{{id}}"}}}, ""},
		{"no element", httpdriver.Options{Add: httpdriver.Add{Body: "x"}}, "add: {{id}} is in neither path, headers nor body: every request would be the same"},
		{"another token", httpdriver.Options{Add: httpdriver.Add{Body: "{{id}} {{name}}"}}, "add: there is no {{name}} (write {{id}} or {{key}})"},
		{"a code twice", httpdriver.Options{Add: httpdriver.Add{OK: []int{201}, Fail: []int{201, 400}}}, "add: 201 is in ok and in fail"},
		{"no group", httpdriver.Options{Read: httpdriver.Read{Element: "[0-9]+"}}, `read: element = "[0-9]+" has 0 groups, not one: the element is the group's`},
		{"no expression", httpdriver.Options{Read: httpdriver.Read{Element: "("}}, "read: element: missing closing ): `(`"},
		{
			"every problem at once",
			httpdriver.Options{
				Add:  httpdriver.Add{Method: "P T", Path: "orders", Headers: map[string]string{"a b": "c"}, OK: []int{99}, Fail: []int{600}},
				Read: httpdriver.Read{Path: "/a b", Headers: map[string]string{"A": "b\nc"}, OK: []int{100}}, Lists: 2, Timeout: 1, Keys: workload.KeyOptions{Count: -1},
			},
			`add: method = "P T" is no HTTP method
path = "orders" is no path of a URL (write as in "/orders?limit=0")
headers: "a b" = "c" is no HTTP header
add: ok: 99 is no status of an answer
add: fail: 600 is no status of an answer
read: path = "/a b" is no path of a URL (write as in "/orders?limit=0")
headers: "A" = "b\nc" is no HTTP header
read: ok: 100 is no status of an answer
lists: 2 is not between 0 and 1
timeout: 1ns is not between 10ms and 1h
keys: count = -1 is not between 1 and 1000000`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := c.give.Validate(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOptionsComeThroughJSON(t *testing.T) {
	t.Parallel()
	for _, give := range []httpdriver.Options{{}, {Add: httpdriver.Add{Fail: []int{}}}, {Add: httpdriver.Add{Fail: []int{409}, OK: []int{200}}, Lists: 0.5}} {
		raw, err := json.Marshal(give)
		if err != nil {
			t.Fatal(err)
		}
		var back httpdriver.Options
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(give, back); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	bad := workload.Config{Name: "orders", Driver: "http", Target: "web:80", Options: json.RawMessage(`{"add":{"pfad":"/x"}}`)}
	if _, err := workload.New(bad, []workload.Spec{httpdriver.Spec()}); err == nil || !strings.Contains(err.Error(), `unknown field "pfad"`) {
		t.Errorf("an unknown option: %v", err)
	}
}
