package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// leaderPatience is how long leader and follower wait for each other.
const leaderPatience = 300 * time.Millisecond

// newLeader is a kv that tells its follower of each change, in order, as well as it can.
func newLeader(ctx context.Context, c config) (http.Handler, error) {
	k, err := openKV(c)
	if err != nil {
		return nil, err
	}
	type change struct {
		key   string
		value int64
	}
	changes := make(chan change, 1<<16)
	k.changed = func(key string, value int64) { changes <- change{key, value} }
	go func() {
		for {
			select {
			case one := <-changes:
				_, _, _ = call(ctx, leaderPatience, http.MethodPut, c.to+"/copy/"+one.key, fmt.Sprint(one.value), nil) // a copy may lag
			case <-ctx.Done():
				return
			}
		}
	}()
	return k.handler(), nil
}

// follower answers like the leader: it asks it. It has a copy, too.
type follower struct {
	bug      string
	leader   string
	patience time.Duration

	mu   sync.Mutex
	copy map[string]string
}

func newFollower(_ context.Context, c config) (http.Handler, error) {
	f := &follower{bug: c.bug, leader: c.to, patience: cmp.Or(c.patience, leaderPatience), copy: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /copy/{key}", func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			f.mu.Lock()
			f.copy[r.PathValue("key")] = string(body)
			f.mu.Unlock()
		}
	})
	mux.HandleFunc("/kv/{key}", f.forward)
	return mux, nil
}

func (f *follower) forward(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status, answer, err := call(r.Context(), f.patience, r.Method, f.leader+r.URL.Path, string(body), r.Header)
	if err == nil {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer) // a client that is gone hears nothing
		return
	}
	if f.bug == bugStale && r.Method == http.MethodGet { // the bug: better old than nothing
		f.mu.Lock()
		value := f.copy[r.PathValue("key")]
		f.mu.Unlock()
		if value == "" || value == "0" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, value)
		return
	}
	http.Error(w, "the leader does not answer: "+err.Error(), http.StatusGatewayTimeout)
}

// call is one request and its whole answer.
func call(ctx context.Context, patience time.Duration, method, url, body string, header http.Header) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", fmt.Errorf("make request: %w", err)
	}
	for _, name := range []string{"If-Match", "Idempotency-Key", "Content-Type"} {
		if v := header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, string(raw), err
}
