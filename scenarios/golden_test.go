package scenarios_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" || got == "" {
		t.Errorf("%s (-file +got):\n%s", file, diff)
	}
}

// TestParseReadsEveryTable compares the decoded scenario, includes and defaults filled in, with a golden file.
func TestParseReadsEveryTable(t *testing.T) {
	t.Parallel()
	s, err := scenarios.Parse(os.DirFS("testdata"), "full.toml", func() scenarios.Options {
		o := options()
		o.Origin = scenarios.Origin{Path: "testdata/full.toml", Dir: "testdata"}
		return o
	}())
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	type plain struct {
		Scenario scenarios.Scenario
		Params   []faults.Fault
		Lines    []int
	}
	p := plain{Scenario: *s}
	p.Scenario.Places, p.Scenario.Origin.Source = nil, nil
	p.Scenario.Fault = nil
	type fault struct {
		scenarios.Fault
		Spec string // hides the functions of the spec
	}
	var list []fault
	for _, f := range s.Fault {
		p.Params, p.Lines = append(p.Params, f.Params), append(p.Lines, f.Line)
		list = append(list, fault{f, string(f.Spec.Kind)})
	}
	text, err := json.MarshalIndent(struct {
		plain
		Fault []fault
	}{p, list}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/full.golden.json", string(text)+"\n")
	if got := s.Places["environment.ready"]; got != (scenarios.Place{File: "testdata/_shared.toml", Row: 5, Col: 1}) {
		t.Errorf("environment.ready is at %+v", got)
	}
}
