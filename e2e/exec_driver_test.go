//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/discompose/discompose/compose/composetest"
)

// TestADriverOfTheDocumentation runs the scenario and the program of docs/drivers/exec.md word for word, as its reader would.
func TestADriverOfTheDocumentation(t *testing.T) {
	needImage(t, "redis:7")
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("this machine has no python3: %v", err)
	}
	docs := filepath.Join("..", "docs", "drivers")
	page, err := os.ReadFile(filepath.Join(docs, "exec.md"))
	if err != nil {
		t.Fatal(err)
	}
	scenario := regexp.MustCompile("(?s)```toml\n(.*?)```").FindSubmatch(page)
	program, err := os.ReadFile(filepath.Join(docs, "example.py"))
	if err != nil || scenario == nil {
		t.Fatalf("no scenario in exec.md, or no program: %v", err)
	}
	dir := composetest.Write(t, map[string]string{"items.toml": string(scenario[1]), "example.py": string(program)})
	c := startIn(t, dir, "run", "items.toml")
	r := c.wait()
	c.nothingLeft()
	j := r.passes(t)
	if len(j.Results) != 1 || j.Results[0].Counts["acknowledged"] < 100 || j.Convicted == 0 {
		t.Errorf("%+v, %d mutants convicted; want one check of at least 100 acknowledged elements", j.Results, j.Convicted)
	}
}
