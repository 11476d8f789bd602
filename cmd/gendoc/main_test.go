package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	all := pages()
	if len(all) < 4 {
		t.Fatalf("only %d pages are generated", len(all))
	}
	for _, p := range all {
		want, err := p.make()
		if err != nil {
			t.Fatalf("make %s: %v", p.name, err)
		}
		got, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", p.name))
		if err != nil {
			t.Errorf("%v: run `make generate`", err)
			continue
		}
		if diff := cmp.Diff(string(got), string(want)); diff != "" {
			t.Errorf("%s is stale: run `make generate` (-file +generated):\n%s", p.name, diff)
		}
	}
}

func TestWriteMakesTheFilesAndIsRepeatable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := write(dir, pages()); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range pages() {
		if st, err := os.Stat(filepath.Join(dir, p.name)); err != nil || st.Size() < 1000 {
			t.Errorf("%s: %v, %v", p.name, st, err)
		}
	}
}
