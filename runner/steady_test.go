package runner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

const watched = `
[environment]
files = ["compose.yaml"]
[workload.orders]
driver = "kafka"
target = "kafka:9092"
[probe.down]
kind   = "tcp"
target = "kafka:9092"
during = "must-fail"
[probe.page]
kind   = "http"
target = "http://web/"
[steady]
operations = 3
[guard]
operations = 4
probes     = 2
`

// done makes n operations at an instant.
func done(name string, n int, at int64, outcome ledger.Outcome) []ledger.Op {
	var ops []ledger.Op
	for range n {
		op := ledger.Op{Workload: name, Func: ledger.FuncProduce, Invoke: at, Complete: at, Outcome: outcome}
		if outcome != ledger.OK {
			op.Error = "connection refused"
		}
		ops = append(ops, op)
	}
	return ops
}

func TestUnsteadySaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := testRun(t, watched)
	at := 100 * second
	for _, c := range []struct {
		ops  []ledger.Op
		want string
	}{
		{nil, "workload orders: 0 of 3 operations; probe down: no evaluation; probe page: no evaluation"},
		{done("orders", 2, at, ledger.OK), "workload orders: 2 of 3 operations; probe down: no evaluation; probe page: no evaluation"},
		{done("orders", 9, at-second, ledger.OK), "workload orders: 2 of 3 operations; probe down: no evaluation; probe page: no evaluation"},
		{append(done("orders", 1, at, ledger.OK), done("page", 1, at, ledger.OK)...), "probe down: no evaluation"},
		{done("down", 1, at, ledger.OK), ""},
		{done("page", 1, at, ledger.Failed), "probe page: connection refused"},
		{done("orders", 2, at, ledger.Unknown), "workload orders: 2 operations failed (connection refused); probe page: connection refused"},
	} {
		r.track.add(c.ops)
		if got := r.unsteady(at); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestUnrecoveredSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := testRun(t, watched)
	healed := 100 * second
	now := healed + 10*second
	if got := r.unrecovered(healed, healed+second/2); got != "a second of calm" {
		t.Errorf("half a second after the heal: %q", got)
	}
	for _, c := range []struct {
		ops  []ledger.Op
		want string
	}{
		{nil, "probe down: no evaluation; probe down: 0 of 2 evaluations; probe page: no evaluation; probe page: 0 of 2 evaluations; workload orders: nothing succeeds yet"},
		// What failed before the last second of calm does not count, what was invoked since the heal does.
		{
			append(done("down", 1, healed+second, ledger.Failed), done("page", 1, healed+second, ledger.Failed)...),
			"probe down: connection refused; probe down: 1 of 2 evaluations; probe page: connection refused; probe page: 1 of 2 evaluations; workload orders: nothing succeeds yet",
		},
		{append(done("down", 1, now, ledger.OK), done("page", 1, now, ledger.OK)...), "workload orders: nothing succeeds yet"},
		{done("orders", 3, now, ledger.OK), "workload orders: 3 of 4 operations"},
		{done("orders", 1, healed, ledger.OK), ""},
		{done("orders", 1, now, ledger.Failed), "workload orders: connection refused"},
	} {
		r.track.add(c.ops)
		if got := r.unrecovered(healed, now); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestProbesAloneNeedTheirOperationsTogether(t *testing.T) {
	t.Parallel()
	r := testRun(t, strings.Replace(watched, "[workload.orders]\ndriver = \"kafka\"\ntarget = \"kafka:9092\"\n", "", 1))
	now := 10 * second
	r.track.add(append(done("down", 1, now, ledger.OK), done("page", 2, now, ledger.OK)...))
	if got := r.unrecovered(0, now); got != "probes: 3 of 4 evaluations" {
		t.Errorf("three of four: %q", got)
	}
	r.track.add(done("page", 1, now, ledger.OK))
	if got := r.unrecovered(0, now); got != "" {
		t.Errorf("four of four: %q", got)
	}
}

func TestTheWaitForASteadyStateLeavesAGate(t *testing.T) {
	t.Parallel()
	quick := strings.Replace(watched, "[steady]", "[steady]\nfor = \"1ms\"\nwithin = \"50ms\"", 1)
	r := testRun(t, quick)
	err := r.waitSteady(t.Context())
	class, ok := classOf(err)
	if !ok || class != oracle.NoSteadyState || !strings.Contains(err.Error(), "no steady state within 50ms: workload orders: 0 of 3 operations; ") {
		t.Errorf("nothing runs: %v (class %s)", err, class)
	}
	for _, name := range []string{"orders", "page", "down"} {
		r.track.add(done(name, 3, r.clock.now()+60*second, ledger.OK))
	}
	if err := r.waitSteady(t.Context()); err != nil {
		t.Error(err)
	}
	var got []string
	for _, g := range history(t, r).Gates {
		got = append(got, fmt.Sprintf("%s %t %t", g.Name, g.Held, g.Note == ""))
	}
	if diff := cmp.Diff([]string{"steady state false false", "steady state true true"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheWaitForRecoveryEndsAtItsDeadlineWithoutAnError(t *testing.T) {
	t.Parallel()
	r := testRun(t, strings.Replace(watched, "[guard]", "[recovery]\nwithin = \"1ms\"\n[guard]", 1))
	if err := r.waitRecovered(t.Context(), r.clock.now()-60*second); err != nil {
		t.Errorf("the judge finds what is missing: %v", err)
	}
	for _, name := range []string{"orders", "page", "down"} {
		r.track.add(done(name, 4, r.clock.now()+60*second, ledger.OK))
	}
	if err := r.waitRecovered(t.Context(), r.clock.now()-2*second); err != nil {
		t.Error(err)
	}
	gates := history(t, r).Gates
	if len(gates) != 2 || gates[0].Held || !gates[1].Held || !strings.HasSuffix(gates[1].Note, " s after the last heal") {
		t.Errorf("gates: %+v", gates)
	}
}

func TestClassOfWhatEndedTheRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want oracle.Class
	}{
		{ErrInterrupted, oracle.Interrupted},
		{ErrTimeout, oracle.Interrupted},
		{ErrAgentLost, oracle.AgentLost},
		{errNotSteady, oracle.NoSteadyState},
		{faults.ErrUnsupported, oracle.NotSupported},
		{errors.Join(ErrInterrupted, &faults.HealError{Err: errors.New("x")}), oracle.Interrupted},
		{errors.Join(compose.ErrEngine, ErrAgentLost), oracle.AgentLost},
		{compose.ErrEngine, ""},
		{compose.ErrNotReady, ""},
		{errors.New("bug"), ""},
	} {
		class, ok := classOf(fmt.Errorf("stage: %w", c.err))
		if class != c.want || ok != (c.want != "") {
			t.Errorf("%v: class %q, %t, want %q", c.err, class, ok, c.want)
		}
	}
	if got := dirtyOf(fmt.Errorf("stage: %w", errors.Join(ErrInterrupted, &faults.HealError{Err: errors.New("x")}))); got == nil {
		t.Error("an undo that failed is lost behind the interrupt")
	}
	if got := dirtyOf(ErrInterrupted); got != nil {
		t.Errorf("dirty: %v", got)
	}
}

func TestTheRulesHaveEverythingThatTheJudgeNeeds(t *testing.T) {
	t.Parallel()
	s := scenario(t, `
[environment]
files = ["compose.yaml"]
[workload.orders]
driver = "kafka"
target = "kafka:9092"
rate   = 50
phase  = [{ at = "10s", rate = 5 }, { at = "20s", rate = 70 }]
[probe.page]
kind   = "http"
target = "http://web/"
during = "must-hold"
[[fault]]
id     = "freeze"
kind   = "pause"
target = ["web", "db"]
at     = "1s"
for    = "1s"
every  = "5s"
times  = 2
[[fault]]
kind        = "kill"
target      = "db"
at          = "3s"
observed_by = ["page"]
[recovery]
within = "9s"
[expect]
verdict            = "hang"
availability       = 0.5
errors_only_during = "faults"
max_recovery       = "2s"
min_rate           = 3.5
leak               = { descriptors = 40 }
crashes            = ["db"]
[steady]
for        = "2s"
operations = 6
[guard]
operations = 7
probes     = 8
[[budget]]
phase    = "during"
fault    = "freeze"
workload = "orders"
p50      = "1ms"
p99      = "2ms"
max      = "3ms"
[[budget]]
phase        = "run"
availability = 0.5
[[check]]
kind     = "log"
workload = "orders"
timeout  = "4s"
`)
	services := []compose.Service{{Name: "db", Replicas: 3, Restart: "always"}, {Name: "web", Replicas: 1}}
	p, err := NewPlan(s, ServicesOf(services), nil, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	half, rate, recovery, descriptors := 0.5, 3.5, 2*second, 40
	want := oracle.Rules{
		Expect: "hang", Availability: &half, ErrorsOnly: true, MaxRecovery: &recovery, MinRate: &rate, Crashes: []string{"db"}, Recovery: 9 * second, Descriptors: &descriptors,
		GuardOps: 7, GuardProbes: 8, SteadyOps: 6, SteadyFor: 2 * second,
		Workloads: map[string]oracle.WorkloadRule{"orders": {Driver: "kafka", Rate: 50, Phases: []oracle.PhaseRule{{Rate: 50}, {At: 10 * second, Rate: 5}, {At: 20 * second, Rate: 70}}}},
		Probes:    map[string]oracle.ProbeRule{"page": {During: "must-hold"}},
		Faults: map[string]oracle.FaultRule{
			"freeze": {Kind: "pause", Services: []string{"db", "web"}, ObservedBy: []string{"orders", "page"}, Line: 13},
			"kill":   {Kind: "kill", Instant: true, Stops: true, Services: []string{"db"}, ObservedBy: []string{"page"}, Line: 21},
		},
		Checks:  []oracle.CheckRule{{Kind: "log", Workload: "orders", Timeout: int64(4 * time.Second)}},
		Budgets: []oracle.BudgetRule{{Phase: "during", Fault: "freeze", Workload: "orders", P50: 1_000_000, P99: 2_000_000, Max: 3_000_000}, {Phase: "run", Availability: &half}},
	}
	if diff := cmp.Diff(want, rulesOf(p)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
