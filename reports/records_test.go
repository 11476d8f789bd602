package reports_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

// base is t = 0 of every hand-built record on the host's boot-time clock; baseWall is the same instant on its wall clock.
const base = int64(1_000_000_000_000)

func baseWall() time.Time { return time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC) }

// at is an instant on the timeline.
func at(seconds float64) int64 { return base + int64(seconds*1e9) }

func rules() oracle.Rules {
	return oracle.Rules{
		Expect: "pass", Recovery: 30e9, GuardOps: 20, GuardProbes: 5, SteadyOps: 20, SteadyFor: 5e9,
		Workloads: map[string]oracle.WorkloadRule{"orders": {Driver: "kafka", Rate: 20}},
		Probes:    map[string]oracle.ProbeRule{"metadata": {During: "may-fail"}},
		Faults: map[string]oracle.FaultRule{"freeze": {
			Kind: "pause", Services: []string{"kafka"}, ObservedBy: []string{"metadata", "orders"}, Line: 21,
		}},
		Checks: []oracle.CheckRule{{Kind: "log", Workload: "orders", Timeout: 60e9}},
	}
}

func run(t *testing.T, rules oracle.Rules) ledger.Run {
	t.Helper()
	raw, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Run{
		V: 1, ID: "5eed1234", Scenario: "kafka_broker_pause",
		Description: "The broker freezes for 8 s. Every acknowledged record must arrive once, in order.",
		Source:      "shipped:kafka_broker_pause.toml", Args: []string{"discompose", "run", "kafka_broker_pause", "--set", "seed=7"},
		Version: "0.1.0 (abc1234)", Seed: 7, Project: "discompose-5eed1234", Started: "2026-03-14T09:26:40Z", Finished: "2026-03-14T09:27:31Z",
		Engine: ledger.Engine{
			Endpoint: "unix:///var/run/docker.sock", Version: "20.10.25", API: "1.41", OS: "linux", Arch: "amd64", Kernel: "6.1.0",
			Cgroup: "1", Storage: "overlay2", CPUs: 2, Memory: 8 << 30,
		},
		Services: []ledger.Service{
			{Name: "consumer", Image: "discompose:abc1234", Digest: "sha256:c0ffee", Replicas: 1},
			{Name: "kafka", Image: "apache/kafka:3.9.1", Digest: "apache/kafka@sha256:feed5eed", Replicas: 1},
		},
		Isolation:  []string{"host port 9092 of kafka is not published", "volume kafka_data (fixed name) is an empty volume of the run"},
		Mechanisms: map[string]string{"freeze": "Docker API"},
		Base:       base, BaseWall: baseWall().UnixNano(), ClockErrorNs: 180_000,
		Phases: []ledger.Phase{
			{Name: ledger.PhaseSetup, From: at(-13), To: at(-6)},
			{Name: ledger.PhaseSteady, From: at(-6), To: at(0)},
			{Name: ledger.PhaseTimeline, From: at(0), To: at(13.1)},
			{Name: ledger.PhaseRecovery, From: at(13.1), To: at(30)},
			{Name: ledger.PhaseDrain, From: at(30), To: at(34)},
			{Name: ledger.PhaseFinal, From: at(34), To: at(38)},
		},
		Rules: raw,
	}
}

func pause() ledger.Fault {
	return ledger.Fault{
		Record: "freeze", ID: "freeze", Kind: "pause", Target: "kafka", Container: "k1", Mechanism: "Docker API",
		Planned: at(5), Called: at(5.0021), Applied: at(5.031), Confirmed: at(5.142), Released: at(13.142), Gone: at(13.26),
	}
}

func pauseWitnesses() (active, gone ledger.Witness) {
	return ledger.Witness{
			Record: "freeze", Active: true, What: "cpu time of the container", Value: 0, Unit: "ns", Note: "kafka is frozen: its CPU time stood still for 100 ms", At: at(5.142),
		}, ledger.Witness{
			Record: "freeze", What: "cpu time of the container", Value: 4_312_000, Unit: "ns", Note: "kafka runs again", At: at(13.26),
		}
}

// traffic is 20 records and 5 probe evaluations per second from 0 s to 30 s; what is invoked while the broker is frozen
// completes just after, or fails.
func traffic() []ledger.Op {
	var ops []ledger.Op
	add := func(o ledger.Op, took float64) {
		o.ID = int64(len(ops) + 1)
		o.Planned = o.Invoke
		if o.Outcome == "" {
			o.Outcome, o.Complete = ledger.OK, o.Invoke+int64(took*1e9)
		}
		ops = append(ops, o)
	}
	for i := range 600 {
		s := float64(i) * 0.05
		o := ledger.Op{Workload: "orders", Process: i % 4, Func: ledger.FuncProduce, Value: int64(i%4)<<32 | int64(i/4+1), Partition: int32(i % 3), Offset: int64(i / 3), Invoke: at(s)}
		took := 0.004
		if s > 5.03 && s < 13.142 {
			took = 13.2 - s + float64(i%7)*0.02
		}
		if s > 7 && s < 7.5 {
			o.Outcome, o.Error, o.Offset, o.Complete = ledger.Failed, "record was not sent: request timed out", -1, at(s+1)
		}
		if s > 9 && s < 9.2 {
			o.Outcome, o.Error, o.Offset = ledger.Unknown, "", -1
		}
		add(o, took)
		if i%4 == 0 {
			p := ledger.Op{Workload: "metadata", Func: ledger.FuncProbe, Partition: -1, Offset: -1, Invoke: at(s)}
			if s > 5.03 && s < 13.142 {
				p.Outcome, p.Error, p.Complete = ledger.Failed, "dial kafka:9092: i/o timeout", at(s+2)
			}
			add(p, 0.001)
		}
	}
	return ops
}

func window() oracle.Window {
	active, gone := pauseWitnesses()
	return oracle.Window{
		Fault: pause(), From: at(5.142), To: at(13.142), Active: &active, Gone: &gone, Recovery: 318_000_000,
		Before: map[string]oracle.Stats{
			"orders":   {Invoked: 103, OK: 103, Seconds: 5.142, Rate: 20.03, P50: 4_000_000, P99: 6_100_000, Max: 7_000_000},
			"metadata": {Invoked: 26, OK: 26, Seconds: 5.142, Rate: 5.06, P50: 900_000, P99: 1_100_000, Max: 1_200_000},
		},
		Inside: map[string]oracle.Stats{
			"orders":   {Invoked: 160, OK: 148, Failed: 9, Unknown: 3, Seconds: 8, P50: 4_100_000_000, P99: 8_010_000_000, Max: 8_120_000_000},
			"metadata": {Invoked: 40, Failed: 40, Seconds: 8},
		},
		After: map[string]oracle.Stats{
			"orders":   {Invoked: 337, OK: 337, Seconds: 16.858, Rate: 28.8, P50: 4_000_000, P99: 12_000_000, Max: 190_000_000},
			"metadata": {Invoked: 84, OK: 84, Seconds: 16.858, Rate: 5, P50: 900_000, P99: 1_200_000, Max: 1_400_000},
		},
		Guards: []oracle.GuardCount{
			{Observer: "orders", Part: "before", Count: 103, Need: 20},
			{Observer: "orders", Part: "inside", Count: 160, Need: 20},
			{Observer: "orders", Part: "after", Count: 337, Need: 20},
			{Observer: "metadata", Part: "before", Count: 26, Need: 5},
			{Observer: "metadata", Part: "inside", Count: 40, Need: 5},
			{Observer: "metadata", Part: "after", Count: 84, Need: 5},
		},
	}
}

func mutants() []oracle.Mutant {
	return []oracle.Mutant{
		{Name: "lost acknowledged record", Class: oracle.DataLoss, Fate: oracle.Convicted, Note: "operation 412 is not in the final read"},
		{Name: "record at two offsets", Class: oracle.Duplicate, Fate: oracle.Convicted, Note: "operation 88 is read again at offset 200"},
		{Name: "two records of a producer swapped", Class: oracle.Order, Fate: oracle.Convicted, Note: "operations 13 and 17"},
		{Name: "record that was never sent", Class: oracle.Phantom, Fate: oracle.Convicted},
		{Name: "body of another record", Class: oracle.Corruption, Fate: oracle.NotTried},
	}
}

// degraded is a pause that the system got over.
func degraded(t *testing.T) *reports.Record {
	t.Helper()
	active, gone := pauseWitnesses()
	r := &reports.Record{
		Dir: "/home/anna/shop/runs/20260314T092640Z-kafka_broker_pause-5eed1234", Run: run(t, rules()), Rules: rules(),
		Judgement: oracle.Judgement{
			Verdict: oracle.Pass, Primary: oracle.Degraded,
			Findings: []oracle.Finding{{Class: oracle.Degraded, Reason: "12 operations of orders failed inside the window of freeze, which the scenario allows."}},
			Results: []oracle.Result{{
				Check: "log", Workload: "orders", Verdict: oracle.Pass, Mutants: mutants(),
				Counts: map[string]int64{"acknowledged": 588, "delivered": 589, "failed": 9, "unknown": 3, "partitions": 3},
			}},
			Windows:   []oracle.Window{window()},
			Overall:   oracle.Stats{Invoked: 750, OK: 698, Failed: 49, Unknown: 3, Seconds: 30, Rate: 23.3, P50: 4_000_000, P99: 8_010_000_000, Max: 8_120_000_000},
			Convicted: 4, Tried: 4,
		},
		History: &ledger.History{
			Ops: traffic(), Faults: []ledger.Fault{pause()}, Witnesses: []ledger.Witness{active, gone},
			Events: []ledger.Event{
				{At: at(-7), Source: "docker", Type: "start", Service: "kafka"},
				{At: at(0), Source: "runner", Type: "phase", Detail: "timeline"},
				{At: at(5.03), Source: "docker", Type: "pause", Service: "kafka"},
				{At: at(13.15), Source: "docker", Type: "unpause", Service: "kafka"},
			},
			Gates: []ledger.Gate{{At: at(13.4), Name: "metadata"}, {At: at(14.4), Name: "metadata", Held: true}},
		},
		Files: []string{"commands/", "events.jsonl", "journal.jsonl", "judgement.json", "ledger.sqlite", "logs/", "metrics/", "plan.txt", "run.json", "scenario.toml"},
	}
	r.Metrics = map[string]json.RawMessage{
		"after": json.RawMessage(`[{"service":"consumer","number":1,"time":30},{"service":"kafka","number":1,"running":true,"time":30,"cpu_ns":9100000000,` +
			`"throttled_periods":0,"memory_bytes":412000000,"memory_limit_bytes":1073741824,"pids":93,"received_bytes":912345,"sent_bytes":3456}]`),
		"before": json.RawMessage(`[{"service":"kafka","number":1,"running":true,"time":10,"cpu_ns":8200000000,"memory_bytes":401000000,"pids":90}]`),
		"other":  json.RawMessage(`{"of":"another shape"}`),
	}
	r.LogServices = []string{"consumer", "kafka"}
	r.Logs = logs(map[string][]reports.LogLine{
		"kafka": {
			{At: baseWall().Add(13300 * time.Millisecond), Text: "[2026-03-14 09:27:06,300] WARN Session expired (kafka.server)"},
			{At: baseWall().Add(14200 * time.Millisecond), Text: "INFO nothing of note"},
			{At: baseWall().Add(25 * time.Second), Text: "ERROR far away in time"},
		},
		"consumer": {{At: baseWall().Add(13800 * time.Millisecond), Text: "rejoining group\x1b[31m red \x1b[0m"}},
	})
	return r
}

func logs(all map[string][]reports.LogLine) func(string, time.Time, time.Time) []reports.LogLine {
	return func(service string, from, to time.Time) []reports.LogLine {
		var out []reports.LogLine
		for _, l := range all[service] {
			if !l.At.Before(from) && !l.At.After(to) {
				l.Service = service
				out = append(out, l)
			}
		}
		return out
	}
}

// dataLoss is a run in which two acknowledged records are gone and a container died.
func dataLoss(t *testing.T) *reports.Record {
	t.Helper()
	r := degraded(t)
	r.Judgement.Verdict, r.Judgement.Primary = oracle.Fail, oracle.DataLoss
	r.Judgement.Findings = []oracle.Finding{
		{Class: oracle.DataLoss, Reason: "13 acknowledged records of orders are in no partition."},
		{Class: oracle.Crash, Reason: "consumer exited with code 137, and no fault was aimed at it."},
	}
	res := &r.Judgement.Results[0]
	res.Verdict, res.Total = oracle.Fail, 14
	res.Counts = map[string]int64{"acknowledged": 588, "delivered": 575, "lost": 13, "failed": 9, "unknown": 3}
	res.Findings = []oracle.Finding{{Class: oracle.DataLoss, Reason: "13 acknowledged records are lost."}}
	for i := range 11 {
		res.Violations = append(res.Violations, oracle.Violation{
			Class: oracle.DataLoss, Promise: "an acknowledged record appears exactly once",
			Note: fmt.Sprintf("record 0:%d was acknowledged at partition 0, offset %d, and the final read did not find it", 67+i, 88+i),
			Ops:  []int64{int64(331 + 5*i)}, At: at(13.3 + float64(i)*0.05),
		})
	}
	res.Violations = append(res.Violations, oracle.Violation{
		Class: oracle.Order, Promise: "records of one producer are read in the order in which they were sent",
		Note: "0:70 was read before 0:69", Ops: []int64{1, 6, 11}, At: at(20),
	})
	r.History.Events = append(r.History.Events,
		ledger.Event{At: at(13.4), Source: "docker", Type: "die", Service: "consumer", Detail: "exit code 137"},
		ledger.Event{At: at(14.1), Source: "docker", Type: "start", Service: "consumer"})
	return r
}

// noWitness is a run whose fault was never seen to bite, with too few operations inside.
func noWitness(t *testing.T) *reports.Record {
	t.Helper()
	r := degraded(t)
	f := pause()
	f.Confirmed, f.Released, f.Gone, f.Error = 0, at(7), at(7.1), "confirm pause: no witness: cpu time moved by 31 ms in 100 ms"
	r.Judgement = oracle.Judgement{
		Primary: oracle.NoWitness,
		Findings: []oracle.Finding{
			{Class: oracle.NoWitness, Reason: "freeze was applied to kafka and its effect was not seen."},
			{Class: oracle.TooFewOps, Reason: "orders invoked 3 of 20 operations inside blip."},
		},
		Results: []oracle.Result{{Check: "log", Workload: "orders", Verdict: oracle.Inconclusive, Counts: map[string]int64{"acknowledged": 40, "delivered": 40}}},
		Overall: oracle.Stats{Invoked: 40, OK: 40, Seconds: 30, Rate: 1.33, P50: 4e6, P99: 5e6, Max: 5e6},
	}
	blip := window()
	blip.Fault.Record, blip.Fault.ID = "blip/kafka[2]", "blip"
	blip.From, blip.To, blip.Recovery = at(20), at(20.2), -1
	blip.Fault.Planned, blip.Fault.Called, blip.Fault.Gone = at(20), at(19.99), at(20.3)
	blip.Active, blip.Gone = nil, nil
	blip.Guards = []oracle.GuardCount{
		{Observer: "orders", Part: "before", Count: 20, Need: 20}, {Observer: "orders", Part: "inside", Count: 3, Need: 20},
	}
	blip.Before, blip.Inside, blip.After = map[string]oracle.Stats{"orders": {}}, nil, nil
	r.Judgement.Windows = []oracle.Window{blip}
	r.Judgement.Phases = []oracle.Phase{
		{Workload: "orders", To: 20e9, Rate: 1.5, Need: 15, Stats: oracle.Stats{Invoked: 30, OK: 29, Failed: 1, Seconds: 20, Rate: 1.45, P50: 4e6, P99: 5e6, Max: 5e6}},
		{Workload: "orders", From: 20e9, To: 30e9, Need: 20, Stats: oracle.Stats{Invoked: 10, OK: 9, Unknown: 1, Seconds: 10, Rate: 0.9, P50: 4e6, P99: 5e6, Max: 5e6}},
		{Workload: "orders", From: 600e9, To: 30e9, Last: true, Rate: 400, Need: 20},
	}
	r.History.Faults, r.History.Witnesses = []ledger.Fault{f}, nil
	r.Problems = []string{"The run kept no engine events."}
	r.Run.APIOnly = "the engine is rootless"
	return r
}

// fallback is a run on the embedded broker.
func fallback(t *testing.T) *reports.Record {
	t.Helper()
	r := degraded(t)
	r.Run.Fallbacks = []string{"embedded broker, not Apache Kafka"}
	r.Run.Services[1].Fallback, r.Run.Services[1].Digest = "embedded", ""
	r.Judgement.Findings = []oracle.Finding{{Class: oracle.Degraded, Reason: "it ran on a fallback: embedded broker, not Apache Kafka."}}
	return r
}

// nasty has texts that break tables, terminals and mentions.
func nasty(t *testing.T) *reports.Record {
	t.Helper()
	r := dataLoss(t)
	long := ""
	for range 200 {
		long += "very long error "
	}
	r.Run.Description = "Pipes | and `ticks`, <script>alert(1)</script> & *stars*, __init__ of @anna, [a](http://evil)\n# no heading."
	r.Judgement.Findings = append(r.Judgement.Findings, oracle.Finding{Class: oracle.Unavailable, Reason: "a | b\n\n## not a heading \x1b[31mred\x1b[0m"})
	r.Judgement.Results[0].Violations = r.Judgement.Results[0].Violations[:1]
	r.Judgement.Results[0].Total = 1
	texts := []string{long, "\xff\xfe not UTF-8", "a|b \\| c", "`` two ticks", "tab\there\x1b]0;title\x07", "\u202egnp.exe", ""}
	n := 0
	for i := range r.History.Ops {
		if o := &r.History.Ops[i]; o.Outcome == ledger.Failed {
			o.Error = texts[n%len(texts)]
			n++
		}
	}
	r.Run.Links = []ledger.Link{{
		Name: "a|`b`->*c*:1", From: "a|`b`", To: "kafka", Port: 1, Accepted: 1, Arrived: 3, Direct: 1, Unrouted: texts[3] + "\n## not a heading",
		Closed: []ledger.LinkClose{{By: texts[2], How: "\x1b[31mrst", Count: 1}}, Resets: []ledger.LinkReset{{Count: 1, Why: "<script>\n| @anna", At: at(1)}, {Count: 1, At: at(2)}},
	}}
	r.History.Events = append(r.History.Events, ledger.Event{At: at(28), Source: "agent", Type: ledger.EventForeignChange, Service: "|`", Detail: "<script> @anna\n| added"})
	v := &r.Judgement.Results[0].Violations[0]
	v.Note = "```\nends | the block"
	for i := range r.History.Ops {
		if o := &r.History.Ops[i]; o.ID == v.Ops[0] {
			o.Key, o.Error = "k|`e`y", texts[2]
		}
	}
	r.LogServices = []string{"kafka"}
	r.Logs = logs(map[string][]reports.LogLine{"kafka": {{At: baseWall().Add(13300 * time.Millisecond), Text: "```\x1b[2J ERROR ````"}}})
	return r
}

// unstarted is a run that never reached its timeline and kept nothing.
func unstarted(t *testing.T) *reports.Record {
	t.Helper()
	r := degraded(t)
	run := r.Run
	run.Base, run.BaseWall, run.Phases = 0, 0, []ledger.Phase{{Name: ledger.PhaseSetup, From: at(-13), To: at(-2)}}
	run.Services = nil
	return &reports.Record{Dir: "runs/x", Run: run, Rules: rules(), Judgement: oracle.Judgement{
		Primary: oracle.NoSteadyState, Findings: []oracle.Finding{{Class: oracle.NoSteadyState, Reason: "metadata did not hold within 60 s."}},
	}}
}
