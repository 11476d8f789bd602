package scenarios_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
)

// Every case is added to base, whose last line is 8; its own first line is 9.
func TestParseReportsLinksThatCannotBe(t *testing.T) {
	t.Parallel()
	const sides = ` (a service, a glob (* and ?), "workload", "workload.<name>" or "probes")`
	fault := func(targets string) string {
		return "[[fault]]\nkind = \"latency\"\ntarget = " + targets + "\nat = \"0s\"\nfor = \"1s\"\n"
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"sides of every form", "[[link]]\nfrom = \"workload.orders\"\nto = \"a:1\"\n[[link]]\nfrom = \"probes\"\nto = \"a:1\"\n[[link]]\nfrom = \"workload\"\nto = \"a:1\"\n[[link]]\nfrom = \"w?b*\"\nto = \"a:1\"\n", nil},
		{"sides that are none", "[[link]]\nfrom = \"a b\"\nto = \"kafka\"\n[[link]]\nfrom = \"web[2]\"\nto = \"k*:1\"\n[[link]]\nfrom = \"\"\nto = \"kafka:+1\"\n", []string{
			`t.toml:10:1: link[0].from: "a b" is no service` + sides,
			`t.toml:11:1: link[0].to: "kafka" is not service:port (as in "kafka:9092")`,
			`t.toml:13:1: link[1].from: "web[2]" is no service` + sides,
			`t.toml:14:1: link[1].to: "k*:1" is not service:port (as in "kafka:9092")`,
			`t.toml:16:1: link[2].from: "" is no service` + sides,
			`t.toml:17:1: link[2].to: "kafka:+1" is not service:port (as in "kafka:9092")`,
		}},
		{"keys that are missing, or of another type", "[[link]]\n[[link]]\nfrom = 7\nto = [\"a:1\"]\n", []string{
			`t.toml:9:3: link[0].from: missing (a service or a glob, "workload" for the clients of all workloads, "workload.<name>" for those of one, "probes", or "*" for all but the other side)`,
			`t.toml:9:3: link[0].to: missing (service:port)`,
			`t.toml:11:1: link[1].from: must be a string, not an integer`,
			`t.toml:12:1: link[1].to: must be a string, not a list`,
		}},
		{"a workload that is not there", "[[link]]\nfrom = \"workload.order\"\nto = \"kafka:9092\"\n[[link]]\nfrom = \"workload.x*\"\nto = \"kafka:9092\"\n", []string{
			`t.toml:10:1: link[0].from: there is no workload "order" (did you mean "orders"?)`,
			`t.toml:13:1: link[1].from: there is no workload "x*" (known: orders)`,
		}},
		{"targets of faults", fault(`["web->kafka:9092", "web->kafka", "web->kafka:http", "web->kafka:0", "web->a b:1", "->kafka:1", "web[2]->kafka:1", "a->b->c:1"]`), []string{
			`t.toml:11:30: fault[0].target[1]: "web->kafka" has no port (as in "web->db:5432")`,
			`t.toml:11:44: fault[0].target[2]: "http" is no port (as in "web->db:5432")`,
			`t.toml:11:63: fault[0].target[3]: "0" is no port (as in "web->db:5432")`,
			`t.toml:11:79: fault[0].target[4]: "a b" is no service that a link could go to (as in "web->db:5432")`,
			`t.toml:11:93: fault[0].target[5]: "" is no service` + sides,
			`t.toml:11:106: fault[0].target[6]: "web[2]" is no service` + sides,
			`t.toml:11:125: fault[0].target[7]: "b->c" is no service that a link could go to (as in "web->db:5432")`,
		}},
		{"a fault from clients that are not there", fault(`"workload.order->kafka:9092"`), []string{
			`t.toml:11:1: fault[0].target: there is no workload "order" (did you mean "orders"?)`,
		}},
		{"a link for a kind that takes services, and the other way round", fault(`["kafka", "kafka:9092"]`) + strings.Replace(fault(`"web->kafka:9092"`), "latency", "cut", 1), []string{
			`t.toml:11:11: fault[0].target[0]: "kafka" is a service; latency takes a link (a link is written as in "web->db:5432")`,
			`t.toml:11:20: fault[0].target[1]: "kafka:9092" is a volume; latency takes a link (a link is written as in "web->db:5432")`,
			`t.toml:16:1: fault[1].target: "web->kafka:9092" is a link; cut takes a service`,
		}},
		{"parameters that name services", "[[fault]]\nkind = \"cut\"\ntarget = \"kafka\"\nat = \"0s\"\nfor = \"1s\"\nfrom = [\"web\", \"workload\", \"a b\", \"workload.order\"]\nexcept = \"a:1\"\n", []string{
			`t.toml:14:28: fault[0].from[2]: "a b" is no service` + sides,
			`t.toml:14:35: fault[0].from[3]: there is no workload "order" (did you mean "orders"?)`,
			`t.toml:15:1: fault[0].except: "a:1" is no service` + sides,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, base+c.text, withLinks)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseReportsClientsThatTheScenarioHasNot(t *testing.T) {
	t.Parallel()
	text := `environment.files = ["compose.yaml"]
[probe.a]
kind = "log"
target = "web"
match = "x"
[[link]]
from = "workload"
to = "web:80"
[[link]]
from = "workload.x"
to = "web:80"
[[link]]
from = "probes"
to = "web:80"
[[fault]]
kind = "latency"
target = "probes->web:80"
at = "0s"
for = "1s"
`
	_, err := parse(t, text, withLinks)
	want := []string{
		`t.toml:7:1: link[0].from: the scenario has no workload (add [workload.<name>], or name a service)`,
		`t.toml:10:1: link[1].from: the scenario has no workload (add [workload.<name>], or name a service)`,
		`t.toml:13:1: link[2].from: no probe runs in a client container (only probes of kind tcp and http do)`,
		`t.toml:17:1: fault[0].target: no probe runs in a client container (only probes of kind tcp and http do)`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// Every case is added to base, whose last line is 8, and a fault that has nothing to do with links, in lines 9 to 13.
func TestCheckServicesReportsLinksThatCannotBe(t *testing.T) {
	t.Parallel()
	const known = ` (known: api, batch, db, db-backup, dns, idle, kafka, mon, mon2, side, web)`
	const host = ` is in the engine host's network (network_mode: host), so its connections cannot be routed`
	const paused = "[[fault]]\nid = \"other\"\nkind = \"pause\"\ntarget = \"web\"\nat = \"0s\"\nfor = \"1s\"\n"
	link := func(from, to string) string { return "[[link]]\nfrom = \"" + from + "\"\nto = \"" + to + "\"\n" }
	fault := func(targets string, more ...string) string {
		return "[[fault]]\nkind = \"latency\"\ntarget = " + targets + "\nat = \"0s\"\nfor = \"1s\"\n" + strings.Join(more, "")
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"links that can be", link("web", "db:5432") + link("workload", "db:6000") + link("*", "web:1") + link("probes", "kafka:9092") + link("side", "api:80"), nil},
		{"services that are not there", link("wbe", "kafak:9092") + link("wbe", "kafka:9092"), []string{
			`t.toml:17:1: link[0].to: the environment has no service "kafak" (did you mean "kafka"?)`,
			`t.toml:19:1: link[1].from: the environment has no service "wbe" (did you mean "web"?)`,
		}},
		{"a client that is nearly there", link("probs", "kafka:9092"), []string{
			`t.toml:16:1: link[0].from: the environment has no service "probs" (did you mean "probes"?)`,
		}},
		{"a service without a container", link("idle", "kafka:9092") + link("web", "idle:1"), []string{
			`t.toml:16:1: link[0].from: service "idle" has no container (it is scaled to 0)`,
			`t.toml:20:1: link[1].to: service "idle" has no container (it is scaled to 0)`,
		}},
		{"ports that no TCP connection reaches", link("web", "dns:53"), []string{
			`t.toml:17:1: link[0].to: port 53 of service "dns" is UDP (only TCP connections can be routed)`,
		}},
		{"a UDP port of the namespace", link("web", "db-backup:53"), []string{
			`t.toml:17:1: link[0].to: port 53 of service "db-backup" is UDP (only TCP connections can be routed)`,
		}},
		{"the host's network on either side", link("mon", "db:5432") + link("web", "mon2:9100") + link("mon2", "db:5432"), []string{
			`t.toml:16:1: link[0].from: service "mon"` + host,
			`t.toml:20:1: link[1].to: service "mon2"` + host,
			`t.toml:22:1: link[2].from: service "mon2"` + host,
		}},
		{"no network on either side", link("batch", "db:5432") + link("web", "batch:1"), []string{
			`t.toml:16:1: link[0].from: service "batch" has no network (network_mode: none)`,
			`t.toml:20:1: link[1].to: service "batch" has no network (network_mode: none)`,
		}},
		{"links to themselves", link("db", "db:5432") + link("db-backup", "db:5432") + link("db", "db-backup:5432"), []string{
			`t.toml:16:1: link[0].from: service "db" is linked to itself (connections inside one container cannot be routed)`,
			`t.toml:19:1: link[1].from: service "db-backup" is linked to itself: it shares a network namespace with "db" (connections inside one namespace cannot be routed)`,
			`t.toml:22:1: link[2].from: service "db" is linked to itself: it shares a network namespace with "db-backup" (connections inside one namespace cannot be routed)`,
		}},
		{"globs that match nothing", link("x*", "db:5432") + link("mon*", "db:5432") + link("db*", "db:5432"), []string{
			`t.toml:16:1: link[0].from: "x*" matches nothing whose connections to db:5432 could be routed`,
			`t.toml:19:1: link[1].from: "mon*" matches nothing whose connections to db:5432 could be routed`,
			`t.toml:22:1: link[2].from: "db*" matches nothing whose connections to db:5432 could be routed`,
		}},
		{"faults on links that can be", fault(`["web->db:5432", "*->web:9092", "workload->side:9092", "web->k*:9092", "probes->kafka:9092"]`), nil},
		{"faults on what is not there", fault(`["wbe->db:5432", "web->bd:5432", "web->x*:1", "web->dn*:53", "x*->db:5432", "batch->mon:1", "db->db-b*:5432"]`), []string{
			`t.toml:17:11: fault[1].target[0]: the environment has no service "wbe" (did you mean "web"?)`,
			`t.toml:17:27: fault[1].target[1]: the environment has no service "bd" (did you mean "db"?)`,
			`t.toml:17:43: fault[1].target[2]: "x*" matches no service` + known,
			`t.toml:17:56: fault[1].target[3]: port 53 of what "dn*" matches is UDP (only TCP connections can be routed)`,
			`t.toml:17:71: fault[1].target[4]: "x*" matches nothing whose connections to db:5432 could be routed`,
			`t.toml:17:86: fault[1].target[5]: service "mon"` + host,
			`t.toml:17:102: fault[1].target[6]: "db-b*" matches no service that connections of "db" could be routed to`,
		}},
		{"a fault on a link that is not declared", link("web", "db:5432") + fault(`["web->db:5432", "api->db:5432"]`), []string{
			`t.toml:20:27: fault[1].target[1]: no [[link]] covers api->db:5432 (add a [[link]] with from = "api" and to = "db:5432"; without any [[link]], the links that faults need are routed)`,
		}},
		{"a fault on more than is declared", link("w*", "db:5432") + fault(`"*->db:5432"`), []string{
			`t.toml:20:1: fault[1].target: no [[link]] covers api->db:5432 and 4 more (add a [[link]] with from = "*" and to = "db:5432"; without any [[link]], the links that faults need are routed)`,
		}},
		{"a fault on less than is declared", link("*", "db:5432") + fault(`["web->db:5432", "a*->db:5432"]`), nil},
		{"a fault on all of several that are declared", link("web", "db:5432") + link("workload", "db:5432") + fault(`"w*->db:5432"`), nil},
		{"links that nothing uses", fault(`["workload.orders->kafka:9092", "workload->db:5432"]`) + strings.Replace(fault(`"probes->web:80"`), "fault]]", "fault]]\nid = \"p\"", 1), []string{
			`t.toml:17:42: fault[1].target[1]: nothing uses this link: workload "orders" connects to kafka:9092 (a fault on it would have no effect)`,
			`t.toml:23:1: fault[2].target: nothing uses this link: no probe of kind tcp or http connects to web:80 (a fault on it would have no effect)`,
		}},
		{"a broker that its workload may be sent on to", fault(`"workload.orders->side:9092"`), nil},
		{"a probe's port by its URL's scheme", "[probe.page]\nkind = \"http\"\ntarget = \"http://web/x\"\n[probe.safe]\nkind = \"http\"\ntarget = \"https://web:8443/\"\n" +
			fault(`["probes->web:80", "probes->web:8443", "probes->web:443"]`), []string{
			`t.toml:23:49: fault[1].target[2]: nothing uses this link: no probe of kind tcp or http connects to web:443 (a fault on it would have no effect)`,
		}},
		{"targets that overlap", fault(`["web->db:5432", "*->db:5432", "web->db:5432"]`), []string{
			`t.toml:17:27: fault[1].target[1]: "*->db:5432" covers web->db:5432, and so does "web->db:5432" (a fault acts on a link once)`,
		}},
		{"targets that overlap and are picked from", fault(`["web->db:5432", "*->db:5432"]`, "pick = \"one\"\n"), nil},
		{"parameters that name services", "[[fault]]\nkind = \"cut\"\ntarget = \"kafka\"\nat = \"0s\"\nfor = \"1s\"\nfrom = [\"web\", \"*\", \"workload.orders\", \"probes\", \"wokload\", \"x*\", \"idle\", \"prob?s\"]\nexcept = \"wbe\"\n", []string{
			`t.toml:20:50: fault[1].from[4]: the environment has no service "wokload" (did you mean "workload"?)`,
			`t.toml:20:61: fault[1].from[5]: "x*" matches no service`,
			`t.toml:20:67: fault[1].from[6]: service "idle" has no container (it is scaled to 0)`,
			`t.toml:21:1: fault[1].except: the environment has no service "wbe" (did you mean "web"?)`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := mustParse(t, base+paused+c.text, withLinks).CheckServices(shop())
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPortOfASharedNamespaceMayBeAnothers(t *testing.T) {
	t.Parallel()
	services := []scenarios.Service{{Name: "app", Replicas: 1, NetworkMode: "service:front"}, {Name: "front", Replicas: 1, Ports: []int{80}}, {Name: "kafka", Replicas: 1, Ports: []int{9092}}}
	text := base + "[[link]]\nfrom = \"workload\"\nto = \"front:8080\"\n[[fault]]\nkind = \"pause\"\ntarget = \"front\"\nat = \"0s\"\nfor = \"9s\"\n"
	s := mustParse(t, text, withLinks)
	if d := doubts(s, services); len(d) > 0 {
		t.Errorf("app may listen on 8080 there, and does not tell: %v", d)
	}
	services[0].Ports = []int{9000}
	want := []string{`t.toml:11:1: link[0].to: the Compose files do not mention port 8080 of service "front" (they mention 80, 9000; a run finds out)`}
	if diff := cmp.Diff(want, doubts(s, services)); diff != "" {
		t.Errorf("doubts (-want +got):\n%s", diff)
	}
	services[1].HostPorts = map[int]int{8080: 9000}
	want = []string{`t.toml:11:1: link[0].to: port 8080 of service "front" is the host's (inside the container it is 9000)`}
	if diff := cmp.Diff(want, lines(s.CheckServices(services))); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// What Parse has reported already, ParsePartial's caller does not hear twice.
func TestCheckServicesLeavesToParseWhatIsParses(t *testing.T) {
	t.Parallel()
	text := base + `[[link]]
from = "workload.order"
to = "kafka:9092"
[[link]]
from = "a b"
to = "kafka"
[[fault]]
kind = "latency"
target = ["workload.order->kafka:9092", "x->kafka", "nosuch"]
at = "0s"
for = "1s"
[[fault]]
kind = "kill"
target = "a->web:1"
at = "0s"
[[fault]]
kind = "cut"
target = "kafka"
at = "0s"
for = "1s"
from = ["a b", "workload.order"]
`
	o := options()
	withLinks(&o)
	s, bad := scenarios.ParsePartial(fstest.MapFS{"t.toml": {Data: []byte(text)}}, "t.toml", o)
	if bad == nil {
		t.Fatal("it parses")
	}
	want := []string{`t.toml:17:53: fault[0].target[2]: the environment has no service "nosuch" (known: api, batch, db, db-backup, dns, idle, kafka, mon, mon2, side, web)`}
	if diff := cmp.Diff(want, lines(s.CheckServices(shop()))); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
