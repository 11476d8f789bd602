package scenarios

import (
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxDepth bounds the nesting of a scenario: the language needs five levels.
const maxDepth = 32

// scan finds where each key and array element of a TOML document stands. It maps key paths to places: of a key its
// own place, of an array element its first character, of a table its name in the header that first opens it.
//
// The document has been parsed before: the scanner accepts whatever is legal and some of what is not, always ends, and
// says nothing about keys that are nested deeper than maxDepth.
func scan(file, source string) map[string]Place {
	s := &scanner{file: file, src: source, row: 1, places: map[string]Place{}, tables: map[string]int{}}
	s.src = strings.TrimPrefix(s.src, "\ufeff")
	s.document()
	return s.places
}

type scanner struct {
	file   string
	src    string
	i      int // next byte
	row    int
	start  int // first byte of the row
	seen   int // bytes up to here are counted in col
	col    int // characters of the row before seen
	places map[string]Place
	tables map[string]int // path of an array of tables → tables so far
}

type keyPart struct {
	name  string
	place Place
}

func (s *scanner) document() {
	table := ""
	for s.space(); s.i < len(s.src); s.space() {
		if s.src[s.i] != '[' {
			s.assignment(table, 0)
			s.line()
			continue
		}
		array := strings.HasPrefix(s.src[s.i:], "[[")
		s.i++
		if array {
			s.i++
		}
		table = s.header(s.key(), array)
		s.line()
	}
}

// header opens a table and returns its path.
func (s *scanner) header(parts []keyPart, array bool) string {
	table := ""
	for i, p := range parts {
		table = joinKey(table, p.name)
		last := i == len(parts)-1
		if last && array {
			s.mark(table, p.place)
			s.tables[table]++
			table = indexKey(table, s.tables[table]-1)
		} else if n := s.tables[table]; n > 0 {
			table = indexKey(table, n-1)
		}
		s.mark(table, p.place)
		if i >= maxDepth {
			break
		}
	}
	if table == "" {
		return `""`
	}
	return table
}

// assignment reads key = value inside a table.
func (s *scanner) assignment(table string, depth int) {
	parts := s.key()
	for i, p := range parts {
		if i >= maxDepth {
			break
		}
		table = joinKey(table, p.name)
		s.mark(table, p.place)
	}
	s.blank()
	if s.i >= len(s.src) || s.src[s.i] != '=' {
		return
	}
	s.i++
	s.blank()
	s.value(table, depth+len(parts))
}

func (s *scanner) value(path string, depth int) {
	if s.i >= len(s.src) {
		return
	}
	switch s.src[s.i] {
	case '"', '\'':
		s.quoted()
	case '[':
		s.i++
		for n := 0; s.more(']'); n++ {
			if depth < maxDepth {
				s.mark(indexKey(path, n), s.here())
			}
			s.value(indexKeyTo(path, n, depth), depth+1)
			s.comma(']')
		}
	case '{':
		s.i++
		for s.more('}') {
			if depth < maxDepth {
				s.assignment(path, depth)
			} else {
				s.assignment("", depth)
			}
			s.comma('}')
		}
	default:
		for s.i < len(s.src) && !strings.ContainsRune(",]}#\n", rune(s.src[s.i])) {
			s.i++
		}
	}
}

// indexKeyTo keeps paths short below maxDepth, where nothing is marked.
func indexKeyTo(path string, n, depth int) string {
	if depth >= maxDepth {
		return path
	}
	return indexKey(path, n)
}

// more skips to the next element of a list and reports whether there is one; at the end it takes the closing byte.
func (s *scanner) more(end byte) bool {
	s.space()
	if s.i >= len(s.src) {
		return false
	}
	if s.src[s.i] == end {
		s.i++
		return false
	}
	return true
}

// comma takes what separates two elements. It takes any byte but the end, so that scanning ends on any input.
func (s *scanner) comma(end byte) {
	s.space()
	if s.i < len(s.src) && s.src[s.i] != end {
		s.advance()
	}
}

// key reads a dotted key and leaves the scanner behind it.
func (s *scanner) key() []keyPart {
	var parts []keyPart
	for {
		s.blank()
		from, where := s.i, s.here()
		if s.i < len(s.src) && (s.src[s.i] == '"' || s.src[s.i] == '\'') {
			s.quoted()
			parts = append(parts, keyPart{unquote(s.src[from:s.i]), where})
		} else {
			for s.i < len(s.src) && bareByte(s.src[s.i]) {
				s.i++
			}
			if s.i == from {
				return parts
			}
			parts = append(parts, keyPart{s.src[from:s.i], where})
		}
		s.blank()
		if s.i >= len(s.src) || s.src[s.i] != '.' {
			return parts
		}
		s.i++
	}
}

// unquote is the text of a quoted key, by the same rules as the parser's.
func unquote(token string) string {
	var v struct {
		K string `toml:"k"`
	}
	if _, err := toml.Decode("k = "+token, &v); err != nil {
		return token
	}
	return v.K
}

// quoted skips a string of any of the four forms.
func (s *scanner) quoted() {
	q := s.src[s.i]
	end := string(q)
	if triple := strings.Repeat(end, 3); strings.HasPrefix(s.src[s.i:], triple) {
		end = triple
	}
	s.i += len(end)
	for s.i < len(s.src) {
		switch {
		case s.src[s.i] == '\\' && q == '"':
			s.advance()
			s.advance()
		case strings.HasPrefix(s.src[s.i:], end):
			s.i += len(end)
			// Up to two more quotes belong to the text of a triple-quoted string.
			for extra := 0; len(end) == 3 && extra < 2 && s.i < len(s.src) && s.src[s.i] == q; extra++ {
				s.i++
			}
			return
		case s.src[s.i] == '\n' && len(end) == 1:
			return
		default:
			s.advance()
		}
	}
}

// space skips white space, line ends and comments.
func (s *scanner) space() {
	for s.i < len(s.src) {
		switch s.src[s.i] {
		case ' ', '\t', '\r', '\n':
			s.advance()
		case '#':
			s.line()
		default:
			return
		}
	}
}

func (s *scanner) blank() {
	for s.i < len(s.src) && (s.src[s.i] == ' ' || s.src[s.i] == '\t') {
		s.i++
	}
}

// line skips the rest of the row and its end.
func (s *scanner) line() {
	for s.i < len(s.src) && s.src[s.i] != '\n' {
		s.i++
	}
	s.advance()
}

func (s *scanner) advance() {
	if s.i >= len(s.src) {
		return
	}
	if s.src[s.i] == '\n' {
		s.row++
		s.start = s.i + 1
	}
	s.i++
}

func (s *scanner) here() Place {
	if s.seen < s.start {
		s.seen, s.col = s.start, 0
	}
	s.col += utf8.RuneCountInString(s.src[s.seen:s.i])
	s.seen = s.i
	return Place{s.file, s.row, 1 + s.col}
}

func (s *scanner) mark(path string, where Place) {
	if _, ok := s.places[path]; !ok {
		s.places[path] = where
	}
}
