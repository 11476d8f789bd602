package starter_test

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/internal/starter"
)

const catalogueFile = "faults/catalogue/catalogue.go"

// tree is this source tree.
const tree = "../.."

func TestABegunKindHasItsFilesAndItsLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind starter.Kind
		typ  string
		// The catalogue's lines around the kind's; "" at an end, "*" where others may come.
		before, after string
	}{
		{starter.Kind{Name: "zzz_point", Family: faults.App}, "ZzzPoint", last(), ""},
		{starter.Kind{Name: "aaa_1", Family: faults.Process}, "Aaa1", "", first(faults.Process)},
		{starter.Kind{Name: "zzz", Family: faults.Link}, "Zzz", "*", first(faults.Network)},
		{starter.Kind{Name: "cpu_much", Family: faults.Resource}, "CPUMuch", "resource.CPULimitSpec(),", "*"},
	} {
		t.Run(c.kind.Name, func(t *testing.T) {
			t.Parallel()
			files, err := c.kind.Files(os.DirFS(tree))
			if err != nil {
				t.Fatal(err)
			}
			checkFiles(t, c.kind, files)
			list, own := specs(files[catalogueFile]), string(c.kind.Family)+"."+c.typ+"Spec(),"
			i := slices.Index(list, own)
			around := append(append([]string{""}, list...), "")
			if i < 0 || c.before != "*" && around[i] != c.before || c.after != "*" && around[i+2] != c.after {
				t.Errorf("%s is number %d of %q", own, i, list)
			}
			if n := len(specs(read(t, filepath.Join(tree, catalogueFile)))); len(list) != n+1 {
				t.Errorf("%d lines, were %d", len(list), n)
			}
		})
	}
}

// checkFiles fails unless the kind's own two files and the catalogue are there, and are Go where they should be.
func checkFiles(t *testing.T, kind starter.Kind, files map[string][]byte) {
	t.Helper()
	source := "faults/" + string(kind.Family) + "/" + kind.Name + ".go"
	if len(files) != 3 || files[source] == nil || files["scenarios/kinds/"+kind.Name+".toml"] == nil {
		t.Fatalf("files %v", sorted(files))
	}
	for _, name := range []string{source, catalogueFile} {
		if _, err := parser.ParseFile(token.NewFileSet(), name, files[name], 0); err != nil {
			t.Errorf("%v\n%s", err, files[name])
		}
	}
	if imports := `"github.com/discompose/discompose/faults/` + string(kind.Family) + `"`; strings.Count(string(files[catalogueFile]), imports) != 1 {
		t.Errorf("the catalogue does not import %s once:\n%s", imports, files[catalogueFile])
	}
	hasDoc := strings.HasPrefix(string(files[source]), "// Package ")
	if _, err := os.Stat(filepath.Join(tree, "faults", string(kind.Family))); (err != nil) != hasDoc {
		t.Errorf("the file has the package's doc: %t; the package is there: %t", hasDoc, err == nil)
	}
}

func TestAKindThatIsThereIsNotBegunAgain(t *testing.T) {
	t.Parallel()
	for _, s := range catalogue.All() {
		if _, err := (starter.Kind{Name: string(s.Kind), Family: s.Family}).Files(os.DirFS(tree)); !errors.Is(err, starter.ErrTaken) {
			t.Errorf("%s: %v", s.Kind, err)
		}
	}
	if len(catalogue.All()) < 10 {
		t.Error("the catalogue has hardly a kind")
	}
	for what, files := range map[string]fstest.MapFS{
		"a file of the kind":     {"faults/clock/skew.go": {Data: []byte("package clock\n")}},
		"a scenario of the kind": {"scenarios/kinds/skew.toml": {}},
		"a type of the name":     {"faults/clock/other.go": {Data: []byte("package clock\ntype Skew struct{}\n")}},
		"a function of the name": {"faults/clock/other.go": {Data: []byte("package clock\nfunc SkewSpec() {}\n")}},
		"a variable of the name": {"faults/clock/other.go": {Data: []byte("package clock\nvar a, skewWant = 1, 2\n")}},
	} {
		if _, err := (starter.Kind{Name: "skew", Family: faults.Clock}).Files(files); !errors.Is(err, starter.ErrTaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	methods := fstest.MapFS{
		"faults/clock/other.go": {Data: []byte("package clock\ntype other struct{}\nfunc (other) Skew() {}\n")},
		catalogueFile:           {Data: read(t, filepath.Join(tree, catalogueFile))},
	}
	if _, err := (starter.Kind{Name: "skew", Family: faults.Clock}).Files(methods); err != nil {
		t.Errorf("a method of the name: %v", err)
	}
}

func TestACatalogueWithoutAListIsAnError(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{catalogueFile: {Data: []byte("package catalogue\n")}}
	if _, err := (starter.Kind{Name: "skew", Family: faults.Clock}).Files(files); err == nil {
		t.Error("no error")
	}
}

func TestTheTreeIsFoundFromAnyFolderInIt(t *testing.T) {
	t.Parallel()
	abs, err := filepath.Abs(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", tree, "testdata/nowhere"} {
		if got, err := starter.FindTree(dir); err != nil || got != abs {
			t.Errorf("%s: %q, %v", dir, got, err)
		}
	}
	if got, err := starter.FindTree(t.TempDir()); !errors.Is(err, starter.ErrNotTree) {
		t.Errorf("elsewhere: %q, %v", got, err)
	}
}

// specs are the lines of the catalogue's list.
func specs(source []byte) []string {
	var out []string
	for line := range strings.Lines(string(source)) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, "Spec(),") {
			out = append(out, line)
		}
	}
	return out
}

func last() string {
	text, _ := os.ReadFile(filepath.Join(tree, catalogueFile)) // an empty list fails the test that asks
	list := specs(text)
	if len(list) == 0 {
		return "nothing"
	}
	return list[len(list)-1]
}

func first(family faults.Family) string {
	text, _ := os.ReadFile(filepath.Join(tree, catalogueFile)) // as above
	for _, line := range specs(text) {
		if strings.HasPrefix(line, string(family)+".") {
			return line
		}
	}
	return "nothing"
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func sorted(files map[string][]byte) []string {
	var out []string
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
