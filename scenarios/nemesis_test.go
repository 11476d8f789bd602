package scenarios_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
)

const drawn = `
[nemesis]
count = 3
interval = ["1s", "2s"]
gate = [{ service = "web[4]", exec = ["x"] }, { service = "db", exec = ["x"] }, "probe.broker", { service = "web[3]", exec = ["x"] }]
[[nemesis.fault]]
kind = "kill"
target = ["kafka", "wbe", "web[2]"]
pick = "leader"
query = { exec = ["x"], service = "kafak" }
[[nemesis.fault]]
kind = "restart"
target = "web*"
`

func TestCheckServicesLooksIntoTheNemesis(t *testing.T) {
	t.Parallel()
	want := []string{
		`t.toml:13:11: nemesis.gate[0].service: service "web" has 3 container(s), no number 4`,
		`t.toml:13:49: nemesis.gate[1].service: the environment has no service "db" (known: idle, kafka, kafka-ui, web)`,
		`t.toml:14:11: nemesis.fault[0].down: missing: service "kafka" has no restart policy, so nothing starts it again (write down = "5s" to start it again after that time, or give the service a restart policy)`,
		`t.toml:16:20: nemesis.fault[0].target[1]: the environment has no service "wbe" (did you mean "web"?)`,
		`t.toml:18:25: nemesis.fault[0].query.service: the environment has no service "kafak" (did you mean "kafka"?)`,
	}
	if diff := cmp.Diff(want, lines(mustParse(t, base+drawn).CheckServices(services()))); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestANemesisIsEnoughOfAFault(t *testing.T) {
	t.Parallel()
	text := "[nemesis]\ncount = 1\ninterval = [\"1s\", \"1s\"]\n[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"web\"\n"
	if err := mustParse(t, base+text).CheckServices(services()); err != nil {
		t.Error(err)
	}
}

func TestTheLinksOfANemesisAreRouted(t *testing.T) {
	t.Parallel()
	text := base + "[nemesis]\ncount = 1\ninterval = [\"1s\", \"1s\"]\n[[nemesis.fault]]\nkind = \"latency\"\ntarget = \"web->db:5432\"\nfor = \"1s\"\n"
	s := mustParse(t, text, withLinks)
	want := []scenarios.LinkRef{{From: "web", To: "db", Port: 5432}, {From: "workload.orders", To: "kafka", Port: 9092}}
	if diff := cmp.Diff(want, s.Links(nil)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestMostCountsWhatFitsIntoTheTime: at the least interval of 2 s, faults start at 2, 4, 6 … where they hold for no time.
func TestMostCountsWhatFitsIntoTheTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, limit, atOnce, faults string
		want                        int
	}{
		{"instantaneous", "10s", "1", "kind = \"restart\"", 4},
		{"a little longer", "10001ms", "1", "kind = \"restart\"", 5},
		{"two at once", "10s", "2", "kind = \"restart\"", 8},
		{"that hold for 2 s", "10s", "1", "kind = \"pause\"\nfor = \"2s\"", 2},
		{"that are down for 1 s", "10s", "1", "kind = \"stop\"\ndown = \"1s\"", 3},
		{"the shortest counts", "10s", "1", "kind = \"pause\"\nfor = \"2s\"\n[[nemesis.fault]]\ntarget = \"kafka\"\nkind = \"restart\"", 4},
	} {
		s := mustParse(t, base+"[nemesis]\ntime_limit = \""+c.limit+"\"\ninterval = [\"2s\", \"9s\"]\nat_once = "+c.atOnce+"\n[[nemesis.fault]]\ntarget = \"kafka\"\n"+c.faults)
		if got := s.Nemesis.Most(); got != c.want {
			t.Errorf("%s: %d faults, want %d", c.name, got, c.want)
		}
	}
}

func TestLimitNemesisReplacesCountAndTime(t *testing.T) {
	t.Parallel()
	text := base + "[nemesis]\ncount = 3\ninterval = [\"2s\", \"9s\"]\n[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"kafka\"\n"
	s := mustParse(t, text)
	if err := s.LimitNemesis(time.Minute); err != nil || s.Nemesis.Count != 0 || s.Nemesis.Most() != 29 {
		t.Errorf("%v, %+v", err, s.Nemesis)
	}
	for limit, want := range map[time.Duration]string{
		time.Second:   "no fault of its nemesis can start within 1s: its interval is at least 2s",
		9 * time.Hour: "more than 10000 faults of its nemesis could start within 9h",
	} {
		if err := s.LimitNemesis(limit); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", limit, err)
		}
	}
	if err := mustParse(t, base).LimitNemesis(time.Minute); err == nil {
		t.Error("a scenario without a nemesis takes a limit")
	}
}

func TestAQueryNamesACandidate(t *testing.T) {
	t.Parallel()
	candidates := []scenarios.Ref{{Service: "kafka1", Number: 1}, {Service: "kafka2", Number: 1}, {Service: "db", Number: 2}}
	for _, c := range []struct {
		name string
		q    scenarios.Query
		out  string
		want scenarios.Ref
		ok   bool
	}{
		{"by a group", scenarios.Query{Matches: `Leader: (\d+)`, Service: "kafka$1"}, "Topic: x Leader: 2 Replicas: 1", candidates[1], true},
		{"by a replica's number", scenarios.Query{Matches: `n=(?P<n>\d)`, Service: "db[$n]"}, "n=2", candidates[2], true},
		{"by its name", scenarios.Query{Matches: `\S+`, Service: "$0"}, "\nkafka1\n", candidates[0], true},
		{"no match", scenarios.Query{Matches: `Leader: (\d+)`, Service: "kafka$1"}, "Leader: none", scenarios.Ref{}, false},
		{"none of the candidates", scenarios.Query{Matches: `Leader: (\d+)`, Service: "kafka$1"}, "Leader: 3", scenarios.Ref{Service: "kafka3", Number: 1}, false},
		{"no name at all", scenarios.Query{Matches: `(x*)`, Service: "$1"}, "y", scenarios.Ref{Number: 1}, false},
	} {
		got, ok := c.q.Names(c.out, candidates)
		if ok != c.ok || got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, ok)
		}
	}
}
