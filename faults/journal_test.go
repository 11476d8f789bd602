package faults_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/faults"
)

func TestBaseIsReadOnce(t *testing.T) {
	s := &faults.State{}
	reads := 0
	read := func() (json.RawMessage, error) { reads++; return json.RawMessage(`"100"`), nil }
	for range 3 {
		v, err := s.Base("c1", "cpu", read)
		if err != nil || string(v) != `"100"` {
			t.Errorf("base is %s, %v", v, err)
		}
	}
	if _, err := s.Base("c2", "cpu", read); err != nil || reads != 2 {
		t.Errorf("%d reads for two containers, %v", reads, err)
	}
	gone := errors.New("no cgroup")
	if _, err := s.Base("c3", "cpu", func() (json.RawMessage, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("error is %v", err)
	}
	if _, err := s.Base("c3", "cpu", read); err != nil || reads != 3 {
		t.Errorf("a failed read must not be kept: %d reads, %v", reads, err)
	}
}

func TestBaseThatCannotBeJournalledIsNoBase(t *testing.T) {
	full := errors.New("disk full")
	s := &faults.State{Commit: func(faults.Entry) error { return full }}
	if v, err := s.Base("c1", "cpu", func() (json.RawMessage, error) { return json.RawMessage("1"), nil }); !errors.Is(err, full) {
		t.Errorf("base %s, error %v", v, err)
	}
}

func TestReplayRefusesNewerEntries(t *testing.T) {
	s := &faults.State{}
	if err := s.Replay(faults.Entry{V: faults.RecordVersion + 1, Type: faults.EntryNote}); err == nil {
		t.Error("an entry of a newer version was taken")
	}
}

// call makes one drawn call on a journal that has n entries.
func call(rt *rapid.T, s *faults.State, ids []string, n int) error {
	r := rec(rapid.SampledFrom(ids).Draw(rt, "id"))
	switch rapid.SampledFrom([]string{"intend", "release", "done", "base", "note"}).Draw(rt, "call") {
	case "intend":
		return s.Intend(r)
	case "release":
		return s.Release(r)
	case "done":
		return s.Done(r)
	case "base":
		_, err := s.Base("c1", r.ID, func() (json.RawMessage, error) { return json.Marshal(n) })
		return err
	default:
		return s.Identify(faults.RunNote{Run: r.ID, Project: "p"})
	}
}

// replay is the state that the lines of a journal describe.
func replay(rt *rapid.T, lines [][]byte) *faults.State {
	s := &faults.State{}
	for _, line := range lines {
		var e faults.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			rt.Fatal(err)
		}
		if err := s.Replay(e); err != nil {
			rt.Fatal(err)
		}
	}
	return s
}

// TestReplayRebuildsTheState draws sequences of journal calls and compares the state with one that is rebuilt from the
// lines it wrote.
func TestReplayRebuildsTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var lines [][]byte
		live := &faults.State{Commit: func(e faults.Entry) error {
			line, err := json.Marshal(e)
			lines = append(lines, line)
			return err
		}}
		ids := []string{"a", "b", "c"}
		for range rapid.IntRange(1, 20).Draw(rt, "calls") {
			if err := call(rt, live, ids, len(lines)); err != nil {
				rt.Fatal(err)
			}
		}
		back := replay(rt, lines)
		for what, got := range map[string][2]any{
			"active": {live.Active("c1"), back.Active("c1")}, "owed": {live.Owed(), back.Owed()}, "note": {live.Note(), back.Note()},
		} {
			if diff := cmp.Diff(got[0], got[1]); diff != "" {
				rt.Errorf("%s (-live +replayed):\n%s", what, diff)
			}
		}
		never := func() (json.RawMessage, error) { return json.RawMessage("-1"), nil }
		for _, id := range ids {
			a, _ := live.Base("c1", id, never)
			b, _ := back.Base("c1", id, never)
			if string(a) != string(b) {
				rt.Errorf("base of %s is %s and was %s", id, b, a)
			}
		}
	})
}
