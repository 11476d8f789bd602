//go:build e2e

package e2e

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestABegunKindBuildsAndItsTestsSayWhatIsToBeWritten begins kinds in a copy of the source tree: one in a package that is
// there, one in a new one, and one of links.
func TestABegunKindBuildsAndItsTestsSayWhatIsToBeWritten(t *testing.T) {
	tree := copyTree(t)
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = filepath.Join(tree, "faults")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	kinds := map[string]string{"begun_here": "process", "begun_anew": "clock", "begun_link": "link"}
	for kind, family := range kinds {
		if out, err := run(binary(t), "new", "fault", kind, "--family", family); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(t.TempDir(), "discompose"), "../cmd/discompose"},
		{"vet", "./...", "../scenarios/..."},
		{"test", "./catalogue", "-run", "Sorted"},
	} {
		if out, err := run("go", args...); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	for kind, family := range kinds {
		out, err := run("go", "test", "./catalogue", "-run", "TestEveryKindConforms/"+kind+"$")
		if err == nil {
			t.Errorf("%s conforms though nothing of it is written", kind)
		}
		for _, want := range []string{
			"--- FAIL: TestEveryKindConforms/" + kind, // built, and run
			"fill in what it does",
			"faults/" + family + "/" + kind + ".go: still to be written: Prepare: read what undo will need",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the tests do not say %q:\n%s", kind, want, out)
			}
		}
		for _, bad := range []string{"build failed", "panic", "shipped_scenario_uses_the_kind", "zero_value_fails", "example_is_valid"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: what needs no writing fails, too (%s):\n%s", kind, bad, out)
			}
		}
	}
}

// copyTree copies what the source tree needs to be built and tested.
func copyTree(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	skip := []string{".git", "bin", "runs", "e2e", "docs"}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel("..", path)
		switch {
		case err != nil:
			return err
		case rerr != nil:
			return rerr
		case d.IsDir() && slices.Contains(skip, rel):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
