package ledger_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
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
		Links: someLinks(), Mechanisms: map[string]string{"freeze": "Docker API"}, Base: 5, Phases: []ledger.Phase{{Name: ledger.PhaseTimeline, From: 5}}, Rules: json.RawMessage("{}"),
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

// someLinks has a value in every field of a link.
func someLinks() []ledger.Link {
	return []ledger.Link{{
		Name: "web->db:5432", From: "web", To: "db", Port: 5432, Clients: 2, Accepted: 45, Dialled: 42, DialFailed: 3, Dialling: 9, Direct: 1, Arrived: 43, Guarded: 4, Passed: 5,
		Upstream: 1 << 40, Downstream: 1 << 41, Closed: []ledger.LinkClose{{By: "slow", How: "rst", Count: 6}},
		Resets: []ledger.LinkReset{{Count: 7, Why: "opened before the link was routed", At: 8}}, Unrouted: "published port 5432",
	}}
}

func TestSomeLinksHaveEveryField(t *testing.T) {
	t.Parallel()
	for _, l := range someLinks() {
		for v, i := reflect.ValueOf(l), 0; i < v.NumField(); i++ {
			if v.Field(i).IsZero() {
				t.Errorf("%s is empty, so no test sees it come back", v.Type().Field(i).Name)
			}
		}
	}
}

// The body is a run.json of the version before links.
func TestReadRunTakesARunWithoutLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const body = `{"v":1,"id":"0a1b2c3d","scenario":"kafka_broker_pause","seed":7,"services":[{"name":"kafka","replicas":1}],"base":5,"phases":[],"rules":{}}`
	if err := os.WriteFile(filepath.Join(dir, ledger.RunFile), []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	run, err := ledger.ReadRun(dir)
	if err != nil || run.Links != nil || run.ID != "0a1b2c3d" || len(run.Services) != 1 {
		t.Fatalf("run %+v (%v)", run, err)
	}
	if err := ledger.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(dir, ledger.RunFile)); err != nil || strings.Contains(string(again), "links") {
		t.Fatalf("a run without links names them (%v):\n%s", err, again)
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
