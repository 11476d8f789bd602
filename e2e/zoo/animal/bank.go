package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// cells keeps a number for each name.
//
//	GET  /cells                              all, at one instant
//	POST /cells {"if": {…}, "set": {…}}      204 once what is to be set is on disk, all of it; 412 where one of "if" has
//	                                         another number. "add" adds to what is there
type cells struct {
	file *journal

	mu     sync.Mutex
	values map[string]int64
}

// change is what is asked of cells, and a line of their journal.
type change struct {
	If  map[string]int64 `json:"if,omitempty"`
	Set map[string]int64 `json:"set"`
	Add map[string]int64 `json:"add,omitempty"`
}

// The accounts of the bank.
const (
	accounts = 8
	opening  = 100
)

func newCells(_ context.Context, c config) (http.Handler, error) {
	file, lines, err := openJournal(filepath.Join(c.data, "cells"))
	if err != nil {
		return nil, err
	}
	s := &cells{file: file, values: map[string]int64{}}
	for i := range accounts {
		s.values[fmt.Sprintf("a%d", i)] = opening
	}
	for _, line := range lines {
		var one change
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		maps.Copy(s.values, one.Set)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cells", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		all := maps.Clone(s.values)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(all) // a client that is gone hears nothing
	})
	mux.HandleFunc("POST /cells", s.change)
	return mux, nil
}

func (s *cells) change(w http.ResponseWriter, r *http.Request) {
	var one change
	if err := json.NewDecoder(r.Body).Decode(&one); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if one.Set == nil {
		one.Set = map[string]int64{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, want := range one.If {
		if s.values[name] != want {
			http.Error(w, name+" has another value", http.StatusPreconditionFailed)
			return
		}
	}
	set := maps.Clone(one.Set)
	for name, n := range one.Add {
		set[name] = s.values[name] + n
	}
	line, err := json.Marshal(change{Set: set})
	if err == nil {
		err = s.file.append(string(line))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	maps.Copy(s.values, set)
	w.WriteHeader(http.StatusNoContent)
}

// bank moves money between accounts, whose balances are cells.
//
//	POST /transfers {"from": "a0", "to": "a1", "amount": 3}   200, or 409 where the balance does not suffice
//	GET  /balances                                            all
type bank struct{ bug, cells string }

// cellPatience is how long the bank waits for its cells.
const cellPatience = 10 * time.Second

func newBank(_ context.Context, c config) (http.Handler, error) {
	b := bank{c.bug, c.to + "/cells"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /transfers", b.transfer)
	mux.HandleFunc("GET /balances", func(w http.ResponseWriter, r *http.Request) {
		status, body, err := call(r.Context(), cellPatience, http.MethodGet, b.cells, "", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	return mux, nil
}

func (b bank) transfer(w http.ResponseWriter, r *http.Request) {
	var t struct {
		From, To string
		Amount   int64
	}
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil || t.From == t.To || t.Amount <= 0 {
		http.Error(w, "no transfer", http.StatusBadRequest)
		return
	}
	for {
		var have map[string]int64
		status, body, err := call(r.Context(), cellPatience, http.MethodGet, b.cells, "", nil)
		if err == nil && status == http.StatusOK {
			err = json.Unmarshal([]byte(body), &have)
		}
		if err != nil || status != http.StatusOK {
			http.Error(w, fmt.Sprint("read balances: ", status, err), http.StatusBadGateway)
			return
		}
		if have[t.From] < t.Amount {
			http.Error(w, "the balance does not suffice", http.StatusConflict)
			return
		}
		if status, err = b.write(r.Context(), have, t.From, t.To, t.Amount); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if status != http.StatusPreconditionFailed { // else somebody was faster: look again
			w.WriteHeader(status)
			return
		}
	}
}

// write puts both balances into their cells: together, and only if they still are what was read.
func (b bank) write(ctx context.Context, have map[string]int64, from, to string, amount int64) (status int, err error) {
	both := change{
		If:  map[string]int64{from: have[from], to: have[to]},
		Set: map[string]int64{from: have[from] - amount, to: have[to] + amount},
	}
	if b.bug == bugRace { // the bug: what others took from the account since is there again
		both = change{Set: map[string]int64{from: have[from] - amount}, Add: map[string]int64{to: amount}}
	}
	raw, err := json.Marshal(both)
	if err != nil {
		return 0, fmt.Errorf("write change: %w", err)
	}
	status, _, err = call(ctx, cellPatience, http.MethodPost, b.cells, string(raw), nil)
	return status, err
}
