package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/scenarios"
)

// injection is one fault as the command line has it.
type injection struct {
	kind, target string
	params       []string // key=value
	hold, pick   string   // empty where the flag was not given
}

// scenario is the injection as a scenario that attaches to a project. It is made by the language's own parser, from TOML
// that could stand in a file; the error names arguments where that of a file names lines.
func (i injection) scenario(project string) (*scenarios.Scenario, error) {
	bad := i.misplaced()
	name := "inject"
	if barePattern.MatchString(i.kind) {
		name += "_" + i.kind
	}
	file := oneFile{name + ".toml", i.text(name, project)}
	o := scenarioOptions(nil)
	o.Unobserved, o.Origin = true, scenarios.Origin{Path: "inject"}
	s, err := scenarios.Parse(file, file.name, o)
	if err := errors.Join(bad, i.explain(err)); err != nil {
		return nil, err
	}
	return s, nil
}

var barePattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// misplaced reports parameters that are no key=value, or no key that could stand there.
func (i injection) misplaced() error {
	var errs []error
	bad := func(arg, problem, hint string) {
		errs = append(errs, &scenarios.Error{File: arg, Problem: problem, Hint: hint})
	}
	given := map[string]bool{}
	for _, arg := range i.params {
		key, _, ok := strings.Cut(arg, "=")
		switch {
		case !ok || !barePattern.MatchString(key):
			bad(arg, "is not key=value", "as in delay=250ms; several targets are written with commas: app,web")
			continue
		case given[key]:
			bad(arg, key+" is given twice", "")
		case key == "for" || key == "pick":
			bad(arg, "is a flag", fmt.Sprintf("write --%s", strings.Replace(arg, "=", " ", 1)))
		case slices.Contains(commonKeys(), key):
			bad(arg, "only a scenario has this key: the fault is applied once, now, by hand", "")
		}
		given[key] = true
	}
	if i.pick != "" && !slices.Contains(picks(), i.pick) {
		bad("--pick", fmt.Sprintf("%q is not one of %s", i.pick, strings.Join(picks(), ", ")), "what a query names, only a scenario can pick")
	}
	return errors.Join(errs...)
}

// picks are the values of --pick: those that need no query.
func picks() []string { return []string{"one", "minority", "majority", "all"} }

// commonKeys are the keys of every [[fault]] table.
func commonKeys() []string {
	var out []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[scenarios.Fault]()) {
		if key := f.Tag.Get("toml"); key != "" && key != "-" {
			out = append(out, key)
		}
	}
	return out
}

// text is the scenario file.
func (i injection) text(name, project string) []byte {
	var b bytes.Buffer
	line := func(key, literal string) { fmt.Fprintf(&b, "%s = %s\n", key, literal) }
	line("name", literal(name))
	line("description", literal(fmt.Sprintf("One fault by hand: %s %s.", i.kind, i.target)))
	b.WriteString("\n[environment]\n")
	line("attach", literal(project))
	b.WriteString("\n[[fault]]\n")
	line("kind", literal(i.kind))
	line("target", literalList(i.target))
	line("at", literal("0s"))
	if i.hold != "" {
		line("for", literal(i.hold))
	}
	if slices.Contains(picks(), i.pick) {
		line("pick", literal(i.pick))
	}
	written := map[string]bool{}
	for _, arg := range i.params {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || written[key] || !barePattern.MatchString(key) || slices.Contains(commonKeys(), key) {
			continue // misplaced tells of it
		}
		written[key] = true
		line(key, i.value(key, value))
	}
	return b.Bytes()
}

// value is a parameter's value in TOML, by the type that the kind has for it.
func (i injection) value(key, text string) string {
	isTOML := func() bool {
		var doc map[string]any
		_, err := toml.Decode("v = "+text, &doc)
		return err == nil && len(doc) == 1 && !strings.ContainsAny(text, "\n\r")
	}
	spec, _ := catalogue.Lookup(faults.Kind(i.kind))
	var kind reflect.Kind
	if spec.New != nil {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(spec.New()).Elem()) {
			if f.Tag.Get("toml") == key {
				kind = f.Type.Kind()
			}
		}
	}
	switch {
	case kind == reflect.Slice && !strings.HasPrefix(text, "["):
		return literalList(text)
	case kind == reflect.String && !strings.HasPrefix(text, `"`) || !isTOML():
		return literal(text)
	}
	return text
}

// literal is a string in TOML.
func literal(s string) string {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(map[string]string{"v": s}); err != nil {
		return `""` // no string fails
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), "v = "), "\n")
}

// literalList is what commas separate, as a list in TOML; one alone is a string.
func literalList(s string) string {
	parts := strings.Split(s, ",")
	if len(parts) == 1 {
		return literal(s)
	}
	for n, p := range parts {
		parts[n] = literal(strings.TrimSpace(p))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// explain names arguments where the language's errors name places in a file.
func (i injection) explain(err error) error {
	var list scenarios.Errors
	if !errors.As(err, &list) {
		return err
	}
	var out scenarios.Errors
	for _, e := range list {
		out = append(out, &scenarios.Error{File: i.argument(e.Key), Problem: asArguments(e.Problem), Hint: asArguments(e.Hint)})
	}
	return out
}

// argument is what a person has written for a key, or would have to.
func (i injection) argument(key string) string {
	key, inFault := strings.CutPrefix(key, "fault[0].")
	key, _, _ = strings.Cut(key, "[")
	switch {
	case key == "environment.attach":
		return "--project"
	case !inFault:
		return "inject"
	case key == "kind" || key == "target":
		return strings.ToUpper(key)
	case key == "for" || key == "pick":
		return "--" + key
	}
	for _, arg := range i.params {
		if strings.HasPrefix(arg, key+"=") {
			return arg
		}
	}
	return key
}

var (
	forPattern = regexp.MustCompile(`\bfor = "([^"]*)"`)
	keyPattern = regexp.MustCompile(`\b([a-z_]+) = (?:"([^"]*)"|([0-9.]+))`)
)

// asArguments rewrites TOML in a hint, such as down = "5s", as the command line has it.
func asArguments(text string) string {
	text = forPattern.ReplaceAllString(text, "--for $1")
	return keyPattern.ReplaceAllString(text, "$1=$2$3")
}

// oneFile is a file system with one file in memory.
type oneFile struct {
	name string
	data []byte
}

// Open opens the file.
func (f oneFile) Open(name string) (fs.File, error) {
	if name != f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return openFile{bytes.NewReader(f.data), f}, nil
}

type openFile struct {
	*bytes.Reader
	f oneFile
}

// Close has nothing to close.
func (openFile) Close() error { return nil }

// Stat describes the file.
func (o openFile) Stat() (fs.FileInfo, error) { return o, nil }

func (o openFile) Name() string     { return o.f.name }
func (openFile) Mode() fs.FileMode  { return 0o444 }
func (openFile) ModTime() time.Time { return time.Time{} }
func (openFile) IsDir() bool        { return false }
func (openFile) Sys() any           { return nil }
