package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// segments is a log in files of a few records each.
//
//	POST /log {"id": 7}   201 once it is on disk, at the end
//	GET  /log             all ids, in order
type segments struct {
	dir string

	mu   sync.Mutex
	ids  []int64
	last *journal
	room int
	next int // number of the next segment
}

// segmentSize is how many records a segment has.
const segmentSize = 16

func newSegments(_ context.Context, c config) (http.Handler, error) {
	s := &segments{dir: filepath.Join(c.data, "log")}
	if err := s.load(c.bug); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /log", s.add)
	mux.HandleFunc("GET /log", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		ids := append([]int64{}, s.ids...)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(ids) // a client that is gone hears nothing
	})
	return mux, nil
}

// load reads all segments, and begins a new one.
func (s *segments) load(bug string) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	var numbers []int
	for _, f := range found {
		n, err := strconv.Atoi(f.Name())
		if err != nil {
			return fmt.Errorf("read segment's name: %w", err)
		}
		numbers = append(numbers, n)
		s.next = max(s.next, n+1)
	}
	slices.Sort(numbers)
	if bug == bugShuffle { // the bug: 10 stands before 2
		slices.SortFunc(numbers, func(a, b int) int { return cmp.Compare(strconv.Itoa(a), strconv.Itoa(b)) })
	}
	for _, n := range numbers {
		file, lines, err := openJournal(filepath.Join(s.dir, strconv.Itoa(n)))
		if err != nil {
			return err
		}
		for _, line := range lines {
			id, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			if err != nil {
				return fmt.Errorf("read segment %d: %w", n, err)
			}
			s.ids = append(s.ids, id)
		}
		if err := file.file.Close(); err != nil {
			return fmt.Errorf("close segment %d: %w", n, err)
		}
	}
	return nil
}

func (s *segments) add(w http.ResponseWriter, r *http.Request) {
	var record struct{ ID int64 }
	if err := json.NewDecoder(r.Body).Decode(&record); err != nil || record.ID <= 0 {
		http.Error(w, "no id", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.append(record.ID); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func (s *segments) append(id int64) error {
	if s.room == 0 {
		file, _, err := openJournal(filepath.Join(s.dir, strconv.Itoa(s.next)))
		if err != nil {
			return err
		}
		if s.last != nil {
			if err := s.last.file.Close(); err != nil {
				return fmt.Errorf("close segment: %w", err)
			}
		}
		s.last, s.room, s.next = file, segmentSize, s.next+1
	}
	if err := s.last.append(strconv.FormatInt(id, 10)); err != nil {
		return err
	}
	s.ids, s.room = append(s.ids, id), s.room-1
	return nil
}
