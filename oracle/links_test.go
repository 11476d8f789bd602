package oracle_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// linked turns the pause into a latency on a link, or on a group, and routes two links that nothing went past.
func (s *runSim) linked(target string) {
	f := &s.h.Faults[0]
	f.Kind, f.Target, f.Container = "latency", target, ""
	rule := s.rules.Faults["freeze"]
	rule.Kind, rule.Services = "latency", nil
	s.rules.Faults["freeze"] = rule
	s.h.Run.Links = []ledger.Link{
		{Name: "web->db:5432", From: "web", To: "db", Port: 5432, Clients: 1, Accepted: 9, Dialled: 7, DialFailed: 2, Direct: 1, Arrived: 9},
		{Name: "workload.orders->db:5432", From: "workload.orders", To: "db", Port: 5432, Clients: 1, Accepted: 4, Dialled: 4, Arrived: 4},
	}
}

// linkCases are those of faults on links, which are aimed at no service, and of what the agent tells.
func linkCases() []judgeCase {
	on := func(target string, change func(s *runSim)) func(*runSim) {
		return func(s *runSim) { s.linked(target); change(s) }
	}
	nothing := func(*runSim) {}
	leaks := func(s *runSim) { s.h.Run.Links[1].Arrived += 2 }
	foreign := func(s *runSim) {
		s.event(12, "agent", ledger.EventForeignChange, "web->db:5432", "somebody added x (latency) on web->db:5432 through the Toxiproxy API")
	}
	return []judgeCase{
		{"a fault on a link", on("web->db:5432", nothing), oracle.Pass, oracle.Clean, ""},
		{"errors in the window of a fault on a link", on("web->db:5432", func(s *runSim) { s.rules.ErrorsOnly = true; s.fail("orders", 11, 17, ledger.Unknown) }), oracle.Pass, oracle.Degraded, "without a known outcome"},
		{"an error outside the window of a fault on a link", on("web->db:5432", func(s *runSim) { s.rules.ErrorsOnly = true; s.fail("orders", 5, 5.1, ledger.Unknown) }), oracle.Fail, oracle.Unavailable, "outside every fault"},
		{"the server of a link dies while a fault is on the link", on("web->db:5432", func(s *runSim) { s.event(12, "docker", "die", "db", "exit 1") }), oracle.Fail, oracle.Crash, "service db died once, and no fault was aimed at that (exit 1; expect.crashes names what may)"},
		{"too few operations inside the window of a fault on a link", on("web->db:5432", func(s *runSim) { s.drop(probesFrom(10.5)) }), oracle.Inconclusive, oracle.TooFewOps, "freeze (latency of web->db:5432): metadata invoked 2 of 5"},
		{"no witness saw the fault on a link", on("web->db:5432", func(s *runSim) { s.h.Witnesses = nil }), oracle.Inconclusive, oracle.NoWitness, "no witness saw freeze (latency of web->db:5432) act"},
		{"another link leaks", on("web->db:5432", leaks), oracle.Pass, oracle.Clean, ""},
		{"connections past the proxy", on("workload.orders->db:5432", leaks), oracle.Inconclusive, oracle.NoWitness, "freeze (latency of workload.orders->db:5432) is unproven: 2 connections of workload.orders->db:5432 reached db past the proxy"},
		{"connections past the proxy of one of a group", on("*->db:5432", leaks), oracle.Inconclusive, oracle.NoWitness, "2 connections of workload.orders->db:5432 reached db past the proxy"},
		{"connections past the proxy of a workload", on("workload->db:5432", leaks), oracle.Inconclusive, oracle.NoWitness, "2 connections"},
		{"packets past the guard", on("web->db:5432", func(s *runSim) { s.h.Run.Links[0].Passed = 1 }), oracle.Inconclusive, oracle.NoWitness, "1 packet of web->db:5432 reached db past the proxy"},
		{"both past the proxy", on("web->db:5432", func(s *runSim) { s.h.Run.Links[0].Passed = 7; s.h.Run.Links[0].Arrived += 2 }), oracle.Inconclusive, oracle.NoWitness, "1 connection and 7 packets of web->db:5432"},
		{"a fault on a link that nobody counted", on("api->db:5432", nothing), oracle.Inconclusive, oracle.NoWitness, "freeze (latency of api->db:5432) is unproven: nobody counted"},
		{"a leaking link without a fault on it", func(s *runSim) {
			faults := slices.Clone(s.h.Faults)
			s.linked("web->db:5432")
			leaks(s)
			s.h.Faults = faults
		}, oracle.Pass, oracle.Clean, ""},
		{"a leak and a lost record", on("*->db:5432", func(s *runSim) { leaks(s); s.lose() }), oracle.Fail, oracle.DataLoss, ""},

		{"somebody else changed a toxic", foreign, oracle.Inconclusive, oracle.ForeignChange, "somebody added x (latency) on web->db:5432"},
		{"somebody else changed a toxic, unsaid which", func(s *runSim) { s.event(12, "agent", ledger.EventForeignChange, "", "") }, oracle.Inconclusive, oracle.ForeignChange, "somebody changed a toxic"},
		{"somebody else changed a toxic and a record is lost", func(s *runSim) { foreign(s); s.lose() }, oracle.Fail, oracle.DataLoss, ""},
		{"somebody else changed a toxic and the expected weakness appears", func(s *runSim) { s.rules.Expect = "data-loss"; foreign(s); s.lose() }, oracle.Inconclusive, oracle.ForeignChange, ""},
		{"a foreign change does not excuse a hang", func(s *runSim) { foreign(s); s.fail("orders", 12, 60, ledger.Unknown) }, oracle.Fail, oracle.Hang, ""},
		{"a container's event is no foreign change", func(s *runSim) { s.event(12, "docker", ledger.EventForeignChange, "", "") }, oracle.Pass, oracle.Clean, ""},
		{"a container's event is no loss of the agent", func(s *runSim) { s.event(12, "docker", ledger.EventNetLost, "", "") }, oracle.Pass, oracle.Clean, ""},
		{"the guard resets connections", func(s *runSim) { s.event(12, "agent", ledger.EventLinkReset, "web->db:5432", "3 connections reset") }, oracle.Pass, oracle.Clean, ""},
		{"what serves the links is lost", func(s *runSim) {
			s.event(12, "agent", ledger.EventNetLost, "", "")
			s.fail("orders", 12, 60, ledger.Unknown) // a consequence
		}, oracle.Inconclusive, oracle.AgentLost, "links and cuts ended"},
		{"what serves the links is lost and a record too", func(s *runSim) { s.event(12, "agent", ledger.EventNetLost, "", "killed"); s.lose() }, oracle.Fail, oracle.DataLoss, ""},
	}
}

func TestThousandForeignChangesAreOneFinding(t *testing.T) {
	t.Parallel()
	s := newRun()
	for i := range 1000 {
		s.event(12, "agent", ledger.EventForeignChange, "", "change "+strings.Repeat("x", i+1))
	}
	j := oracle.Judge(t.Context(), s.h, s.rules)
	want := oracle.Finding{Class: oracle.ForeignChange, Reason: "change x; change xx; change xxx; 997 more changes"}
	if len(j.Findings) != 1 || j.Findings[0] != want {
		t.Errorf("findings %+v, want %+v", j.Findings, want)
	}
}

func TestALossThatTheRunnerTellsIsOneFinding(t *testing.T) {
	t.Parallel()
	s := newRun()
	s.event(12, "agent", ledger.EventNetLost, "", "killed")
	s.event(12, "runner", string(oracle.AgentLost), "", "the agent was lost: killed")
	j := oracle.Judge(t.Context(), s.h, s.rules)
	if len(j.Findings) != 1 || j.Findings[0].Reason != "the agent was lost: killed" {
		t.Errorf("findings %+v", j.Findings)
	}
}

// A fault on a link has the window, the statistics and the recovery of any other.
func TestWindowOfAFaultOnALink(t *testing.T) {
	t.Parallel()
	service, link := newRun(), newRun()
	link.linked("*->db:5432")
	a, b := oracle.Judge(t.Context(), service.h, service.rules), oracle.Judge(t.Context(), link.h, link.rules)
	if len(a.Windows) != 1 || len(b.Windows) != 1 {
		t.Fatalf("%d and %d windows", len(a.Windows), len(b.Windows))
	}
	v, w := a.Windows[0], b.Windows[0]
	if v.From != w.From || v.To != w.To || v.Recovery != w.Recovery || len(w.Guards) != 6 || !slices.Equal(v.Guards, w.Guards) || w.Inside["orders"].Invoked == 0 {
		t.Errorf("on a link %+v, on a service %+v", w, v)
	}
}
