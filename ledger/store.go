package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// StoreFile is the name of the ledger's file in a run directory.
const StoreFile = "ledger.sqlite"

// ErrClosed says that a store was used after Close.
var ErrClosed = errors.New("the ledger is closed")

// ErrOldFormat says that operations were appended to a ledger of an older format, which takes judgements only.
var ErrOldFormat = errors.New("the ledger has an older format: it takes no further operations")

// maxPending bounds the operations and rows that wait for the writer, each kind for itself: about 10 MB. A second such
// batch may be with the writer.
const maxPending = 1 << 16

// A batch is written as soon as it has batchSize entries, somebody waits for it, or it is linger old.
const (
	batchSize = 1 << 13
	linger    = 25 * time.Millisecond
)

// Store is the ledger of one run on disk: one SQLite file with a write-ahead log. Its methods are safe for concurrent
// use.
//
//	Append, Add…, SaveResult ──▶ pending (bounded) ──▶ one writer goroutine ──▶ a transaction a batch ──▶ fsync
//
// What is written is buffered until the writer commits it; Flush and Close wait for that. After the first failure of
// the writer every method returns its error.
type Store struct {
	db     *sql.DB // for reading; the writer has a connection of its own
	path   string
	format int // of the file

	mu       sync.Mutex
	pending  batch
	lastID   int64
	accepted uint64        // entries taken so far
	durable  uint64        // of these, committed
	urgent   bool          // somebody waits for the pending batch
	closed   bool          // no further entries are taken
	err      error         // of the writer; final
	progress chan struct{} // closed and replaced at each change of durable, err and the room in pending

	wake chan struct{} // holds one token: pending, urgent or closed changed
	done chan struct{} // closed when the writer has ended
}

// batch is what one transaction writes.
type batch struct {
	ops  []Op
	rows []row
}

func (b batch) size() int { return len(b.ops) + len(b.rows) }

// row is one execution of a statement.
type row struct {
	query string
	args  []any
}

// Create makes an empty ledger in dir and opens it. An existing one is fs.ErrExist.
func Create(dir string) (*Store, error) {
	path, err := filepath.Abs(filepath.Join(dir, StoreFile))
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	if err := errors.Join(f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	return start(path, makeTables)
}

// Open opens the ledger in dir: one that another process is writing as well. It refuses a newer format with a
// *VersionError and takes every older one, which it leaves as it is; a missing file is fs.ErrNotExist.
func Open(dir string) (*Store, error) {
	path, err := filepath.Abs(filepath.Join(dir, StoreFile))
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (is %s the directory of a run?)", err, dir)
		}
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return start(path, checkVersion)
}

// start opens the database and starts its writer.
//
//nolint:contextcheck // what the store does on its own lasts until Close, longer than any caller's context
func start(path string, prepare func(context.Context, *sql.DB) error) (*Store, error) {
	db, err := sql.Open("sqlite", dataSource(path))
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	s := &Store{db: db, path: path, progress: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := prepare(lifetime{}, db); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), db.Close())
	}
	if s.format, err = formatOf(lifetime{}, db); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), db.Close())
	}
	var last sql.NullInt64
	if err := db.QueryRowContext(lifetime{}, "SELECT max(id) FROM operation").Scan(&last); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), db.Close())
	}
	s.lastID = last.Int64
	w, err := newWriter(db.Driver(), dataSource(path))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), db.Close())
	}
	go s.write(w)
	return s, nil
}

// dataSource opens path with a write-ahead log whose every commit is durable.
func dataSource(path string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(16384)"},
	}.Encode()}
	return u.String()
}

// lifetime is the context of the store's own work, which no caller's context may end: it lasts until Close.
type lifetime struct{}

func (lifetime) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (lifetime) Done() <-chan struct{}                   { return nil }
func (lifetime) Err() error                              { return nil }
func (lifetime) Value(any) any                           { return nil }

// Append takes operations in their order and gives each its ID, which it also sets in ops. It blocks while the
// writer is behind by more than a bounded number of operations. What it took may be lost in a crash until Flush. A
// ledger of an older format is ErrOldFormat.
func (s *Store) Append(ops []Op) error {
	if s.format != FormatVersion {
		return fmt.Errorf("append operations: %w", ErrOldFormat)
	}
	for len(ops) > 0 {
		n, err := s.appendSome(ops)
		if err != nil {
			return fmt.Errorf("append operations: %w", err)
		}
		ops = ops[n:]
	}
	return nil
}

func (s *Store) appendSome(ops []Op) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(func() bool { return len(s.pending.ops) < maxPending }); err != nil {
		return 0, err
	}
	ops = ops[:min(len(ops), maxPending-len(s.pending.ops))]
	for i := range ops {
		s.lastID++
		ops[i].ID = s.lastID
	}
	s.pending.ops = append(s.pending.ops, ops...)
	s.accepted += uint64(len(ops))
	s.nudge()
	return len(ops), nil
}

// room waits, with mu held at its start and end, until there is room for another entry.
func (s *Store) room(has func() bool) error {
	for {
		switch {
		case s.err != nil:
			return s.err
		case s.closed:
			return ErrClosed
		case has():
			return nil
		}
		changed := s.progress
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
}

// nudge tells the writer that something changed.
func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // it is told already
	}
}

func (s *Store) add(what, query string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(func() bool { return len(s.pending.rows) < maxPending }); err != nil {
		return fmt.Errorf("record %s: %w", what, err)
	}
	s.pending.rows = append(s.pending.rows, row{query, args})
	s.accepted++
	s.nudge()
	return nil
}

// AddRun records the run itself, so that the file alone says what it belongs to; the last one counts.
func (s *Store) AddRun(run Run) error {
	body, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	return s.add("run", insertRun, string(body))
}

// AddFault records a fault. A second one with the same Record replaces the first.
func (s *Store) AddFault(f Fault) error {
	return s.add("fault", upsertFault, f.Record, f.ID, f.Kind, f.Target, f.Container, f.Mechanism,
		f.Planned, f.Called, f.Applied, f.Confirmed, f.Released, f.Gone, f.Settled, f.Error)
}

// UpdateFault is AddFault: it replaces the fault with the same Record, or records it.
func (s *Store) UpdateFault(f Fault) error { return s.AddFault(f) }

// AddWitness records one measurement.
func (s *Store) AddWitness(w Witness) error {
	return s.add("witness", insertWitness, w.Record, asInt(w.Active), w.What, w.Value, w.Unit, w.Note, w.At)
}

// AddEvent records one event.
func (s *Store) AddEvent(e Event) error {
	return s.add("event", insertEvent, e.At, e.Source, e.Type, e.Service, e.Detail)
}

// AddGate records one evaluation of a gate.
func (s *Store) AddGate(g Gate) error {
	return s.add("gate", insertGate, g.At, g.Name, asInt(g.Held), g.Note)
}

// ResultViolation is the kind under which SaveResult stores a violation.
const ResultViolation = "violation"

// SaveResult stores what a judge found, as JSON. Under ResultViolation every body is kept, name being its check; under
// any other kind ("log", "judgement") a second body with the same kind and name replaces the first.
func (s *Store) SaveResult(kind, name string, body json.RawMessage) error {
	if !json.Valid(body) {
		return fmt.Errorf("record result %s %s: the body is not JSON", kind, name)
	}
	if kind == ResultViolation {
		return s.add("violation", insertBreach, name, string(body))
	}
	return s.add("result", upsertResult, kind, name, string(body))
}

// ClearResults forgets every stored result and violation: a run is about to be judged again.
func (s *Store) ClearResults() error {
	return errors.Join(s.add("result", clearResults), s.add("violation", clearBreaches))
}

func asInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Flush waits until everything that was recorded before the call is durable, or ctx ends.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	target := s.accepted
	for s.err == nil && s.durable < target {
		s.urgent = true
		s.nudge()
		changed := s.progress
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("flush ledger: %w", context.Cause(ctx))
		}
		s.mu.Lock()
	}
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("flush ledger: %w", err)
	}
	return nil
}

// Close makes everything durable, folds the write-ahead log into the file and closes it. A second call returns the same.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.nudge()
	s.mu.Unlock()
	<-s.done
	err := s.db.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err = errors.Join(s.err, err); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// take waits until there is a batch worth writing and hands it over; ok is false once the store is closed and empty.
// spare is the memory of an earlier batch, to be filled again.
func (s *Store) take(spare batch) (b batch, ok bool) {
	var lingered <-chan time.Time
	for {
		s.mu.Lock()
		n, last := s.pending.size(), s.closed
		if n >= batchSize || (n > 0 && (s.urgent || last)) {
			return s.swap(spare), true
		}
		s.mu.Unlock()
		switch {
		case n == 0 && last:
			return batch{}, false
		case n > 0 && lingered == nil:
			lingered = time.After(linger)
		}
		select {
		case <-s.wake:
		case <-lingered:
			s.mu.Lock()
			return s.swap(spare), true
		}
	}
}

// swap exchanges the pending batch for spare, which makes room, and unlocks mu.
func (s *Store) swap(spare batch) batch {
	defer s.mu.Unlock()
	b := s.pending
	s.pending = batch{spare.ops[:0], slices.Delete(spare.rows, 0, len(spare.rows))}
	s.urgent = false
	s.report()
	return b
}

// report tells everybody who waits to look again; mu is held.
func (s *Store) report() {
	close(s.progress)
	s.progress = make(chan struct{})
}

// write is the writer goroutine.
func (s *Store) write(w *writer) {
	defer close(s.done)
	var b batch
	for {
		var ok bool
		if b, ok = s.take(b); !ok {
			break
		}
		err := w.commit(b)
		s.mu.Lock()
		s.err = err
		s.durable += uint64(b.size()) //nolint:gosec // never negative
		s.report()
		s.mu.Unlock()
		if err != nil {
			break
		}
	}
	err := w.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
	s.report()
}
