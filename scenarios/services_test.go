package scenarios_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
)

func services() []scenarios.Service {
	return []scenarios.Service{
		{Name: "kafka", Replicas: 1, Ports: []int{9092}, Restart: "no"},
		{Name: "kafka-ui", Replicas: 1, Restart: "always"},
		{Name: "web", Replicas: 3, Ports: []int{8080, 80}, HostPorts: map[int]int{8081: 80, 8082: 80}, Restart: "on-failure"},
		{Name: "idle", Replicas: 0},
	}
}

func TestCheckServicesReportsEachNameThatIsNotThere(t *testing.T) {
	t.Parallel()
	text := `environment = { files = ["compose.yaml"], publish = ["web:8080", "wbe:80"], share = ["port:webb", "volume:x"] }
setup = [{ service = "migrate", before = ["app"] }]
teardown = [{ service = "web", exec = ["x"] }]
expect.crashes = ["web", "consumer"]
[workload.orders]
driver = "kafka"
target = "kafak:9092"
[workload.others]
driver = "kafka"
target = "kafka:9093"
[probe.a]
kind = "http"
target = "http://wed/health"
[probe.b]
kind = "exec"
target = "web[4]"
command = ["x"]
[probe.c]
kind = "log"
target = "idle"
match = "x"
[probe.d]
kind = "tcp"
target = "web:8081"
[probe.e]
kind = "http"
target = "http://web:8082/"
[[fault]]
kind = "pause"
target = ["kafka", "web[3]", "kafka*", "db*", "kafka[2]"]
at = "0s"
for = "1s"
`
	err := mustParse(t, text).CheckServices(services())
	want := []string{
		`t.toml:1:66: environment.publish[1]: the environment has no service "wbe" (did you mean "web"?)`,
		`t.toml:1:86: environment.share[0]: the environment has no service "webb" (did you mean "web"?)`,
		`t.toml:2:12: setup[0].service: the environment has no service "migrate" (known: idle, kafka, kafka-ui, web)`,
		`t.toml:2:43: setup[0].before[0]: the environment has no service "app" (known: idle, kafka, kafka-ui, web)`,
		`t.toml:4:26: expect.crashes[1]: the environment has no service "consumer" (known: idle, kafka, kafka-ui, web)`,
		`t.toml:7:1: workload.orders.target: the environment has no service "kafak" (did you mean "kafka"?)`,
		`t.toml:13:1: probe.a.target: the environment has no service "wed" (did you mean "web"?)`,
		`t.toml:16:1: probe.b.target: service "web" has 3 container(s), no number 4`,
		`t.toml:20:1: probe.c.target: service "idle" has no container (it is scaled to 0)`,
		`t.toml:24:1: probe.d.target: port 8081 of service "web" is the host's (inside the container it is 80)`,
		`t.toml:27:1: probe.e.target: port 8082 of service "web" is the host's (inside the container it is 80)`,
		`t.toml:30:40: fault[0].target[3]: "db*" matches no service (known: idle, kafka, kafka-ui, web)`,
		`t.toml:30:47: fault[0].target[4]: service "kafka" has 1 container(s), no number 2`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// A Compose file need not mention every port that a service listens on: Kafka's for other services, a sidecar's, metrics.
func TestAPortThatNoFileMentionsIsDoubtedAndNotRefused(t *testing.T) {
	t.Parallel()
	text := `environment.files = ["compose.yaml"]
[workload.orders]
driver = "kafka"
target = "kafka:9093"
[probe.told]
kind = "tcp"
target = "kafka:9092"
[probe.page]
kind = "http"
target = "https://web/"
[probe.ui]
kind = "tcp"
target = "kafka-ui:8080"
[[fault]]
kind = "latency"
target = ["kafka-ui->kafka:9094", "web->kafk?:9095"]
at = "0s"
for = "9s"
`
	s := mustParse(t, text, withLinks)
	if err := s.CheckServices(services()); err != nil {
		t.Errorf("refused: %v", err)
	}
	want := []string{
		`t.toml:4:1: workload.orders.target: the Compose files do not mention port 9093 of service "kafka" (they mention 9092; a run finds out)`,
		`t.toml:10:1: probe.page.target: the Compose files do not mention port 443 of service "web" (they mention 80, 8080; a run finds out)`,
		`t.toml:16:11: fault[0].target[0]: the Compose files do not mention port 9094 of service "kafka" (they mention 9092; a run finds out)`,
		`t.toml:16:35: fault[0].target[1]: the Compose files do not mention port 9095 of any service that "kafk?" matches (a run finds out)`,
	}
	if diff := cmp.Diff(want, doubts(s, services())); diff != "" {
		t.Errorf("doubts (-want +got):\n%s", diff)
	}
	var routed []string
	for _, l := range s.Links(services()) {
		routed = append(routed, l.String())
	}
	if diff := cmp.Diff([]string{"kafka-ui->kafka:9094", "web->kafka:9095", "workload.orders->kafka:9093"}, routed); diff != "" {
		t.Errorf("routed (-want +got):\n%s", diff)
	}
}

func TestCheckServicesAcceptsWhatIsThere(t *testing.T) {
	t.Parallel()
	s := mustParse(t, base+"[[fault]]\nkind = \"pause\"\ntarget = \"k*\"\nat = \"0s\"\nfor = \"1s\"\n")
	if err := s.CheckServices(services()); err != nil {
		t.Errorf("errors:\n%v", err)
	}
}

func TestAScenarioWithoutAFaultIsRefused(t *testing.T) {
	t.Parallel()
	err := mustParse(t, base).CheckServices(services())
	if err == nil || !strings.Contains(err.Error(), "t.toml:1:1: there is no fault") {
		t.Errorf("error is %v", err)
	}
}

func TestAKillNeedsSomethingThatStartsItsTargetAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target, more, want string
	}{
		{"kafka", "", `t.toml:9:3: fault[0].down: missing: service "kafka" has no restart policy, so nothing starts it again (write down = "5s" to start it again after that time, or give the service a restart policy)`},
		{"*", "", `t.toml:9:3: fault[0].down: missing: service "kafka" has no restart policy, so nothing starts it again (write down = "5s" to start it again after that time, or give the service a restart policy)`},
		{"kafka", "down = \"1s\"", ""},
		{"web", "", ""},
		{"kafka-*", "", ""},
	} {
		s := mustParse(t, base+"[[fault]]\nkind = \"kill\"\ntarget = \""+c.target+"\"\nat = \"0s\"\n"+c.more)
		if got := strings.Join(lines(s.CheckServices(services())), "\n"); got != c.want {
			t.Errorf("kill of %s with %q:\n got %s\nwant %s", c.target, c.more, got, c.want)
		}
	}
}

func TestSelectResolvesTargets(t *testing.T) {
	t.Parallel()
	type refs = []scenarios.Ref
	for targets, want := range map[string]refs{
		"kafka":         {{Service: "kafka"}},
		"kafka*":        {{Service: "kafka"}, {Service: "kafka-ui"}},
		"k?fka":         {{Service: "kafka"}},
		"web[2],kafka*": {{Service: "web", Number: 2}, {Service: "kafka"}, {Service: "kafka-ui"}},
		"web[2],web[2]": {{Service: "web", Number: 2}},
		"web[2],web":    {{Service: "web"}},
		"web,web[2]":    {{Service: "web"}},
		"db*,nothing":   nil,
	} {
		got := scenarios.Fault{Target: strings.Split(targets, ",")}.Select(services())
		if diff := cmp.Diff(want, got, cmp.Transformer("empty", func(r refs) refs { return append(refs{}, r...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", targets, diff)
		}
	}
}
