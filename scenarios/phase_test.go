package scenarios_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/drivers"
	"github.com/discompose/discompose/workload/s3"
)

func realDrivers(o *scenarios.Options) { o.Drivers = drivers.Options() }

// objects is a scenario of the s3 driver, whose own options are on lines 7 to 10.
const objects = `[environment]
use = "kafka"
[workload.objects]
driver = "s3"
target = "s3:9000"
rate = 10
[workload.objects.options]
bucket = "b"
puts = 7
keys = { count = 40, distribution = "hot", hot = 3 }
`

func TestAPhasesOptionsAreMergedIntoTheWorkloadsOwn(t *testing.T) {
	t.Parallel()
	s := mustParse(t, objects+`[[workload.objects.phase]]
at = "10s"
rate = 400
options = { puts = 0, deletes = 20, gets = 3, keys = { hot = 5 } }
[[workload.objects.phase]]
at = "20s"
options = { gets = 1 }
[[workload.objects.phase]]
at = "30s"
`, realDrivers)
	options := func(change func(o *s3.Options)) *s3.Options {
		o := s3.Options{Bucket: "b", Puts: new(7)}.WithDefaults()
		o.Gets, o.Ranges, o.Heads, o.Deletes, o.Lists = new(20), new(5), new(5), new(5), new(1)
		o.Keys = workload.KeyOptions{Count: 40, Distribution: "hot", Hot: 3}.WithDefaults()
		if change != nil {
			change(&o)
		}
		return &o
	}
	seconds := func(n int) units.Duration { return units.Duration(time.Duration(n) * time.Second) }
	w := s.Workload["objects"]
	want := []scenarios.Phase{
		{
			At: seconds(10), Rate: 400, Changes: []string{"deletes = 20", "gets = 3", "keys.hot = 5", "puts = 0"},
			Options: options(func(o *s3.Options) { o.Puts, o.Deletes, o.Gets, o.Keys.Hot = new(0), new(20), new(3), 5 }),
		},
		{At: seconds(20), Changes: []string{"gets = 1"}, Options: options(func(o *s3.Options) { o.Gets = new(1) })},
		{At: seconds(30)},
	}
	if diff := cmp.Diff(want, w.Phase); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(any(options(nil)), w.Options); diff != "" {
		t.Errorf("the workload's own options (-want +got):\n%s", diff)
	}
}

func TestPhasesReportEachProblemWithItsPlace(t *testing.T) {
	t.Parallel()
	const may = "(what may: keys.distribution, keys.skew, keys.hot, keys.share, keys.rotate, puts, gets, ranges, heads, deletes, lists)"
	const phase = "[[workload.objects.phase]]\n"
	head := func(driver, rest string) string {
		return "[environment]\nuse = \"kafka\"\n[workload.objects]\ndriver = \"" + driver + "\"\ntarget = \"x:1\"\n" + rest
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"what a driver needs all the time", objects + phase + "at = \"1s\"\noptions = { bucket = \"c\", gets = 1, keys = { count = 9 } }\n", []string{
			"t.toml:13:13: workload.objects.phase[0].options.bucket: cannot change in a phase " + may,
			"t.toml:13:46: workload.objects.phase[0].options.keys.count: cannot change in a phase " + may,
		}},
		{"a driver none of whose options may", head("nats", phase+"at = \"1s\"\noptions = { size = 99 }\n"), []string{
			"t.toml:8:13: workload.objects.phase[0].options.size: cannot change in a phase (no option of this driver may: leave options out)",
		}},
		{"an unknown key", objects + phase + "at = \"1s\"\noptions = { putts = 1 }\n", []string{
			`t.toml:13:13: workload.objects.phase[0].options.putts: unknown key (did you mean "puts"?)`,
		}},
		{"a wrong type", objects + phase + "at = \"1s\"\noptions = { puts = \"x\" }\n", []string{
			"t.toml:13:13: workload.objects.phase[0].options.puts: must be an integer, not a string",
		}},
		{"options that are no table", objects + phase + "at = \"1s\"\noptions = 3\n", []string{
			"t.toml:13:1: workload.objects.phase[0].options: must be a table, not an integer",
		}},
		{"what only the merged table has wrong", objects + phase + "at = \"1s\"\noptions = { keys = { hot = 500 } }\n", []string{
			"t.toml:13:13: workload.objects.phase[0].options.keys: hot = 500 is not between 1 and count = 40",
		}},
		{"no weight left", objects + phase + "at = \"1s\"\noptions = { puts = 0, gets = 0, ranges = 0, heads = 0, deletes = 0, lists = 0 }\n", []string{
			"t.toml:13:1: workload.objects.phase[0].options: writes: no operation has a weight above 0",
		}},
		{"the workload's own problem once", objects + "gats = 1\n" + phase + "at = \"1s\"\noptions = { puts = 0 }\n", []string{
			`t.toml:11:1: workload.objects.options.gats: unknown key (did you mean "gets"?)`,
		}},
		{"no time", objects + phase + "rate = 1\n", []string{
			"t.toml:11:20: workload.objects.phase[0].at: missing (when it begins, since the workload began to send, which is before the steady state and so before the timeline of the faults; later than the phase before)",
		}},
		{"the start", objects + phase + "at = \"0s\"\nrate = 1\n", []string{
			"t.toml:12:1: workload.objects.phase[0].at: 0s is not after 0s, when the workload begins",
		}},
		{"disorder", objects + phase + "at = \"9s\"\nrate = 1\n" + phase + "at = \"9s\"\nrate = 2\n", []string{
			"t.toml:15:1: workload.objects.phase[1].at: 9s is not after 9s, when the phase before begins",
		}},
		{"no rate at all", objects + phase + "at = \"9s\"\nrate = 0\n", []string{
			"t.toml:13:1: workload.objects.phase[0].rate: must be above 0 (leave it out to go on as before)",
		}},
		{"a rate of a closed loop", head("s3", phase+"at = \"9s\"\nrate = 5\n"), []string{
			"t.toml:8:1: workload.objects.phase[0].rate: the workload has no rate: it sends as fast as answers come (give the workload a rate, or leave out the phase's)",
		}},
		{"nothing", objects + phase + "at = \"9s\"\n" + phase + "at = \"10s\"\nrate = 10\noptions = {}\n", []string{
			"t.toml:11:20: workload.objects.phase[0]: changes nothing (write rate, or options)",
			"t.toml:13:20: workload.objects.phase[1]: changes nothing (write rate, or options)",
		}},
		{"a program", head("exec", "rate = 1\noptions = { command = [\"x\"], service = \"x\" }\n"+phase+"at = \"9s\"\nrate = 5\n"), []string{
			"t.toml:8:20: workload.objects.phase[0]: the driver exec has no phases (a program makes its own schedule: it is told one rate, when it starts)",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.text, realDrivers)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheSchemaKnowsWhatAPhaseMayChange(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t, shippedOptions())
	const phase = "[[workload.objects.phase]]\nat = \"1s\"\n"
	for text, ok := range map[string]bool{
		"rate = 5": true,
		"options = { puts = 0, keys = { hot = 5 } }": true,
		`options = { bucket = "c" }`:                 false,
		"options = { keys = { count = 9 } }":         false,
		"x = 1":                                      false,
	} {
		if err := schema.Validate(asJSON(t, objects+phase+text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := parse(t, objects+phase+text, realDrivers); (err == nil) != ok {
			t.Errorf("Parse of %s: %v", text, err)
		}
	}
	if reference := string(scenarios.Reference(drivers.Options())); strings.Count(reference, "[phase](#workloadnamephase)") < 30 ||
		!strings.Contains(reference, "## `[[workload.<name>.phase]]`") {
		t.Error("the reference does not say which options may change in a phase")
	}
}

// TestAWindowIsMeasuredByTheSlowestPhaseInWhichItMayBe: phases count from the first operation, faults from the steady state.
func TestAWindowIsMeasuredByTheSlowestPhaseInWhichItMayBe(t *testing.T) {
	t.Parallel()
	fault := func(when string) string {
		return "[[fault]]\nid = \"f\"\nkind = \"pause\"\ntarget = \"s3\"\nfor = \"1s\"\n" + when + "\n"
	}
	phases := func(lines ...string) (out string) {
		for _, l := range lines {
			out += "[[workload.objects.phase]]\n" + strings.ReplaceAll(l, ", ", "\n") + "\n"
		}
		return out
	}
	const steady = "[steady]\nfor = \"2s\"\nwithin = \"5s\"\n" // a fault at 10s is between 12s and 16s
	services := []scenarios.Service{{Name: "s3", Replicas: 1, Ports: []int{9000}}}
	for _, c := range []struct {
		name, text, doubt string
	}{
		{"without phases", fault(`at = "10s"`), "workload objects: 10 of the 20 operations"},
		{"the slow one is over", phases(`at = "12s", rate = 30`) + fault(`at = "10s"`), ""},
		{"the slow one may still be", phases(`at = "12001ms", rate = 30`) + fault(`at = "10s"`), "workload objects at 10/s: 10 of the 20 operations"},
		{"the slow one comes too late", phases(`at = "5s", rate = 30`, `at = "16001ms", rate = 3`) + fault(`at = "10s"`), ""},
		{"the slow one may have begun", phases(`at = "5s", rate = 30`, `at = "16s", rate = 3`) + fault(`at = "10s"`), "workload objects at 3/s: 3 of the 20 operations"},
		{"a fault in a slow phase between fast ones", phases(`at = "5s", rate = 30`, `at = "13s", rate = 3`, `at = "14s", rate = 30`) + fault(`at = "10s"`), "workload objects at 3/s"},
		{"a phase without a rate goes on as before", phases(`at = "5s", rate = 30`, `at = "12s", options = { puts = 1 }`) + fault(`at = "10s"`), ""},
		{"repeated, until a slow one", phases(`at = "5s", rate = 30`, `at = "60s", rate = 3`) + fault("at = \"10s\"\nevery = \"20s\"\ntimes = 3"), "workload objects at 3/s"},
		{"after another, at any time", phases(`at = "5s", rate = 30`, `at = "60s", rate = 3`) + fault(`at = "10s"`) + strings.Replace(fault(`after = "f"`), `"f"`, `"g"`, 1), "workload objects at 3/s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := mustParse(t, objects+c.text+steady, realDrivers).Doubts(services)
			if (c.doubt == "") != (len(got) == 0) || len(got) > 1 || c.doubt != "" && !strings.Contains(got.Error(), c.doubt) {
				t.Errorf("doubts %v, want %q", got, c.doubt)
			}
		})
	}
}
