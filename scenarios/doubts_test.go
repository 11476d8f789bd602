package scenarios_test

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/scenarios"
)

func doubts(s *scenarios.Scenario, services []scenarios.Service) []string {
	var out []string
	for _, d := range s.Doubts(services) {
		out = append(out, d.Error())
	}
	return out
}

func TestDoubtsAreAboutWindowsThatAreTooShort(t *testing.T) {
	t.Parallel()
	fault := func(text string) string {
		return "[[fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"0s\"\n" + text + "\n"
	}
	const probes = "environment.use = \"kafka\"\n[probe.a]\nkind = \"tcp\"\ntarget = \"kafka:9092\"\n[probe.b]\nkind = \"tcp\"\ntarget = \"kafka:9092\"\nevery = \"500ms\"\n"
	const work = probes + "[workload.w]\ndriver = \"kafka\"\ntarget = \"kafka:9092\"\nrate = 8\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"probes alone, together often enough", probes + fault(`for = "7s"`), nil}, // 7 + 14
		{"probes alone, together too seldom", probes + fault(`for = "6s"`), []string{
			`t.toml:13:1: fault[0].for: probes: 18 of the 20 evaluations that the guard needs fit in 6s, so the run would be inconclusive (set every lower, as in every = "100ms")`,
		}},
		{"those that observe, alone", probes + fault("for = \"7s\"\nobserved_by = [\"b\"]"), []string{
			`t.toml:13:1: fault[0].for: probes: 14 of the 20 evaluations that the guard needs fit in 7s, so the run would be inconclusive (set every lower, as in every = "100ms")`,
		}},
		{"a guard that needs less", probes + fault(`for = "6s"`) + "[guard]\noperations = 18\n", nil},
		{"a workload with probes beside it", work + fault(`for = "5s"`), nil}, // 40, 5, 10
		{"a workload and a probe that are too slow", work + fault(`for = "2s"`), []string{
			`t.toml:17:1: fault[0].for: workload w: 16 of the 20 operations that the guard needs fit in 2s, so the run would be inconclusive (raise its rate, or lengthen the fault)`,
			`t.toml:17:1: fault[0].for: probe a: 2 of the 5 evaluations that the guard needs fit in 2s, so the run would be inconclusive (set its every lower, or lengthen the fault)`,
			`t.toml:17:1: fault[0].for: probe b: 4 of the 5 evaluations that the guard needs fit in 2s, so the run would be inconclusive (set its every lower, or lengthen the fault)`,
		}},
		{"a target that is down for a time", probes + "[[fault]]\nkind = \"stop\"\ntarget = \"kafka\"\nat = \"0s\"\ndown = \"2s\"\n", []string{
			`t.toml:13:1: fault[0].down: probes: 6 of the 20 evaluations that the guard needs fit in 2s, so the run would be inconclusive (set every lower, as in every = "100ms")`,
		}},
		{"a window that is as long as it takes", probes + "[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"0s\"\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, doubts(mustParse(t, c.text), services())); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFaultOnAOneShotIsDoubted(t *testing.T) {
	t.Parallel()
	text := base + "[[fault]]\nkind = \"pause\"\ntarget = [\"migrate\", \"kafka\"]\nat = \"0s\"\nfor = \"9s\"\n"
	all := append(services(), scenarios.Service{Name: "migrate", Replicas: 1, OneShot: true})
	want := []string{`t.toml:11:1: fault[0].target: service "migrate" is a one-shot, which has ended before the first fault (name a service that runs on)`}
	if diff := cmp.Diff(want, doubts(mustParse(t, text), all)); diff != "" {
		t.Errorf("doubts (-want +got):\n%s", diff)
	}
}

func TestAGlobLeavesOneShotsOut(t *testing.T) {
	t.Parallel()
	all := append(services(), scenarios.Service{Name: "kafka-init", Replicas: 1, OneShot: true})
	f := scenarios.Fault{Target: scenarios.Targets{"kafka*"}}
	if diff := cmp.Diff([]scenarios.Ref{{Service: "kafka"}, {Service: "kafka-ui"}}, f.Select(all)); diff != "" {
		t.Errorf("selected (-want +got):\n%s", diff)
	}
	f.Target = scenarios.Targets{"kafka-init"}
	if got := f.Select(all); len(got) != 1 {
		t.Errorf("by its name it is %v", got)
	}
}

// The catalogue shows how it is done: none of it is doubtful.
func TestShippedScenariosAreNotDoubted(t *testing.T) {
	t.Parallel()
	all, err := scenarios.List(t.TempDir(), shippedOptions())
	if err != nil || len(all) == 0 {
		t.Fatalf("%d scenarios: %v", len(all), err)
	}
	for _, l := range all {
		fsys, file, origin, err := scenarios.Find(l.Name, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		o := shippedOptions()
		o.Origin = origin
		s, err := scenarios.Parse(fsys, file, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range s.Doubts(nil) {
			t.Error(d)
		}
	}
}

func TestHintsForWhatOtherToolsCallOtherwise(t *testing.T) {
	t.Parallel()
	text := `environment.files = ["compose.yaml"]
[probe.home]
kind = "http"
url = "http://web/"
interval = "1s"
target = "http://localhost:8080/"
[probe.cache]
kind = "tcp"
target = "cache:6379"
[[fault]]
type = "pause"
target = "web"
[[fault]]
kind = "network_latency"
target = "web"
after = "5s"
duration = "3s"
[[fault]]
kind = "earthquake"
target = "web"
at = "1s"
`
	s, err := scenarios.ParsePartial(fstest.MapFS{"t.toml": {Data: []byte(text)}}, "t.toml", options())
	want := []string{
		`t.toml:4:1: probe.home.url: unknown key (did you mean "target"?)`,
		`t.toml:5:1: probe.home.interval: unknown key (did you mean "every"?)`,
		`t.toml:10:3: fault[0].kind: missing (what happens; discompose faults lists the kinds)`,
		`t.toml:10:3: fault[0].at: missing (when it starts: at = "5s", or after = "<fault id>")`,
		`t.toml:14:1: fault[1].kind: unknown kind "network_latency" (did you mean "latency"?)`,
		`t.toml:16:1: fault[1].after: there is no fault "5s" (after names a fault; a time is at = "5s")`,
		`t.toml:19:1: fault[2].kind: unknown kind "earthquake" (known: cpu_limit, kill, memory_limit, pause, pids_limit, restart, stop)`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if hint := scenarios.SuggestKind("earthquake", catalogue.All()); hint != "discompose faults lists the kinds" {
		t.Errorf("of many kinds: %s", hint)
	}
	have := []scenarios.Service{{Name: "web", Replicas: 1}, {Name: "redis", Replicas: 1, Names: []string{"cache"}}}
	want = []string{
		`t.toml:6:1: probe.home.target: the environment has no service "localhost" (name a service and its port inside the container: probes and workloads run in the project's networks, and host ports are not published)`,
		`t.toml:9:1: probe.cache.target: the environment has no service "cache" (that is another name of service "redis")`,
	}
	if diff := cmp.Diff(want, lines(s.CheckServices(have))); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// What is missing beside a kind's own parameters does not hide what is wrong with these.
func TestParametersAreCheckedBesideWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := parse(t, base+"[[fault]]\nkind = \"stop\"\n")
	want := []string{
		`t.toml:9:3: fault[0].target: missing (a service, service[2], a link "web->db:5432", a glob (* and ?), or a list of these)`,
		`t.toml:9:3: fault[0].at: missing (when it starts: at = "5s", or after = "<fault id>")`,
		`t.toml:9:3: fault[0].down: missing (as in "5s")`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
