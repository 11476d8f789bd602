package scenarios

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// setter puts one --set value into the tree. An array element is addressed by its index from 0 or, a fault, by its id.
type setter struct {
	*problems
	flag Place
}

func (p *problems) set(root *node, text string) {
	s := &setter{p, Place{File: "--set " + text}}
	left, value, ok := strings.Cut(text, "=")
	parts := setPath(left)
	switch {
	case !ok || len(parts) == 0:
		s.fail("", "is not key=value", "write --set workload.orders.rate=500")
		return
	case parts[0] == "include":
		s.fail("include", "cannot be set", "")
		return
	}
	cur, t, key := root, reflect.TypeFor[Scenario](), ""
	for _, part := range parts[:len(parts)-1] {
		if cur, t, key = s.step(cur, t, key, part); cur == nil {
			return
		}
	}
	s.put(cur, t, key, parts[len(parts)-1], setValue(value, s.flag))
}

func (s *setter) fail(key, problem, hint string) { s.add(s.flag, key, problem, hint) }

// step goes into one table or array element, and makes a table that the schema knows and the file lacks.
func (s *setter) step(cur *node, t reflect.Type, key, part string) (*node, reflect.Type, string) {
	if cur.isList() {
		i, ids := element(cur, key, part)
		if i < 0 {
			s.fail(key, fmt.Sprintf("has no element %q", part), suggest(part, ids))
			return nil, nil, ""
		}
		return cur.list[i], elem(t), indexKey(key, i)
	}
	if cur.table == nil {
		s.fail(key, "is not a table", "")
		return nil, nil, ""
	}
	key = joinKey(key, part)
	sub, inside, ok := s.child(cur, t, key, part)
	if !ok {
		return nil, nil, ""
	}
	if sub == nil {
		sub = &node{place: s.flag, table: map[string]*node{}}
		cur.table[part] = sub
	}
	return sub, inside, key
}

// child finds the table of a name: its node if the file has one, and its type if the schema has one. It fails where a new
// one has no place.
func (s *setter) child(cur *node, t reflect.Type, key, part string) (*node, reflect.Type, bool) {
	sub := cur.table[part]
	if t == nil {
		return sub, nil, true
	}
	switch t.Kind() {
	case reflect.Struct:
		if f, ok := fieldOf(t, part); ok {
			ft := deref(f.typ)
			if sub == nil && ft.Kind() == reflect.Slice {
				s.fail(key, "is empty: the scenario has none", "")
				return nil, nil, false
			}
			return sub, ft, true
		}
		if sub == nil {
			s.fail(key, "unknown key", suggestKey(part, keysOf(t)))
			return nil, nil, false
		}
	case reflect.Map:
		if sub == nil {
			s.fail(key, fmt.Sprintf("the scenario has no %s %q", parentKey(key), part), suggest(part, cur.keys()))
			return nil, nil, false
		}
		return sub, deref(t.Elem()), true
	}
	return sub, nil, true
}

func (s *setter) put(cur *node, t reflect.Type, key, part string, v *node) {
	if cur.isList() {
		i, ids := element(cur, key, part)
		if i < 0 {
			s.fail(key, fmt.Sprintf("has no element %q", part), suggest(part, ids))
			return
		}
		cur.list[i] = v
		return
	}
	if cur.table == nil {
		s.fail(key, "is not a table", "")
		return
	}
	if t != nil && t.Kind() == reflect.Map && deref(t.Elem()).Kind() == reflect.Struct && cur.table[part] == nil {
		s.fail(joinKey(key, part), fmt.Sprintf("the scenario has no %s %q", key, part), suggest(part, cur.keys()))
		return
	}
	cur.table[part] = v // an unknown key of a struct is found by the decoder, with this flag as its place
}

// element finds an array element by index or id, and lists what it could be.
func element(list *node, key, part string) (int, []string) {
	ids := make([]string, len(list.list))
	if key == "fault" {
		ids = faultIDs(list)
	} else {
		for i := range ids {
			ids[i] = strconv.Itoa(i)
		}
	}
	if i := slices.Index(ids, part); i >= 0 {
		return i, ids
	}
	if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(list.list) {
		return i, ids
	}
	return -1, ids
}

// setPath splits workload.orders.rate, fault.freeze.for, fault[0].for and workload."a.b".rate; nil where it is malformed.
func setPath(text string) []string {
	text = strings.TrimSpace(text)
	s := &scanner{src: text}
	if strings.HasSuffix(text, ".") {
		return nil
	}
	var parts []string
	for {
		p := s.key()
		if len(p) == 0 {
			return nil
		}
		for _, k := range p {
			parts = append(parts, k.name)
		}
		for s.i < len(text) && text[s.i] == '[' {
			index, rest, ok := strings.Cut(text[s.i+1:], "]")
			if _, err := strconv.Atoi(index); !ok || err != nil {
				return nil
			}
			parts = append(parts, index)
			s.i = len(text) - len(rest)
		}
		if s.i >= len(text) {
			return parts
		}
		if text[s.i] != '.' {
			return nil
		}
		s.i++
	}
}

// setValue reads a TOML value, or takes the text as a string where it is none.
func setValue(text string, flag Place) *node {
	var doc map[string]any
	if _, err := toml.Decode("v = "+text, &doc); err != nil || len(doc) != 1 || strings.ContainsAny(text, "\n") {
		return &node{place: flag, value: text, raw: text}
	}
	c := &converter{problems: &problems{}, literal: true}
	n := c.convert(doc["v"], "", flag, 0)
	if _, isString := n.value.(string); n.value != nil && !isString {
		n.raw = text
	}
	return n
}
