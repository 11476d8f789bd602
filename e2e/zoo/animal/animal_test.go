package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// start makes a service of a role over a folder, as a process that has just begun does.
func start(t *testing.T, name string, c config) http.Handler {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	h, err := roles()[name].make(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(t *testing.T, h http.Handler, method, path, body string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

// TestTwinsKeepWhatTheyAcknowledge begins again over the same folder: nothing was shut down, as after a crash.
func TestTwinsKeepWhatTheyAcknowledge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		role, read, want string
		writes           [][3]string // method, path, body
	}{
		{"orders", "/orders", "[7,9]", [][3]string{{"POST", "/orders", `{"id": 7}`}, {"POST", "/orders", `{"id": 9}`}}},
		{"kv", "/kv/a", "8", [][3]string{{"PUT", "/kv/a", "7"}, {"PUT", "/kv/a", "8"}}},
		{"kv", "/kv/a", "no such key", [][3]string{{"PUT", "/kv/a", "7"}, {"DELETE", "/kv/a", ""}}},
		{"segments", "/log", "[3,2,1]", [][3]string{{"POST", "/log", `{"id": 3}`}, {"POST", "/log", `{"id": 2}`}, {"POST", "/log", `{"id": 1}`}}},
		{"blobs", "/objects/a", "two", [][3]string{{"PUT", "/objects/a", "one"}, {"PUT", "/objects/a", "two"}}},
		{"blobs", "/objects", `["b"]`, [][3]string{{"PUT", "/objects/a", "one"}, {"PUT", "/objects/b", "two"}, {"DELETE", "/objects/a", ""}}},
		{"cells", "/cells", `{"a0":90,"a1":110,"a2":100,"a3":100,"a4":100,"a5":100,"a6":100,"a7":100}`, [][3]string{{"POST", "/cells", `{"if": {"a0": 100}, "set": {"a0": 90, "a1": 110}}`}}},
	} {
		t.Run(c.role+c.read, func(t *testing.T) {
			t.Parallel()
			cfg := config{bug: noBug, data: t.TempDir()}
			first := start(t, c.role, cfg)
			for _, w := range c.writes {
				if code, body := ask(t, first, w[0], w[1], w[2]); code > 299 {
					t.Fatalf("%v: %d %s", w, code, body)
				}
			}
			for i, h := range []http.Handler{first, start(t, c.role, cfg)} {
				if _, got := ask(t, h, http.MethodGet, c.read, ""); got != c.want {
					t.Errorf("process %d: %s, want %s", i, got, c.want)
				}
			}
		})
	}
}

func TestOrdersAreTakenOnceByKey(t *testing.T) {
	t.Parallel()
	cfg := config{bug: noBug, data: t.TempDir()}
	for range 2 {
		h := start(t, "orders", cfg)
		for range 2 {
			if code, body := ask(t, h, http.MethodPost, "/orders", `{"id": 7}`, "Idempotency-Key", "k"); code > 299 {
				t.Fatal(code, body)
			}
		}
		if _, got := ask(t, h, http.MethodGet, "/orders", ""); got != "[7]" {
			t.Errorf("got %s", got)
		}
	}
}

// TestAChangeNeedsWhatItSaw is what keeps the bank's twin right.
func TestAChangeNeedsWhatItSaw(t *testing.T) {
	t.Parallel()
	kv := start(t, "kv", config{bug: noBug, data: t.TempDir()})
	for _, c := range []struct {
		match string
		want  int
	}{{"0", 204}, {"0", 412}, {"6", 412}, {"7", 204}} {
		if code, _ := ask(t, kv, http.MethodPut, "/kv/a", "7", "If-Match", c.match); code != c.want {
			t.Errorf("if %s: %d, want %d", c.match, code, c.want)
		}
	}
	cells := start(t, "cells", config{bug: noBug, data: t.TempDir()})
	if code, _ := ask(t, cells, http.MethodPost, "/cells", `{"if": {"a0": 100, "a1": 99}, "set": {"a0": 1}}`); code != http.StatusPreconditionFailed {
		t.Errorf("one of two has another value: %d", code)
	}
	if _, all := ask(t, cells, http.MethodGet, "/cells", ""); !strings.Contains(all, `"a0":100`) {
		t.Errorf("it was changed all the same: %s", all)
	}
}

// TestSegmentsAreReadByNumber is the twin of the bug "shuffle", which needs more than ten of them to bite.
func TestSegmentsAreReadByNumber(t *testing.T) {
	t.Parallel()
	for bug, same := range map[string]bool{noBug: true, bugShuffle: false} {
		cfg := config{bug: bug, data: t.TempDir()}
		h := start(t, "segments", cfg)
		for id := range 12 * segmentSize {
			if code, body := ask(t, h, http.MethodPost, "/log", fmt.Sprintf(`{"id": %d}`, id+1)); code > 299 {
				t.Fatal(code, body)
			}
		}
		_, before := ask(t, h, http.MethodGet, "/log", "")
		if _, after := ask(t, start(t, "segments", cfg), http.MethodGet, "/log", ""); (after == before) != same {
			t.Errorf("bug %s: the same order: %t", bug, after == before)
		}
	}
}

func TestALineThatIsNotWholeIsDropped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, []byte("one\ntwo\nthr"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, lines, err := openJournal(path)
	if err != nil || strings.Join(lines, ",") != "one,two" {
		t.Fatalf("%q, %v", lines, err)
	}
	if err := j.append("four"); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "one\ntwo\nfour\n" {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestAFrontThatAsksAgain counts what arrives at a backend whose first answer is lost.
func TestAFrontThatAsksAgain(t *testing.T) {
	t.Parallel()
	for bug, want := range map[string]int{noBug: 1, bugRetry: 2} {
		orders := start(t, "orders", config{bug: noBug, data: t.TempDir()})
		var lost atomic.Bool
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			orders.ServeHTTP(w, r)
			if r.Method == http.MethodPost && lost.CompareAndSwap(false, true) {
				panic(http.ErrAbortHandler)
			}
		}))
		front := start(t, "retrier", config{bug: bug, to: backend.URL, patience: time.Minute})
		if code, body := ask(t, front, http.MethodPost, "/orders", `{"id": 7}`); code > 299 {
			t.Fatal(code, body)
		}
		_, got := ask(t, front, http.MethodGet, "/orders", "")
		if n := strings.Count(got, "7"); n != want {
			t.Errorf("bug %s: %s", bug, got)
		}
		backend.Close()
	}
}

// TestAFollowerThatIsCutOff has a copy, which only the bug shows.
func TestAFollowerThatIsCutOff(t *testing.T) {
	t.Parallel()
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "9") }))
	for bug, want := range map[string]int{noBug: http.StatusGatewayTimeout, bugStale: http.StatusOK} {
		f := start(t, "follower", config{bug: bug, to: leader.URL, patience: time.Minute})
		ask(t, f, http.MethodPut, "/copy/a", "7")
		if code, body := ask(t, f, http.MethodGet, "/kv/a", ""); code != http.StatusOK || body != "9" {
			t.Errorf("bug %s: it does not ask its leader: %d %s", bug, code, body)
		}
		cut := start(t, "follower", config{bug: bug, to: "http://127.0.0.1:1", patience: time.Minute})
		ask(t, cut, http.MethodPut, "/copy/a", "7")
		if code, body := ask(t, cut, http.MethodGet, "/kv/a", ""); code != want || (want == http.StatusOK && body != "7") {
			t.Errorf("bug %s: cut off it answers %d %s", bug, code, body)
		}
	}
	leader.Close()
}

// TestEveryBugHasARole finds a bug that no role knows, and a case that plants none.
func TestEveryBugHasARole(t *testing.T) {
	t.Parallel()
	cases, err := os.ReadFile("../cases.toml")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range roles() {
		for _, bug := range r.bugs {
			if !strings.Contains(string(cases), "BUG="+bug+`"`) {
				t.Errorf("no case plants %s in %s", bug, name)
			}
		}
	}
	if err := run(t.Context(), []string{"lion"}); err == nil {
		t.Error("there is a role that there is not")
	}
}
