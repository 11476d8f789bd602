package scenarios

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/discompose/discompose/faults"
)

// fault decodes one [[fault]] table: the common keys and those of its kind, which share the table.
func (d *decoder) fault(n *node, key string, into *Fault) {
	spec, params, known := d.kind(n, key)
	into.Spec, into.Line = spec, n.place.Row
	if params != nil {
		into.Params = params
	}
	d.kindTable(n, key, known, params, reflect.ValueOf(into).Elem())
}

// drawn decodes one [[nemesis.fault]] table.
func (d *decoder) drawn(n *node, key string, into *NemesisFault) {
	spec, params, known := d.kind(n, key)
	into.Spec, into.Line = spec, n.place.Row
	if params != nil {
		into.Params = params
	}
	d.kindTable(n, key, known, params, reflect.ValueOf(into).Elem())
}

// kindTable decodes a table with the keys of a kind. Where the kind is not known, neither are its keys.
func (d *decoder) kindTable(n *node, key string, known bool, params faults.Fault, common reflect.Value) {
	into := []reflect.Value{common}
	if p := reflect.ValueOf(params); params != nil && p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Struct {
		into = append(into, p.Elem())
	}
	d.table(n, key, !known, into...)
}

// kind finds the spec that a fault's table names.
func (d *decoder) kind(n *node, key string) (spec faults.Spec, params faults.Fault, known bool) {
	k := n.table["kind"]
	if k == nil {
		return spec, nil, false
	}
	name, ok := k.value.(string)
	if !ok {
		return spec, nil, false
	}
	path := joinKey(key, "kind")
	if i := slices.IndexFunc(d.kinds, func(s faults.Spec) bool { return string(s.Kind) == name }); i >= 0 {
		spec = d.kinds[i]
		return spec, spec.New(), true
	}
	if planned(faults.Kind(name), d.kinds) {
		d.add(k.place, path, fmt.Sprintf("kind %q is %s", name, notYet), "")
		return spec, nil, false
	}
	d.add(k.place, path, fmt.Sprintf("unknown kind %q", name), SuggestKind(name, d.kinds))
	return spec, nil, false
}

// SuggestKind is a hint for the name of a kind that there is not: the nearest one, planned ones included, else where to
// find them all.
func SuggestKind(name string, kinds []faults.Spec) string {
	var names []string
	for _, s := range kinds {
		names = append(names, string(s.Kind))
	}
	hint := suggest(name, names)
	for _, p := range PlannedKinds() {
		if near := nearest(name, append(names, string(p))); near == string(p) {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
	}
	return cmp.Or(hint, "discompose faults lists the kinds")
}

// faultIDs lists the id of each [[fault]]: its own, else its kind, or kind-2 and so on where that is taken.
func faultIDs(list *node) []string {
	ids, taken := make([]string, len(list.list)), map[string]bool{}
	text := func(n *node, key string) string {
		if v := n.table[key]; v != nil {
			s, _ := v.value.(string)
			return s
		}
		return ""
	}
	for i, n := range list.list {
		ids[i] = text(n, "id")
		taken[ids[i]] = true
	}
	for i, n := range list.list {
		if ids[i] != "" {
			continue
		}
		kind := cmp.Or(text(n, "kind"), "fault")
		id := kind
		for k := 2; taken[id]; k++ {
			id = fmt.Sprintf("%s-%d", kind, k)
		}
		ids[i], taken[id] = id, true
	}
	return ids
}
