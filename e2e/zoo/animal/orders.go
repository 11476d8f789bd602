package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// orders keeps the ids of orders.
//
//	POST /orders {"id": 7}   201 once it is on disk. The same Idempotency-Key again: 200, and nothing is done
//	GET  /orders             all ids
//	GET  /session            an answer that does not end, for who wants to notice that this process has
type orders struct {
	write func(line string) error

	mu   sync.Mutex
	ids  []int64
	keys map[string]bool
}

// What the bugs of orders are about.
const (
	flushEvery = 3 * time.Second
	lateBy     = 500 * time.Millisecond
)

func newOrders(ctx context.Context, c config) (http.Handler, error) {
	file, lines, err := openJournal(filepath.Join(c.data, "orders"))
	if err != nil {
		return nil, err
	}
	o := &orders{keys: map[string]bool{}, write: file.append}
	for _, line := range lines {
		id, key, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read order %q: %w", line, err)
		}
		o.ids, o.keys[key] = append(o.ids, n), true
	}
	switch c.bug {
	case bugBuffered:
		o.write = o.buffered(ctx, file)
	case bugEarly:
		o.write = early(ctx, file)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.add)
	mux.HandleFunc("GET /orders", o.list)
	mux.HandleFunc("GET /session", hold)
	return mux, nil
}

func (o *orders) add(w http.ResponseWriter, r *http.Request) {
	var order struct{ ID int64 }
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil || order.ID <= 0 {
		http.Error(w, "no id", http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	o.mu.Lock()
	defer o.mu.Unlock()
	if key != "" && o.keys[key] {
		return
	}
	if err := o.write(fmt.Sprintf("%d %s", order.ID, key)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	o.ids, o.keys[key] = append(o.ids, order.ID), true
	w.WriteHeader(http.StatusCreated)
}

func (o *orders) list(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	ids := append([]int64{}, o.ids...)
	o.mu.Unlock()
	_ = json.NewEncoder(w).Encode(ids) // a client that is gone hears nothing
}

// hold keeps an answer open until the client, or this process, ends.
func hold(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err == nil {
		<-r.Context().Done()
	}
}

// buffered is the bug: what is written waits in memory for the next flush.
func (o *orders) buffered(ctx context.Context, file *journal) func(string) error {
	b := bufio.NewWriterSize(file.file, 1<<20)
	go func() {
		for pause(ctx, flushEvery) {
			o.mu.Lock()
			if err := b.Flush(); err != nil {
				log.Print(err)
			}
			o.mu.Unlock()
		}
	}()
	return func(line string) error {
		_, err := b.WriteString(line + "\n")
		return err
	}
}

// early is the bug: whoever writes lags behind who acknowledges.
func early(ctx context.Context, file *journal) func(string) error {
	type job struct {
		line string
		due  time.Time
	}
	jobs := make(chan job, 1<<16)
	go func() {
		for j := range jobs {
			if !pause(ctx, time.Until(j.due)) {
				return
			}
			if err := file.append(j.line); err != nil {
				log.Print(err)
			}
		}
	}()
	return func(line string) error {
		jobs <- job{line, time.Now().Add(lateBy)}
		return nil
	}
}
