package scenarios_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

// loop is a kind that may end by itself, and that only a restart policy brings back.
type loop struct {
	unprepared
	Count int `toml:"count" doc:"so many times"`
}

func (*loop) Validate() error { return nil }
func (l *loop) Finite() bool  { return l.Count > 0 }
func (*loop) ByPolicy() bool  { return true }

// withRolling adds a kind that rolls over its targets and replaces them, one that takes a whole service, and loop.
func withRolling(o *scenarios.Options) {
	on := []faults.TargetKind{faults.OnService}
	o.Kinds = append(o.Kinds,
		faults.Spec{Kind: "rolling_update", Targets: on, Rolling: true, Replaces: true, New: func() faults.Fault { return &pause{} }},
		faults.Spec{Kind: "scale", Targets: on, Whole: true, New: func() faults.Fault { return &pause{} }},
		faults.Spec{Kind: "crash_loop", Targets: on, New: func() faults.Fault { return &loop{} }},
	)
}

func TestParseChecksWhatAKindSaysOfItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kind, keys string
		want             []string
	}{
		{"gates of a kind that rolls", "rolling_update", "for = \"1s\"\ngate = [\"probe.broker\", { service = \"kafka\", exec = [\"x\"] }]", nil},
		{"gates that are wrong", "rolling_update", "for = \"1s\"\ngate = [\"probe.brokr\", { service = \"k*\", exec = [] }, 1]", []string{
			`t.toml:14:9: fault[0].gate[0]: there is no probe "brokr" (did you mean "broker"?)`,
			`t.toml:14:26: fault[0].gate[1].service: "k*" is no service (as in "kafka" or "kafka[2]")`,
			`t.toml:14:42: fault[0].gate[1].exec: is empty (write the command and its arguments)`,
			`t.toml:14:55: fault[0].gate[2]: must be a table, not an integer`,
		}},
		{"a gate of a kind that does not roll", "pause", "for = \"1s\"\ngate = [\"probe.brokr\"]", []string{
			`t.toml:14:1: fault[0].gate: pause does not go over its targets one after the other (between the faults of a [nemesis], write nemesis.gate)`,
		}},
		{"a whole service", "scale", "for = \"1s\"", nil},
		{"one container of a whole service", "scale", "for = \"1s\"\ntarget = [\"web[2]\", \"web\"]", []string{
			`t.toml:14:11: fault[0].target[0]: "web[2]" is one container; scale takes a whole service (write "web")`,
		}},
		{"one that ends by itself", "crash_loop", "count = 3", nil},
		{"one that ends by itself, or after a time", "crash_loop", "count = 3\nfor = \"1s\"", nil},
		{"one that never ends", "crash_loop", "count = 0", []string{`t.toml:9:3: fault[0].for: missing (how long the fault holds, as in for = "8s")`}},
		{"one that ends by itself after no time", "crash_loop", "count = 3\nfor = \"0s\"", []string{`t.toml:14:1: fault[0].for: must be longer than 0s`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := base + "[[fault]]\nkind = \"" + c.kind + "\"\nat = \"1s\"\ntarget = \"web\"\n" + c.keys
			if strings.Contains(c.keys, "target") {
				text = strings.Replace(text, "target = \"web\"\n", "\n", 1)
			}
			_, err := parse(t, text, withRolling)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingIsReplacedInAnAttachedProject(t *testing.T) {
	t.Parallel()
	attached := strings.Replace(base, `use = "kafka"`, `attach = "shop"`, 1)
	fault := "[[fault]]\nkind = \"rolling_update\"\nat = \"1s\"\ntarget = \"kafka\"\nfor = \"1s\"\n"
	drawn := "[nemesis]\ncount = 1\ninterval = [\"1s\", \"1s\"]\n[[nemesis.fault]]\nkind = \"rolling_update\"\ntarget = \"kafka\"\nfor = \"1s\"\n"
	problem := `: rolling_update removes or makes containers, and nothing of an attached project is removed or made (use an environment of the run's own: environment.files = ["compose.yaml"])`
	_, err := parse(t, attached+fault+drawn, withRolling)
	if diff := cmp.Diff([]string{"t.toml:10:1: fault[0].kind" + problem, "t.toml:18:1: nemesis.fault[0].kind" + problem}, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	_, err = parse(t, base+fault+drawn, withRolling, func(o *scenarios.Options) { o.Set = []string{"environment.attach=shop"} })
	if err == nil || !strings.Contains(err.Error(), "fault[0].kind"+problem) {
		t.Errorf("with --set: %v", err)
	}
}

func TestCheckServicesKnowsWhatAKindSaysOfItself(t *testing.T) {
	t.Parallel()
	text := `[[fault]]
kind = "rolling_update"
target = "web"
at = "0s"
for = "1s"
gate = [{ service = "web[4]", exec = ["x"] }, "probe.broker"]
[[fault]]
kind = "crash_loop"
target = ["web", "kafka"]
at = "0s"
count = 3
[[fault]]
kind = "restart"
target = "kafka"
at = "0s"
pick = "follower"
query = { exec = ["x"] }
[[fault]]
kind = "restart"
target = "web"
at = "0s"
pick = "follower"
query = { exec = ["x"] }
[[fault]]
kind = "scale"
target = "web"
at = "0s"
for = "1s"
pick = "follower"
query = { exec = ["x"] }
`
	want := []string{
		`t.toml:14:11: fault[0].gate[0].service: service "web" has 3 container(s), no number 4`,
		`t.toml:17:1: fault[1].target: service "kafka" has no restart policy, so nothing starts it again (give the service a restart policy, as in restart: unless-stopped)`,
		`t.toml:24:1: fault[2].pick: there is only one to choose from, so it has no follower`,
		`t.toml:37:1: fault[4].pick: there is only one to choose from, so it has no follower`,
	}
	if diff := cmp.Diff(want, lines(mustParse(t, base+text, withRolling).CheckServices(services()))); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestAQueryNamesAllCandidates(t *testing.T) {
	t.Parallel()
	candidates := []scenarios.Ref{{Service: "kafka1", Number: 1}, {Service: "kafka2", Number: 1}, {Service: "db", Number: 2}, {Service: "whole"}}
	for _, c := range []struct {
		name string
		q    scenarios.Query
		out  string
		want []scenarios.Ref
	}{
		{"each once, in their order", scenarios.Query{Matches: `\d`, Service: "kafka$0"}, "Isr: 2,1,3,2", candidates[:2]},
		{"a replica", scenarios.Query{Matches: `\d`, Service: "db[$0]"}, "1 2", candidates[2:3]},
		{"a whole service", scenarios.Query{Matches: `\w+`, Service: "$0"}, "whole", candidates[3:]},
		{"a whole service by one of its containers", scenarios.Query{Matches: `\d`, Service: "whole[$0]"}, "3", candidates[3:]},
		{"none", scenarios.Query{Matches: `\d`, Service: "kafka$0"}, "Isr: none, 7", nil},
	} {
		got := c.q.NamesAll(c.out, candidates)
		if diff := cmp.Diff(c.want, got, cmp.Transformer("empty", func(r []scenarios.Ref) []scenarios.Ref { return append([]scenarios.Ref{}, r...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestTheSchemaKnowsWhatAKindSaysOfItself(t *testing.T) {
	t.Parallel()
	o := options()
	withRolling(&o)
	schema := compileSchema(t, o)
	fault := func(kind, keys string) string {
		return base + "[[fault]]\nkind = \"" + kind + "\"\ntarget = \"web\"\nat = \"1s\"\n" + keys
	}
	gate := "\ngate = [\"probe.broker\"]"
	for text, accepted := range map[string]bool{
		fault("rolling_update", "for = \"1s\""+gate): true,
		fault("rolling_update", gate):                false,
		fault("pause", "for = \"1s\""+gate):          false,
		fault("pause", "for = \"1s\""):               true,
		fault("crash_loop", "count = 2"):             true,
	} {
		if err := schema.Validate(asJSON(t, text)); (err == nil) != accepted {
			t.Errorf("%s\n%v", text, err)
		}
	}
}
