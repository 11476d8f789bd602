package scenarios

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/internal/units"
)

// field is one key of a table, as the tags of its struct describe it.
type field struct {
	key      string
	doc      string
	def      string // "" without a default
	required bool
	enum     []string
	planned  []string // values of later versions
	later    bool     // the whole key is one of a later version
	phase    bool     // it may change in a phase of a workload
	index    []int
	typ      reflect.Type
}

// fieldsOf lists the keys of a struct in the order of its fields. Fields without a toml tag, or with "-", are no keys;
// embedded structs without one add theirs.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if key == "" && f.Anonymous && f.Type.Kind() == reflect.Struct {
			for _, sub := range fieldsOf(f.Type) {
				sub.index = append([]int{i}, sub.index...)
				out = append(out, sub)
			}
			continue
		}
		if key == "" || key == "-" || !f.IsExported() {
			continue
		}
		planned := f.Tag.Get("planned")
		out = append(out, field{
			key: key, doc: f.Tag.Get("doc"), def: f.Tag.Get("default"), required: f.Tag.Get("required") == "true",
			enum: values(f.Tag.Get("enum")), planned: values(strings.TrimPrefix(planned, "*")), later: planned == "*",
			phase: f.Tag.Get("phase") == "yes",
			index: []int{i}, typ: f.Type,
		})
	}
	return out
}

// values splits an enum tag; "|" and "," both separate.
func values(tag string) []string {
	return strings.FieldsFunc(tag, func(r rune) bool { return r == '|' || r == ',' })
}

func fieldOf(t reflect.Type, key string) (field, bool) {
	fields := fieldsOf(t)
	i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

// keysOf lists the keys of structs that share one table.
func keysOf(ts ...reflect.Type) []string {
	var out []string
	for _, t := range ts {
		for _, f := range fieldsOf(t) {
			if !slices.Contains(out, f.key) {
				out = append(out, f.key)
			}
		}
	}
	return out
}

func deref(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// elem is the type of a slice's or map's elements; nil for anything else.
func elem(t reflect.Type) reflect.Type {
	if t == nil || (t.Kind() != reflect.Slice && t.Kind() != reflect.Map) {
		return nil
	}
	return deref(t.Elem())
}

//nolint:gochecknoglobals // constants
var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	customType   = reflect.TypeFor[custom]()
	durationType = reflect.TypeFor[units.Duration]()
	sizeType     = reflect.TypeFor[units.Size]()
	rateType     = reflect.TypeFor[units.Rate]()
	targetsType  = reflect.TypeFor[Targets]()
	ownType      = reflect.TypeFor[toml.Unmarshaler]()
)

// typeName says what a key wants: for errors with its article, for the reference without.
func typeName(t reflect.Type) (name, article, example string) {
	t = deref(t)
	switch t {
	case durationType:
		return "duration", "a", `"8s"`
	case sizeType:
		return "size", "a", `"512MiB"`
	case rateType:
		return "rate", "a", `"1mbit"`
	case targetsType:
		return "string or list of strings", "a", `"kafka" or ["a", "b"]`
	}
	if reflect.PointerTo(t).Implements(ownType) {
		return "string or list of strings", "a", `"kafka" or ["a", "b"]`
	}
	if reflect.PointerTo(t).Implements(textType) {
		return "string", "a", ""
	}
	switch t.Kind() {
	case reflect.String:
		return "string", "a", ""
	case reflect.Bool:
		return "boolean", "a", "true or false"
	case reflect.Float64, reflect.Float32:
		return "number", "a", ""
	case reflect.Slice:
		e := deref(t.Elem())
		if e.Kind() == reflect.Struct && !reflect.PointerTo(e).Implements(customType) {
			return "list of tables", "a", ""
		}
		name, _, _ := typeName(e)
		return "list of " + plural(name), "a", ""
	case reflect.Map:
		if elem(t).Kind() == reflect.Struct {
			return "table of tables", "a", ""
		}
		return "table", "a", ""
	case reflect.Struct, reflect.Interface:
		return "table", "a", ""
	}
	if isInt(t.Kind()) {
		return "integer", "an", ""
	}
	return t.String(), "a", ""
}

func plural(name string) string { return strings.Replace(name+"s", "s or list", "s or lists", 1) }

func isInt(k reflect.Kind) bool { return reflect.Int <= k && k <= reflect.Uint64 }

// A key path is written as errors and --set write it: workload.orders.rate, fault[0].for, workload."a.b".rate. Quoting
// makes it unique, so it also serves as the identity of a value.

func joinKey(table, key string) string {
	if !bare(key) {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

func indexKey(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func bare(key string) bool {
	for _, c := range []byte(key) {
		if !bareByte(c) {
			return false
		}
	}
	return key != ""
}

func bareByte(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// parentKey cuts the last part of a path; it is "" for a path of one part.
func parentKey(path string) string {
	if strings.HasSuffix(path, `"`) {
		// A quote inside a quoted part is escaped; the opening one is not.
		for i := len(path) - 2; i >= 0; i-- {
			if path[i] == '"' && !escaped(path, i) {
				return strings.TrimSuffix(path[:i], ".")
			}
		}
		return ""
	}
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

func escaped(s string, i int) bool {
	n := 0
	for i--; i >= 0 && s[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// inside reports whether path is outer or lies in it.
func inside(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
