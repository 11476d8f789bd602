package ledger_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
)

func TestRunFileRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := ledger.Run{
		V: ledger.RunVersion, ID: "0a1b2c3d", Scenario: "kafka_broker_pause", Args: []string{"run"}, Seed: 7, Services: []ledger.Service{{Name: "kafka", Replicas: 1}},
		Mechanisms: map[string]string{"freeze": "Docker API"}, Base: 5, Phases: []ledger.Phase{{Name: ledger.PhaseTimeline, From: 5}}, Rules: json.RawMessage("{}"),
	}
	for _, base := range []int64{5, 6} { // it is written again when the run ends
		run.Base = base
		if err := ledger.WriteRun(dir, run); err != nil {
			t.Fatal(err)
		}
		got, err := ledger.ReadRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(run, got); diff != "" {
			t.Fatal(diff)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the directory holds %v (%v), want %s alone", entries, err, ledger.RunFile)
	}
}

func TestWriteRunStampsTheVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := ledger.WriteRun(dir, ledger.Run{Rules: json.RawMessage("{}")}); err != nil {
		t.Fatal(err)
	}
	if run, err := ledger.ReadRun(dir); err != nil || run.V != ledger.RunVersion {
		t.Fatalf("version %d (%v)", run.V, err)
	}
}

func TestReadRunRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, want string }{
		{"a newer version by name", `{"v":99}`, "run.json has format 99"},
		{"a file without a version", `{}`, "no version"},
		{"a file that is cut off", `{"v":1`, "unexpected end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, ledger.RunFile), []byte(tt.body), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.ReadRun(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := ledger.ReadRun(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing file: %v, want fs.ErrNotExist", err)
	}
}
