package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// kv keeps one number per key.
//
//	GET    /kv/k   the number, or 404
//	PUT    /kv/k   204 once it is on disk; with If-Match: 412 unless the key has that number (0: is not there)
//	DELETE /kv/k   204 once that is on disk
type kv struct {
	bug     string
	file    *journal
	changed func(key string, value int64) // told of each change, in order; 0: deleted

	mu     sync.Mutex
	values map[string]int64
}

func newKV(_ context.Context, c config) (http.Handler, error) {
	k, err := openKV(c)
	if err != nil {
		return nil, err
	}
	return k.handler(), nil
}

func openKV(c config) (*kv, error) {
	file, lines, err := openJournal(filepath.Join(c.data, "kv"))
	if err != nil {
		return nil, err
	}
	k := &kv{bug: c.bug, file: file, changed: func(string, int64) {}, values: map[string]int64{}}
	for _, line := range lines {
		key, text, _ := strings.Cut(line, " ")
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		k.set(key, value)
	}
	return k, nil
}

func (k *kv) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", k.get)
	mux.HandleFunc("PUT /kv/{key}", k.put)
	mux.HandleFunc("DELETE /kv/{key}", func(w http.ResponseWriter, r *http.Request) { k.change(w, r.PathValue("key"), 0, "") })
	return mux
}

func (k *kv) set(key string, value int64) {
	if value == 0 {
		delete(k.values, key)
		return
	}
	k.values[key] = value
}

func (k *kv) get(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	value := k.values[r.PathValue("key")]
	k.mu.Unlock()
	if value == 0 {
		http.Error(w, "no such key", http.StatusNotFound)
		return
	}
	_, _ = fmt.Fprintln(w, value) // a client that is gone hears nothing
}

func (k *kv) put(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 100))
	value, perr := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
	if err != nil || perr != nil || value <= 0 {
		http.Error(w, "no number above 0", http.StatusBadRequest)
		return
	}
	k.change(w, r.PathValue("key"), value, r.Header.Get("If-Match"))
}

// change sets a key, or deletes it (0).
func (k *kv) change(w http.ResponseWriter, key string, value int64, match string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if match != "" && match != strconv.FormatInt(k.values[key], 10) {
		http.Error(w, "it has another value", http.StatusPreconditionFailed)
		return
	}
	if k.bug != bugZombie || value != 0 { // the bug: a deleted key is back when the journal is read again
		if err := k.file.append(fmt.Sprintf("%s %d", key, value)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	k.set(key, value)
	k.changed(key, value)
	w.WriteHeader(http.StatusNoContent)
}
