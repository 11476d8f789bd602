package starter

import (
	"fmt"
	"go/format"
	"regexp"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
)

var linePattern = regexp.MustCompile(`^\t\t([a-z]+)\.([A-Za-z0-9]+)Spec\(\),$`)

// listed is the catalogue's source with the kind's line, and the import that it needs: by family in the contract's order,
// then by name.
func (k Kind) listed(source []byte) ([]byte, error) {
	lines := strings.Split(string(source), "\n")
	begin := slices.Index(lines, "\treturn []faults.Spec{")
	end := -1
	if begin >= 0 {
		end = slices.Index(lines[begin:], "\t}")
	}
	if begin < 0 || end < 0 {
		return nil, fmt.Errorf("list kind %s: %s has no list of specs", k.Name, catalogue)
	}
	at, family := begin+end, faults.Family("")
	for n, line := range lines[begin+1 : begin+end] {
		m := linePattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if slices.Contains(Families(), faults.Family(m[1])) { // other packages stand among the kinds of their family
			family = faults.Family(m[1])
		}
		if k.before(family, snake(m[2])) {
			at = begin + 1 + n
			break
		}
	}
	lines = slices.Insert(lines, at, fmt.Sprintf("\t\t%s.%sSpec(),", k.Family, k.Type()))
	out, err := format.Source([]byte(withImport(lines, fmt.Sprintf("\t%q", "github.com/discompose/discompose/faults/"+string(k.Family)))))
	if err != nil {
		return nil, fmt.Errorf("list kind %s: %w", k.Name, err)
	}
	return out, nil
}

// before reports whether the kind stands before another one.
func (k Kind) before(family faults.Family, kind string) bool {
	own, other := slices.Index(Families(), k.Family), slices.Index(Families(), family)
	return own < other || own == other && k.Name < kind
}

var (
	acronym = regexp.MustCompile(`([A-Z]+)([A-Z][a-z])`)
	hump    = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// snake is a kind's name by that of its type: "reset_peer" of "ResetPeer", "cpu_limit" of "CPULimit".
func snake(name string) string {
	return strings.ToLower(hump.ReplaceAllString(acronym.ReplaceAllString(name, "${1}_$2"), "${1}_$2"))
}

// withImport adds an import to the last group of a file's imports, in order, unless it is there.
func withImport(lines []string, line string) string {
	if slices.Contains(lines, line) {
		return strings.Join(lines, "\n")
	}
	end := slices.Index(lines, ")")
	at := end
	for at > 0 && strings.HasPrefix(lines[at-1], "\t\"") && lines[at-1] > line {
		at--
	}
	return strings.Join(slices.Insert(slices.Clone(lines), at, line), "\n")
}
