package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// The fronts stand before orders, and hand on what they are asked: each by a way of its own of dealing with a backend that
// does not answer.

// front is what they have in common: reads go straight through, and post is their own.
func front(to string, post http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", post)
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		relay(w, func() (int, string, error) { return call(r.Context(), 5*time.Second, r.Method, to+r.URL.Path, "", nil) })
	})
	return mux
}

// relay hands an answer on. Without one nobody knows what was done.
func relay(w http.ResponseWriter, ask func() (int, string, error)) {
	status, body, err := ask()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // a client that is gone hears nothing
}

// order reads an order to be handed on.
func order(w http.ResponseWriter, r *http.Request) (string, bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return string(body), err == nil
}

// newRetrier is a front that asks again.
func newRetrier(_ context.Context, c config) (http.Handler, error) {
	const attempts = 8
	patience := cmp.Or(c.patience, 400*time.Millisecond)
	return front(c.to, func(w http.ResponseWriter, r *http.Request) {
		body, ok := order(w, r)
		if !ok {
			return
		}
		header := http.Header{"Idempotency-Key": {rand.Text()}}
		if c.bug == bugRetry { // the bug: the backend cannot tell a repetition from another order
			header = nil
		}
		relay(w, func() (status int, answer string, err error) {
			for range attempts {
				if status, answer, err = call(r.Context(), patience, r.Method, c.to+"/orders", body, header); err == nil {
					return status, answer, nil
				}
			}
			return status, answer, err
		})
	}), nil
}

// newPool is a front that lets so many orders through at a time.
func newPool(_ context.Context, c config) (http.Handler, error) {
	slots := make(chan struct{}, 8)
	return front(c.to, func(w http.ResponseWriter, r *http.Request) {
		body, ok := order(w, r)
		if !ok {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		relay(w, func() (int, string, error) {
			status, answer, err := call(r.Context(), 500*time.Millisecond, r.Method, c.to+"/orders", body, nil)
			if err != nil && c.bug == bugStuck { // the bug: an early return that forgets the slot
				return 0, "", err
			}
			<-slots
			return status, answer, err
		})
	}), nil
}

// newDialler is a front that makes a connection for each order.
func newDialler(_ context.Context, c config) (http.Handler, error) {
	const patience = 500 * time.Millisecond
	backend, err := url.Parse(c.to)
	if err != nil {
		return nil, fmt.Errorf("read URL: %w", err)
	}
	var mu sync.Mutex
	var forgotten []net.Conn // the bug: nobody closes what is in here
	post := func(ctx context.Context, body string) (int, string, error) {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", backend.Host)
		if err != nil {
			return 0, "", err
		}
		status, answer, err := exchange(ctx, conn, c.to, body, patience)
		if err != nil && c.bug == bugLeak {
			mu.Lock()
			forgotten = append(forgotten, conn)
			mu.Unlock()
			return 0, "", err
		}
		return status, answer, errors.Join(err, conn.Close())
	}
	return front(c.to, func(w http.ResponseWriter, r *http.Request) {
		if body, ok := order(w, r); ok {
			relay(w, func() (int, string, error) { return post(r.Context(), body) })
		}
	}), nil
}

// exchange posts an order over a connection.
func exchange(ctx context.Context, conn net.Conn, to, body string, patience time.Duration) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to+"/orders", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", fmt.Errorf("make request: %w", err)
	}
	if err := errors.Join(conn.SetDeadline(time.Now().Add(patience)), req.Write(conn)); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, string(raw), err
}

// newSession is a front that keeps a session with its backend, and makes it anew when it has gone.
func newSession(ctx context.Context, c config) (http.Handler, error) {
	go func() {
		for {
			session := open(ctx, c.to)
			if session != nil {
				_, _ = io.Copy(io.Discard, session.Body) // it ends with the backend
				_ = session.Body.Close()
				log.Print("the session has gone")
				if c.bug == bugPanic { // the bug: a new session is taken for granted
					session = open(ctx, c.to)
					log.Printf("the session is back: %s", session.Status)
					_ = session.Body.Close()
				}
			}
			if !pause(ctx, 100*time.Millisecond) {
				return
			}
		}
	}()
	return front(c.to, func(w http.ResponseWriter, r *http.Request) {
		if body, ok := order(w, r); ok {
			relay(w, func() (int, string, error) {
				return call(r.Context(), time.Second, r.Method, c.to+"/orders", body, nil)
			})
		}
	}), nil
}

// open asks for a session; nil where there is none.
func open(ctx context.Context, to string) *http.Response {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to+"/session", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	return resp
}

// newBreaker is a front that gives its backend a rest when it fails.
func newBreaker(_ context.Context, c config) (http.Handler, error) {
	rest := 300 * time.Millisecond
	if c.bug == bugStubborn { // the bug: far longer than any backend takes to come back
		rest = 20 * time.Second
	}
	var mu sync.Mutex
	var until time.Time
	return front(c.to, func(w http.ResponseWriter, r *http.Request) {
		body, ok := order(w, r)
		if !ok {
			return
		}
		mu.Lock()
		resting := time.Now().Before(until)
		mu.Unlock()
		if resting {
			http.Error(w, "the backend rests", http.StatusServiceUnavailable)
			return
		}
		relay(w, func() (int, string, error) {
			status, answer, err := call(r.Context(), 500*time.Millisecond, r.Method, c.to+"/orders", body, nil)
			if err != nil {
				mu.Lock()
				until = time.Now().Add(rest)
				mu.Unlock()
			}
			return status, answer, err
		})
	}), nil
}
