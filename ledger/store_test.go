package ledger_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
)

// someOps makes n produce operations of one process, numbered from first.
func someOps(n int, first int64) []ledger.Op {
	ops := make([]ledger.Op, n)
	for i := range ops {
		seq := first + int64(i)
		at := 1_000_000_000_000 + seq*1000
		ops[i] = ledger.Op{Workload: "orders", Process: 3, Func: ledger.FuncProduce, Value: 3<<32 | seq, Partition: int32(seq % 3), Offset: seq / 3, Planned: at, Invoke: at + 10, Complete: at + 500, Outcome: ledger.OK}
	}
	return ops
}

func create(tb testing.TB) (*ledger.Store, string) {
	tb.Helper()
	dir := tb.TempDir()
	s, err := ledger.Create(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() }) // the test closes it where the error matters
	return s, dir
}

func load(tb testing.TB, s *ledger.Store) *ledger.History {
	tb.Helper()
	h, err := s.Load(tb.Context(), ledger.Run{ID: "0a1b2c3d"})
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestStoreGivesBackWhatItTook(t *testing.T) {
	t.Parallel()
	s, dir := create(t)
	late := ledger.Op{Workload: "metadata", Func: ledger.FuncProbe, Key: "k", Sum: 1<<32 - 1, Data: `{"n":1}`, Partition: -1, Offset: -1, Invoke: 90, Outcome: ledger.Unknown, Error: "timed out"}
	early := ledger.Op{Workload: "orders", Process: 2, Func: ledger.FuncProduce, Value: -5, Planned: 49, Invoke: 50, Complete: 95, Outcome: ledger.Failed}
	fault := ledger.Fault{Record: "freeze/kafka", ID: "freeze", Kind: "pause", Target: "kafka", Container: "c1", Mechanism: "Docker API", Planned: 60, Called: 61, Applied: 62}
	changed := fault
	changed.Confirmed, changed.Released, changed.Gone, changed.Settled, changed.Error = 63, 70, 71, 72, "slow"
	earlier := ledger.Fault{Record: "kill/kafka", ID: "kill", Planned: 20}
	witnesses := []ledger.Witness{{Record: "freeze/kafka", What: "cpu", Value: 0.5, Unit: "ns", Note: "gone", At: 71}, {Record: "freeze/kafka", Active: true, What: "cpu", At: 63}}
	events := []ledger.Event{{At: 9, Source: "docker", Type: "die", Service: "kafka", Detail: "exit 137"}, {At: 8, Source: "runner", Type: "note"}}
	gates := []ledger.Gate{{At: 5, Name: "b", Held: true, Note: "n"}, {At: 4, Name: "a"}}
	err := errors.Join(s.Append([]ledger.Op{late, early}), s.AddFault(fault), s.AddFault(earlier), s.UpdateFault(changed),
		s.AddWitness(witnesses[0]), s.AddWitness(witnesses[1]), s.AddEvent(events[0]), s.AddEvent(events[1]), s.AddGate(gates[0]), s.AddGate(gates[1]))
	if err != nil {
		t.Fatal(err)
	}
	late.ID, early.ID = 1, 2
	want := &ledger.History{
		Run: ledger.Run{ID: "0a1b2c3d"}, Ops: []ledger.Op{early, late}, Faults: []ledger.Fault{earlier, changed},
		Witnesses: []ledger.Witness{witnesses[1], witnesses[0]}, Events: []ledger.Event{events[1], events[0]}, Gates: []ledger.Gate{gates[1], gates[0]},
	}
	if diff := cmp.Diff(want, load(t, s)); diff != "" {
		t.Fatalf("from the open store (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if diff := cmp.Diff(want, load(t, again)); diff != "" {
		t.Fatalf("after it was opened again (-want +got):\n%s", diff)
	}
	next := []ledger.Op{{Workload: "orders"}}
	if err := again.Append(next); err != nil || next[0].ID != 3 {
		t.Fatalf("the next operation has id %d (%v), want 3", next[0].ID, err)
	}
}

func TestCloseLeavesOneFile(t *testing.T) {
	t.Parallel()
	s, dir := create(t)
	if err := errors.Join(s.Append(someOps(100, 1)), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != ledger.StoreFile {
		t.Fatalf("the directory holds %v (%v), want %s alone", entries, err, ledger.StoreFile)
	}
	if err := s.Append(someOps(1, 1)); !errors.Is(err, ledger.ErrClosed) {
		t.Fatalf("append after close: %v, want ErrClosed", err)
	}
	if err := s.AddEvent(ledger.Event{}); !errors.Is(err, ledger.ErrClosed) {
		t.Fatalf("add after close: %v, want ErrClosed", err)
	}
}

func TestFlushMakesOperationsVisibleToAnotherProcess(t *testing.T) {
	t.Parallel()
	s, dir := create(t)
	if err := errors.Join(s.Append(someOps(10, 1)), s.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	other, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if h := load(t, other); len(h.Ops) != 10 {
		t.Fatalf("%d operations after the flush, want 10", len(h.Ops))
	}
}

// More operations than the store keeps in memory come from several goroutines while others record faults and flush.
func TestStoreTakesConcurrentWritersBeyondItsMemory(t *testing.T) {
	t.Parallel()
	const writers, batches, size = 4, 40, 1024 // 163,840 operations
	s, _ := create(t)
	var wg sync.WaitGroup
	errs := make(chan error, 2*writers)
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				if err := s.Append(someOps(size, int64((w*batches+b)*size))); err != nil {
					errs <- err
					return
				}
			}
		})
		wg.Go(func() {
			for i := range 50 {
				if err := errors.Join(s.UpdateFault(ledger.Fault{Record: fmt.Sprint(w), Called: int64(i)}), s.Flush(t.Context())); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	h := load(t, s)
	if len(h.Ops) != writers*batches*size || len(h.Faults) != writers || h.Faults[0].Called != 49 {
		t.Fatalf("%d operations and faults %v", len(h.Ops), h.Faults)
	}
	wantSomeOps(t, h.Ops)
}

// wantSomeOps fails unless ops are those of someOps, in the order of their invocation, with each id once.
func wantSomeOps(t *testing.T, ops []ledger.Op) {
	t.Helper()
	seen := make([]bool, len(ops)+1)
	for i, o := range ops {
		if o.ID < 1 || o.ID > int64(len(ops)) || seen[o.ID] {
			t.Fatalf("id %d is out of range or given twice", o.ID)
		}
		seen[o.ID] = true
		if want := someOps(1, int64(i))[0]; o.Value != want.Value || o.Invoke != want.Invoke {
			t.Fatalf("operation %d is %+v", i, o)
		}
	}
}

func TestFlushAndLoadEndWithTheirContext(t *testing.T) {
	t.Parallel()
	s, _ := create(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(someOps(5, 1)); err != nil {
		t.Fatal(err)
	}
	// A flush of nothing may succeed; with work it may only succeed if the work is done.
	if _, err := s.Load(ctx, ledger.Run{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("load with a cancelled context: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	stamped := func(version int) string {
		s, dir := create(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", filepath.Join(dir, ledger.StoreFile))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	junk := t.TempDir()
	if err := os.WriteFile(filepath.Join(junk, ledger.StoreFile), []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"a newer format by name", stamped(ledger.FormatVersion + 6), "ledger has format 8, this build reads up to 2"},
		{"a file without tables", stamped(0), "no format version"},
		{"a directory without a ledger", t.TempDir(), "directory of a run"},
		{"a file that is no database", junk, "not a database"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := ledger.Open(tt.dir)
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := ledger.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing ledger: %v, want fs.ErrNotExist", err)
	}
	var newer *ledger.VersionError
	if _, err := ledger.Open(stamped(9)); !errors.As(err, &newer) || newer.Version != 9 {
		t.Fatalf("a newer ledger: %v, want a *VersionError of version 9", err)
	}
}

func TestCreateKeepsAnExistingLedger(t *testing.T) {
	t.Parallel()
	_, dir := create(t)
	if _, err := ledger.Create(dir); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("error %v, want fs.ErrExist", err)
	}
}

func TestCreateWorksInDirectoriesWithOddNames(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "50% of a?b#c &d=e é")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	s, err := ledger.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Append(someOps(3, 1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, ledger.StoreFile)); err != nil || info.Size() == 0 {
		t.Fatalf("the ledger is not where it should be: %v", err)
	}
}

func TestResultsReplaceByKindAndName(t *testing.T) {
	t.Parallel()
	s, _ := create(t)
	err := errors.Join(s.SaveResult("log", "orders", json.RawMessage(`{"n":1}`)), s.SaveResult("log", "orders", json.RawMessage(`{"n":2}`)),
		s.SaveResult("set", "orders", json.RawMessage(`3`)), s.SaveResult(ledger.ResultViolation, "log", json.RawMessage(`{}`)), s.AddRun(ledger.Run{ID: "x"}), s.AddRun(ledger.Run{ID: "y"}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Results(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]json.RawMessage{"orders": json.RawMessage(`{"n":2}`)}, got); diff != "" {
		t.Fatal(diff)
	}
	if err := s.SaveResult("log", "orders", json.RawMessage(`{`)); err == nil {
		t.Fatal("a body that is no JSON was taken")
	}
	if err := s.ClearResults(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Results(t.Context(), "log"); err != nil || len(got) != 0 {
		t.Fatalf("%v are left after they were cleared (%v)", got, err)
	}
}

func TestAppendReportsAFailedWriter(t *testing.T) {
	t.Parallel()
	s, dir := create(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, ledger.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "DROP VIEW probe; DROP TABLE operation"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Append(someOps(1, 1)), s.Flush(t.Context())); err == nil {
		t.Fatal("nothing reports that operations cannot be written")
	}
	if err := s.Append(someOps(1, 1)); err == nil || !strings.Contains(err.Error(), "operation") {
		t.Fatalf("append after the writer failed: %v", err)
	}
	if err := s.Close(); err == nil {
		t.Fatal("close reports nothing")
	}
}

// BenchmarkAppend measures from Append to a durable row: the bar is 200,000 operations per second.
func BenchmarkAppend(b *testing.B) {
	s, _ := create(b)
	ops := someOps(200, 0)
	b.ResetTimer()
	for range b.N {
		if err := s.Append(ops); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N*len(ops))/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkLoad(b *testing.B) {
	s, _ := create(b)
	const n = 200_000
	if err := s.Append(someOps(n, 0)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if h := load(b, s); len(h.Ops) != n {
			b.Fatal(len(h.Ops))
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "ops/s")
}

// A ledger of format 1 is read, without data, and takes a judgement, but no operations.
func TestOpenTakesTheFirstFormat(t *testing.T) {
	t.Parallel()
	s, dir := create(t)
	if err := errors.Join(s.Append(someOps(3, 0)), s.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, ledger.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"DROP VIEW probe", "ALTER TABLE operation DROP COLUMN data", "PRAGMA user_version = 1"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	old, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	wantSomeOps(t, load(t, old).Ops)
	if err := errors.Join(old.SaveResult("log", "orders", json.RawMessage(`{}`)), old.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := old.Append(someOps(1, 9)); !errors.Is(err, ledger.ErrOldFormat) {
		t.Fatalf("append to an old ledger: %v, want ErrOldFormat", err)
	}
}
