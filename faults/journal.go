package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// EntryType says what a journal entry records.
type EntryType string

// The entry types, in the order in which a fault goes through them.
const (
	EntryBase    EntryType = "base"    // a base value, once per container and resource, before the first apply
	EntryIntend  EntryType = "intend"  // a record is about to take effect: its undo is owed
	EntryRelease EntryType = "release" // the record is no longer wanted; its undo is still owed
	EntryDone    EntryType = "done"    // the record is undone, and a witness saw it
	EntryNote    EntryType = "note"    // what the run made that heal must know: project, kept, attached
)

// Entry is one line of journal.jsonl.
type Entry struct {
	V      int       `json:"v"`
	Type   EntryType `json:"type"`
	At     int64     `json:"at"` // host boot-time clock, ns; 0 where unknown
	Record *Record   `json:"record,omitempty"`
	Base   *Base     `json:"base,omitempty"`
	Note   *RunNote  `json:"note,omitempty"`
}

// Base is the value that a resource of a container had before the run first changed it.
type Base struct {
	Container string          `json:"container"`
	Resource  string          `json:"resource"`
	Value     json.RawMessage `json:"value"`
}

// RunNote identifies the run that a journal belongs to, so that heal works from the journal alone.
type RunNote struct {
	Run      string `json:"run"`
	Project  string `json:"project"`
	Host     string `json:"host"` // the engine endpoint
	Attached bool   `json:"attached"`
	Keep     bool   `json:"keep"`
	// Owner is the run whose label the environment carries, where that is another one which handed it on, and OwnerDir its
	// directory, absolute: whoever cleans up after the run removes that environment too.
	Owner    string `json:"owner,omitempty"`
	OwnerDir string `json:"owner_dir,omitempty"`
}

// Journal keeps what is active, on disk and at the agent before it happens, and the base value of each resource
// once. It is safe for concurrent use.
type Journal interface {
	Intend(r Record) error
	Release(r Record) error
	Done(r Record) error
	// Active lists the records that are wanted on a target, by its Key, in the order of Intend.
	Active(key string) []Record
	// Wanted lists the records that are wanted on any target, in the order of Intend.
	Wanted() []Record
	// Owed lists, oldest first, the records on any target whose undo is owed: those that are wanted, and those that are being
	// undone.
	Owed() []Record
	// Base returns the base value of a resource; the first call reads it and journals it.
	Base(container, resource string, read func() (json.RawMessage, error)) (json.RawMessage, error)
	// Lock serialises changes to one target, by its Key; the caller runs the returned function to unlock.
	Lock(key string) (unlock func())
}

// State is the ledger of open undo work: what a sequence of journal entries describes.
//
// It implements Journal. Commit, where set, is called with every new entry before the state changes: it makes
// the entry durable (the runner's file and the agent's copy) and refuses it by an error. A State without Commit
// keeps its entries in memory only: that is what the agent and heal use, fed by Replay.
type State struct {
	Commit func(Entry) error

	mu      sync.Mutex
	active  []Record
	owed    []Record
	bases   map[[2]string]json.RawMessage
	note    RunNote
	lockers map[string]*sync.Mutex
}

// Replay takes an entry that is already durable. It returns an error for an entry of a newer version.
func (s *State) Replay(e Entry) error {
	if e.V > RecordVersion {
		return fmt.Errorf("journal entry has version %d, this build reads up to %d: use the build that wrote it", e.V, RecordVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(e)
	return nil
}

func (s *State) take(e Entry) {
	same := func(r Record) bool { return e.Record != nil && r.ID == e.Record.ID }
	switch e.Type {
	case EntryBase:
		if e.Base == nil {
			return
		}
		if s.bases == nil {
			s.bases = map[[2]string]json.RawMessage{}
		}
		key := [2]string{e.Base.Container, e.Base.Resource}
		if _, ok := s.bases[key]; !ok {
			s.bases[key] = e.Base.Value
		}
	case EntryIntend:
		if e.Record == nil {
			return
		}
		s.active = append(slices.DeleteFunc(s.active, same), *e.Record)
		s.owed = append(slices.DeleteFunc(s.owed, same), *e.Record)
	case EntryRelease:
		s.active = slices.DeleteFunc(s.active, same)
	case EntryDone:
		s.active = slices.DeleteFunc(s.active, same)
		s.owed = slices.DeleteFunc(s.owed, same)
	case EntryNote:
		if e.Note != nil {
			s.note = *e.Note
		}
	}
}

func (s *State) add(e Entry) error {
	e.V = RecordVersion
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Commit != nil {
		if err := s.Commit(e); err != nil {
			return err
		}
	}
	s.take(e)
	return nil
}

// Intend records that r is about to take effect.
func (s *State) Intend(r Record) error { return s.add(Entry{Type: EntryIntend, Record: &r}) }

// Release records that r is no longer wanted. That holds for this process even where the entry could not be made
// durable: whoever replays the journal undoes r once more, which does no harm.
func (s *State) Release(r Record) error {
	e := Entry{Type: EntryRelease, Record: &r}
	err := s.add(e)
	if err != nil {
		s.mu.Lock()
		s.take(e)
		s.mu.Unlock()
	}
	return err
}

// Done records that r is undone and that a witness saw it.
func (s *State) Done(r Record) error { return s.add(Entry{Type: EntryDone, Record: &r}) }

// Identify records which run the journal belongs to.
func (s *State) Identify(n RunNote) error { return s.add(Entry{Type: EntryNote, Note: &n}) }

// Note is the run that the journal belongs to.
func (s *State) Note() RunNote {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

// Active lists the wanted records on a target, by its Key, in the order of Intend.
func (s *State) Active(key string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Record
	for _, r := range s.active {
		if r.On.Key() == key {
			out = append(out, r)
		}
	}
	return out
}

// Wanted lists the wanted records on every target, in the order of Intend.
func (s *State) Wanted() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.active)
}

// Owed lists every record whose undo is owed, oldest first.
func (s *State) Owed() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.owed)
}

// Base returns the base value of a resource; the first call reads it and records it.
func (s *State) Base(container, resource string, read func() (json.RawMessage, error)) (json.RawMessage, error) {
	key := [2]string{container, resource}
	s.mu.Lock()
	v, ok := s.bases[key]
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err != nil {
		return nil, fmt.Errorf("read %s of %.12s: %w", resource, container, err)
	}
	if err := s.add(Entry{Type: EntryBase, Base: &Base{Container: container, Resource: resource, Value: v}}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bases[key], nil // the first one, where two callers read at the same time
}

// Lock serialises changes to one target, by its Key.
func (s *State) Lock(key string) (unlock func()) {
	s.mu.Lock()
	if s.lockers == nil {
		s.lockers = map[string]*sync.Mutex{}
	}
	m := s.lockers[key]
	if m == nil {
		m = &sync.Mutex{}
		s.lockers[key] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}
