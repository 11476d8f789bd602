package faulttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/faults"
)

// Example reads the kind's parameters from scenarios/kinds/<kind>.toml.
func Example(t *testing.T, s faults.Spec) faults.Fault {
	t.Helper()
	name := string(s.Kind) + ".toml"
	raw, err := os.ReadFile(filepath.Join(root(t), "scenarios", "kinds", name))
	if err != nil {
		t.Fatalf("every kind has a scenario: %v", err)
	}
	var file struct {
		Name  string           `toml:"name"`
		Fault []toml.Primitive `toml:"fault"`
	}
	meta, err := toml.Decode(string(raw), &file)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if file.Name != string(s.Kind) {
		t.Errorf("%s: name is %q", name, file.Name)
	}
	for _, p := range file.Fault {
		var head struct {
			Kind faults.Kind `toml:"kind"`
		}
		if err := meta.PrimitiveDecode(p, &head); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if head.Kind != s.Kind {
			continue
		}
		f := s.New()
		if err := meta.PrimitiveDecode(p, f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return f
	}
	t.Fatalf("%s has no fault of kind %q", name, s.Kind)
	return nil
}

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
}

// Enum lists the values that a parameter's enum tag documents.
func Enum(t *testing.T, f faults.Fault, key string) []string {
	t.Helper()
	for _, field := range keys(f) {
		if tag := field.Tag; tag.Get("toml") == key && tag.Get("enum") != "" {
			return strings.Split(tag.Get("enum"), "|")
		}
	}
	t.Fatalf("%T has no enum %q", f, key)
	return nil
}
