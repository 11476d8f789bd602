package archtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/discompose/discompose/"

// forbidden maps a package to the module packages that it must never reach, each with the reason.
var forbidden = map[string]map[string]string{
	"oracle":   {"compose": "a judge must not touch what it judges", "faults": "same", "runner": "same", "reports": "same", "agent": "same"},
	"ledger":   {"compose": "it records, it does not act", "faults": "same", "runner": "same", "oracle": "same", "scenarios": "same"},
	"faults":   {"compose": "faults declare the Env that they need", "runner": "same", "scenarios": "same", "reports": "same", "agent": "same"},
	"agent":    {"compose": "what it does is asked for by name", "faults": "reverts are passed in", "runner": "same", "scenarios": "same"},
	"compose":  {"faults": "the environment knows nothing of faults", "runner": "same", "scenarios": "same", "oracle": "same"},
	"workload": {"agent": "the stream belongs to the caller", "compose": "same", "runner": "same", "faults": "same"},
	"reports":  {"runner": "a report is made from a run directory alone", "compose": "same", "faults": "same"},
}

func TestDependencyDirection(t *testing.T) {
	for pkg, bad := range forbidden {
		t.Run(pkg, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+pkg).Output()
			if err != nil {
				t.Fatal(err)
			}
			deps := strings.Fields(string(out))
			if !slices.Contains(deps, module+pkg) {
				t.Fatalf("go list does not name %s itself", pkg)
			}
			for _, dep := range deps {
				for b, why := range bad {
					if dep == module+b || strings.HasPrefix(dep, module+b+"/") {
						t.Errorf("%s must not depend on %s: %s", pkg, dep, why)
					}
				}
			}
		})
	}
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 10 {
		t.Fatalf("go list found %d packages", len(lines))
	}
	for _, line := range lines {
		pkg, doc, _ := strings.Cut(line, "\t")
		if strings.TrimSpace(doc) == "" && !strings.Contains(pkg, "/testdata/") && !strings.HasSuffix(pkg, "/e2e") {
			t.Errorf("%s has no package doc", pkg)
		}
	}
}
