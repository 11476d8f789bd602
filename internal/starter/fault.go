package starter

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/discompose/discompose/faults"
)

// modulePath is what the source tree's go.mod begins with.
const modulePath = "module github.com/discompose/discompose\n"

// ErrNotTree says that a folder is not in discompose's source tree.
var ErrNotTree = errors.New("this is not discompose's source tree")

// ErrTaken says that a kind, or a name that it needs, is there already.
var ErrTaken = errors.New("it is there already")

// Families lists the families that a kind can be of, in the catalogue's order.
func Families() []faults.Family {
	return []faults.Family{faults.Process, faults.Link, faults.Network, faults.Resource, faults.Disk, faults.Clock, faults.App}
}

// FindTree is the root of the source tree that a folder is in. Errors: ErrNotTree.
func FindTree(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find folder: %w", err)
	}
	for at := start; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), modulePath) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%w: %s is in no clone of github.com/discompose/discompose (new fault writes into faults/ and scenarios/ there)", ErrNotTree, start)
		}
	}
}

// Kind is a fault kind that is to be begun.
type Kind struct {
	Name   string // as a scenario writes it: "clock_skew"
	Family faults.Family
}

var kindPattern = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// Validate wants a name that a scenario could write, and a known family.
func (k Kind) Validate() error {
	var errs []error
	if !kindPattern.MatchString(k.Name) {
		errs = append(errs, fmt.Errorf("%q is no kind: write lower-case words with _ between them, as in clock_skew", k.Name))
	}
	if !slices.Contains(Families(), k.Family) {
		var names []string
		for _, f := range Families() {
			names = append(names, string(f))
		}
		errs = append(errs, fmt.Errorf("%q is no family: use one of %s", k.Family, strings.Join(names, ", ")))
	}
	return errors.Join(errs...)
}

// The places of a kind in the tree, with slashes.
func (k Kind) source() string   { return path.Join("faults", string(k.Family), k.Name+".go") }
func (k Kind) scenario() string { return path.Join("scenarios", "kinds", k.Name+".toml") }

const catalogue = "faults/catalogue/catalogue.go"

// Files are the files of the kind in a source tree: its own two, which are new, and the catalogue with its line. Paths are
// relative to the tree's root, with slashes. The kind builds; its tests say what is to be written. Errors: ErrTaken.
func (k Kind) Files(tree fs.FS) (map[string][]byte, error) {
	if err := k.Validate(); err != nil {
		return nil, err
	}
	for _, name := range []string{k.source(), k.scenario()} {
		if _, err := fs.Stat(tree, name); err == nil {
			return nil, fmt.Errorf("begin kind %s: %s: %w", k.Name, name, ErrTaken)
		}
	}
	isNew, err := k.free(tree)
	if err != nil {
		return nil, err
	}
	list, err := fs.ReadFile(tree, catalogue)
	if err != nil {
		return nil, fmt.Errorf("begin kind %s: %w", k.Name, err)
	}
	out := map[string][]byte{}
	if out[catalogue], err = k.listed(list); err != nil {
		return nil, err
	}
	if out[k.source()], err = k.render(kindText, isNew); err != nil {
		return nil, err
	}
	if out[k.source()], err = format.Source(out[k.source()]); err != nil {
		return nil, fmt.Errorf("format %s: %w", k.source(), err)
	}
	if out[k.scenario()], err = k.render(scenarioText, isNew); err != nil {
		return nil, err
	}
	return out, nil
}

// free fails if the package of the family has one of the kind's names; isNew says that there is no such package yet.
func (k Kind) free(tree fs.FS) (isNew bool, err error) {
	sources, err := fs.Glob(tree, path.Join("faults", string(k.Family), "*.go"))
	if err != nil {
		return false, fmt.Errorf("list package %s: %w", k.Family, err)
	}
	for _, name := range sources {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return false, fmt.Errorf("read package %s: %w", k.Family, err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return false, fmt.Errorf("read package %s: %w", k.Family, err)
		}
		for _, own := range []string{k.Type(), k.Type() + "Spec", k.private() + "Effect", k.private() + "Want"} {
			if slices.Contains(declared(file), own) {
				return false, fmt.Errorf("begin kind %s: %s in %s: %w", k.Name, own, name, ErrTaken)
			}
		}
	}
	return len(sources) == 0, nil
}

// declared are the names that a file declares in its package.
func declared(file *ast.File) []string {
	var out []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				out = append(out, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					out = append(out, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						out = append(out, n.Name)
					}
				}
			}
		}
	}
	return out
}

// Type is the kind's name in Go: "ClockSkew", "CPUStress".
func (k Kind) Type() string {
	var b strings.Builder
	for word := range strings.SplitSeq(k.Name, "_") {
		if initial, ok := initialisms()[word]; ok {
			b.WriteString(initial)
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// private is the name with a small first word: "clockSkew", "cpuStress".
func (k Kind) private() string {
	first, _, _ := strings.Cut(k.Name, "_")
	return first + k.Type()[len(first):]
}

// initialisms are the words that Go writes in capitals.
func initialisms() map[string]string {
	return map[string]string{"cpu": "CPU", "dns": "DNS", "fd": "FD", "http": "HTTP", "io": "IO", "ip": "IP", "pids": "PIDs", "tcp": "TCP", "tls": "TLS", "udp": "UDP"}
}

//go:embed fault.go.tmpl
var kindText string

//go:embed fault.toml.tmpl
var scenarioText string

func (k Kind) render(text string, isNew bool) ([]byte, error) {
	t, err := template.New(k.Name).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	family := strings.ToUpper(string(k.Family)[:1]) + string(k.Family)[1:]
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Kind": k.Name, "Package": string(k.Family), "Family": family, "Type": k.Type(), "Private": k.private(), "File": k.source(),
		"New": isNew, "Link": k.Family == faults.Link,
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", k.source(), err)
	}
	return b.Bytes(), nil
}
