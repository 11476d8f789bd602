package runner

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// rulesOf is the part of a scenario and its plan that a judge needs.
func rulesOf(p *Plan) oracle.Rules {
	s := p.Scenario
	rules := oracle.Rules{
		Expect: s.Expect.Verdict, Availability: s.Expect.Availability, ErrorsOnly: s.Expect.ErrorsOnlyDuring == "faults",
		MinRate: s.Expect.MinRate, Crashes: s.Expect.Crashes, Recovery: s.Recovery.Within.Std().Nanoseconds(),
		GuardOps: s.Guard.Operations, GuardProbes: s.Guard.Probes, SteadyOps: s.Steady.Operations, SteadyFor: s.Steady.For.Std().Nanoseconds(),
		Workloads: map[string]oracle.WorkloadRule{}, Probes: map[string]oracle.ProbeRule{}, Faults: map[string]oracle.FaultRule{},
	}
	if s.Expect.MaxRecovery != nil {
		ns := s.Expect.MaxRecovery.Std().Nanoseconds()
		rules.MaxRecovery = &ns
	}
	if s.Expect.Leak != nil {
		rules.Descriptors = &s.Expect.Leak.Descriptors
	}
	for name, w := range s.Workload {
		rules.Workloads[name] = oracle.WorkloadRule{Driver: w.Driver, Rate: w.Rate, Phases: phaseRules(w)}
	}
	for name, pr := range s.Probe {
		rules.Probes[name] = oracle.ProbeRule{During: pr.During}
	}
	for _, in := range p.Injections {
		rule := faultRule(s, in)
		// Each occurrence picks its targets anew.
		rule.Services = append(rule.Services, rules.Faults[in.Fault.ID].Services...)
		slices.Sort(rule.Services)
		rule.Services = slices.Compact(rule.Services)
		rules.Faults[in.Fault.ID] = rule
	}
	for _, b := range s.Budget {
		rules.Budgets = append(rules.Budgets, budgetOf(b))
	}
	for _, c := range s.Check {
		rules.Checks = append(rules.Checks, oracle.CheckRule{Kind: c.Kind, Workload: c.Workload, Timeout: c.Timeout.Std().Nanoseconds(), Options: optionsOf(c)})
	}
	return rules
}

// phaseRules are the phases of a workload, and before them what it does from its start on; nil without any.
func phaseRules(w scenarios.Workload) []oracle.PhaseRule {
	if len(w.Phase) == 0 {
		return nil
	}
	out := []oracle.PhaseRule{{Rate: w.Rate}}
	for _, p := range w.Phase {
		out = append(out, oracle.PhaseRule{At: p.At.Std().Nanoseconds(), Rate: cmp.Or(p.Rate, out[len(out)-1].Rate)})
	}
	return out
}

// budgetOf is what the judge needs of a budget.
func budgetOf(b scenarios.Budget) oracle.BudgetRule {
	rule := oracle.BudgetRule{Phase: b.Phase, Fault: b.Fault, Workload: b.Workload, Availability: b.Availability}
	for _, bound := range []struct {
		from *units.Duration
		to   *int64
	}{{b.P50, &rule.P50}, {b.P99, &rule.P99}, {b.Max, &rule.Max}, {b.Recovery, &rule.Recovery}} {
		if bound.from != nil {
			*bound.to = bound.from.Std().Nanoseconds()
		}
	}
	return rule
}

// faultRule is what the judge needs of one fault. A fault on a link is aimed at no service: each that dies has crashed.
func faultRule(s *scenarios.Scenario, in Injection) oracle.FaultRule {
	rule := oracle.FaultRule{
		Kind: string(in.Fault.Kind), Instant: in.Fault.Spec.Instant, ObservedBy: in.Fault.ObservedBy, Line: in.Fault.Line,
		Drawn:    in.Lane > 0,
		Stops:    in.Fault.Spec.Cuts,
		Services: []string{},
	}
	for _, t := range in.Targets {
		if t.Link == "" {
			rule.Services = append(rule.Services, t.Service)
		}
	}
	if len(rule.ObservedBy) == 0 {
		rule.ObservedBy = append(sortedKeys(s.Workload), sortedKeys(s.Probe)...)
	}
	return rule
}

// optionsOf writes the options of a check for its rule; nothing without any.
func optionsOf(c scenarios.Check) json.RawMessage {
	if c.Options == nil {
		return nil
	}
	raw, err := json.Marshal(c.Options)
	if err != nil {
		panic(err) // plain structs of texts, numbers and durations
	}
	return raw
}
