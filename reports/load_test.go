package reports_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/reports"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// runDir writes a record as a run leaves it on disk.
func runDir(t *testing.T, r *reports.Record) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runs", "20260314T092640Z-kafka_broker_pause-5eed1234")
	put(t, dir, "plan.txt", "the plan\n")
	put(t, dir, "scenario.toml", "name = \"kafka_broker_pause\"\n")
	put(t, dir, "metrics/before.json", `{"kafka":{"memory":1}}`)
	put(t, dir, "metrics/torn.json", `{"kafka":`)
	put(t, dir, "logs/kafka.log", strings.Join([]string{
		"2026-03-14T09:27:05.000000001Z first",
		"kafka-1  | 2026-03-14T09:27:06.300Z WARN with its container's name",
		"a line without an instant belongs to the one before",
		"2026-03-14T09:27:05.900Z   out of order",
		"2026-03-14T09:27:06.400Z ! on standard error",
		"2026-03-14T09:27:08Z past the end, and yet not the last",
		"2026-03-14T09:27:07Z " + strings.Repeat("x", 10_000),
		"2026-03-14T09:28:00Z much later",
	}, "\n"))
	if err := ledger.WriteRun(dir, r.Run); err != nil {
		t.Fatal(err)
	}
	judgement, err := json.Marshal(r.Judgement)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "judgement.json", string(judgement))
	store, err := ledger.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(store.Append(r.History.Ops))
	for _, f := range r.History.Faults {
		must(store.AddFault(f))
	}
	for _, w := range r.History.Witnesses {
		must(store.AddWitness(w))
	}
	for _, e := range r.History.Events {
		must(store.AddEvent(e))
	}
	for _, g := range r.History.Gates {
		must(store.AddGate(g))
	}
	must(store.Close())
	return dir
}

func TestLoadedRunGivesTheReportOfTheRecord(t *testing.T) {
	want := dataLoss(t)
	got, err := reports.Load(runDir(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.Plan != "the plan\n" || string(got.Scenario) != "name = \"kafka_broker_pause\"\n" || string(got.Metrics["before"]) == "" {
		t.Errorf("texts: plan %q, scenario %q, metrics %v", got.Plan, got.Scenario, got.Metrics)
	}
	if _, ok := got.Metrics["torn"]; ok || len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "torn.json") {
		t.Errorf("a torn snapshot is not told: %q", got.Problems)
	}
	// What comes from logs and the folder differs; everything else survives the disk.
	for _, r := range []*reports.Record{want, got} {
		r.Dir, r.Files, r.Logs, r.LogServices, r.Problems, r.Metrics = "runs/x", nil, nil, nil, nil, nil
	}
	sameReports(t, want, got)
}

func sameReports(t *testing.T, want, got *reports.Record) {
	t.Helper()
	for _, f := range reports.Formats() {
		if diff := cmp.Diff(write(t, f.Write, want), write(t, f.Write, got)); diff != "" {
			t.Errorf("%s differs after the disk (-want +got):\n%s", f.Name, diff)
		}
	}
}

func TestLinksAreReportedFromTheDisk(t *testing.T) {
	want := links(t)
	got, err := reports.Load(runDir(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Run.Links) != 4 {
		t.Fatalf("%d links came back", len(got.Run.Links))
	}
	for _, r := range []*reports.Record{want, got} {
		r.Dir, r.Files, r.Logs, r.LogServices, r.Problems, r.Metrics = "runs/x", nil, nil, nil, nil, nil
	}
	sameReports(t, want, got)
}

func TestLogsAreCutByTimeAndLength(t *testing.T) {
	r, err := reports.Load(runDir(t, degraded(t)))
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 14, 9, 27, 5, 500_000_000, time.UTC)
	var got []string
	for _, l := range r.Logs("kafka", from, from.Add(2*time.Second)) {
		if l.Service != "kafka" || l.Stderr != (l.Text == "on standard error") {
			t.Errorf("line of %q, standard error %t: %s", l.Service, l.Stderr, l.Text)
		}
		got = append(got, l.At.Format("05.0 ")+l.Text[:min(len(l.Text), 40)])
		if len(l.Text) > 4096 {
			t.Errorf("a line has %d bytes", len(l.Text))
		}
	}
	want := []string{
		"05.9 out of order", "06.3 WARN with its container's name", "06.3 a line without an instant belongs to the", "06.4 on standard error", "07.0 " + strings.Repeat("x", 40),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, service := range []string{"db", "../run", ""} {
		if lines := r.Logs(service, from, from.Add(time.Hour)); lines != nil {
			t.Errorf("service %q has lines: %v", service, lines)
		}
	}
}

func TestMissingPartsAreToldAndDamagedOnesAreErrors(t *testing.T) {
	t.Run("only run.json is needed", func(t *testing.T) {
		dir := t.TempDir()
		if err := ledger.WriteRun(dir, degraded(t).Run); err != nil {
			t.Fatal(err)
		}
		r, err := reports.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		text := write(t, reports.Markdown, r)
		for _, want := range []string{"# INCONCLUSIVE: kafka_broker_pause\n", "`discompose check`", "kept no ledger"} {
			if !strings.Contains(text, want) {
				t.Errorf("the report has no %q", want)
			}
		}
	})
	t.Run("without run.json there is no run", func(t *testing.T) {
		if _, err := reports.Load(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	for _, name := range []string{"judgement.json", "ledger.sqlite"} {
		t.Run("a damaged "+name+" is named", func(t *testing.T) {
			dir := runDir(t, degraded(t))
			put(t, dir, name, "{ damaged")
			if _, err := reports.Load(dir); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(name, ".sqlite")) {
				t.Errorf("error %v", err)
			}
		})
	}
}
