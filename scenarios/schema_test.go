package scenarios_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

func compileSchema(t *testing.T, o scenarios.Options) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(scenarios.JSONSchema(o.Kinds, o.Drivers)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a TOML document as an editor's validator sees it.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var doc map[string]any
	if _, err := toml.Decode(text, &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheSchemaAcceptsWhatParseAccepts(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t, shippedOptions())
	texts := map[string]string{}
	full, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	texts["full.toml"] = string(full)
	for _, glob := range []string{"*.toml", "kinds/*.toml"} {
		files, err := fs.Glob(scenarios.Shipped(), glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", glob, err)
		}
		for _, f := range files {
			text, err := fs.ReadFile(scenarios.Shipped(), f)
			if err != nil {
				t.Fatal(err)
			}
			texts[f] = string(text)
		}
	}
	for name, text := range texts {
		if err := schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSchemaRejectsWhatParseRejects(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t, options())
	if err := schema.Validate(asJSON(t, base)); err != nil {
		t.Fatalf("the base of the cases: %v", err)
	}
	fault := "[[fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\n"
	if err := schema.Validate(asJSON(t, base+fault+"for = \"1s\"")); err != nil {
		t.Fatalf("the base of the faults: %v", err)
	}
	drawn := "[nemesis]\ninterval = [\"1s\", \"2s\"]\n[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"kafka\"\n"
	for name, text := range map[string]string{
		"an unknown key":               base + "x = 1",
		"an unknown table":             base + "[faults]",
		"a wrong type":                 base + "every = 1",
		"a duration without unit":      base + "every = \"1\"",
		"a value that is no enum's":    base + "during = \"x\"",
		"a fault without for":          base + fault,
		"a fault with another's key":   base + fault + "for = \"1s\"\ncpus = 1",
		"an instant fault with for":    base + strings.Replace(fault, "pause", "restart", 1) + "for = \"1s\"",
		"an unknown kind":              base + strings.Replace(fault, "pause", "x", 1) + "for = \"1s\"",
		"a driver's unknown option":    base + "[workload.orders.options]\nx = 1",
		"two environments":             strings.Replace(base, "use", "attach = \"x\"\nuse", 1),
		"a nemesis without a length":   base + drawn,
		"a nemesis of two lengths":     base + "[nemesis]\ncount = 1\ntime_limit = \"1m\"\n" + strings.TrimPrefix(drawn, "[nemesis]\n"),
		"a nemesis of one duration":    base + strings.Replace(drawn, "[\"1s\", \"2s\"]", "[\"1s\"]\ncount = 1", 1),
		"a gate without a service":     base + strings.Replace(drawn, "[nemesis]", "[nemesis]\ncount = 1\ngate = [{ exec = [\"x\"] }]", 1),
		"a query without a command":    base + fault + "for = \"1s\"\npick = \"leader\"\nquery = { matches = \"x\" }",
		"a check without a workload":   base + "[[check]]\nkind = \"log\"",
		"an unknown option of a check": base + "[[check]]\nkind = \"set\"\nworkload = \"orders\"\noptions = { stael = \"fail\" }",
		"a wrong option of a check":    base + "[[check]]\nkind = \"set\"\nworkload = \"orders\"\noptions = { stale = \"no\" }",
	} {
		if err := schema.Validate(asJSON(t, text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
		if _, err := parse(t, text); err == nil {
			t.Errorf("%s is accepted by Parse", name)
		}
	}
}

func TestChecksAreTheKindsOfTheOracle(t *testing.T) {
	t.Parallel()
	f, _ := reflect.TypeFor[scenarios.Check]().FieldByName("Kind")
	text := string(scenarios.Reference(nil))
	var names []string
	for _, k := range oracle.Kinds() {
		names = append(names, k.Name)
		if k.Summary == "" || !strings.Contains(text, "| `"+k.Name+"` | "+k.Summary+" |") {
			t.Errorf("the reference lacks %s", k.Name)
		}
		options := reflect.TypeOf(k.New()).Elem()
		for i := range options.NumField() {
			if o := options.Field(i); o.IsExported() && (o.Tag.Get("doc") == "" || !strings.Contains(text, "| `"+o.Tag.Get("toml")+"` |") || !strings.HasPrefix(o.Tag.Get("json"), o.Tag.Get("toml"))) {
				t.Errorf("option %s of %s has no doc, or two names, or is not in the reference", o.Name, k.Name)
			}
		}
	}
	if got := f.Tag.Get("enum"); got != strings.Join(names, "|") {
		t.Errorf("a check's kind is one of %s, the oracle has %s", got, strings.Join(names, "|"))
	}
}

// TestTheReferenceNamesEveryOption goes down into the tables that stand in an options table.
func TestTheReferenceNamesEveryOption(t *testing.T) {
	t.Parallel()
	all := drivers.Options()
	text := string(scenarios.Reference(all))
	seen := 0
	var keys func(t *testing.T, heading, of string, options reflect.Type)
	keys = func(t *testing.T, heading, of string, options reflect.Type) {
		_, section, _ := strings.Cut(text, "# `"+heading+"` of "+of+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		for i := range options.NumField() {
			f := options.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			seen++
			if f.Tag.Get("doc") == "" || key != f.Tag.Get("toml") || !strings.Contains(section, "| `"+key+"` |") {
				t.Errorf("%s.%s has no doc, or two names, or is not in the reference", heading, f.Name)
			}
			if f.Type.Kind() == reflect.Struct {
				keys(t, heading+"."+key, of, f.Type)
			}
		}
	}
	for name, zero := range all {
		t.Run(name, func(t *testing.T) { keys(t, "options", "driver `"+name+"`", reflect.TypeOf(zero()).Elem()) })
	}
	if seen < 30 {
		t.Errorf("%d options", seen)
	}
}

func TestTheReferenceNamesEveryKey(t *testing.T) {
	t.Parallel()
	text := string(scenarios.Reference(options().Drivers)) + string(scenarios.FaultReference(kinds()))
	seen := 0
	for _, v := range []any{
		scenarios.Scenario{},
		scenarios.Environment{},
		scenarios.Step{},
		scenarios.Workload{},
		scenarios.Probe{},
		scenarios.Fault{},
		scenarios.Recovery{},
		scenarios.Expect{},
		scenarios.Budget{},
		scenarios.Check{},
		scenarios.Steady{},
		scenarios.Guard{},
		scenarios.Link{},
		scenarios.Nemesis{},
		scenarios.NemesisFault{},
		scenarios.Query{},
		scenarios.GateQuery{},
		driverOptions{},
		kill{},
		pids{},
	} {
		for i := range reflect.TypeOf(v).NumField() {
			f := reflect.TypeOf(v).Field(i)
			key := f.Tag.Get("toml")
			if key == "" || key == "-" {
				continue
			}
			seen++
			if f.Tag.Get("doc") == "" {
				t.Errorf("%T.%s has no doc", v, f.Name)
			}
			if !strings.Contains(text, "| `"+key+"` |") && !strings.Contains(text, "["+key+"]") && !strings.Contains(text, "["+key+".<name>]") {
				t.Errorf("the reference lacks %s of %T", key, v)
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d keys were looked at", seen)
	}
	for _, k := range scenarios.PlannedKinds() {
		if !strings.Contains(text, "`"+string(k)+"`") {
			t.Errorf("the reference lacks the planned kind %s", k)
		}
	}
}

func TestAPlannedKindThatThisBuildHasIsNoLongerPlanned(t *testing.T) {
	t.Parallel()
	specs := append(kinds(), faults.Spec{Kind: "latency", Summary: "slow", Targets: []faults.TargetKind{faults.OnLink}, New: func() faults.Fault { return &pause{} }})
	text := string(scenarios.FaultReference(specs))
	if strings.Contains(text[strings.Index(text, "later versions"):], "`latency`") {
		t.Error("latency is listed as planned")
	}
	mustParse(t, base+"[[fault]]\nkind = \"latency\"\ntarget = \"a->b:80\"\nat = \"0s\"\nfor = \"1s\"\n", func(o *scenarios.Options) { o.Kinds = specs })
}
