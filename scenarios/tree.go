package scenarios

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxFile bounds one scenario file; the longest shipped one has 2 kB.
const maxFile = 256 << 10

// node is one TOML value with its place. Exactly one of table, list and value is meant.
type node struct {
	place Place
	table map[string]*node
	list  []*node
	value any    // string, int64, float64, bool or time.Time; nil for tables and lists
	raw   string // the text of a --set value, for keys that want a string
}

func (n *node) isList() bool { return n.table == nil && n.value == nil }

// keys are the keys of a table, sorted.
func (n *node) keys() []string { return slices.Sorted(maps.Keys(n.table)) }

// plain is the value without places, as an `any` of the schema holds it.
func (n *node) plain() any {
	switch {
	case n.table != nil:
		out := make(map[string]any, len(n.table))
		for k, v := range n.table {
			out[k] = v.plain()
		}
		return out
	case n.isList():
		out := make([]any, len(n.list))
		for i, v := range n.list {
			out[i] = v.plain()
		}
		return out
	}
	return n.value
}

// what names the value's type for people.
func (n *node) what() string {
	switch v := n.value.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number"
	case bool:
		return fmt.Sprint(v)
	case nil:
		if n.table != nil {
			return "a table"
		}
		return "a list"
	}
	return "a date"
}

// loader reads a scenario and its includes into one tree.
type loader struct {
	problems
	fsys   fs.FS
	show   func(file string) string // how errors name a file
	env    func(string) (string, bool)
	source []byte   // of the first file
	stack  []string // files that are being read, for cycles
	done   []string
}

// load reads one file with everything it includes. It returns nil if a file cannot be read or parsed.
func (l *loader) load(file string) *node {
	shown := l.show(file)
	l.files = append(l.files, shown)
	first := Place{shown, 1, 1}
	source, err := readFile(l.fsys, file)
	if err != nil {
		l.add(first, "", reason(err), "")
		return nil
	}
	if len(l.stack) == 0 {
		l.source = source
	}
	var doc map[string]any
	if _, err := toml.Decode(string(source), &doc); err != nil {
		l.syntax(shown, string(source), err)
		return nil
	}
	c := &converter{problems: &l.problems, places: scan(shown, string(source)), env: l.env}
	root := c.convert(doc, "", first, 0)
	l.stack = append(l.stack, file)
	defer func() { l.stack = l.stack[:len(l.stack)-1] }()
	return l.includes(root, file)
}

// includes merges the files that root names into it. Only the first file keeps its include key.
func (l *loader) includes(root *node, file string) *node {
	list := root.table["include"]
	if list == nil {
		return root
	}
	if len(l.stack) > 1 {
		delete(root.table, "include")
		if !list.isList() {
			l.add(list.place, "include", "must be a list of strings, not "+list.what(), "")
		}
	}
	ok := true
	for i, n := range list.list {
		name, isString := n.value.(string)
		key := indexKey("include", i)
		if !isString {
			if len(l.stack) > 1 {
				l.add(n.place, key, "must be a string, not "+n.what(), "")
			}
			continue
		}
		full := path.Join(path.Dir(file), name)
		switch {
		case !fs.ValidPath(full):
			l.add(n.place, key, fmt.Sprintf("%q is not below the scenario's folder", name), "")
			continue
		case slices.Contains(l.stack, full):
			l.add(n.place, key, "includes itself: "+strings.Join(append(slices.Clone(l.stack), full), " → "), "")
			continue
		case slices.Contains(l.done, full):
			continue
		}
		l.done = append(l.done, full)
		if _, err := fs.Stat(l.fsys, full); err != nil {
			l.add(n.place, key, fmt.Sprintf("read %q: %s", name, reason(err)), "")
			ok = false
			continue
		}
		sub := l.load(full)
		if sub == nil {
			ok = false
			continue
		}
		l.merge(root, sub, "")
	}
	if !ok {
		return nil
	}
	return root
}

// merge adds what from has to into.
func (l *loader) merge(into, from *node, at string) {
	for _, k := range from.keys() {
		key, v := joinKey(at, k), from.table[k]
		old, twice := into.table[k]
		switch {
		case !twice:
			into.table[k] = v
		case old.table != nil && v.table != nil:
			l.merge(old, v, key)
		default:
			l.add(old.place, key, fmt.Sprintf("defined twice, also at %s:%d:%d", v.place.File, v.place.Row, v.place.Col), "keep one of the two")
		}
	}
}

// syntax reports what the TOML parser found.
func (l *loader) syntax(shown, source string, err error) {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		l.add(Place{shown, 1, 1}, "", err.Error(), "")
		return
	}
	source = strings.TrimPrefix(source, "\ufeff")
	at := source[:max(0, min(pe.Position.Start, len(source)))]
	line := at[strings.LastIndexByte(at, '\n')+1:]
	l.add(Place{shown, 1 + strings.Count(at, "\n"), 1 + utf8.RuneCountInString(line)}, pe.LastKey, pe.Message, "")
}

// converter turns parsed TOML into nodes and replaces ${VAR}.
type converter struct {
	problems *problems
	places   map[string]Place
	env      func(string) (string, bool)
	literal  bool // ${VAR} stays
}

func (c *converter) convert(v any, key string, around Place, depth int) *node {
	n := &node{place: around}
	if w, ok := c.places[key]; ok {
		n.place = w
	}
	if depth > maxDepth {
		c.problems.add(n.place, key, "nested too deeply", "")
		n.value = ""
		return n
	}
	switch v := v.(type) {
	case map[string]any:
		n.table = make(map[string]*node, len(v))
		for k, sub := range v {
			n.table[k] = c.convert(sub, joinKey(key, k), n.place, depth+1)
		}
	case []map[string]any:
		for i, sub := range v {
			n.list = append(n.list, c.convert(sub, indexKey(key, i), n.place, depth+1))
		}
	case []any:
		for i, sub := range v {
			n.list = append(n.list, c.convert(sub, indexKey(key, i), n.place, depth+1))
		}
	case string:
		if c.literal {
			n.value = v
			break
		}
		text, problem, hint := expand(v, c.env)
		if problem != "" {
			c.problems.add(n.place, key, problem, hint)
		}
		n.value = text
	default:
		n.value = v
	}
	return n
}

// expand replaces ${NAME} by the variable and $$ by a dollar sign; any other dollar sign stays.
func expand(s string, env func(string) (string, bool)) (text, problem, hint string) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			b.WriteString(s)
			return b.String(), problem, hint
		}
		b.WriteString(s[:i])
		s = s[i:]
		switch s[1] {
		case '$':
			b.WriteByte('$')
			s = s[2:]
		case '{':
			name, rest, closed := strings.Cut(s[2:], "}")
			if !closed || !bare(strings.ReplaceAll(name, "-", ".")) {
				return "", fmt.Sprintf("%q is no variable", cut(s, 20)), `write ${NAME}, or $${ for the text "${"`
			}
			v, ok := "", false
			if env != nil {
				v, ok = env(name)
			}
			if !ok && problem == "" {
				problem = fmt.Sprintf("the environment has no variable %s", name)
				hint = "set it, or write $${" + name + "} for the text itself"
			}
			b.WriteString(v)
			s = rest
		default:
			b.WriteByte('$')
			s = s[1:]
		}
	}
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func readFile(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("larger than %d KiB: this is not a scenario", maxFile>>10)
	}
	return data, nil
}

// reason is an error of a file system without the operation and the path, which the place names already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "no such file"
	}
	return err.Error()
}
