package orders_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/workload/orders"
)

// valid are options for a database that nobody serves.
func valid() orders.Options {
	return orders.Options{
		Listen: "127.0.0.1:0", Database: "postgres://orders@127.0.0.1:1/orders?sslmode=disable", Pool: 2,
		Lifetime: time.Minute, Wait: time.Second, Timeout: time.Second, Acknowledge: orders.AtCommit,
	}
}

// handle answers a request without a database.
func handle(t *testing.T, o orders.Options, requests ...string) (out []string) {
	t.Helper()
	h, done, err := orders.Handler(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for _, r := range requests {
		head, body, _ := strings.Cut(r, "\n")
		method, path, _ := strings.Cut(head, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		out = append(out, http.StatusText(w.Code)+": "+strings.TrimSpace(w.Body.String()))
	}
	return out
}

func TestAnswersWithoutADatabase(t *testing.T) {
	t.Parallel()
	const none = "Service Unavailable: place order: no connection to the database: connection refused"
	const bad = `Bad Request: the body is no order: write {"id": 7}`
	for _, c := range []struct {
		name, request, want string
	}{
		{"an order is refused", "POST /orders\n{\"id\": 7}", none},
		{"the list too", "GET /orders", "Service Unavailable: list orders: no connection to the database: connection refused"},
		{"a body that is no JSON", "POST /orders\nid=7", bad},
		{"a body without an id", "POST /orders\n{}", bad},
		{"a body with something else", "POST /orders\n{\"id\": 7, \"x\": 1}", bad},
		{"an id that is no whole number", "POST /orders\n{\"id\": 7.5}", bad},
		{"no body", "POST /orders", bad},
		{"a long body", "POST /orders\n{\"id\": " + strings.Repeat(" ", 2000) + "7}", bad},
		{"the process is healthy", "GET /healthz", "OK: ok"},
		{"another path", "GET /x", "Not Found: 404 page not found"},
		{"another method", "DELETE /orders", "Method Not Allowed: Method Not Allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff([]string{c.want}, handle(t, valid(), c.request)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("one that drops every third order acknowledges it all the same", func(t *testing.T) {
		t.Parallel()
		o := valid()
		o.Drop = 3
		one := "POST /orders\n{\"id\": 7}"
		if diff := cmp.Diff([]string{none, none, "Created: placed", none, none, "Created: placed"}, handle(t, o, one, one, one, one, one, one)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("one that acknowledges at receipt asks no database", func(t *testing.T) {
		t.Parallel()
		o := valid()
		o.Acknowledge = orders.AtReceipt
		if diff := cmp.Diff([]string{"Created: placed"}, handle(t, o, "POST /orders\n{\"id\": 7}")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestOptionsValidate(t *testing.T) {
	t.Parallel()
	if err := valid().Validate(); err != nil {
		t.Errorf("the good ones: %v", err)
	}
	err := orders.Options{Acknowledge: "never", Drop: -1}.Validate()
	want := `--database: name a database (postgres://user:password@host/name)
--pool: 0 is not between 1 and 10000
--lifetime, --wait, --timeout: must be longer than 0s
--acknowledge: "never" is neither "commit" nor "receipt"
--drop: -1 is negative`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestServeWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := orders.Serve(ctx, valid())
	if err == nil || ctx.Err() == nil || !strings.Contains(err.Error(), "make table orders: ") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	bad := valid()
	bad.Database = "postgres://127.0.0.1:no"
	if err := orders.Serve(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "--database: ") {
		t.Errorf("a wrong URL: %v", err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer s.Close()
	if err := orders.Ping(t.Context(), s.URL); err != nil {
		t.Errorf("OK: %v", err)
	}
	status = http.StatusServiceUnavailable
	if err := orders.Ping(t.Context(), s.URL); err == nil {
		t.Error("503 counts as healthy")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := orders.Ping(t.Context(), "http://"+l.Addr().String()); err == nil {
		t.Error("a closed port counts as healthy")
	}
}
