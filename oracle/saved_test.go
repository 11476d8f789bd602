package oracle_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

var update = flag.Bool("update", false, "write the generated saved runs and every expect.json anew")

const savedRuns = "testdata/runs"

// expected is expect.json: what the judge must say of a saved run. Convicted and Tried are the self-test's.
type expected struct {
	Verdict    oracle.Verdict `json:"verdict"`
	Primary    oracle.Class   `json:"primary"`
	Classes    []oracle.Class `json:"classes"`
	Violations [][]int64      `json:"violations"` // operations of each violation
	Convicted  int            `json:"convicted"`
	Tried      int            `json:"tried"`
}

func expectedOf(j oracle.Judgement) expected {
	e := expected{Verdict: j.Verdict, Primary: j.Primary, Convicted: j.Convicted, Tried: j.Tried, Violations: [][]int64{}}
	for _, f := range j.Findings {
		e.Classes = append(e.Classes, f.Class)
	}
	e.Classes = slices.Compact(e.Classes)
	for _, r := range j.Results {
		for _, v := range r.Violations {
			e.Violations = append(e.Violations, v.Ops)
		}
	}
	return e
}

// generated are the saved runs that are made here; real ones are recorded with `make record`.
func generated() map[string]func(*runSim) {
	return map[string]func(*runSim){
		"generated_good": func(s *runSim) { s.fail("orders", 11, 19, ledger.Unknown) },
		"generated_lost": func(s *runSim) {
			s.fail("orders", 11, 19, ledger.Unknown)
			s.drop(func(o ledger.Op) bool { return o.Func == ledger.FuncRead && (o.Offset == 150 || o.Offset == 200) })
		},
	}
}

// Every saved run is judged as it was when it was saved. A run directory holds ledger.sqlite, run.json and expect.json.
func TestSavedRuns(t *testing.T) { //nolint:gocognit // one saved run after the other, and then their count
	if *update {
		for name, change := range generated() {
			generate(t, filepath.Join(savedRuns, name), change)
		}
	}
	dirs, err := os.ReadDir(savedRuns)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]map[oracle.Verdict]int{} // by kind of check
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			j := judgeSaved(t, filepath.Join(savedRuns, d.Name()))
			for _, r := range j.Results {
				if verdicts[r.Check] == nil {
					verdicts[r.Check] = map[oracle.Verdict]int{}
				}
				verdicts[r.Check][r.Verdict]++
				tried := slices.ContainsFunc(r.Mutants, func(m oracle.Mutant) bool { return m.Fate == oracle.Convicted || m.Fate == oracle.Survived })
				if r.Verdict == oracle.Pass && !tried {
					t.Errorf("the %s check of %s passed, and tried no mutant: %+v", r.Check, r.Workload, r.Mutants)
				}
			}
			for _, f := range j.Findings {
				if strings.Contains(f.Reason, "panicked") {
					t.Errorf("a bug of ours: %s", f.Reason)
				}
			}
			path := filepath.Join(savedRuns, d.Name(), "expect.json")
			if *update {
				write(t, path, expectedOf(j))
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want expected
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, expectedOf(j)); diff != "" {
				t.Errorf("(-saved +now):\n%s\n%+v", diff, j.Findings)
			}
		})
	}
	for _, k := range oracle.Kinds() {
		if verdicts[k.Name][oracle.Pass] == 0 || verdicts[k.Name][oracle.Fail] == 0 {
			t.Errorf("the saved runs of %s need a good and a bad one, there are %v", k.Name, verdicts[k.Name])
		}
	}
}

// judgeSaved judges a copy: opening a ledger may write beside it.
func judgeSaved(t *testing.T, dir string) oracle.Judgement {
	t.Helper()
	clone := t.TempDir()
	for _, name := range []string{ledger.StoreFile, ledger.RunFile} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(clone, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run, err := ledger.ReadRun(clone)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := oracle.DecodeRules(run)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ledger.Open(clone)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h, err := s.Load(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	return oracle.Judge(t.Context(), h, rules)
}

func generate(t *testing.T, dir string, change func(*runSim)) {
	t.Helper()
	s := newRun()
	change(s)
	raw, err := json.Marshal(s.rules)
	if err != nil {
		t.Fatal(err)
	}
	s.h.Run.ID, s.h.Run.Scenario, s.h.Run.Rules = "00000000", filepath.Base(dir), raw
	err = errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750), ledger.WriteRun(dir, s.h.Run))
	if err != nil {
		t.Fatal(err)
	}
	store, err := ledger.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	errs := []error{store.Append(s.h.Ops)}
	for _, f := range s.h.Faults {
		errs = append(errs, store.AddFault(f))
	}
	for _, w := range s.h.Witnesses {
		errs = append(errs, store.AddWitness(w))
	}
	if err := errors.Join(append(errs, store.Close())...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
