package runner

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
)

func newDir(t *testing.T, runs string) *Dir {
	t.Helper()
	d, err := NewDir(runs, "kafka/pause x", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestARunDirectoryIsLockedWhileItsRunLives(t *testing.T) {
	t.Parallel()
	runs := t.TempDir()
	d := newDir(t, runs)
	if want := "20260102T030405Z-kafka_pause_x-" + d.ID; filepath.Base(d.Path) != want || len(d.ID) != 8 {
		t.Errorf("it is named %s, want %s", filepath.Base(d.Path), want)
	}
	if _, err := OpenDir(d.Path); !errors.Is(err, ErrAlive) {
		t.Errorf("open the directory of a run that lives: %v, want ErrAlive", err)
	}
	if err := d.PointLatest(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	latest := filepath.Join(runs, "latest")
	o, err := OpenDir(latest)
	if err != nil {
		t.Fatal(err)
	}
	if o.ID != d.ID || o.Path != d.Path {
		t.Errorf("latest is %s (%s), want %s (%s)", o.Path, o.ID, d.Path, d.ID)
	}
	if _, err := OpenDir(latest); !errors.Is(err, ErrAlive) {
		t.Errorf("two heal one run at the same time: %v, want ErrAlive", err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoRunDirectoryIsNotExist(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "nosuch")} {
		if _, err := OpenDir(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("OpenDir(%s): %v, want ErrNotExist", dir, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDir(file, "x", time.Now()); !errors.Is(err, ErrRunsDir) {
		t.Errorf("make a run in a file: %v, want ErrRunsDir", err)
	}
}

func TestLatestIsSwitchedToTheNewestRun(t *testing.T) {
	t.Parallel()
	runs := t.TempDir()
	for range 2 {
		d := newDir(t, runs)
		if err := d.PointLatest(); err != nil {
			t.Fatal(err)
		}
		if got, err := filepath.EvalSymlinks(filepath.Join(runs, "latest")); err != nil || got != d.Path {
			t.Errorf("latest is %s, %v, want %s", got, err, d.Path)
		}
	}
	got, err := Runs(runs)
	if err != nil || len(got) != 2 {
		t.Errorf("runs: %v, %v; latest is not one of them", got, err)
	}
	if got, err := Runs(filepath.Join(runs, "nosuch")); err != nil || got != nil {
		t.Errorf("runs of a folder that is not there: %v, %v", got, err)
	}
}

func record(id string) faults.Record {
	return faults.Record{V: faults.RecordVersion, ID: id, Kind: "pause", On: faults.Target{Service: "web", Number: 1, Container: "c1"}, Want: json.RawMessage(`{}`)}
}

// journalled writes entries as a run does and returns the run directory.
func journalled(t *testing.T, sent func(context.Context, json.RawMessage) error) (dir string, s *faults.State) {
	t.Helper()
	dir = t.TempDir()
	f, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	now := int64(0)
	j := &journalFile{file: f, sent: sent, ctx: t.Context(), now: func() int64 { now++; return now }}
	return dir, &faults.State{Commit: j.commit}
}

func TestTheJournalSurvivesItsWriter(t *testing.T) {
	t.Parallel()
	var atAgent []string
	dir, s := journalled(t, func(_ context.Context, line json.RawMessage) error {
		atAgent = append(atAgent, string(line)+"\n")
		return nil
	})
	note := faults.RunNote{Run: "0000000a", Project: "dc0000000a", Host: "unix:///x", Keep: true}
	base := func() (json.RawMessage, error) { return json.RawMessage(`"-1"`), nil }
	_, err := s.Base("c1", "cpu", base)
	for _, e := range []error{err, s.Identify(note), s.Intend(record("a")), s.Intend(record("b")), s.Intend(record("c")), s.Release(record("a")), s.Done(record("a")), s.Release(record("b"))} {
		if e != nil {
			t.Fatal(e)
		}
	}
	got, err := ReadJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]faults.Record{record("b"), record("c")}, got.Owed()); diff != "" {
		t.Errorf("owed: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]faults.Record{record("c")}, got.Active("c1")); diff != "" {
		t.Errorf("active: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(note, got.Note()); diff != "" {
		t.Errorf("note: -want +got:\n%s", diff)
	}
	v, err := got.Base("c1", "cpu", func() (json.RawMessage, error) { return nil, errors.New("it is read again") })
	if err != nil || string(v) != `"-1"` {
		t.Errorf("base: %s, %v", v, err)
	}
	file, err := os.ReadFile(filepath.Join(dir, fileJournal))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(file), strings.Join(atAgent, "")); diff != "" || len(atAgent) != 8 {
		t.Errorf("the agent's copy differs (-file +agent):\n%s", diff)
	}
	if !strings.Contains(atAgent[7], `"at":8`) {
		t.Errorf("the eighth entry has no time: %s", atAgent[7])
	}
}

func TestAnEntryThatTheAgentDoesNotAcknowledgeIsRefused(t *testing.T) {
	t.Parallel()
	lost := errors.New("stream ended")
	dir, s := journalled(t, func(context.Context, json.RawMessage) error { return lost })
	if err := s.Intend(record("a")); !errors.Is(err, lost) {
		t.Errorf("intend: %v, want the agent's error", err)
	}
	if owed := s.Owed(); len(owed) != 0 {
		t.Errorf("this process owes %v: nothing was applied", owed)
	}
	// It is on disk all the same: whoever heals undoes it once more, which does no harm.
	got, err := ReadJournal(dir)
	if err != nil || len(got.Owed()) != 1 {
		t.Errorf("the file owes %v, %v", got.Owed(), err)
	}
}

func TestAnEntryThatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	f, err := openJournal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	j := &journalFile{file: f, ctx: t.Context(), sent: func(context.Context, json.RawMessage) error {
		t.Error("the agent was told of an entry that is not on disk")
		return nil
	}}
	if err := j.commit(faults.Entry{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("commit to a closed file: %v", err)
	}
}

func TestReadJournal(t *testing.T) {
	t.Parallel()
	const intend = `{"v":1,"type":"intend","record":{"v":1,"id":"a","kind":"pause"}}` + "\n"
	for _, c := range []struct{ name, text, err string }{
		{"a torn last line was never acknowledged", intend + `{"v":1,"type":"do`, ""},
		{"an empty line says nothing", "\n" + intend + "\n", ""},
		{"garbage in the middle is told with its line", intend + "garbage\n" + intend, "line 2: "},
		{"a newer version is refused", intend + `{"v":99,"type":"done"}` + "\n", "line 2: journal entry has version 99, this build reads up to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileJournal), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := ReadJournal(dir)
			switch {
			case c.err == "" && (err != nil || len(s.Owed()) != 1):
				t.Errorf("read: %v", err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("read: %v, want %q", err, c.err)
			}
		})
	}
	if _, err := ReadJournal(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a journal: %v, want ErrNotExist", err)
	}
}

func TestWhatHealAppendsDoesNotRunIntoATornLine(t *testing.T) {
	t.Parallel()
	dir, s := journalled(t, nil)
	if err := s.Intend(record("a")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileJournal)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(whole, `{"v":1,"type":"int`...), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	healing, err := ReadJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	healing.Commit = (&journalFile{file: f, ctx: t.Context()}).commit
	if err := healing.Release(record("a")); err != nil {
		t.Fatal(err)
	}
	again, err := ReadJournal(dir)
	if err != nil || len(again.Owed()) != 1 || len(again.Active("c1")) != 0 {
		t.Errorf("the second heal reads %v: %v", again, err)
	}
}

func TestTheRegistryKnowsOpenRuns(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if open, err := Registered(); err != nil || len(open) != 0 {
		t.Errorf("before the first run: %v, %v", open, err)
	}
	a, b := &Dir{Path: "/runs/a", ID: "0000000a"}, &Dir{Path: "/runs/b", ID: "0000000b"}
	for _, err := range []error{register(a), register(b)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	open, err := Registered()
	if diff := cmp.Diff(map[string]string{a.ID: a.Path, b.ID: b.Path}, open); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	for range 2 {
		if err := unregister(a.ID); err != nil {
			t.Error(err)
		}
	}
	open, err = Registered()
	if diff := cmp.Diff(map[string]string{b.ID: b.Path}, open); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}
