package runner

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

// slowLink is a kind that acts on links and has no parameters.
func slowLink() faults.Spec {
	return faults.Spec{
		Kind: "slow_link", Family: faults.Link, Targets: []faults.TargetKind{faults.OnLink}, New: func() faults.Fault { return &fakeFault{} },
		Mechanisms: []faults.Mechanism{{Name: "proxy", Needs: []faults.Capability{faults.CapLinks}}},
	}
}

// sweep is an instantaneous kind that rolls over its targets, update one that lasts, resize one that takes whole services, and
// loop one that may end by itself.
func others() []faults.Spec {
	of := func(kind faults.Kind) faults.Spec {
		return faults.Spec{
			Kind: kind, Family: faults.Process, Targets: []faults.TargetKind{faults.OnService}, New: func() faults.Fault { return &fakeFault{} },
			Mechanisms: []faults.Mechanism{{Name: "Docker API"}},
		}
	}
	sweep, update, resize, loop := of("sweep"), of("update"), of("resize"), of("loop")
	sweep.Instant, sweep.Rolling, sweep.Cuts = true, true, true
	update.Rolling, update.Cuts, update.Replaces = true, true, true
	resize.Whole = true
	loop.New = func() faults.Fault { return &fakeFault{finished: func() bool { return true }} }
	return []faults.Spec{sweep, update, resize, loop}
}

// scenario reads a scenario with every kind of the catalogue, slow_link and others.
func scenario(t *testing.T, text string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse(fstest.MapFS{"s.toml": {Data: []byte(text)}}, "s.toml", scenarios.Options{
		Kinds:   append(append(catalogue.All(), slowLink()), others()...),
		Drivers: drivers.Options(),
		Origin:  scenarios.Origin{Path: "s.toml", Source: []byte(text)},
	})
	if err != nil {
		t.Fatalf("parse the scenario:\n%v", err)
	}
	return s
}

// checkPlan compares the plan of one file, or writes it with -update.
func checkPlan(t *testing.T, file string) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string][]byte{}
	for _, f := range a.Files {
		in[f.Name] = f.Data
	}
	s := scenario(t, string(in["scenario"]))
	var services []scenarios.Service
	unmarshal(t, in["services"], &services)
	if len(services) == 0 {
		t.Fatal("without services nothing is aimed at anything")
	}
	var facts *faults.Facts
	if raw, ok := in["facts"]; ok {
		unmarshal(t, raw, &facts)
	}
	if s.Seed == nil {
		t.Fatal("the scenario needs a seed")
	}
	got := planText(NewPlan(s, services, lines(in["isolation"]), facts, *s.Seed))
	if again := planText(NewPlan(s, services, lines(in["isolation"]), facts, *s.Seed)); again != got {
		t.Errorf("the same seed gave another plan (-first +second):\n%s", cmp.Diff(got, again))
	}
	if updating(t) {
		a.Files = append(slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "plan" }), txtar.File{Name: "plan", Data: []byte(got)})
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(in["plan"]), got); diff != "" || got == "" {
		t.Errorf("-file +got:\n%s", diff)
	}
}

// TestPlan compares plans with those in testdata/plan/*.txt: archives (txtar) of a scenario, its services, what isolation
// changes, what the host can do (none: it was not asked), and the plan or the error. -update writes the last.
func TestPlan(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("found only %d plans: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			checkPlan(t, file)
		})
	}
}

func planText(p *Plan, err error) string {
	if err != nil {
		return "error:\n" + err.Error() + "\n"
	}
	return p.String()
}

func unmarshal(t *testing.T, raw []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

func lines(raw []byte) []string {
	return strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' })
}

// updating reports whether -update is given. The Compose SDK links in a package that defines the flag already.
func updating(t *testing.T) bool {
	t.Helper()
	f := flag.Lookup("update")
	if f == nil {
		t.Fatal("nothing defines -update any more: define it here")
	}
	return f.Value.String() == "true"
}

const pickOne = `
[environment]
files = ["compose.yaml"]
[probe.page]
kind   = "http"
target = "http://web/"
[[fault]]
id     = "freeze"
kind   = "pause"
target = "web"
at     = "1s"
for    = "1s"
pick   = "one"
every  = "5s"
times  = 4
`

func TestThePickDependsOnTheSeedAlone(t *testing.T) {
	t.Parallel()
	services := []scenarios.Service{{Name: "web", Replicas: 9}}
	plans := map[string]bool{}
	for seed := range int64(20) {
		p, err := NewPlan(scenario(t, pickOne), services, nil, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		again, err := NewPlan(scenario(t, pickOne), services, nil, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != again.String() {
			t.Errorf("seed %d: -first +second:\n%s", seed, cmp.Diff(p.String(), again.String()))
		}
		numbers := map[int]bool{}
		for _, in := range p.Injections {
			numbers[in.Targets[0].Number] = true
		}
		_, timeline, _ := strings.Cut(p.String(), "timeline")
		plans[timeline] = true
		if seed == 0 && len(numbers) < 2 {
			t.Errorf("four occurrences pick %v: each must pick anew", numbers)
		}
	}
	if len(plans) < 10 {
		t.Errorf("20 seeds give only %d different timelines", len(plans))
	}
}

func TestAFaultThatIsAddedDoesNotReshuffleTheOthers(t *testing.T) {
	t.Parallel()
	services := []scenarios.Service{{Name: "web", Replicas: 9}, {Name: "db", Replicas: 9}}
	before, err := NewPlan(scenario(t, pickOne), services, nil, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	other := "[[fault]]\nid = \"other\"\nkind = \"pause\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\npick = \"one\"\n"
	more, err := NewPlan(scenario(t, strings.Replace(pickOne, "[[fault]]", other+"[[fault]]", 1)), services, nil, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	if len(more.Injections) != len(before.Injections)+1 {
		t.Fatalf("%d injections became %d", len(before.Injections), len(more.Injections))
	}
	for i, in := range before.Injections {
		if diff := cmp.Diff(in.Targets, more.Injections[i+1].Targets); diff != "" {
			t.Errorf("%s: -before +after:\n%s", in.ID, diff)
		}
	}
}

func TestPickKeepsItsNumberAndOrder(t *testing.T) {
	t.Parallel()
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // the seed that it prints is enough, and the tree stays clean
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "containers")
		how := rapid.SampledFrom([]string{"one", "minority", "majority", "all"}).Draw(t, "pick")
		var all []scenarios.Ref
		for i := range n {
			all = append(all, scenarios.Ref{Service: "web", Number: i + 1})
		}
		got := pick(all, how, nil, Rand(rapid.Int64().Draw(t, "seed"), "pick/x"))
		ok := map[string]bool{
			"one":      len(got) == 1,
			"minority": len(got) >= 1 && (2*len(got) < n || len(got) == 1) && 2*(len(got)+1) >= n,
			"majority": 2*len(got) > n && 2*(len(got)-1) <= n,
			"all":      len(got) == n,
		}
		if !ok[how] {
			t.Fatalf("%s of %d is %d", how, n, len(got))
		}
		for i, r := range got {
			if !slices.Contains(all, r) || i > 0 && got[i-1].Number >= r.Number {
				t.Fatalf("%s of %d is %v", how, n, got)
			}
		}
	})
}

const linked = `
[environment]
files = ["compose.yaml"]
[workload.orders]
driver = "kafka"
target = "db:5432"
[[fault]]
kind   = "slow_link"
target = "*->db:5432"
at     = "1s"
for    = "1s"
[[fault]]
id     = "picked"
kind   = "slow_link"
target = "*->db:5432"
pick   = "minority"
at     = "9s"
for    = "1s"
`

func TestThePickOfLinksDependsOnTheSeed(t *testing.T) {
	t.Parallel()
	services := []scenarios.Service{{Name: "db", Replicas: 1}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		services = append(services, scenarios.Service{Name: name, Replicas: 3})
	}
	seen := map[string]bool{}
	for seed := range int64(20) {
		p, err := NewPlan(scenario(t, linked), services, nil, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		all, picked := p.Injections[0].Targets, p.Injections[1].Targets
		if diff := cmp.Diff([]scenarios.Ref{{Service: "db", Link: "*->db:5432"}}, all); diff != "" {
			t.Fatalf("all (-want +got):\n%s", diff)
		}
		if len(picked) != 3 {
			t.Fatalf("a minority of 7 links is %v", picked)
		}
		for _, r := range picked {
			l, ok := scenarios.ParseLink(r.Link)
			if !ok || !slices.Contains(p.Routes, l) || r.Service != "db" || r.Number != 0 {
				t.Errorf("%+v is no single link that is routed", r)
			}
			seen[r.Link] = true
		}
	}
	if len(seen) != 7 {
		t.Errorf("20 seeds pick only %v", seen)
	}
}

func TestServicesOfKeepsWhatLinksNeed(t *testing.T) {
	t.Parallel()
	got := ServicesOf([]compose.Service{{Name: "dns", Replicas: 1, Ports: []int{53, 80}, UDPPorts: []int{53}, NetworkMode: "service:web"}})
	want := []scenarios.Service{{Name: "dns", Replicas: 1, Ports: []int{53, 80}, UDPPorts: []int{53}, NetworkMode: "service:web"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAFaultOnALinkIsAimedAtNoService(t *testing.T) {
	t.Parallel()
	text := linked + "[[fault]]\nkind = \"pause\"\ntarget = [\"web\", \"db\"]\nat = \"1s\"\nfor = \"1s\"\n"
	p, err := NewPlan(scenario(t, text), []scenarios.Service{{Name: "db", Replicas: 1}, {Name: "web", Replicas: 2}}, nil, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for id, rule := range rulesOf(p).Faults {
		got[id] = rule.Services
		if rule.Stops {
			t.Errorf("%s makes nothing exit", id)
		}
	}
	if diff := cmp.Diff(map[string][]string{"slow_link": {}, "picked": {}, "pause": {"db", "web"}}, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

// TestADeathIsExplainedByAKindThatEndsPrograms, whether it is over at once or lasts.
func TestADeathIsExplainedByAKindThatEndsPrograms(t *testing.T) {
	t.Parallel()
	text := "[environment]\nfiles = [\"compose.yaml\"]\n[probe.page]\nkind = \"http\"\ntarget = \"http://web/\"\n"
	for _, kind := range []string{"kill", "restart", "pause\"\nfor = \"1s", "sweep", "update\"\nfor = \"1s", "cpu_limit\"\ncpus = 0.5\nfor = \"1s"} {
		text += "[[fault]]\ntarget = \"web\"\nat = \"1s\"\nkind = \"" + kind + "\"\n"
	}
	p, err := NewPlan(scenario(t, text), []scenarios.Service{{Name: "web", Replicas: 2}}, nil, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for id, rule := range rulesOf(p).Faults {
		got[id] = rule.Stops
	}
	want := map[string]bool{"kill": true, "restart": true, "pause": false, "sweep": true, "update": true, "cpu_limit": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAFaultIsAimedAtTheServicesOfAllItsOccurrences(t *testing.T) {
	t.Parallel()
	text := strings.Replace(pickOne, `target = "web"`, `target = "*"`, 1)
	seen := map[string]bool{}
	for seed := range int64(9) {
		p, err := NewPlan(scenario(t, text), []scenarios.Service{{Name: "a", Replicas: 1}, {Name: "b", Replicas: 1}, {Name: "c", Replicas: 1}}, nil, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, in := range p.Injections {
			want = append(want, in.Targets[0].Service)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if diff := cmp.Diff(want, rulesOf(p).Faults["freeze"].Services); diff != "" {
			t.Errorf("seed %d: -want +got:\n%s", seed, diff)
		}
		seen[strings.Join(want, ",")] = true
	}
	if len(seen) < 2 {
		t.Errorf("every seed picks %v", seen)
	}
}

func TestAHostThatLacksWhatAKindNeedsIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	text := strings.Replace(pickOne, `kind   = "pause"`, "kind = \"scarce\"", 1) +
		"[[fault]]\nkind = \"scarce\"\ntarget = \"web\"\nat = \"9s\"\nfor = \"1s\"\n"
	scarce := faults.Spec{
		Kind: "scarce", Family: faults.Process, Targets: []faults.TargetKind{faults.OnService}, New: func() faults.Fault { return &fakeFault{} },
		Mechanisms: []faults.Mechanism{{Name: "magic", Needs: []faults.Capability{faults.CapAgent, faults.CapSignal}}},
	}
	s, err := scenarios.Parse(fstest.MapFS{"s.toml": {Data: []byte(text)}}, "s.toml", scenarios.Options{Kinds: []faults.Spec{scarce}, Origin: scenarios.Origin{Path: "my/s.toml"}})
	if err != nil {
		t.Fatal(err)
	}
	facts := &faults.Facts{Has: []faults.Capability{faults.CapAgent}, Missing: map[faults.Capability]string{faults.CapSignal: "seccomp forbids it: run without it"}}
	_, err = NewPlan(s, []scenarios.Service{{Name: "web", Replicas: 1}}, nil, facts, 1)
	because := "scarce: not supported here: magic needs [signal (seccomp forbids it: run without it)]"
	want := "my/s.toml:7: fault freeze: " + because + "\nmy/s.toml:16: fault scarce: " + because
	if !errors.Is(err, faults.ErrUnsupported) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if p, err := NewPlan(s, []scenarios.Service{{Name: "web", Replicas: 1}}, nil, nil, 1); err != nil || p.Injections[0].Mechanism != "magic" {
		t.Errorf("a host that was not asked refuses nothing: %v", err)
	}
}
