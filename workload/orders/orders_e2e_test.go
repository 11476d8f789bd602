//go:build e2e

package orders_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/workload/orders"
)

// docker runs the Docker CLI and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startPostgres starts a real server on a loopback port and returns its container and URL.
func startPostgres(t *testing.T) (id, url string) {
	t.Helper()
	imagetest.Need(t, "postgres:15")
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skipf("the test drives the server with the docker command: %v", err)
	}
	addr := freeAddr(t)
	id = docker(t, "run", "-d", "--label", "io.discompose.test=orders", "-p", addr+":5432", "-e", "POSTGRES_USER=orders",
		"-e", "POSTGRES_PASSWORD=orders", "-e", "POSTGRES_DB=orders", "postgres:15")
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "docker", "rm", "-f", "-v", id).CombinedOutput(); err != nil {
			t.Errorf("remove server: %v\n%s", err, out)
		}
	})
	return id, "postgres://orders:orders@" + addr + "/orders?sslmode=disable"
}

// serve runs an application until the test ends, or stop is called.
func serve(t *testing.T, change func(*orders.Options), database string) (base string, stop func()) {
	t.Helper()
	addr := freeAddr(t)
	o := orders.Options{Listen: addr, Database: database, Pool: 4, Lifetime: time.Minute, Wait: time.Second, Timeout: 2 * time.Second, Acknowledge: orders.AtCommit, Log: t.Output()}
	change(&o)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := orders.Serve(ctx, o); err != nil && ctx.Err() == nil {
			t.Errorf("serve: %v", err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	eventually(t, "the application serves", func() bool { return orders.Ping(t.Context(), "http://"+addr+"/healthz") == nil })
	return "http://" + addr, stop
}

func eventually(t *testing.T, what string, hold func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute) // of a server that shares two busy cores
	for !hold() {
		select {
		case <-deadline:
			t.Fatalf("not within 3 minutes: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func place(t *testing.T, base string, id int64) (status int, text string) {
	t.Helper()
	return ask(t, http.MethodPost, base+"/orders", fmt.Sprintf(`{"id": %d}`, id))
}

func ask(t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
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

func list(t *testing.T, base string) []int64 {
	t.Helper()
	status, text := ask(t, http.MethodGet, base+"/orders", "")
	var ids []int64
	if err := json.Unmarshal([]byte(text), &ids); err != nil || status != http.StatusOK {
		t.Fatalf("list: %d, %v: %s", status, err, text)
	}
	return ids
}

func TestOrdersInPostgres(t *testing.T) {
	id, database := startPostgres(t)
	base, _ := serve(t, func(*orders.Options) {}, database)
	if got := list(t, base); len(got) != 0 {
		t.Errorf("a new database has orders %v", got)
	}
	want := []int64{3, 1, 1<<62 + 5}
	for _, n := range want {
		if status, text := place(t, base, n); status != http.StatusCreated {
			t.Errorf("order %d: %d %s", n, status, text)
		}
	}
	if status, text := place(t, base, 3); status != http.StatusConflict {
		t.Errorf("the same again: %d %s", status, text)
	}
	slices.Sort(want)
	if got := list(t, base); !slices.Equal(got, want) {
		t.Errorf("orders are %v, want %v", got, want)
	}

	var locking sync.WaitGroup
	psql := func(sql string) string {
		return docker(t, "exec", id, "psql", "-tA", "-U", "orders", "-d", "orders", "-c", sql)
	}
	lock := exec.CommandContext(t.Context(), "docker", "exec", id, "psql", "-U", "orders", "-d", "orders", "-c", "BEGIN; LOCK TABLE orders; SELECT pg_sleep(6); COMMIT")
	locking.Go(func() {
		if out, err := lock.CombinedOutput(); err != nil {
			t.Errorf("lock the table: %v: %s", err, out)
		}
	})
	eventually(t, "the table is locked", func() bool {
		return psql("SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND mode = 'AccessExclusiveLock' AND granted") == "1"
	})
	if status, text := place(t, base, 100); status != http.StatusInternalServerError || !strings.Contains(text, "it takes too long") {
		t.Errorf("in the middle of a statement that hangs: %d %s", status, text)
	}
	locking.Wait()
	if status, text := place(t, base, 4); status != http.StatusCreated {
		t.Errorf("after the lock: %d %s", status, text)
	}

	docker(t, "kill", id)
	if status, text := place(t, base, 5); status != http.StatusServiceUnavailable && status != http.StatusInternalServerError {
		t.Errorf("just after the database died: %d %s", status, text)
	}
	if status, text := place(t, base, 6); status != http.StatusServiceUnavailable || !strings.Contains(text, "no connection to the database") {
		t.Errorf("while the database is down: %d %s", status, text)
	}
	docker(t, "start", id)
	eventually(t, "orders are placed again after the crash", func() bool { s, _ := place(t, base, 7); return s == http.StatusCreated || s == http.StatusConflict })
	got := list(t, base)
	for _, n := range append(want, 4, 7) {
		if !slices.Contains(got, n) {
			t.Errorf("order %d was acknowledged and is gone: %v", n, got)
		}
	}
	if slices.Contains(got, 6) {
		t.Errorf("order 6 was surely not written, and is there: %v", got)
	}
}

func TestPlantedFaultsLoseOrders(t *testing.T) {
	_, database := startPostgres(t)
	base, stop := serve(t, func(o *orders.Options) { o.Drop = 2 }, database)
	for n := range int64(4) {
		if status, text := place(t, base, n+1); status != http.StatusCreated {
			t.Errorf("order %d: %d %s", n+1, status, text)
		}
	}
	if got := list(t, base); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("one that drops every second order has %v", got)
	}
	stop()
	base, _ = serve(t, func(o *orders.Options) { o.Acknowledge = orders.AtReceipt }, database)
	if status, text := place(t, base, 9); status != http.StatusCreated {
		t.Errorf("at receipt: %d %s", status, text)
	}
	eventually(t, "it is written after a while", func() bool { return slices.Contains(list(t, base), 9) })
}
