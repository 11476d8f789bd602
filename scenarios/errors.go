package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is where a key stands. Row and Col count from 1, Col in characters. Row is 0 for what did not come from a file:
// File is then the flag, "--set key=value".
type Place struct {
	File string
	Row  int
	Col  int
}

// Error is one problem of a scenario at one place.
type Error struct {
	File    string // as it was named; "--set key=value" for a value of that flag
	Row     int    // from 1; 0 for a flag
	Col     int    // from 1, in characters
	Key     string // "fault[0].for", or the whole file where empty
	Problem string
	Hint    string // what to write instead; may be empty

	order int
}

// Error is "file:row:col: key: problem (hint)", without the parts that are empty.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Row > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Row, e.Col)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Problem)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is every problem of a scenario: by file (the scenario, its includes, flags), then by position. The zero value
// is no problem; it is returned as an error only when it is not empty.
type Errors []*Error

// Error is one line for each problem.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find each *Error.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// err is es sorted, or nil.
func (es Errors) err() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Row, b.Row), cmp.Compare(a.Col, b.Col))
	})
	return es
}

// problems collects errors.
type problems struct {
	files  []string // order of files in the output
	places map[string]Place
	list   Errors
	broken map[string]bool // keys whose value has the wrong type: nothing is said of what is inside
}

// at adds a problem of a key, at its place or that of the nearest table around it.
// It says nothing where the key, or one inside it, has a problem already: the later one mostly follows from it.
func (p *problems) at(key, problem, hint string) {
	if key != "" && p.has(key) {
		return
	}
	for k := key; k != ""; k = parentKey(k) {
		if p.broken[k] {
			return
		}
	}
	p.add(p.place(key), key, problem, hint)
}

// mistyped adds the problem of a value of the wrong type.
func (p *problems) mistyped(where Place, key, problem, hint string) {
	if p.broken == nil {
		p.broken = map[string]bool{}
	}
	p.broken[key] = true
	p.add(where, key, problem, hint)
}

// add adds a problem at a place; the first one of a key wins.
func (p *problems) add(where Place, key, problem, hint string) {
	if key != "" && p.exactly(key) {
		return
	}
	order := slices.Index(p.files, where.File)
	if order < 0 {
		order = len(p.files)
	}
	p.list = append(p.list, &Error{where.File, where.Row, where.Col, key, problem, hint, order})
}

// has reports whether a problem of this key, or of one inside it, is known.
func (p *problems) has(key string) bool {
	return slices.ContainsFunc(p.list, func(e *Error) bool { return inside(e.Key, key) })
}

// exactly reports whether a problem of this very key is known.
func (p *problems) exactly(key string) bool {
	return slices.ContainsFunc(p.list, func(e *Error) bool { return e.Key == key })
}

// given reports whether the key is written in the scenario.
func (p *problems) given(key string) bool {
	_, ok := p.places[key]
	return ok
}

func (p *problems) place(key string) Place {
	for ; key != ""; key = parentKey(key) {
		if w, ok := p.places[key]; ok {
			return w
		}
	}
	if len(p.files) == 0 {
		return Place{Row: 1, Col: 1}
	}
	return Place{File: p.files[0], Row: 1, Col: 1}
}

// oneOf writes a list of values for people.
func oneOf(values []string) string { return "one of " + strings.Join(values, ", ") }

// suggest is a hint for a wrong name: the nearest known one, else all of them where they are few.
func suggest(name string, known []string) string {
	if n := nearest(name, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(known))
	return "known: " + strings.Join(sorted, ", ")
}

// nearest is the known name with the fewest edits from name, or "" if none is near. Names that name is a part of, or
// that are a part of it, count as near too.
func nearest(name string, known []string) string {
	best, least := "", 1+max(1, len(name)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least || (d == least && best != "" && k < best) {
			best, least = k, d
		}
	}
	if best != "" || len(name) < 3 {
		return best
	}
	for _, k := range known {
		part := strings.Contains(k, name) || (len(k) >= 3 && strings.Contains(name, k))
		if part && (best == "" || abs(len(k)-len(name)) < abs(len(best)-len(name))) {
			best = k
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// meant is the key that other tools' files call by another name, where it is known here.
func meant(key string, known []string) string {
	for _, words := range [][]string{
		{"target", "url", "uri", "host", "address", "service", "container", "link", "targets"},
		{"every", "interval", "period", "frequency"},
		{"for", "duration", "length", "hold"},
		{"at", "start", "begin", "when", "offset"},
		{"kind", "type", "fault", "action"},
		{"during", "expect", "tolerance"},
		{"files", "file", "compose", "compose_file", "path"},
		{"match", "matches", "contains", "regex", "pattern"},
		{"command", "cmd", "exec", "args"},
		{"driver", "kind", "type"},
		{"within", "timeout", "deadline"},
	} {
		if slices.Contains(known, words[0]) && slices.Contains(words[1:], strings.ToLower(key)) {
			return words[0]
		}
	}
	return ""
}

// suggestKey is suggest for a key.
func suggestKey(key string, known []string) string {
	if nearest(key, known) == "" {
		if m := meant(key, known); m != "" {
			return fmt.Sprintf("did you mean %q?", m)
		}
	}
	return suggest(key, known)
}

// distance is the least number of insertions, deletions, substitutions and swaps of neighbours that turn a into b
// (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return 64
	}
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}
