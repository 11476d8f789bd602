package oracle_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

const second = int64(1_000_000_000)

// runSim is a run of 50 s: a pause of kafka from second 10 to 18 while a workload produces 20 records and a probe is
// evaluated 5 times a second. Tests change it before it is judged.
type runSim struct {
	h     *ledger.History
	rules oracle.Rules
}

func at(seconds float64) int64 { return simStart + int64(seconds*float64(second)) }

func newRun() *runSim {
	s := newLogSim(1, 1)
	for i := range 1000 {
		s.clock = at(float64(i)*0.05) - 1_000_000
		s.produce(0, 0, ledger.OK, true)
		if i%4 == 0 {
			s.clock = at(float64(i)*0.05 + 0.01)
			p := s.record(ledger.Op{Func: ledger.FuncProbe, Partition: -1, Offset: -1})
			p.Workload = "metadata"
		}
	}
	s.clock = at(51)
	s.finalRead()
	h := s.history()
	h.Run = ledger.Run{Seed: 7, Base: simStart, ClockErrorNs: 100_000, Phases: []ledger.Phase{
		{Name: ledger.PhaseSteady, From: at(-5), To: at(0)},
		{Name: ledger.PhaseTimeline, From: at(0), To: at(19)},
		{Name: ledger.PhaseRecovery, From: at(19), To: at(50)},
		{Name: ledger.PhaseDrain, From: at(50), To: at(51)},
		{Name: ledger.PhaseFinal, From: at(51), To: at(60)},
	}}
	h.Faults = []ledger.Fault{{
		Record: "freeze/kafka", ID: "freeze", Kind: "pause", Target: "kafka", Planned: at(10), Called: at(10), Applied: at(10.01), Confirmed: at(10.1), Released: at(18), Gone: at(18.1),
	}}
	h.Witnesses = []ledger.Witness{{Record: "freeze/kafka", Active: true, What: "cpu", At: at(10.1)}, {Record: "freeze/kafka", What: "cpu", At: at(18.1)}}
	return &runSim{h, oracle.Rules{
		Expect: "pass", Recovery: 20 * second, GuardOps: 20, GuardProbes: 5,
		Workloads: map[string]oracle.WorkloadRule{"orders": {Driver: "kafka", Rate: 20}}, Probes: map[string]oracle.ProbeRule{"metadata": {During: "may-fail"}},
		Faults: map[string]oracle.FaultRule{"freeze": {Kind: "pause", Services: []string{"kafka"}, ObservedBy: []string{"orders", "metadata"}}},
		Checks: []oracle.CheckRule{{Kind: "log", Workload: "orders", Timeout: 60 * second}},
	}}
}

// fail gives the operations of an observer that were invoked in [from, to) another outcome.
func (s *runSim) fail(name string, from, to float64, outcome ledger.Outcome) {
	for i := range s.h.Ops {
		o := &s.h.Ops[i]
		if o.Workload == name && (o.Func == ledger.FuncProbe || o.Func == ledger.FuncProduce) && at(from) <= o.Invoke && o.Invoke < at(to) {
			o.Outcome, o.Error = outcome, "timed out"
		}
	}
}

func (s *runSim) drop(which func(ledger.Op) bool) { s.h.Ops = slices.DeleteFunc(s.h.Ops, which) }

// unsent takes the sending of a record that is read away.
func unsent(s *runSim) {
	i := slices.IndexFunc(s.h.Ops, func(o ledger.Op) bool { return o.Func == ledger.FuncRead && o.Value != 0 })
	value := s.h.Ops[i+500].Value
	s.drop(func(o ledger.Op) bool { return o.Func == ledger.FuncProduce && o.Value == value })
}

func (s *runSim) event(seconds float64, source, kind, service, detail string) {
	s.h.Events = append(s.h.Events, ledger.Event{At: at(seconds), Source: source, Type: kind, Service: service, Detail: detail})
}

// lose removes one acknowledged record from the final read.
func (s *runSim) lose() {
	s.drop(func(o ledger.Op) bool { return o.Func == ledger.FuncRead && o.Offset == 500 })
}

func float(f float64) *float64 { return &f }
func whole(i int64) *int64     { return &i }

// probesFrom are the evaluations from then to the end of the fault.
func probesFrom(from float64) func(ledger.Op) bool {
	return func(o ledger.Op) bool { return o.Func == ledger.FuncProbe && at(from) <= o.Invoke && o.Invoke < at(18) }
}

type judgeCase struct {
	name    string
	change  func(s *runSim)
	verdict oracle.Verdict
	primary oracle.Class
	reason  string // part of the reason of a finding of that class
}

func judgeCases() []judgeCase {
	return slices.Concat(passCases(), dataCases(), failCases(), probeCases(), unprovenCases(), expectCases(), linkCases(), budgetCases(), phaseCases())
}

func passCases() []judgeCase {
	return []judgeCase{
		{"nothing went wrong", func(*runSim) {}, oracle.Pass, oracle.Clean, "without any error"},
		{"operations of unknown outcome in the window", func(s *runSim) { s.fail("orders", 11, 17, ledger.Unknown) }, oracle.Pass, oracle.Degraded, "operations without a known outcome"},
		{"probes fail in the window", func(s *runSim) { s.fail("metadata", 11, 17, ledger.Failed) }, oracle.Pass, oracle.Degraded, "probe evaluations that did not hold"},
		{"probes fail between call and witness", func(s *runSim) { s.fail("metadata", 10, 10.1, ledger.Failed) }, oracle.Pass, oracle.Degraded, ""},
		{"probes fail until they recover", func(s *runSim) { s.fail("metadata", 11, 25, ledger.Failed) }, oracle.Pass, oracle.Degraded, ""},
		{"on a fallback", func(s *runSim) { s.h.Run.Fallbacks = []string{"embedded broker, not Apache Kafka"} }, oracle.Pass, oracle.Degraded, "embedded broker"},
		{"a nemesis ended before its second fault", func(s *runSim) { s.draw("freeze", "nemesis-2") }, oracle.Pass, oracle.Clean, ""},
		{"a gate did not hold", func(s *runSim) { s.h.Gates = []ledger.Gate{{Name: "g"}} }, oracle.Pass, oracle.Degraded, "gate g"},
		{"a gate held at last", func(s *runSim) { s.h.Gates = []ledger.Gate{{Name: "g"}, {Name: "g", Held: true}} }, oracle.Pass, oracle.Clean, ""},
		{"errors only where they are allowed", func(s *runSim) { s.rules.ErrorsOnly = true; s.fail("orders", 10, 20, ledger.Unknown) }, oracle.Pass, oracle.Degraded, ""},
		{"availability is just enough", func(s *runSim) { s.rules.Availability = float(0.9); s.fail("orders", 10, 15, ledger.Unknown) }, oracle.Pass, oracle.Degraded, ""},
		{"recovery is quick enough", func(s *runSim) { s.rules.MaxRecovery = whole(5 * second); s.fail("orders", 12, 22, ledger.Unknown) }, oracle.Pass, oracle.Degraded, ""},
		{"the rate holds in the window", func(s *runSim) { s.rules.MinRate = float(19) }, oracle.Pass, oracle.Clean, ""},
		{"only probes observe", func(s *runSim) { s.onlyProbes() }, oracle.Pass, oracle.Clean, ""},
		{"a service dies that a fault stops", func(s *runSim) { s.stopping(); s.event(11, "docker", "die", "kafka", "exit 137") }, oracle.Pass, oracle.Clean, ""},
		{"a service dies again while it recovers", func(s *runSim) { s.stopping(); s.event(30, "docker", "die", "kafka", "exit 137") }, oracle.Pass, oracle.Clean, ""},
		{"a service dies that may", func(s *runSim) { s.rules.Crashes = []string{"web"}; s.event(30, "docker", "die", "web", "exit 1") }, oracle.Pass, oracle.Clean, ""},
		{"the runner takes the environment down", func(s *runSim) { s.event(61, "docker", "die", "kafka", "exit 143") }, oracle.Pass, oracle.Clean, ""},
		{"a one-shot service ends during the setup", func(s *runSim) { s.event(-30, "docker", "die", "init", "exit 0") }, oracle.Pass, oracle.Clean, ""},
		{"without a fault", func(s *runSim) { s.rules.Faults, s.h.Faults, s.h.Witnesses = nil, nil, nil }, oracle.Pass, oracle.Clean, ""},
	}
}

// onlyProbes leaves the probe as the only observer.
func (s *runSim) onlyProbes() {
	s.rules.Workloads, s.rules.Checks = nil, nil
	s.rules.Faults["freeze"] = oracle.FaultRule{Kind: "pause", ObservedBy: []string{"metadata"}}
	s.drop(func(o ledger.Op) bool { return o.Workload == "orders" })
}

// stopping makes the fault stop its target; services are those that the scenario aims it at, if not that one alone.
func (s *runSim) stopping(services ...string) {
	rule := s.rules.Faults["freeze"]
	rule.Stops = true
	if len(services) > 0 {
		rule.Services = services
	}
	s.rules.Faults["freeze"] = rule
}

// draw makes faults those of a nemesis.
func (s *runSim) draw(ids ...string) {
	rule := s.rules.Faults["freeze"]
	rule.Drawn = true
	for _, id := range ids {
		s.rules.Faults[id] = rule
	}
}

func dataCases() []judgeCase {
	read := func(s *runSim, offset int64) *ledger.Op {
		for i := range s.h.Ops {
			if o := &s.h.Ops[i]; o.Func == ledger.FuncRead && o.Offset == offset {
				return o
			}
		}
		panic("no such read")
	}
	return []judgeCase{
		{"a lost record", (*runSim).lose, oracle.Fail, oracle.DataLoss, "an acknowledged record is in the log"},
		{"a corrupt record", func(s *runSim) { read(s, 500).Sum = 1 }, oracle.Fail, oracle.Corruption, "body"},
		{"a record at another offset", func(s *runSim) { a, b := read(s, 500), read(s, 501); a.Value, b.Value = b.Value, a.Value }, oracle.Fail, oracle.Order, "order"},
		{"a failed record in the log", func(s *runSim) { s.fail("orders", 20, 20.04, ledger.Failed) }, oracle.Fail, oracle.Phantom, "failed"},
		{"a repeated record", func(s *runSim) { s.fail("orders", 20, 20.04, ledger.Unknown); read(s, 400).Value = read(s, 399).Value }, oracle.Fail, oracle.Duplicate, "at most once"},
		{"a loss is graver than a hang", func(s *runSim) { s.lose(); s.fail("metadata", 10, 60, ledger.Failed) }, oracle.Fail, oracle.DataLoss, ""},
		{"a loss counts in a run that proves nothing else", func(s *runSim) { s.lose(); s.h.Witnesses = nil }, oracle.Fail, oracle.DataLoss, ""},
		{"a corrupt record counts in an interrupted run", func(s *runSim) { read(s, 500).Sum = 1; s.event(40, "runner", "interrupted", "", "SIGINT") }, oracle.Fail, oracle.Corruption, ""},
		{"a record that nobody sent counts in a run whose workloads were stopped in order", func(s *runSim) {
			unsent(s)
			s.event(40, "runner", "interrupted", "", "SIGINT")
		}, oracle.Fail, oracle.Phantom, "never sent"},
		{"corruption is graver than a duplicate", func(s *runSim) {
			s.fail("orders", 20, 20.04, ledger.Unknown)
			read(s, 400).Value = read(s, 399).Value
			read(s, 500).Sum = 1
		}, oracle.Fail, oracle.Corruption, ""},
	}
}

func failCases() []judgeCase {
	return []judgeCase{
		{"a service dies without a fault", func(s *runSim) { s.event(30, "docker", "die", "web", "exit 1") }, oracle.Fail, oracle.Crash, "service web died once"},
		{"a paused service dies", func(s *runSim) { s.event(12, "docker", "die", "kafka", "exit 1") }, oracle.Fail, oracle.Crash, "service kafka"},
		{"a stopped service dies long after", func(s *runSim) { s.stopping(); s.event(45, "docker", "die", "kafka", "exit 1") }, oracle.Fail, oracle.Crash, "service kafka"},
		{"another service dies while one is stopped", func(s *runSim) { s.stopping(); s.event(12, "docker", "die", "web", "exit 1") }, oracle.Fail, oracle.Crash, "service web"},
		{"a service that could have been picked dies while another one is stopped", func(s *runSim) {
			s.stopping("kafka", "web")
			s.event(12, "docker", "die", "web", "exit 1")
		}, oracle.Fail, oracle.Crash, "service web"},
		{"the runner reports a leak", func(s *runSim) { s.event(45, "runner", "leak", "", "200 connections") }, oracle.Fail, oracle.Leak, "200 connections"},
		{"the workload never succeeds again", func(s *runSim) { s.fail("orders", 12, 60, ledger.Unknown) }, oracle.Fail, oracle.Hang, "orders did not succeed again within 20s of the last heal"},
		{"the workload succeeds again too late", func(s *runSim) { s.fail("orders", 12, 40, ledger.Unknown) }, oracle.Fail, oracle.Hang, "it took 21."},
		{"a probe never holds again", func(s *runSim) { s.fail("metadata", 12, 60, ledger.Failed) }, oracle.Fail, oracle.Hang, "metadata did not succeed again"},
		{"an operation never returned", func(s *runSim) { s.h.Ops[300].Complete, s.h.Ops[300].Outcome = 0, ledger.Unknown }, oracle.Fail, oracle.Hang, "1 operations of"},
		{"too many operations fail", func(s *runSim) { s.rules.Availability = float(0.9); s.fail("orders", 10, 17, ledger.Unknown) }, oracle.Fail, oracle.Unavailable, "86.00 % of operations succeeded, the scenario asks for 90.00 %"},
		{"recovery takes too long", func(s *runSim) { s.rules.MaxRecovery = whole(3 * second); s.fail("orders", 12, 22, ledger.Unknown) }, oracle.Fail, oracle.Unavailable, "the scenario allows 3s"},
		{"a relapse within a second is no recovery", func(s *runSim) {
			s.rules.MaxRecovery = whole(3 * second)
			s.fail("orders", 18.5, 18.6, ledger.Unknown)
			s.fail("orders", 19.5, 21.5, ledger.Unknown)
		}, oracle.Fail, oracle.Unavailable, "to recover"},
		{"the rate drops in the window", func(s *runSim) { s.rules.MinRate = float(19); s.fail("orders", 12, 13, ledger.Unknown) }, oracle.Fail, oracle.Unavailable, "operations per second"},
		{"an error before the fault", func(s *runSim) { s.rules.ErrorsOnly = true; s.fail("orders", 5, 5.1, ledger.Unknown) }, oracle.Fail, oracle.Unavailable, "outside every fault and its recovery"},
		{"an error long after the fault", func(s *runSim) { s.rules.ErrorsOnly = true; s.fail("orders", 45, 45.1, ledger.Unknown) }, oracle.Fail, oracle.Unavailable, "outside every fault and its recovery"},
	}
}

func probeCases() []judgeCase {
	during := func(what string, from, to float64) func(*runSim) {
		return func(s *runSim) {
			s.rules.Probes["metadata"] = oracle.ProbeRule{During: what}
			s.fail("metadata", from, to, ledger.Failed)
		}
	}
	return []judgeCase{
		{"a probe fails before the fault", during("may-fail", 5, 5.3), oracle.Fail, oracle.Unavailable, "probe metadata failed"},
		{"a probe fails long after the fault", during("may-fail", 45, 45.3), oracle.Fail, oracle.Unavailable, "probe metadata failed"},
		{"a probe that must hold fails in the window", during("must-hold", 12, 12.3), oracle.Fail, oracle.Unavailable, "where it must hold"},
		{"a probe that must hold fails in the recovery", during("must-hold", 18.2, 18.5), oracle.Fail, oracle.Unavailable, "where it must hold"},
		{"a probe that must hold holds", during("must-hold", 0, 0), oracle.Pass, oracle.Clean, ""},
		{"a probe that must hold fails in the window of a fault that it does not observe", func(s *runSim) {
			during("must-hold", 12, 12.3)(s)
			rule := s.rules.Faults["freeze"]
			rule.ObservedBy = []string{"orders"}
			s.rules.Faults["freeze"] = rule
		}, oracle.Pass, oracle.Degraded, ""},
		{"a probe that must fail fails all the time", during("must-fail", 10, 18), oracle.Pass, oracle.Degraded, ""},
		{"a probe that must fail fails in the window alone", during("must-fail", 10.2, 17.9), oracle.Pass, oracle.Clean, "without any error"},
		{"a probe that must fail holds once", during("must-fail", 10, 17.5), oracle.Fail, oracle.Unavailable, "must fail while freeze"},
		{"a probe that must fail always holds", during("must-fail", 0, 0), oracle.Fail, oracle.Unavailable, "must fail while freeze"},
		{"a probe that must hold is not evaluated in the window", func(s *runSim) {
			during("must-hold", 0, 0)(s)
			s.rules.GuardProbes = 0
			s.h.Ops = slices.DeleteFunc(s.h.Ops, func(o ledger.Op) bool { return probesFrom(10)(o) })
		}, oracle.Inconclusive, oracle.TooFewOps, "must hold inside freeze"},
		{"a probe that must fail returns after the window", func(s *runSim) {
			during("must-fail", 10, 17.9)(s)
			for i := range s.h.Ops {
				if o := &s.h.Ops[i]; probesFrom(17.5)(*o) {
					o.Outcome, o.Complete = ledger.OK, at(18.3)
				}
			}
		}, oracle.Pass, oracle.Degraded, ""},
	}
}

func unprovenCases() []judgeCase {
	announced := func(class oracle.Class) func(*runSim) {
		return func(s *runSim) { s.event(12, "runner", string(class), "", "for a reason") }
	}
	cases := []judgeCase{
		{"no witness that the fault acted", func(s *runSim) { s.h.Faults[0].Confirmed = 0; s.h.Faults[0].Error = "cpu time went on" }, oracle.Inconclusive, oracle.NoWitness, "no witness saw freeze (pause of kafka) act: cpu time went on"},
		{"a confirmation without a measurement", func(s *runSim) { s.h.Witnesses = s.h.Witnesses[1:] }, oracle.Inconclusive, oracle.NoWitness, "no witness saw freeze"},
		{"no witness that the fault ended", func(s *runSim) { s.h.Faults[0].Gone = 0 }, oracle.Inconclusive, oracle.NoWitness, "ended"},
		{"an end without a measurement", func(s *runSim) { s.h.Witnesses = s.h.Witnesses[:1] }, oracle.Inconclusive, oracle.NoWitness, "ended"},
		{"a witness after the release", func(s *runSim) { s.h.Faults[0].Confirmed = at(18.05) }, oracle.Inconclusive, oracle.NoWitness, "only after it was released"},
		{"a fault that was not applied", func(s *runSim) { s.h.Faults[0].Called, s.h.Faults[0].Confirmed, s.h.Faults[0].Released = 0, 0, 0 }, oracle.Inconclusive, oracle.NoWitness, "was not applied"},
		{"a nemesis that never came to a fault", func(s *runSim) {
			s.draw("freeze", "nemesis-2")
			s.h.Faults = nil
		}, oracle.Inconclusive, oracle.NoWitness, "no fault of the nemesis was applied"},
		{"a fault that the run never came to", func(s *runSim) { s.h.Faults = nil }, oracle.Inconclusive, oracle.NoWitness, "fault freeze was never applied"},
		{"too few operations before", func(s *runSim) {
			s.rules.Checks = nil
			s.drop(func(o ledger.Op) bool { return o.Workload == "orders" && o.Invoke < at(9.5) })
		}, oracle.Inconclusive, oracle.TooFewOps, "orders invoked 10 of 20 operations before it"},
		{"too few operations inside", func(s *runSim) {
			s.rules.Checks = nil
			s.drop(func(o ledger.Op) bool { return o.Workload == "orders" && at(10.1) < o.Invoke && o.Invoke < at(17.5) })
		}, oracle.Inconclusive, oracle.TooFewOps, "orders invoked 10 of 20 operations inside it"},
		{"too few operations after", func(s *runSim) {
			s.rules.Checks = nil
			s.drop(func(o ledger.Op) bool { return o.Workload == "orders" && o.Invoke > at(18.7) })
		}, oracle.Inconclusive, oracle.TooFewOps, "orders invoked 14 of 20 operations after it"},
		{"too few evaluations beside a workload", func(s *runSim) { s.drop(probesFrom(10.5)) }, oracle.Inconclusive, oracle.TooFewOps, "metadata invoked 2 of 5 operations inside it"},
		{"too few evaluations where only probes observe", func(s *runSim) { s.onlyProbes(); s.drop(probesFrom(12.1)) }, oracle.Inconclusive, oracle.TooFewOps, "probes invoked 10 of 20 operations inside it"},
		{"operations at the edge of the window do not count", func(s *runSim) { s.h.Run.ClockErrorNs = 4 * second }, oracle.Inconclusive, oracle.TooFewOps, "inside it"},
		{"a scenario without observers", func(s *runSim) {
			s.rules.Workloads, s.rules.Probes, s.rules.Checks, s.rules.Faults = nil, nil, nil, nil
			s.h.Faults = nil
		}, oracle.Inconclusive, oracle.TooFewOps, "neither a workload nor a probe"},
		{"too few operations without a fault", func(s *runSim) { s.rules.Faults, s.h.Faults = nil, nil; s.rules.GuardOps = 5000 }, oracle.Inconclusive, oracle.TooFewOps, "orders invoked 1000 of 5000 operations"},
		{"a checker that this build does not have", func(s *runSim) { s.rules.Checks[0].Kind = "no-such-check" }, oracle.Inconclusive, oracle.CheckerUnknown, `no checker "no-such-check"`},
		{"a final read that broke off", func(s *runSim) { s.drop(func(o ledger.Op) bool { return o.Func == ledger.FuncEnd }) }, oracle.Inconclusive, oracle.CheckerUnknown, "has no end"},
		{"a check that takes too long", func(s *runSim) { s.rules.Checks[0].Timeout = 1 }, oracle.Inconclusive, oracle.CheckerUnknown, "longer than 1ns"},
		{"a rule of Docker is no class", func(s *runSim) { s.event(12, "docker", "interrupted", "", "") }, oracle.Pass, oracle.Clean, ""},
		{"the runner cannot announce a pass", func(s *runSim) { s.h.Faults[0].Gone = 0; s.event(12, "runner", "clean", "", "") }, oracle.Inconclusive, oracle.NoWitness, ""},
		{"an interrupted run is not judged by its loose ends", func(s *runSim) {
			announced(oracle.Interrupted)(s)
			s.h.Faults, s.h.Witnesses = nil, nil
			s.drop(func(o ledger.Op) bool { return o.Invoke > at(12) })
			s.fail("metadata", 11, 13, ledger.Failed)
			s.h.Ops[len(s.h.Ops)-1].Complete = 0
		}, oracle.Inconclusive, oracle.Interrupted, "for a reason"},
		{"a run that was cut off is not judged by what was in flight", func(s *runSim) {
			unsent(s)
			s.event(40, "runner", "interrupted", "", "for a reason")
			s.h.Run.Phases = slices.DeleteFunc(s.h.Run.Phases, func(p ledger.Phase) bool { return p.Name == ledger.PhaseFinal })
		}, oracle.Inconclusive, oracle.Interrupted, "for a reason"},
		{"a run that did not reach its timeline", func(s *runSim) {
			announced(oracle.NoSteadyState)(s)
			s.h.Run.Base, s.h.Run.Phases, s.h.Faults = 0, s.h.Run.Phases[:1], nil
		}, oracle.Inconclusive, oracle.NoSteadyState, "for a reason"},
	}
	for _, class := range []oracle.Class{oracle.NoSteadyState, oracle.NotSupported, oracle.ForeignChange, oracle.AgentLost, oracle.Interrupted} {
		cases = append(cases, judgeCase{"the runner announces " + string(class), announced(class), oracle.Inconclusive, class, "for a reason"})
	}
	return cases
}

func expectCases() []judgeCase {
	expect := func(class string, change func(*runSim)) func(*runSim) {
		return func(s *runSim) {
			s.rules.Expect = class
			change(s)
		}
	}
	nothing := func(*runSim) {}
	return []judgeCase{
		{"the expected weakness appears", expect("data-loss", (*runSim).lose), oracle.Pass, oracle.AsExpected, "data-loss appeared, as the scenario expects"},
		{"the expected weakness does not appear", expect("data-loss", nothing), oracle.Fail, oracle.Unexpected, "the scenario expects data-loss, and it did not appear"},
		{"the expected weakness does not appear, with errors", expect("hang", func(s *runSim) { s.fail("orders", 12, 15, ledger.Unknown) }), oracle.Fail, oracle.Unexpected, ""},
		{"a graver weakness appears beside it", expect("hang", func(s *runSim) { s.lose(); s.fail("metadata", 10, 60, ledger.Failed) }), oracle.Fail, oracle.DataLoss, ""},
		{"a lesser weakness appears beside it", expect("data-loss", func(s *runSim) { s.lose(); s.fail("metadata", 10, 60, ledger.Failed) }), oracle.Pass, oracle.AsExpected, ""},
		{"another weakness appears instead", expect("data-loss", func(s *runSim) { s.fail("metadata", 10, 60, ledger.Failed) }), oracle.Fail, oracle.Hang, ""},
		{"the expected weakness appears, and the fault is unproven", expect("data-loss", func(s *runSim) { s.lose(); s.h.Witnesses = nil }), oracle.Inconclusive, oracle.NoWitness, ""},
		{"nothing appears, and the fault is unproven", expect("data-loss", func(s *runSim) { s.h.Witnesses = nil }), oracle.Inconclusive, oracle.NoWitness, ""},
		{"clean is expected and came", expect("clean", nothing), oracle.Pass, oracle.Clean, ""},
		{"clean is expected and errors came", expect("clean", func(s *runSim) { s.fail("orders", 12, 15, ledger.Unknown) }), oracle.Fail, oracle.Unexpected, "the scenario expects clean"},
		{"an empty expectation is pass", expect("", nothing), oracle.Pass, oracle.Clean, ""},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range judgeCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRun()
			tt.change(s)
			j := oracle.Judge(t.Context(), s.h, s.rules)
			if j.Verdict != tt.verdict || j.Primary != tt.primary {
				t.Fatalf("%s (%s), want %s (%s): %+v", j.Verdict, j.Primary, tt.verdict, tt.primary, j.Findings)
			}
			if !slices.ContainsFunc(j.Findings, func(f oracle.Finding) bool { return f.Class == tt.primary && strings.Contains(f.Reason, tt.reason) }) {
				t.Errorf("no finding says %q: %+v", tt.reason, j.Findings)
			}
			if raw, err := json.Marshal(j); err != nil || strings.Contains(string(raw), "null") {
				t.Errorf("the judgement has null in its JSON (%v): %s", err, raw)
			}
		})
	}
}

// Each class that this version can measure is reached by a case; the rest belong to checkers of later versions.
func TestJudgeReachesEveryClass(t *testing.T) {
	t.Parallel()
	reached := map[oracle.Class]bool{oracle.JudgeUnproven: true} // TestJudgeBelievesNoBlindChecker
	for _, tt := range judgeCases() {
		reached[tt.primary] = true
	}
	later := []oracle.Class{oracle.Resurrected, oracle.Stale, oracle.NotLinearizable, oracle.Invariant}
	for _, c := range oracle.Classes() {
		if !reached[c] && !slices.Contains(later, c) {
			t.Errorf("no case reaches %s", c)
		}
	}
}

// panicky is a checker with a bug.
type panicky struct{ oracle.Log }

func (panicky) Check(context.Context, *ledger.History, string) oracle.Result {
	panic("index out of range")
}

func TestJudgeBelievesNoBlindChecker(t *testing.T) {
	t.Parallel()
	s := newRun()
	s.rules.Checks[0].Kind = "blind"
	j := oracle.JudgeWith(t.Context(), s.h, s.rules, only(blind{}))
	if j.Primary != oracle.JudgeUnproven || j.Verdict != oracle.Inconclusive || j.Convicted != 0 || j.Tried < 5 {
		t.Fatalf("%+v", j)
	}
}

func TestJudgeSurvivesAPanic(t *testing.T) {
	t.Parallel()
	s := newRun()
	s.rules.Checks[0].Kind = "panicky"
	j := oracle.JudgeWith(t.Context(), s.h, s.rules, only(panicky{}))
	if j.Primary != oracle.CheckerUnknown || !strings.Contains(j.Findings[0].Reason, "panicked: index out of range") {
		t.Fatalf("%+v", j.Findings)
	}
}

func TestJudgeIsDeterministicAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := newRun()
	s.lose()
	s.fail("orders", 12, 22, ledger.Unknown)
	s.fail("metadata", 12, 60, ledger.Failed)
	before, err := json.Marshal(s.h)
	if err != nil {
		t.Fatal(err)
	}
	first := oracle.Judge(t.Context(), s.h, s.rules)
	for range 5 {
		if diff := cmp.Diff(first, oracle.Judge(t.Context(), s.h, s.rules)); diff != "" {
			t.Fatal(diff)
		}
	}
	after, err := json.Marshal(s.h)
	if err != nil || string(after) != string(before) {
		t.Fatalf("the history changed (%v)", err)
	}
	if len(first.Findings) < 2 || !slices.IsSortedFunc(first.Findings, func(a, b oracle.Finding) int {
		return slices.Index(oracle.Classes(), a.Class) - slices.Index(oracle.Classes(), b.Class)
	}) {
		t.Fatalf("findings are not in order of precedence: %+v", first.Findings)
	}
}

func TestWindowStats(t *testing.T) {
	t.Parallel()
	s := newRun()
	s.fail("orders", 12, 21, ledger.Unknown)
	late := slices.IndexFunc(s.h.Ops, func(o ledger.Op) bool { return o.Invoke == at(10.5) && o.Workload == "orders" })
	s.h.Ops[late].Planned -= second // it had to wait for its turn
	j := oracle.Judge(t.Context(), s.h, s.rules)
	if len(j.Windows) != 1 || j.Convicted != j.Tried || j.Tried < 7 {
		t.Fatalf("%d windows, %d of %d mutants", len(j.Windows), j.Convicted, j.Tried)
	}
	w := j.Windows[0]
	if w.From != at(10.1) || w.To != at(18) || w.Active == nil || w.Gone == nil || w.Active.At != at(10.1) || w.Gone.At != at(18.1) {
		t.Errorf("window %+v", w)
	}
	if want := at(21) + 500_000 - at(18); w.Recovery != want {
		t.Errorf("recovery %d, want %d", w.Recovery, want)
	}
	for part, want := range map[string]struct {
		stats   oracle.Stats
		invoked int
		ok      int
	}{"before": {w.Before["orders"], 158, 158}, "inside": {w.Inside["orders"], 157, 37}, "after": {w.After["orders"], 639, 580}} {
		if want.stats.Invoked != want.invoked || want.stats.OK != want.ok || want.stats.OK+want.stats.Unknown != want.invoked {
			t.Errorf("%s: %+v, want %d invoked and %d ok", part, want.stats, want.invoked, want.ok)
		}
		slowest := int64(500_000)
		if part == "inside" {
			slowest += second
		}
		if want.stats.P50 != 500_000 || want.stats.Max != slowest || want.stats.Seconds == 0 {
			t.Errorf("%s: %+v", part, want.stats)
		}
	}
	if len(w.Guards) != 6 || j.Overall.Invoked != 1000 || j.Overall.Seconds != 50 {
		t.Errorf("guards %+v overall %+v", w.Guards, j.Overall)
	}
}

// While a second fault holds, the recovery from the first cannot show; and the next fault's errors are not the first's.
func TestRecoveryWithSeveralFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		from, to   float64 // of the second fault
		bad, good  float64 // operations fail in between
		wantFirst  int64
		wantSecond int64
	}{
		{"one overlaps", 15, 22, 12, 23, second + 500_000, second + 500_000},
		{"one follows", 30, 34, 31, 36, 500_000, 2*second + 500_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRun()
			f := s.h.Faults[0]
			f.Record, f.Called, f.Confirmed, f.Released, f.Gone = "freeze/2", at(tt.from), at(tt.from), at(tt.to), at(tt.to)
			s.h.Faults = append(s.h.Faults, f)
			for _, w := range slices.Clone(s.h.Witnesses) {
				w.Record = f.Record
				s.h.Witnesses = append(s.h.Witnesses, w)
			}
			s.fail("orders", tt.bad, tt.good, ledger.Unknown)
			j := oracle.Judge(t.Context(), s.h, s.rules)
			if len(j.Windows) != 2 || j.Windows[0].Recovery != tt.wantFirst || j.Windows[1].Recovery != tt.wantSecond || j.Primary != oracle.Degraded {
				t.Fatalf("%+v %+v", j.Windows, j.Findings)
			}
		})
	}
}

func TestVerdictLattice(t *testing.T) {
	t.Parallel()
	const p, f, i = oracle.Pass, oracle.Fail, oracle.Inconclusive
	for _, tt := range []struct {
		in   []oracle.Verdict
		want oracle.Verdict
	}{{nil, i}, {[]oracle.Verdict{p}, p}, {[]oracle.Verdict{p, p}, p}, {[]oracle.Verdict{p, i}, i}, {[]oracle.Verdict{i, f}, f}, {[]oracle.Verdict{f, p}, f}} {
		if got := oracle.Merge(tt.in...); got != tt.want {
			t.Errorf("Merge(%v) is %s, want %s", tt.in, got, tt.want)
		}
	}
	var zero oracle.Verdict
	if zero != i || oracle.Class("nonsense").Verdict() != i {
		t.Error("what is unknown is not inconclusive")
	}
	for n, c := range oracle.Classes() {
		var back oracle.Verdict
		text, err := c.Verdict().MarshalText()
		if err != nil || back.UnmarshalText(text) != nil || back != c.Verdict() {
			t.Errorf("verdict of %s does not come back from %q", c, text)
		}
		if n > 0 {
			order := []oracle.Verdict{f, i, p}
			if slices.Index(order, oracle.Classes()[n-1].Verdict()) > slices.Index(order, c.Verdict()) {
				t.Errorf("%s stands before a graver class", oracle.Classes()[n-1])
			}
		}
	}
}

// only makes one checker, whatever is asked for.
func only(c oracle.Checker) func(oracle.CheckRule, oracle.Rules) (oracle.Checker, error) {
	return func(oracle.CheckRule, oracle.Rules) (oracle.Checker, error) { return c, nil }
}

// A delete that was in flight when the run was cut off is not recorded, and its effect is: only a run whose workloads were
// stopped in order proves that a value was lost.
func TestACutOffRunDoesNotConvictARegisterOfAMissingDelete(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		last    string
		verdict oracle.Verdict
	}{{ledger.PhaseTimeline, oracle.Inconclusive}, {ledger.PhaseFinal, oracle.Fail}} {
		h := &ledger.History{Ops: script(
			ledger.Op{Func: ledger.FuncWrite, Key: "a", Value: 11},
			ledger.Op{Func: ledger.FuncGet, Key: "a", Value: 11},
			ledger.Op{Func: ledger.FuncGet, Key: "a"},
		)}
		h.Run = ledger.Run{Base: simStart, Phases: []ledger.Phase{{Name: c.last, From: simStart}}}
		h.Events = []ledger.Event{{At: simStart, Source: "runner", Type: string(oracle.Interrupted), Detail: "SIGINT"}}
		j := oracle.Judge(t.Context(), h, oracle.Rules{
			Workloads: map[string]oracle.WorkloadRule{"w": {}},
			Checks:    []oracle.CheckRule{{Kind: "register", Workload: "w"}},
		})
		if j.Verdict != c.verdict {
			t.Errorf("up to %s: %s %+v, want %s", c.last, j.Verdict, j.Findings, c.verdict)
		}
	}
}
