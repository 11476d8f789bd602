package scenarios_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/drivers"
)

// leading is a fault on a leader.
func leading(more string) string {
	return "[[fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"1s\"\npick = \"leader\"\n" + more
}

// kindsOf lists the names of a list, as an error tells them.
func kindsOf[T any](list []T, name func(T) string) string {
	var names []string
	for _, x := range list {
		names = append(names, name(x))
	}
	return strings.Join(names, ", ")
}

// Every case is added to base, whose last line is 8; its own first line is 9.
func TestParseReportsEachProblemWithItsPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		text string
		want []string
	}{
		{"an unknown table", "[[faults]]\nkind = \"pause\"", []string{`t.toml:9:3: faults: unknown table (did you mean "fault"?)`}},
		{"an unknown key", "evry = \"1s\"", []string{`t.toml:9:1: probe.broker.evry: unknown key (did you mean "every"?)`}},
		{"a key in another case", "Every = \"1s\"", []string{`t.toml:9:1: probe.broker.Every: unknown key (did you mean "every"?)`}},
		{
			"several problems, in the order of the file",
			"timeout = 2\nduring = \"never\"\n[steady]\noperations = \"many\"\nfor = \"5\"",
			[]string{
				`t.toml:9:1: probe.broker.timeout: must be a duration, not an integer (write "8s")`,
				`t.toml:10:1: probe.broker.during: "never" is not one of must-hold, may-fail, must-fail`,
				`t.toml:12:1: steady.operations: must be an integer, not a string`,
				`t.toml:13:1: steady.for: "5" is not a duration (write a number and a unit, as in "8s" or "250ms")`,
			},
		},
		{"a syntax error", "x = [1\n[y]", []string{`t.toml:10:1: probe.broker.x: expected a comma (',') or array terminator (']'), but got '['`}},
		{"an unknown kind", "[[fault]]\nkind = \"puase\"\ntarget = \"kafka\"\nat = \"1s\"", []string{`t.toml:10:1: fault[0].kind: unknown kind "puase" (did you mean "pause"?)`}},
		{"an unknown kind near a planned one", "[[fault]]\nkind = \"latencies\"\ntarget = \"kafka\"\nat = \"1s\"", []string{`t.toml:10:1: fault[0].kind: unknown kind "latencies" (did you mean "latency"?)`}},
		{"a kind of a later version", "[[fault]]\nkind = \"latency\"\ntarget = \"a->b:1\"\nat = \"1s\"\ndelay = \"1s\"", []string{`t.toml:10:1: fault[0].kind: kind "latency" is not yet supported`}},
		{"a probe of a later version", "[probe.db]\nkind = \"sql\"", []string{`t.toml:10:1: probe.db.kind: "sql" is not yet supported (write one of tcp, http, exec, command, log)`}},
		{"links", "[[link]]\nfrom = \"*\"\nto = \"kafka:9092\"\n[[link]]\nfrom = \"a\"\nto = \"kafka:9092\"", nil},
		{"a wrong key in a link", "[[link]]\nform = \"*\"\nto = \"kafka:9092\"", []string{
			`t.toml:9:3: link[0].from: missing (a service or a glob, "workload" for the clients of all workloads, "workload.<name>" for those of one, "probes", or "*" for all but the other side)`,
			`t.toml:10:1: link[0].form: unknown key (did you mean "from"?)`,
		}},
		{
			"a nemesis",
			"[nemesis]\ncount = 12\ninterval = [\"3s\", \"10s\"]\nat_once = 1\ngate = [\"probe.broker\", { exec = [\"x\"], service = \"kafka\", matches = \"y\" }]\n" +
				"[[nemesis.fault]]\nweight = 3\nkind = \"kill\"\ntarget = \"kafka*\"\npick = \"leader\"\nsignal = \"SIGTERM\"\nquery = { exec = [\"x\"] }\n" +
				"[[nemesis.fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nfor = \"1s\"\nobserved_by = [\"orders\"]",
			nil,
		},
		{"a nemesis for a time", "[nemesis]\ntime_limit = \"5m\"\ninterval = [\"3s\", \"3s\"]\n[[nemesis.fault]]\nkind = \"kill\"\ntarget = \"kafka*\"", nil},
		{"an empty nemesis", "[nemesis]", []string{
			`t.toml:9:2: nemesis.interval: missing (least and longest time between the end of one and the start of the next, and before the first; each is drawn from between)`,
			`t.toml:9:2: nemesis.fault: missing (the faults to draw from)`,
			`t.toml:9:2: nemesis.count: missing (how many faults: count = 12, or time_limit = "5m")`,
		}},
		{"wrong keys in a nemesis", "[nemesis]\ncounts = 12\ninterval = [\"1s\", \"2s\"]\n[[nemesis.fault]]\nkind = \"kill\"\ntarget = \"kafka*\"\nsignl = \"SIGTERM\"\nat = \"1s\"", []string{
			`t.toml:9:2: nemesis.count: missing (how many faults: count = 12, or time_limit = "5m")`,
			`t.toml:10:1: nemesis.counts: unknown key (did you mean "count"?)`,
			`t.toml:15:1: nemesis.fault[0].signl: unknown key (did you mean "signal"?)`,
			`t.toml:16:1: nemesis.fault[0].at: unknown key (known: down, for, kind, observed_by, pick, query, signal, target, weight)`,
		}},
		{
			"the numbers of a nemesis",
			"[[fault]]\nid = \"nemesis-1\"\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"1s\"\n" +
				"[nemesis]\ncount = 0\ntime_limit = \"1m\"\ninterval = [\"3s\", \"1s\"]\nat_once = 0\ngate = [\"probe.brokr\", \"broker\", { exec = [], service = \"k*\", matches = \"(\" }, { exec = [\"x\"] }]\n" +
				"[[nemesis.fault]]\nweight = 0\nkind = \"pause\"\ntarget = \"kafka\"\n[[nemesis.fault]]\nkind = \"cpu_limit\"\ntarget = \"a->b:1\"\nfor = \"1s\"\ncpus = 0\nobserved_by = [\"order\"]",
			[]string{
				`t.toml:10:1: fault[0].id: "nemesis-1" is a name of the nemesis' own faults (use another)`,
				`t.toml:16:1: nemesis.time_limit: excludes count (a nemesis has exactly one of the two)`,
				`t.toml:17:19: nemesis.interval[1]: 1s is shorter than the least, 3s`,
				`t.toml:18:1: nemesis.at_once: must be at least 1`,
				`t.toml:19:9: nemesis.gate[0]: there is no probe "brokr" (did you mean "broker"?)`,
				`t.toml:19:24: nemesis.gate[1]: "broker" is no probe (write "probe.<name>" or a query { service, exec, matches })`,
				`t.toml:19:36: nemesis.gate[2].exec: is empty (write the command and its arguments)`,
				`t.toml:19:47: nemesis.gate[2].service: "k*" is no service (as in "kafka" or "kafka[2]")`,
				"t.toml:19:63: nemesis.gate[2].matches: missing closing ): `(`",
				`t.toml:19:80: nemesis.gate[3].service: missing (where to run the command: a service, or service[2])`,
				`t.toml:20:11: nemesis.fault[0].for: missing (how long the fault holds, as in for = "8s")`,
				`t.toml:21:1: nemesis.fault[0].weight: must be at least 1`,
				`t.toml:26:1: nemesis.fault[1].target: "a->b:1" is a link; cpu_limit takes a service`,
				`t.toml:28:1: nemesis.fault[1].cpus: must be above 0`,
				`t.toml:29:16: nemesis.fault[1].observed_by[0]: there is no workload or probe "order" (did you mean "orders"?)`,
			},
		},
		{"a nemesis of no fault, and of too many", "[nemesis]\ncount = 10001\ninterval = [\"0s\", \"1s\"]\nfault = []", []string{
			`t.toml:10:1: nemesis.count: must be at most 10000`,
			`t.toml:11:13: nemesis.interval[0]: must be longer than 0s`,
			`t.toml:12:1: nemesis.fault: is empty: there is nothing to draw (add a [[nemesis.fault]])`,
		}},
		{"a time that is too short", "[nemesis]\ntime_limit = \"3s\"\ninterval = [\"3s\", \"4s\"]\n[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"kafka*\"", []string{
			`t.toml:10:1: nemesis.time_limit: no fault starts within 3s: the least interval is 3s`,
		}},
		{"a time that is too long", "[nemesis]\ntime_limit = \"3h\"\ninterval = [\"1s\", \"4s\"]\n[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"kafka*\"", []string{
			`t.toml:10:1: nemesis.time_limit: more than 10000 faults could start (raise the interval's least time)`,
		}},
		{"three durations", "[nemesis]\ncount = 1\ninterval = [\"1s\", \"2s\", \"3s\"]\n[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"kafka*\"", []string{
			`t.toml:11:1: nemesis.interval: must be two durations, the least and the longest (as in ["3s", "10s"])`,
		}},
		{"pick = leader with a query", leading("query = { exec = [\"x\"], matches = \"L: (\\\\d+) (?P<n>x)\", service = \"kafka$1[$n]\" }"), nil},
		{"pick = leader without one", leading(""), []string{
			`t.toml:14:1: fault[0].pick: needs query (what leader means: query = { exec = [...], matches = "Leader: (\\d+)", service = "kafka$1" })`,
		}},
		{"a query that nothing asks", strings.Replace(leading("query = { exec = [\"x\"] }"), "leader", "one", 1), []string{
			`t.toml:15:1: fault[0].query: needs pick = "leader", "follower" or "query" (nothing else asks it)`,
		}},
		{"what is wrong with a query", leading("query = { exec = [], matches = \"a(b)\", service = \"kafka$2\" }"), []string{
			`t.toml:15:11: fault[0].query.exec: is empty (write the command and its arguments)`,
			`t.toml:15:40: fault[0].query.service: $2 is no group of matches ($1 is the first; write $${1} where a letter, a digit or _ follows)`,
		}},
		{"a query without a command, and with a pattern that is none", leading("query = { matches = \"a(\" }"), []string{
			`t.toml:15:1: fault[0].query.exec: missing (a command to run in the target's containers, one after the other, until one answers: it exits 0, and its output matches; for pick = "query" without service, in all of them)`,
		}},
		{"for on stop", "[[fault]]\nkind = \"stop\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"1s\"\ndown = \"1s\"", []string{`t.toml:13:1: fault[0].for: stop is instantaneous (use down: the time until the target is started again)`}},
		{"for on restart", "[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"1s\"", []string{`t.toml:13:1: fault[0].for: restart is instantaneous (leave it out)`}},
		{"pause without for, at, target", "[[fault]]\nkind = \"pause\"", []string{
			`t.toml:9:3: fault[0].target: missing (a service, service[2], a link "web->db:5432", a glob (* and ?), or a list of these)`,
			`t.toml:9:3: fault[0].at: missing (when it starts: at = "5s", or after = "<fault id>")`,
			`t.toml:9:3: fault[0].for: missing (how long the fault holds, as in for = "8s")`,
		}},
		{"a fault without kind", "[[fault]]\ntarget = \"kafka\"\nat = \"1s\"\ncpus = 1", []string{`t.toml:9:3: fault[0].kind: missing (what happens; discompose faults lists the kinds)`}},
		{"for = 0s and a wrong type of for", "[[fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"0s\"\n[[fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = 8", []string{
			`t.toml:13:1: fault[0].for: must be longer than 0s`,
			`t.toml:18:1: fault[1].for: must be a duration, not an integer (write "8s")`,
		}},
		{"a kind's own keys", "[[fault]]\nkind = \"kill\"\ntarget = \"kafka\"\nat = \"1s\"\nsignal = \"SIGNAL\"\ncpus = 1", []string{
			`t.toml:13:1: fault[0].signal: "SIGNAL" is not one of SIGKILL, SIGTERM`,
			`t.toml:14:1: fault[0].cpus: unknown key`,
		}},
		{"what a kind's Validate finds", "[[fault]]\nkind = \"cpu_limit\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"1s\"\ncpus = 0\n[[fault]]\nkind = \"stop\"\ntarget = \"kafka\"\nat = \"1s\"", []string{
			`t.toml:14:1: fault[0].cpus: must be above 0`,
			`t.toml:15:3: fault[1].down: missing (as in "5s")`,
		}},
		{"every without times, and overlap", "[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"1s\"\nevery = \"1s\"\n[[fault]]\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"2s\"\nevery = \"2s\"\ntimes = 0\n[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"1s\"\ntimes = 2", []string{
			`t.toml:13:1: fault[0].every: needs times (how often to repeat it)`,
			`t.toml:19:1: fault[1].every: 2s is not longer than for = 2s: the fault would overlap itself`,
			`t.toml:20:1: fault[1].times: must be at least 1`,
			`t.toml:25:1: fault[2].times: needs every (the time from one start to the next)`,
		}},
		{"after", "[[fault]]\nid = \"a\"\nkind = \"restart\"\ntarget = \"kafka\"\nafter = \"b\"\n[[fault]]\nid = \"b\"\nkind = \"restart\"\ntarget = \"kafka\"\nafter = \"a\"\n[[fault]]\nid = \"c\"\nkind = \"restart\"\ntarget = \"kafka\"\nafter = \"b\"\n[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nafter = \"restrat\"", []string{
			`t.toml:13:1: fault[0].after: waits for itself: a → b → a`,
			`t.toml:18:1: fault[1].after: waits for itself: b → a → b`,
			`t.toml:27:1: fault[3].after: there is no fault "restrat" (did you mean "restart"?)`,
		}},
		{"ids", "[[fault]]\nid = \"a/b\"\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"0s\"\n[[fault]]\nid = \"x\"\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"0s\"\n[[fault]]\nid = \"x\"\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"0s\"", []string{
			`t.toml:10:1: fault[0].id: "a/b" is no name (use letters, digits, -, _ and ., and begin with a letter or digit)`,
			`t.toml:20:1: fault[2].id: "x" is taken (by the fault in line 14)`,
		}},
		{"targets", "[[fault]]\nkind = \"restart\"\ntarget = [\"kafka\", \"a->b:1\", \"kafka:/data\", \"kafka[0]\", \"a b\"]\nat = \"0s\"\n[[fault]]\nkind = \"restart\"\ntarget = []\nat = \"0s\"\n[[fault]]\nkind = \"restart\"\ntarget = 7\nat = \"0s\"", []string{
			`t.toml:11:20: fault[0].target[1]: "a->b:1" is a link; restart takes a service`,
			`t.toml:11:30: fault[0].target[2]: "kafka:/data" is a volume; restart takes a service`,
			`t.toml:11:45: fault[0].target[3]: "kafka[0]" is no service (as in "kafka", "kafka[2]" or "kafka*")`,
			`t.toml:11:57: fault[0].target[4]: "a b" is no service (as in "kafka", "kafka[2]" or "kafka*")`,
			`t.toml:15:1: fault[1].target: is empty (name a service)`,
			`t.toml:19:1: fault[2].target: must be a string or list of strings, not an integer (write "kafka" or ["a", "b"])`,
		}},
		{"observed_by", "[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"0s\"\nobserved_by = [\"orders\", \"brokr\"]\n[[fault]]\nkind = \"restart\"\ntarget = \"kafka\"\nat = \"0s\"\nobserved_by = []", []string{
			`t.toml:13:26: fault[0].observed_by[1]: there is no workload or probe "brokr" (did you mean "broker"?)`,
			`t.toml:18:1: fault[1].observed_by: is empty: nothing would observe the fault (leave it out for all workloads and probes)`,
		}},
		{"driver options", "[workload.o2]\ndriver = \"kafka\"\ntarget = \"kafka:9092\"\n[workload.o2.options]\npartions = 3\nacks = \"two\"\n[workload.o3]\ndriver = \"kafka\"\ntarget = \"kafka:9092\"\noptions = { partitions = 0 }\n[workload.o4]\ndriver = \"kafka\"\ntarget = \"kafka:9092\"\noptions = 3", []string{
			`t.toml:13:1: workload.o2.options.partions: unknown key (did you mean "partitions"?)`,
			`t.toml:14:1: workload.o2.options.acks: "two" is not one of all, 1, 0`,
			`t.toml:18:13: workload.o3.options.partitions: must be at least 1`,
			`t.toml:22:1: workload.o4.options: must be a table, not an integer`,
		}},
		{"workloads", "[workload.broker]\ndriver = \"kafka\"\ntarget = \"kafka\"\nclients = 0\nrate = -1\ntimeout = \"0s\"\n[workload.\"a b\"]\ndriver = \"kafkaa\"\ntarget = \"kafka:1\"", []string{
			`t.toml:9:11: workload.broker: a probe has the same name (observed_by and reports could not tell them apart)`,
			`t.toml:11:1: workload.broker.target: "kafka" is not service:port (as in "kafka:9092")`,
			`t.toml:12:1: workload.broker.clients: must be at least 1`,
			`t.toml:13:1: workload.broker.rate: must not be negative (0 is as fast as answers come)`,
			`t.toml:14:1: workload.broker.timeout: must be longer than 0s`,
			`t.toml:15:11: workload."a b": "a b" is no name (use letters, digits, -, _ and ., and begin with a letter or digit)`,
			`t.toml:16:1: workload."a b".driver: "kafkaa" is not one of ` + kindsOf(drivers.All(), func(d workload.Spec) string { return d.Name }) + ` (did you mean "kafka"?)`,
		}},
		{"a workload and a probe of one name", "[probe.orders]\nkind = \"tcp\"\ntarget = \"kafka:1\"", []string{`t.toml:3:11: workload.orders: a probe has the same name (observed_by and reports could not tell them apart)`}},
		{"probes", "match = \"x\"\n[probe.a]\nkind = \"http\"\ntarget = \"web:80\"\nmatch = \"(\"\nstatus = [99]\n[probe.b]\nkind = \"exec\"\ntarget = \"kafka*\"\n[probe.c]\nkind = \"command\"\ntarget = \"x\"\ncommand = []\n[probe.d]\nkind = \"log\"\ntarget = \"kafka\"\nevery = \"0s\"", []string{
			`t.toml:9:1: probe.broker.match: a probe of kind tcp has no match`,
			`t.toml:12:1: probe.a.target: "web:80" is no URL (as in "http://web:8080/health", whose host is a service)`,
			"t.toml:13:1: probe.a.match: missing closing ): `(`",
			`t.toml:14:11: probe.a.status[0]: 99 is no HTTP status`,
			`t.toml:15:8: probe.b.command: missing: a probe of kind exec needs it (exec, command: the command; it holds if it exits 0 and match matches)`,
			`t.toml:17:1: probe.b.target: "kafka*" is no service (as in "kafka" or "kafka[2]")`,
			`t.toml:20:1: probe.c.target: a probe of kind command has no target`,
			`t.toml:21:1: probe.c.command: is empty`,
			`t.toml:22:8: probe.d.match: missing: a probe of kind log needs it (http, exec, command, log: a regular expression that the body, output or a new line must match)`,
			`t.toml:25:1: probe.d.every: must be longer than 0s`,
		}},
		{"checks", "[[check]]\nkind = \"log\"\n[[check]]\nkind = \"log\"\nworkload = \"order\"\n[[check]]\nkind = \"lgo\"\nworkload = \"orders\"", []string{
			`t.toml:9:3: check[0].workload: missing (whose operations it judges)`,
			`t.toml:13:1: check[1].workload: there is no workload "order" (did you mean "orders"?)`,
			`t.toml:15:1: check[2].kind: "lgo" is not one of ` + kindsOf(oracle.Kinds(), func(k oracle.Kind) string { return k.Name }) + ` (did you mean "log"?)`,
		}},
		{"options of checks", "[[check]]\nkind = \"set\"\nworkload = \"orders\"\noptions = { stael = \"allow\" }\n[[check]]\nkind = \"set\"\nworkload = \"orders\"\noptions = { stale = \"yes\" }\n[[check]]\nkind = \"log\"\nworkload = \"orders\"\noptions = { x = 1 }", []string{
			`t.toml:12:13: check[0].options.stael: unknown key (did you mean "stale"?)`,
			`t.toml:14:1: check[1].kind: there is a set check of orders already`,
			`t.toml:16:13: check[1].options.stale: "yes" is not one of fail, allow`,
			`t.toml:20:13: check[2].options.x: unknown key (known: isolation)`,
		}},
		{"a URL that is not HTTP", "[probe.ftp]\nkind = \"http\"\ntarget = \"ftp://web/\"", []string{`t.toml:11:1: probe.ftp.target: "ftp://web/" is no URL (as in "http://web:8080/health", whose host is a service)`}},
		{"budgets", "[[fault]]\nid = \"freeze\"\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"1s\"\nobserved_by = [\"orders\"]\n[[budget]]\nphase = \"during\"\nfault = \"freeze\"\nworkload = \"orders\"\np99 = \"250ms\"\n[[budget]]\nphase = \"run\"\navailability = 0.99", nil},
		{"recovery in a phase that has none", "[[budget]]\nphase = \"run\"\nrecovery = \"2s\"", []string{
			`t.toml:11:1: budget[0].recovery: phase = "run" has no recovery (write phase = "after")`,
		}},
		{"wrong budgets", "[[fault]]\nid = \"freeze\"\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"1s\"\nobserved_by = [\"orders\"]\n[[budget]]\nphase = \"durin\"\nfault = \"freze\"\nworkload = \"order\"\navailability = 1.5\np50 = \"0s\"\n[[budget]]\nphase = \"run\"\nfault = \"freeze\"\n[[budget]]\nphase = \"after\"\nfault = \"freeze\"\nworkload = \"broker\"\nmax = 5\np95 = \"1s\"", []string{
			`t.toml:17:1: budget[0].phase: "durin" is not one of before, during, after, run (did you mean "during"?)`,
			`t.toml:18:1: budget[0].fault: there is no fault "freze" (did you mean "freeze"?)`,
			`t.toml:19:1: budget[0].workload: there is no workload or probe "order" (did you mean "orders"?)`,
			`t.toml:20:1: budget[0].availability: 1.5 is not in [0,1] (it is a ratio, as in 0.99)`,
			`t.toml:21:1: budget[0].p50: must be longer than 0s (leave it out to bound nothing)`,
			`t.toml:22:3: budget[1]: it bounds nothing (set availability, p50, p99, max or recovery)`,
			`t.toml:24:1: budget[1].fault: phase = "run" is not about a fault (leave it out)`,
			`t.toml:28:1: budget[2].workload: broker does not observe freeze (add it to observed_by of the fault)`,
			`t.toml:29:1: budget[2].max: must be a duration, not an integer (write "8s")`,
			`t.toml:30:1: budget[2].p95: unknown key (did you mean "p99"?)`,
		}},
		{"a budget without a fault", "[[budget]]\nphase = \"before\"\np50 = \"1s\"", []string{`t.toml:10:1: budget[0].phase: the scenario has no fault (write "run", or add a [[fault]])`}},
		{"expectations", "[expect]\nverdict = \"dataloss\"\navailability = 1.5\nerrors_only_during = \"always\"\nmax_recovery = \"0s\"\nmin_rate = -1\n[recovery]\nwithin = \"0s\"\n[steady]\nfor = \"60s\"\noperations = 0\n[guard]\nprobes = 0", []string{
			`t.toml:10:1: expect.verdict: "dataloss" is neither pass nor a class (did you mean "data-loss"?)`,
			`t.toml:11:1: expect.availability: 1.5 is not in [0,1] (it is a ratio, as in 0.5)`,
			`t.toml:12:1: expect.errors_only_during: "always" is not one of faults`,
			`t.toml:13:1: expect.max_recovery: must be longer than 0s (leave it out to expect nothing)`,
			`t.toml:14:1: expect.min_rate: must not be negative`,
			`t.toml:16:1: recovery.within: must be longer than 0s`,
			`t.toml:18:1: steady.for: 1m is not shorter than within = 1m`,
			`t.toml:19:1: steady.operations: must be at least 1`,
			`t.toml:21:1: guard.probes: must be at least 1`,
		}},
		{"steps", "[[setup]]\n[[setup]]\nservice = \"db\"\ncommand = [\"x\"]\n[[teardown]]\nexec = [\"x\"]\n[[teardown]]\ncommand = [\"x\"]\ntimeout = \"0s\"", []string{
			`t.toml:9:3: setup[0]: does nothing (write service (with or without exec), or command)`,
			`t.toml:12:1: setup[1].command: excludes service (a command runs on the host; exec runs in the service)`,
			`t.toml:13:3: teardown[0]: does nothing (write service (with or without exec), or command)`,
			`t.toml:17:1: teardown[1].timeout: must be longer than 0s`,
		}},
		{"a variable that is missing, and one that is none", "timeout = \"${TIMEOUT}\"\ntarget2 = \"${a-b}\"", []string{
			`t.toml:9:1: probe.broker.timeout: the environment has no variable TIMEOUT (set it, or write $${TIMEOUT} for the text itself)`,
			`t.toml:10:1: probe.broker.target2: "${a-b}" is no variable (write ${NAME}, or $${ for the text "${")`,
		}},
		{"expectations of leaks", "[expect]\nleak = { descriptors = -1 }\n", []string{`t.toml:10:10: expect.leak.descriptors: must not be negative`}},
		{"expectations of leaks without a number", "[expect.leak]\nsockets = 3\n", []string{
			`t.toml:9:9: expect.leak.descriptors: missing (descriptors (files, sockets, pipes) of all its processes together)`,
			`t.toml:10:1: expect.leak.sockets: unknown key (known: descriptors)`,
		}},
		{"types", "[expect]\ncrashes = \"kafka\"\navailability = \"half\"\nmin_rate = nan\n[environment.env]\nA = 1\n[guard]\noperations = 1.5\n[workload.orders.x]\n[[workload.orders.y]]", []string{
			`t.toml:10:1: expect.crashes: must be a list of strings, not a string`,
			`t.toml:11:1: expect.availability: must be a number, not a string`,
			`t.toml:12:1: expect.min_rate: must be a finite number`,
			`t.toml:14:1: environment.env.A: must be a string, not an integer`,
			`t.toml:16:1: guard.operations: must be an integer, not a number`,
			`t.toml:17:18: workload.orders.x: unknown table (known: clients, containers, driver, options, phase, rate, target, timeout)`,
			`t.toml:18:19: workload.orders.y: unknown table (known: clients, containers, driver, options, phase, rate, target, timeout)`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, base+c.text)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseReportsWhatTheWholeFileLacks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"an empty file", "", []string{
			`t.toml:1:1: environment: names no environment (write use = "kafka", files = ["compose.yaml"] or attach = "project")`,
			`t.toml:1:1: nothing observes the system (add a [workload.<name>] or a [probe.<name>])`,
		}},
		{"two environments", "[environment]\nuse = \"kafka\"\nattach = \"p\"\nready = \"0s\"\nshare = [\"volumes:x\"]\npublish = [\"web\"]\n[probe.a]\nkind = \"tcp\"\ntarget = \"a:1\"\n", []string{
			`t.toml:3:1: environment.attach: excludes use (an environment has exactly one of use, files and attach)`,
			`t.toml:4:1: environment.ready: must be longer than 0s`,
			`t.toml:5:10: environment.share[0]: "volumes:x" is no item (write "volume:name", "bind:/path", "network:name", "port:service", "logging:service" or "container:name")`,
			`t.toml:6:12: environment.publish[0]: "web" is not service:port (as in "kafka:9092")`,
		}},
		{"no tables where tables belong", "environment = 3\nworkload = { x = 3, y = { driver = \"kafka\", target = \"a:1\", options = [] } }\nprobe = []\nfault = [1, {}]\nsteady = \"x\"\nnemesis = 1\nlink = [1]\n", []string{
			`t.toml:1:1: environment: must be a table, not an integer`,
			`t.toml:2:14: workload.x: must be a table, not an integer`,
			`t.toml:2:61: workload.y.options: must be a table, not a list`,
			`t.toml:3:1: probe: must be a table of tables, not a list`,
			`t.toml:4:10: fault[0]: must be a table, not an integer`,
			`t.toml:4:13: fault[1].kind: missing (what happens; discompose faults lists the kinds)`,
			`t.toml:4:13: fault[1].target: missing (a service, service[2], a link "web->db:5432", a glob (* and ?), or a list of these)`,
			`t.toml:4:13: fault[1].at: missing (when it starts: at = "5s", or after = "<fault id>")`,
			`t.toml:5:1: steady: must be a table, not a string`,
			`t.toml:6:1: nemesis: must be a table, not an integer`,
			`t.toml:7:9: link[0]: must be a table, not an integer`,
		}},
		{"an unknown environment", "environment.use = \"kafak\"\nprobe.a = { kind = \"tcp\", target = \"a:1\" }\n", []string{
			`t.toml:1:13: environment.use: there is no shipped environment "kafak" (did you mean "kafka"?)`,
		}},
		{"another name than the file's", "name = \"u\"\nenvironment.files = []\nprobe.a = { kind = \"tcp\", target = \"a:1\" }\n[[check]]\nkind = \"log\"\nworkload = \"w\"", []string{
			`t.toml:1:1: name: "u" is not the file's name (write "t" or leave it out)`,
			`t.toml:2:13: environment.files: is empty (name a Compose file)`,
			`t.toml:6:1: check[0].workload: the scenario has no workload (add [workload.<name>]: a check judges its operations)`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, c.text)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachErrorCanBeFoundByItsType(t *testing.T) {
	t.Parallel()
	_, err := parse(t, base+"x = 1\ny = 2")
	var all scenarios.Errors
	var one *scenarios.Error
	if !errors.As(err, &all) || len(all) != 2 || !errors.As(err, &one) {
		t.Fatalf("%v is not two scenarios.Error", err)
	}
	if one.File != "t.toml" || one.Row != 9 || one.Col != 1 || one.Key != "probe.broker.x" {
		t.Errorf("first error is %+v", one)
	}
}

func TestParseFillsInDefaultsAndParams(t *testing.T) {
	t.Parallel()
	s := mustParse(t, base+`[workload.orders.options]
topic = "${TOPIC}-$$-$1"
[[fault]]
kind = "kill"
target = "kafka"
at = "1s"
[[fault]]
id = "pause"
kind = "cpu_limit"
target = ["a", "b*"]
after = "kill"
for = "2s"
cpus = 1
[[fault]]
kind = "pause"
target = "kafka[2]"
at = "0s"
for = "1s"
every = "3s"
times = 2
`)
	type row struct {
		id, pick string
		line     int
		params   any
	}
	if at := s.Fault[1].At; at == nil || *at != 0 {
		t.Errorf("with after, at is %v by default", at)
	}
	var got []row
	for _, f := range s.Fault {
		got = append(got, row{f.ID, f.Pick, f.Line, f.Params})
	}
	want := []row{{"kill", "all", 11, &kill{Signal: "SIGKILL"}}, {"pause", "all", 15, &cpu{CPUs: 1}}, {"pause-2", "all", 22, &pause{}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{}, kill{}, cpu{}, pause{})); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	p, w := s.Probe["broker"], s.Workload["orders"]
	yes := true
	if diff := cmp.Diff(&driverOptions{"billing-$-$1", 3, "all", &yes, optionsOf(t, w).DeliveryTimeout, 1, 256}, w.Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if s.Name != "t" || s.Environment.Ready.Std() != 2*time.Minute || !*s.Environment.Fallback || s.Expect.Verdict != "pass" || s.Recovery.Within.Std() != 30*time.Second ||
		s.Steady.Operations != 20 || s.Guard.Probes != 5 || p.During != "may-fail" || p.Every.Std() != time.Second || w.Clients != 1 || len(p.Status) != 1 || p.Status[0] != 200 {
		t.Errorf("defaults are not filled in: %+v", s)
	}
	if s.Places["fault[1].for"] != (scenarios.Place{File: "t.toml", Row: 20, Col: 1}) {
		t.Errorf("fault[1].for is at %v", s.Places["fault[1].for"])
	}
	if string(s.Origin.Source[:13]) != "[environment]" {
		t.Errorf("source is %q", s.Origin.Source)
	}
}

func TestSetReplacesValues(t *testing.T) {
	t.Parallel()
	text := base + "[[fault]]\nid = \"freeze\"\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"2s\"\n"
	s := mustParse(t, text, func(o *scenarios.Options) {
		o.Set = []string{
			"workload.orders.rate=500", "fault.freeze.for=3s", "fault[0].at=4s", "seed=9", "expect.availability=1", "environment.env.A=1",
			"workload.orders.options.topic=${X}", "fault.0.target=web*", "tags=[\"a\", \"b\"]", "tags.1=c", "description=it is 5",
		}
	})
	f, w := s.Fault[0], s.Workload["orders"]
	got := []any{w.Rate, *f.For, *f.At, *s.Seed, *s.Expect.Availability, s.Environment.Env["A"], optionsOf(t, w).Topic, f.Target[0], s.Tags, s.Description}
	want := []any{500.0, 3 * time.Second, 4 * time.Second, int64(9), 1.0, "1", "${X}", "web*", []string{"a", "c"}, "it is 5"}
	for i := range want {
		if d, ok := got[i].(interface{ Std() time.Duration }); ok {
			got[i] = d.Std()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestSetReportsAPathThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	text := base + "[[fault]]\nid = \"freeze\"\nkind = \"pause\"\ntarget = \"kafka\"\nat = \"1s\"\nfor = \"2s\"\n"
	for set, want := range map[string]string{
		"workload.order.rate=5":    `--set workload.order.rate=5: workload.order: the scenario has no workload "order" (did you mean "orders"?)`,
		"workload.x=5":             `--set workload.x=5: workload.x: the scenario has no workload "x" (known: orders)`,
		"workload.orders.rat=5":    `--set workload.orders.rat=5: workload.orders.rat: unknown key (did you mean "rate"?)`,
		"fault.freze.for=3s":       `--set fault.freze.for=3s: fault: has no element "freze" (did you mean "freeze"?)`,
		"fault.freeze.fro=3s":      `--set fault.freeze.fro=3s: fault[0].fro: unknown key (did you mean "for"?)`,
		"fault[1].for=3s":          `--set fault[1].for=3s: fault: has no element "1" (known: freeze)`,
		"fault.freeze.for=3":       `--set fault.freeze.for=3: fault[0].for: "3" is not a duration (write a number and a unit, as in "8s" or "250ms")`,
		"check.log.timeout=3s":     `--set check.log.timeout=3s: check: is empty: the scenario has none`,
		"expekt.availability=1":    `--set expekt.availability=1: expekt: unknown key (did you mean "expect"?)`,
		"expect.availability.x=1":  `--set expect.availability.x=1: expect.availability: must be a number, not a table`,
		"probe.broker.kind.x=1":    `--set probe.broker.kind.x=1: probe.broker.kind: is not a table`,
		"nonsense":                 `--set nonsense: is not key=value (write --set workload.orders.rate=500)`,
		"a.=1":                     `--set a.=1: is not key=value (write --set workload.orders.rate=500)`,
		"include=[]":               `--set include=[]: include: cannot be set`,
		"guard.operations=many":    `--set guard.operations=many: guard.operations: must be an integer, not a string`,
		"probe.broker.during=soon": `--set probe.broker.during=soon: probe.broker.during: "soon" is not one of must-hold, may-fail, must-fail`,
	} {
		_, err := parse(t, text, func(o *scenarios.Options) { o.Set = []string{set} })
		if diff := cmp.Diff([]string{want}, lines(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", set, diff)
		}
	}
}

func TestIncludesShareTables(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  []string
	}{
		{"merged, through a second include and a second way", fstest.MapFS{
			"a/t.toml":  file("include = [\"_x.toml\", \"_y.toml\"]\n[environment]\nuse = \"kafka\"\n[workload.orders.options]\ntopic = \"t\"\n"),
			"a/_x.toml": file("include = [\"_y.toml\"]\n[environment]\nready = \"9s\"\n"),
			"a/_y.toml": file("[workload.orders]\ndriver = \"kafka\"\ntarget = \"kafka:9092\"\noptions = { partitions = 5 }\n"),
		}, nil},
		{"a key defined twice", fstest.MapFS{
			"a/t.toml":  file("include = [\"_x.toml\"]\n" + base),
			"a/_x.toml": file("[environment]\nuse = \"kafka\"\n[[check]]\nkind = \"log\"\nworkload = \"orders\"\n"),
		}, []string{`a/t.toml:3:1: environment.use: defined twice, also at a/_x.toml:2:1 (keep one of the two)`}},
		{"a cycle", fstest.MapFS{
			"a/t.toml":  file("include = [\"_x.toml\"]\n" + base),
			"a/_x.toml": file("include = [\n  \"t.toml\",\n]\n"),
		}, []string{`a/_x.toml:2:3: include[0]: includes itself: a/t.toml → a/_x.toml → a/t.toml`}},
		{"a file that is not there, one outside, and no string", fstest.MapFS{
			"a/t.toml": file("include = [\"_z.toml\", \"../../x.toml\", 7]\n"),
		}, []string{
			`a/t.toml:1:12: include[0]: read "_z.toml": no such file`,
			`a/t.toml:1:23: include[1]: "../../x.toml" is not below the scenario's folder`,
		}},
		{"problems in the included file", fstest.MapFS{
			"a/t.toml":  file("include = [\"_x.toml\"]\n[environment]\nuse = \"kafka\"\nx = 1\n"),
			"a/_x.toml": file("\n[workload.orders]\ndriver = \"kafka\"\ntarget = 7\n"),
		}, []string{
			`a/t.toml:4:1: environment.x: unknown key (known: attach, env, env_file, fallback, files, fresh, profiles, publish, ready, share, use)`,
			`a/_x.toml:4:1: workload.orders.target: must be a string, not an integer`,
		}},
		{"a syntax error in the included file, and nothing that follows from it", fstest.MapFS{
			"a/t.toml":  file("include = [\"_x.toml\"]\n"),
			"a/_x.toml": file("a = 1\na = 2\n"),
		}, []string{`a/_x.toml:2:1: a: Key 'a' has already been defined.`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := scenarios.Parse(c.files, "a/t.toml", options())
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Fatalf("errors (-want +got):\n%s", diff)
			}
			if err != nil {
				return
			}
			o := optionsOf(t, s.Workload["orders"])
			if o.Topic != "t" || o.Partitions != 5 || s.Environment.Ready.Std() != 9*time.Second || len(s.Include) != 2 {
				t.Errorf("not merged: %+v, %+v", o, s)
			}
		})
	}
}
