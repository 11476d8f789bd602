package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// blobs keeps a file for each object.
//
//	PUT    /objects/k   201 once the whole body is on disk
//	GET    /objects/k   the body, or 404
//	DELETE /objects/k   204
//	GET    /objects     the names of all
type blobs struct {
	bug string
	dir string

	mu    sync.RWMutex
	index map[string]bool // the bug "omit": what the list is made of
	old   map[string][]byte
}

// What the bugs of blobs are about.
const (
	indexEvery = 5 * time.Second
	halfTime   = 250 * time.Millisecond
)

func newBlobs(ctx context.Context, c config) (http.Handler, error) {
	b := &blobs{bug: c.bug, dir: filepath.Join(c.data, "objects"), index: map[string]bool{}, old: map[string][]byte{}}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if b.bug == bugOmit {
		if err := b.keepIndex(ctx, filepath.Join(c.data, "index")); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /objects/{key}", b.put)
	mux.HandleFunc("GET /objects/{key}", b.get)
	mux.HandleFunc("DELETE /objects/{key}", b.remove)
	mux.HandleFunc("GET /objects", b.list)
	return mux, nil
}

func (b *blobs) put(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key := filepath.Base(r.PathValue("key"))
	store := b.replace
	if b.bug == bugTorn {
		store = b.overwrite
	}
	if err := store(key, body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// replace puts a whole new file in the old one's place.
func (b *blobs) replace(key string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(b.dir), "new-*")
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index[key] = true
	if err := os.Rename(f.Name(), filepath.Join(b.dir, key)); err != nil {
		return fmt.Errorf("rename file: %w", err)
	}
	return syncDir(b.dir)
}

// overwrite is the bug: for a while the file is half new and not whole. As long as the process lives it knows better, and
// answers with what was there before.
func (b *blobs) overwrite(key string, body []byte) error {
	b.mu.Lock()
	path := filepath.Join(b.dir, key)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.mu.Unlock()
		return fmt.Errorf("read file: %w", err)
	}
	if _, busy := b.old[key]; !busy {
		b.old[key] = old
	}
	err = os.WriteFile(path, body[:len(body)/2], 0o644)
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	<-time.After(halfTime)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.old, key)
	if err := os.WriteFile(path, body, 0o644); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

func (b *blobs) get(w http.ResponseWriter, r *http.Request) {
	key := filepath.Base(r.PathValue("key"))
	b.mu.RLock()
	body, busy := b.old[key]
	var err error
	if !busy {
		body, err = os.ReadFile(filepath.Join(b.dir, key))
	}
	b.mu.RUnlock()
	if errors.Is(err, fs.ErrNotExist) || (busy && body == nil) {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // a client that is gone hears nothing
}

func (b *blobs) remove(w http.ResponseWriter, r *http.Request) {
	key := filepath.Base(r.PathValue("key"))
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.index, key)
	if _, busy := b.old[key]; busy {
		b.old[key] = nil
	}
	err := os.Remove(filepath.Join(b.dir, key))
	if err == nil {
		err = syncDir(b.dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (b *blobs) list(w http.ResponseWriter, _ *http.Request) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	names := []string{}
	if b.bug == bugOmit {
		for name := range b.index {
			names = append(names, name)
		}
	} else {
		files, err := os.ReadDir(b.dir)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for _, f := range files {
			if body, busy := b.old[f.Name()]; busy && body == nil {
				continue // on its way, or just removed
			}
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	_ = json.NewEncoder(w).Encode(names)
}

// keepIndex is the bug: the index is read once, and written now and then.
func (b *blobs) keepIndex(ctx context.Context, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read index: %w", err)
	}
	for name := range strings.FieldsSeq(string(raw)) {
		b.index[name] = true
	}
	go func() {
		for pause(ctx, indexEvery) {
			b.mu.RLock()
			var names []string
			for name := range b.index {
				names = append(names, name)
			}
			b.mu.RUnlock()
			if err := os.WriteFile(path, []byte(strings.Join(names, "\n")), 0o644); err != nil {
				log.Print(err)
			}
		}
	}()
	return nil
}

// syncDir makes names in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
