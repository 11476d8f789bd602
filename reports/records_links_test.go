package reports_test

import (
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

// linkFault is a fault on a link from one instant to another, with its witnesses and its window.
func linkFault(id, kind, target string, from, to float64, active, gone ledger.Witness) (ledger.Fault, []ledger.Witness, oracle.Window) {
	f := ledger.Fault{
		Record: id, ID: id, Kind: kind, Target: target, Mechanism: "toxic of the agent's proxy",
		Planned: at(from), Called: at(from + 0.001), Applied: at(from + 0.003), Confirmed: at(from + 0.2), Released: at(to), Gone: at(to + 0.1),
	}
	active.Record, active.Active, active.At = f.Record, true, f.Confirmed
	gone.Record, gone.At = f.Record, f.Gone
	w := window()
	w.Fault, w.From, w.To, w.Active, w.Gone = f, f.Confirmed, f.Released, &active, &gone
	return f, []ledger.Witness{active, gone}, w
}

// links is a run with a latency on one link, a stop of its server, and resets on all links that go there.
func links(t *testing.T) *reports.Record {
	t.Helper()
	r := degraded(t)
	r.Rules.Faults = map[string]oracle.FaultRule{
		"slow":  {Kind: "latency", Services: []string{"db"}, ObservedBy: []string{"orders"}, Line: 21},
		"halt":  {Kind: "stop", Services: []string{"db"}, ObservedBy: []string{"orders"}, Line: 28, Stops: true},
		"storm": {Kind: "reset_peer", Services: []string{""}, ObservedBy: []string{"orders"}, Line: 34},
	}
	r.Run = run(t, r.Rules)
	r.Run.Scenario, r.Run.Source, r.Run.Args = "db_slow", "shipped:db_slow.toml", nil
	r.Run.Description = "The database answers 200 ms late, stops, and then resets every connection. No order may be lost."
	r.Run.Services = []ledger.Service{
		{Name: "api", Image: "shop/api:1", Digest: "sha256:a1", Replicas: 1},
		{Name: "db", Image: "postgres:15", Digest: "postgres@sha256:db15", Replicas: 1},
		{Name: "web", Image: "shop/web:1", Digest: "sha256:a2", Replicas: 2},
	}
	r.Run.Isolation, r.Metrics, r.Logs, r.LogServices = nil, nil, nil, nil
	r.Run.Mechanisms = nil
	r.Run.Links = []ledger.Link{
		{
			Name: "api->db:5432", From: "api", To: "db", Port: 5432, Clients: 1, Accepted: 9, Dialled: 6, DialFailed: 1, Direct: 2, Arrived: 8, Upstream: 18_204, Downstream: 310_422,
			Closed: []ledger.LinkClose{{By: "storm", How: "rst", Count: 4}, {By: "dial", How: "rst", Count: 1}},
			Resets: []ledger.LinkReset{
				{Count: 1, Why: "opened past the proxy while db could not be reached", At: at(20.002)},
				{Count: 1, Why: "opened past the proxy while db could not be reached", At: at(20.302)},
			},
		},
		{Name: "probes->web:8080", From: "probes", To: "web", Port: 8080, Clients: 1, Accepted: 150, Dialled: 150, Arrived: 150, Upstream: 12_000, Downstream: 96_000},
		{
			Name: "web->db:5432", From: "web", To: "db", Port: 5432, Clients: 2, Accepted: 42, Dialled: 42, Arrived: 42, Upstream: 1_310_720, Downstream: 48_234_496,
			Closed: []ledger.LinkClose{{By: "storm", How: "rst", Count: 16}},
		},
		{
			Name: "workload.orders->web:8080", From: "workload.orders", To: "web", Port: 8080, Clients: 1, Accepted: 4, Dialled: 4, Arrived: 4, Guarded: 3, Upstream: 212_000, Downstream: 84_000,
			Unrouted: "published port 8080: what comes through it has no network namespace of a client",
		},
	}
	slow, slowSeen, slowWindow := linkFault("slow", "latency", "web->db:5432", 5, 13,
		ledger.Witness{What: "median residence", Value: 203, Unit: "ms", Note: "median residence of 132 chunks is 203 ms"},
		ledger.Witness{What: "median residence", Value: 84_000, Unit: "ns", Note: "chunks are not delayed any more"})
	storm, stormSeen, stormWindow := linkFault("storm", "reset_peer", "*->db:5432", 20, 22,
		ledger.Witness{What: "connections reset by the toxic", Value: 20, Unit: "connections", Note: "the proxy reset 20 connections"},
		ledger.Witness{What: "throughput", Value: 1_234_567.8, Unit: "bytes/s", Note: "12 connections carry data"})
	halt := ledger.Fault{Record: "halt", ID: "halt", Kind: "stop", Target: "db", Container: "d1", Mechanism: "Docker API", Planned: at(15), Called: at(15), Applied: at(15.2), Confirmed: at(15.2), Released: at(18), Gone: at(18.4)}
	r.History.Faults = []ledger.Fault{slow, halt, storm}
	r.History.Witnesses = append(append(slowSeen, stormSeen...),
		ledger.Witness{Record: "halt", Active: true, What: "state", Value: 0, Unit: "pid", Note: "db is exited", At: at(15.2)},
		ledger.Witness{Record: "halt", What: "state", Value: 4711, Unit: "pid", Note: "db runs again", At: at(18.4)})
	r.History.Events = []ledger.Event{
		{At: at(15.1), Source: "docker", Type: "die", Service: "db", Detail: "exit code 0"},
		{At: at(20.002), Source: "agent", Type: ledger.EventLinkReset, Service: "api->db:5432", Detail: "2 connections reset: opened past the proxy while db could not be reached"},
		{At: at(21), Source: "agent", Type: "armed", Service: "web", Detail: "not worth telling"},
	}
	r.History.Gates = nil
	r.Judgement.Findings = []oracle.Finding{{Class: oracle.Degraded, Reason: "12 operations of orders failed inside the window of slow, which the scenario allows."}}
	r.Judgement.Windows = []oracle.Window{slowWindow, stormWindow}
	return r
}

// leak is a run in which some of a link's traffic went past the proxy, somebody else changed a toxic, and the counters of a
// server are lost.
func leak(t *testing.T) *reports.Record {
	t.Helper()
	r := links(t)
	r.Judgement.Verdict, r.Judgement.Primary = oracle.Inconclusive, oracle.NoWitness
	r.Judgement.Findings = []oracle.Finding{
		{Class: oracle.NoWitness, Reason: "slow (latency of web->db:5432) is unproven: 2 connections and 1 packet of web->db:5432 reached db past the proxy"},
		{Class: oracle.ForeignChange, Reason: "somebody added latency_downstream (latency) on web->db:5432 through the Toxiproxy API"},
	}
	r.Judgement.Windows = r.Judgement.Windows[:1]
	r.History.Faults = append(r.History.Faults[:1:1], ledger.Fault{Record: "off", ID: "off", Kind: "down", Target: "web->db:5432", Planned: at(16), Called: at(16), Applied: at(16.1), Error: "confirm down: no witness: no client tried"},
		ledger.Fault{Record: "never", ID: "never", Kind: "timeout", Target: "web->db:5432", Planned: at(25)})
	r.History.Events = append(r.History.Events, ledger.Event{
		At: at(26), Source: "agent", Type: ledger.EventForeignChange, Service: "web->db:5432", Detail: "somebody added latency_downstream (latency) on web->db:5432 through the Toxiproxy API",
	})
	all := r.Run.Links
	all[0].Arrived, all[0].Closed, all[0].Resets = 3, nil, nil
	all[1] = ledger.Link{Name: all[1].Name, From: "probes", To: "web", Port: 8080, Clients: 1}
	all[2].Arrived, all[2].Passed = all[2].Arrived+2, 1
	all[2].Closed = []ledger.LinkClose{{By: "down", How: "fin", Count: 16}, {By: "close", How: "fin", Count: 2}}
	all[2].Resets = []ledger.LinkReset{{Count: 3, Why: "opened before the link was routed", At: at(-2)}}
	return r
}
