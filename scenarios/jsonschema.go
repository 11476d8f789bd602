package scenarios

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/oracle"
)

// JSONSchema is docs/reference/scenario.schema.json: a JSON Schema (draft 2020-12) of the scenario file, for editors. It
// has the keys of each given kind, and of each driver's options. What a schema cannot say (names that must exist, keys that
// an include may hold) only Parse checks.
func JSONSchema(kinds []faults.Spec, drivers map[string]func() any) []byte {
	g := schemaMaker{kinds: kinds, drivers: drivers}
	root := g.object(reflect.TypeFor[Scenario]())
	out := schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "discompose scenario",
		"description": "Generated from the Go types; see scenario.md.",
	}
	maps.Copy(out, root)
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		panic(err) // a map of strings, lists and maps always marshals
	}
	return append(data, '\n')
}

type schema map[string]any

type schemaMaker struct {
	kinds   []faults.Spec
	drivers map[string]func() any
}

// object is the schema of a struct's table.
func (g schemaMaker) object(t reflect.Type) schema {
	props, required := g.properties(t)
	out := schema{"type": "object", "properties": props, "additionalProperties": false}
	shared := t == reflect.TypeFor[Workload]() || t == reflect.TypeFor[Probe]()
	if len(required) > 0 && !shared { // an include may hold the rest of a shared table
		out["required"] = required
	}
	switch t {
	case reflect.TypeFor[Fault](), reflect.TypeFor[NemesisFault]():
		g.perKind(out)
	case reflect.TypeFor[Workload]():
		g.perDriver(out)
	case reflect.TypeFor[Check]():
		g.perCheck(out)
	case reflect.TypeFor[Nemesis]():
		one := func(key string) schema { return schema{"required": []string{key}} }
		out["oneOf"] = []schema{one("count"), one("time_limit")}
		if interval, ok := props["interval"].(schema); ok {
			interval["minItems"], interval["maxItems"] = 2, 2
		}
	case reflect.TypeFor[Environment]():
		two := func(a, b string) schema { return schema{"required": []string{a, b}} }
		out["not"] = schema{"anyOf": []schema{two("use", "files"), two("use", "attach"), two("files", "attach")}}
	}
	return out
}

func (g schemaMaker) properties(t reflect.Type) (props schema, required []string) {
	props = schema{}
	for _, f := range fieldsOf(t) {
		props[f.key] = g.property(f)
		if f.required {
			required = append(required, f.key)
		}
	}
	return props, required
}

func (g schemaMaker) property(f field) schema {
	p := g.value(f.typ)
	if f.doc != "" {
		p["description"] = f.doc
	}
	if f.later {
		p["description"] = f.doc + " (not yet supported)"
	}
	if len(f.enum) > 0 {
		where := p
		if items, ok := p["items"].(schema); ok {
			where = items
		}
		where["enum"] = f.enum
	}
	if f.def != "" {
		p["default"] = jsonDefault(f)
	}
	return p
}

// jsonDefault is the default of a tag as JSON: TOML where the key is no string.
func jsonDefault(f field) any {
	t := deref(f.typ)
	if t.Kind() == reflect.String || reflect.PointerTo(t).Implements(textType) {
		return f.def
	}
	var doc map[string]any
	if _, err := toml.Decode("v = "+f.def, &doc); err != nil {
		return f.def
	}
	return doc["v"]
}

func (g schemaMaker) value(t reflect.Type) schema {
	t = deref(t)
	switch t {
	case durationType:
		return schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case targetsType:
		return oneOrMore()
	case reflect.TypeFor[Gate]():
		return schema{"oneOf": []schema{{"type": "string"}, g.object(reflect.TypeFor[GateQuery]())}}
	}
	if reflect.PointerTo(t).Implements(ownType) {
		return oneOrMore()
	}
	if reflect.PointerTo(t).Implements(textType) {
		return schema{"type": "string"}
	}
	switch k := t.Kind(); {
	case k == reflect.String:
		return schema{"type": "string"}
	case k == reflect.Bool:
		return schema{"type": "boolean"}
	case k == reflect.Float64 || k == reflect.Float32:
		return schema{"type": "number"}
	case isInt(k):
		return schema{"type": "integer"}
	case k == reflect.Slice:
		return schema{"type": "array", "items": g.value(t.Elem())}
	case k == reflect.Map:
		return schema{"type": "object", "additionalProperties": g.value(t.Elem())}
	case k == reflect.Struct:
		return g.object(t)
	}
	return schema{"type": "object"}
}

// perKind closes a fault's table over the common keys and those of its kind.
func (g schemaMaker) perKind(out schema) {
	delete(out, "additionalProperties")
	out["unevaluatedProperties"] = false
	var names []string
	var cases []schema
	for _, s := range g.kinds {
		names = append(names, string(s.Kind))
		props, required := g.properties(reflect.TypeOf(s.New()).Elem())
		then := schema{"properties": props}
		_, finite := s.New().(faults.Finite) // which may end by itself: Parse knows
		switch {
		case s.Instant:
			props["for"] = false
		case !finite:
			required = append(required, "for")
		}
		if !s.Rolling {
			props["gate"] = false
		}
		if len(required) > 0 {
			then["required"] = required
		}
		cases = append(cases, when("kind", string(s.Kind), then))
	}
	if common, ok := out["properties"].(schema); ok {
		if kind, ok := common["kind"].(schema); ok {
			kind["enum"] = names
		}
	}
	out["allOf"] = cases
}

// perDriver gives a workload's options the keys of its driver.
func (g schemaMaker) perDriver(out schema) {
	var cases []schema
	for _, name := range slices.Sorted(maps.Keys(g.drivers)) {
		t := reflect.TypeOf(g.drivers[name]()).Elem()
		phase := schema{"items": schema{"properties": schema{"options": g.changeable(t)}}}
		cases = append(cases, when("driver", name, schema{"properties": schema{"options": g.object(t), "phase": phase}}))
	}
	if len(cases) > 0 {
		out["allOf"] = cases
	}
}

// changeable is the schema of the options that a phase may hold.
func (g schemaMaker) changeable(t reflect.Type) schema {
	props := schema{}
	for _, f := range fieldsOf(t) {
		switch sub := structOf(f.typ); {
		case f.phase:
			one := g.property(f)
			delete(one, "default") // it is the workload's own value
			props[f.key] = one
		case sub != nil && len(changeable(sub, "")) > 0:
			props[f.key] = g.changeable(sub)
		}
	}
	return schema{"type": "object", "properties": props, "additionalProperties": false}
}

// perCheck gives a check's options the keys of its kind.
func (g schemaMaker) perCheck(out schema) {
	var cases []schema
	for _, k := range oracle.Kinds() {
		options := g.object(reflect.TypeOf(k.New()).Elem())
		cases = append(cases, when("kind", k.Name, schema{"properties": schema{"options": options}}))
	}
	out["allOf"] = cases
}

func when(key, value string, then schema) schema {
	return schema{
		"if":   schema{"properties": schema{key: schema{"const": value}}, "required": []string{key}},
		"then": then,
	}
}

func oneOrMore() schema {
	text := schema{"type": "string"}
	return schema{"oneOf": []schema{text, {"type": "array", "items": text, "minItems": 1}}}
}
