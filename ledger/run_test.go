package ledger_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
)

func TestLinkIsInTheTargetsThatNameIt(t *testing.T) {
	t.Parallel()
	web := ledger.Link{Name: "web->db:5432", From: "web", To: "db", Port: 5432}
	orders := ledger.Link{Name: "workload.orders->kafka2:9092", From: "workload.orders", To: "kafka2", Port: 9092}
	self := ledger.Link{Name: "db->db:5432", From: "db", To: "db", Port: 5432}
	for _, tt := range []struct {
		link   ledger.Link
		target string
		want   bool
	}{
		{web, "web->db:5432", true},
		{web, "*->db:5432", true},
		{web, "w*->d?:5432", true},
		{web, "workload->db:5432", false},
		{web, "api->db:5432", false},
		{web, "web->db:543", false},
		{web, "web->db", false},
		{web, "web->db2:5432", false},
		{web, "db", false},
		{web, "db:5432", false},
		{web, "", false},
		{web, "[->db:5432", false},
		{orders, "workload.orders->kafka2:9092", true},
		{orders, "workload->kafka2:9092", true},
		{orders, "workload->kafka*:9092", true},
		{orders, "workload.other->kafka2:9092", false},
		{orders, "probes->kafka2:9092", false},
		{self, "*->db:5432", false},
	} {
		if got := tt.link.In(tt.target); got != tt.want {
			t.Errorf("%s in %q: %t, want %t", tt.link.Name, tt.target, got, tt.want)
		}
		if tt.want && !(ledger.Fault{Target: tt.target}).OnLink() {
			t.Errorf("a fault on %q is not on a link", tt.target)
		}
	}
	for _, target := range []string{"db", "web[2]", ""} {
		if (ledger.Fault{Target: target}).OnLink() {
			t.Errorf("a fault on %q is on a link", target)
		}
	}
}

func TestLeakedCountsWhatHasNoReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		link ledger.Link
		want int64
	}{
		{"nothing happened", ledger.Link{}, 0},
		{"all came from the proxy", ledger.Link{Dialled: 42, Arrived: 42}, 0},
		{"refused dials arrived too", ledger.Link{Dialled: 40, DialFailed: 2, Arrived: 42}, 0},
		{"failed dials did not arrive", ledger.Link{Dialled: 40, DialFailed: 2, Arrived: 40}, 0},
		{"one is on its way", ledger.Link{Dialled: 40, Dialling: 1, Arrived: 41}, 0},
		{"one was let past", ledger.Link{Dialled: 40, Direct: 1, Arrived: 41}, 0},
		{"two went past", ledger.Link{Dialled: 40, DialFailed: 1, Direct: 1, Arrived: 44}, 2},
	} {
		if got := tt.link.Leaked(); got != tt.want {
			t.Errorf("%s: %d leaked, want %d", tt.name, got, tt.want)
		}
	}
}

// The run goes through run.json into a history, and the ledger's file has it too.
func TestLinksSurviveTheDisk(t *testing.T) {
	t.Parallel()
	s, dir := create(t)
	run := ledger.Run{V: ledger.RunVersion, ID: "0a1b2c3d", Links: someLinks(), Rules: json.RawMessage("{}")}
	if err := errors.Join(ledger.WriteRun(dir, run), s.AddRun(ledger.Run{ID: "at the start"}), s.AddRun(run)); err != nil {
		t.Fatal(err)
	}
	read, err := ledger.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Load(t.Context(), read)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(run.Links, h.Run.Links); diff != "" {
		t.Errorf("through run.json (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, ledger.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var body string
	if err := db.QueryRowContext(t.Context(), "SELECT body FROM run").Scan(&body); err != nil {
		t.Fatal(err)
	}
	var stored ledger.Run
	if err := json.Unmarshal([]byte(body), &stored); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(run.Links, stored.Links); diff != "" {
		t.Errorf("through the ledger's file (-want +got):\n%s", diff)
	}
}
