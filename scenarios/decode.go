package scenarios

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/faults"
)

// notYet ends the problem of everything that belongs to a later version.
const notYet = "not yet supported"

// custom is a type that decodes itself, for keys that take values of several types.
type custom interface {
	decode(d *decoder, n *node, key string)
}

// decoder fills Go values from nodes. It goes on after a problem, so that all of them are found at once.
type decoder struct {
	*problems
	kinds []faults.Spec
}

// table decodes the keys of one TOML table into structs that share it: a key goes to each struct that has it. A key that
// none has is a problem, unless open.
func (d *decoder) table(n *node, key string, open bool, into ...reflect.Value) {
	if n.table == nil {
		d.mistyped(n.place, key, "must be a table, not "+n.what(), "")
		return
	}
	var types []reflect.Type
	known := map[string]bool{}
	for _, v := range into {
		types = append(types, v.Type())
		for _, f := range fieldsOf(v.Type()) {
			known[f.key] = true
			d.field(n, key, f, v.FieldByIndex(f.index))
		}
	}
	for _, k := range n.keys() {
		if known[k] || open {
			continue
		}
		what := "unknown key"
		if v := n.table[k]; v.table != nil || (v.isList() && len(v.list) > 0 && v.list[0].table != nil) {
			what = "unknown table"
		}
		d.add(n.table[k].place, joinKey(key, k), what, suggestKey(k, keysOf(types...)))
	}
}

// field decodes one key of a table, or fills in its default.
func (d *decoder) field(n *node, key string, f field, into reflect.Value) {
	path := joinKey(key, f.key)
	v, ok := n.table[f.key]
	switch {
	case ok:
		d.value(v, path, into)
		if f.later {
			d.list = slices.DeleteFunc(d.list, func(e *Error) bool {
				return inside(e.Key, path) && strings.HasSuffix(e.Problem, notYet)
			})
			d.add(v.place, path, notYet, "")
		}
		d.enum(v, path, f)
	case f.required:
		d.add(n.place, path, "missing", f.doc)
	case f.later:
	case f.def != "":
		if into.IsZero() {
			d.fill(f, into)
		}
	case deref(f.typ).Kind() == reflect.Struct && f.typ.Kind() != reflect.Pointer:
		d.table(&node{place: n.place, table: map[string]*node{}}, path, false, into)
	}
}

// fill sets the default of a tag: TOML, or the text of a string.
func (d *decoder) fill(f field, into reflect.Value) {
	t := deref(f.typ)
	n := &node{value: f.def}
	if !reflect.PointerTo(t).Implements(textType) && t.Kind() != reflect.String && t != targetsType {
		var doc map[string]any
		if _, err := toml.Decode("v = "+f.def, &doc); err == nil {
			n = (&converter{problems: &problems{}, literal: true}).convert(doc["v"], "", Place{}, 0)
		}
	}
	(&decoder{problems: &problems{}}).value(n, f.key, into)
}

// enum checks a string, or each of a list, against the values that its tag allows.
func (d *decoder) enum(n *node, key string, f field) {
	if len(f.enum) == 0 {
		return
	}
	if n.isList() {
		for i, v := range n.list {
			d.enum(v, indexKey(key, i), f)
		}
		return
	}
	s, ok := n.value.(string)
	switch {
	case !ok || slices.Contains(f.enum, s):
	case slices.Contains(f.planned, s):
		d.add(n.place, key, fmt.Sprintf("%q is %s", s, notYet), "write "+oneOf(f.enum))
	default:
		hint := ""
		if near := nearest(s, append(slices.Clone(f.enum), f.planned...)); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		d.add(n.place, key, fmt.Sprintf("%q is not %s", s, oneOf(f.enum)), hint)
	}
}

// value decodes one node into a settable value.
func (d *decoder) value(n *node, key string, into reflect.Value) {
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	switch p := into.Addr().Interface().(type) {
	case *Fault:
		d.fault(n, key, p)
		return
	case *NemesisFault:
		d.drawn(n, key, p)
		return
	case custom:
		p.decode(d, n, key)
		return
	case encoding.TextUnmarshaler:
		d.text(n, key, p, into.Type())
		return
	case toml.Unmarshaler: // a kind's own: one string or a list of them
		if p.UnmarshalTOML(n.plain()) != nil {
			d.mismatch(n, key, into.Type())
		}
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.table(n, key, false, into)
	case reflect.Map:
		d.mapping(n, key, into)
	case reflect.Slice:
		d.slice(n, key, into)
	case reflect.Interface:
		if n.table == nil {
			d.mismatch(n, key, into.Type())
			return
		}
		into.Set(reflect.ValueOf(n.plain()))
	default:
		d.scalar(n, key, into)
	}
}

func (d *decoder) mismatch(n *node, key string, t reflect.Type) {
	name, article, example := typeName(t)
	if example != "" {
		example = "write " + example
	}
	d.mistyped(n.place, key, fmt.Sprintf("must be %s %s, not %s", article, name, n.what()), example)
}

func (d *decoder) text(n *node, key string, p encoding.TextUnmarshaler, t reflect.Type) {
	s, ok := n.value.(string)
	if !ok {
		if n.raw == "" {
			d.mismatch(n, key, t)
			return
		}
		s = n.raw
	}
	if err := p.UnmarshalText([]byte(s)); err != nil {
		d.add(n.place, key, err.Error(), "")
	}
}

func (d *decoder) mapping(n *node, key string, into reflect.Value) {
	if n.table == nil {
		d.mismatch(n, key, into.Type())
		return
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(n.table)))
	for _, k := range n.keys() {
		v := reflect.New(into.Type().Elem()).Elem()
		d.value(n.table[k], joinKey(key, k), v)
		into.SetMapIndex(reflect.ValueOf(k), v)
	}
}

func (d *decoder) slice(n *node, key string, into reflect.Value) {
	if !n.isList() {
		d.mismatch(n, key, into.Type())
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(n.list), len(n.list)))
	for i, v := range n.list {
		d.value(v, indexKey(key, i), into.Index(i))
	}
}

func (d *decoder) scalar(n *node, key string, into reflect.Value) {
	switch v := n.value.(type) {
	case string:
		if into.Kind() == reflect.String {
			into.SetString(v)
			return
		}
	case bool:
		if into.Kind() == reflect.Bool {
			into.SetBool(v)
			return
		}
	case int64:
		if d.integer(n, key, v, into) {
			return
		}
	case float64:
		if into.Kind() == reflect.Float64 || into.Kind() == reflect.Float32 {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				d.add(n.place, key, "must be a finite number", "")
			}
			into.SetFloat(v)
			return
		}
	}
	if into.Kind() == reflect.String && n.raw != "" {
		into.SetString(n.raw)
		return
	}
	d.mismatch(n, key, into.Type())
}

// integer sets an integer where the key takes a number and reports whether it does.
func (d *decoder) integer(n *node, key string, v int64, into reflect.Value) bool {
	large := false
	switch k := into.Kind(); {
	case k == reflect.Float64 || k == reflect.Float32:
		into.SetFloat(float64(v))
	case into.CanInt():
		if large = into.OverflowInt(v); !large {
			into.SetInt(v)
		}
	case into.CanUint():
		if large = v < 0 || into.OverflowUint(uint64(v)); !large {
			into.SetUint(uint64(v))
		}
	default:
		return false
	}
	if large {
		d.add(n.place, key, fmt.Sprintf("%d is out of range", v), "")
	}
	return true
}

// decode takes one string or a list of them.
func (t *Targets) decode(d *decoder, n *node, key string) {
	if s, ok := n.value.(string); ok {
		*t = Targets{s}
		return
	}
	if !n.isList() {
		d.mismatch(n, key, targetsType)
		return
	}
	if len(n.list) == 0 {
		d.add(n.place, key, "is empty", "name a service")
	}
	*t = make(Targets, len(n.list))
	for i, v := range n.list {
		d.value(v, indexKey(key, i), reflect.ValueOf(t).Elem().Index(i))
	}
}

// decode takes a probe's name or a query.
func (g *Gate) decode(d *decoder, n *node, key string) {
	if s, ok := n.value.(string); ok {
		g.Probe = s
		if !strings.HasPrefix(s, "probe.") {
			d.add(n.place, key, fmt.Sprintf("%q is no probe", s), `write "probe.<name>" or a query { service, exec, matches }`)
		}
		return
	}
	d.table(n, key, false, reflect.ValueOf(&g.Query).Elem())
}
