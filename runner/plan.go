package runner

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

// Plan is what a run will do, in the order of time. It is a pure function of a scenario, its services, what the host can
// do, and the seed. It is read-only once made.
type Plan struct {
	Scenario   *scenarios.Scenario
	Seed       int64
	Services   []scenarios.Service
	Isolation  []string            // what is changed so that the run cannot reach the user's own stack
	Routes     []scenarios.LinkRef // what is routed through the proxy: edges, sorted; none on a host that cannot
	Injections []Injection         // those of [[fault]], then those of the nemesis in the order in which they were drawn
	schedule   schedule            // of the nemesis
	probed     bool
	unrouted   string // why the scenario's own [[link]] tables are not routed; "" where they are, or there are none
}

// Injection is one occurrence of a fault.
type Injection struct {
	ID    string // the fault's id; "id#2" from the second occurrence on
	Lane  int    // of the nemesis, from 1: one after the other; 0 for one of [[fault]]
	Fault scenarios.Fault
	// Targets are single containers, whole services where the kind takes those, and links as the scenario names them or pick
	// chose them, in order. Where a query says which of them it is, they are all that it may be; where it is a follower, in the
	// seed's order: it is the first that does not lead.
	Targets   []scenarios.Ref
	At        time.Duration // from the start of the timeline, or from the end of After
	After     string        // injection id
	Behind    string        // injection id: this one starts when that one has ended, and not before its own time
	Mechanism string        // how, on this host; alternatives where the host was not asked
	Cause     string        // why it is there, for people
}

// NewPlan makes the plan. facts is what the host can do, or nil: then mechanisms are alternatives and nothing is refused
// for lack of one. The error joins everything that the host cannot do; it wraps faults.ErrUnsupported.
func NewPlan(s *scenarios.Scenario, services []scenarios.Service, isolation []string, facts *faults.Facts, seed int64) (*Plan, error) {
	p := &Plan{Scenario: s, Seed: seed, Services: services, Isolation: isolation, probed: facts != nil}
	p.schedule.within = s.Recovery.Within.Std()
	p.route(facts)
	var errs []error
	for _, f := range s.Fault {
		mechanism, err := mechanismOf(f.Spec, facts)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: fault %s: %w", s.Origin.Path, f.Line, f.ID, err))
			continue
		}
		all := candidates(s, f, services)
		for n := range max(f.Times, 1) {
			in := injection(f, n, mechanism)
			in.Targets = pick(all, f.Pick, nil, Rand(seed, "pick/"+in.ID))
			p.Injections = append(p.Injections, in)
		}
	}
	for i, in := range p.Injections {
		p.Injections[i].After = lastOccurrence(s.Fault, in.After)
	}
	// Those with a fixed instant come first, in the order of time; the others follow what they wait for.
	slices.SortStableFunc(p.Injections, func(a, b Injection) int {
		if (a.After == "") != (b.After == "") {
			return cmp.Compare(min(len(a.After), 1), min(len(b.After), 1))
		}
		return cmp.Compare(a.At, b.At)
	})
	errs = append(errs, p.draw(facts)...)
	return p, errors.Join(errs...)
}

// route says what is routed. Where the host cannot, a fault on a link is refused for what its kind needs; without one the
// run does without routes.
func (p *Plan) route(facts *faults.Facts) {
	if facts == nil || facts.Can(faults.CapLinks) {
		p.Routes = p.Scenario.Links(p.Services)
		return
	}
	if len(p.Scenario.Link) > 0 {
		p.unrouted = cmp.Or(facts.Missing[faults.CapLinks], "this host cannot redirect connections")
	}
}

// lastOccurrence is the injection at whose end a fault of the scenario has ended.
func lastOccurrence(all []scenarios.Fault, id string) string {
	for _, f := range all {
		if f.ID == id && f.Times > 1 {
			return occurrence(id, f.Times)
		}
	}
	return id
}

// occurrence is the injection id of a fault's nth occurrence, from 1.
func occurrence(id string, n int) string {
	if n < 2 {
		return id
	}
	return fmt.Sprintf("%s#%d", id, n)
}

func injection(f scenarios.Fault, n int, mechanism string) Injection {
	in := Injection{ID: occurrence(f.ID, n+1), Fault: f, Mechanism: mechanism, After: f.After, Cause: fmt.Sprintf("[[fault]] on line %d", f.Line)}
	if f.At != nil {
		in.At = f.At.Std()
	}
	if n > 0 {
		in.At += time.Duration(n) * f.Every.Std()
		in.Cause += fmt.Sprintf(", occurrence %d of %d", n+1, f.Times)
		if f.Spec.Rolling { // two at once would be on two targets at once
			in.Behind = occurrence(f.ID, n)
		}
	}
	return in
}

func mechanismOf(spec faults.Spec, facts *faults.Facts) (string, error) {
	if facts == nil {
		var names []string
		for _, m := range spec.Mechanisms {
			names = append(names, m.Name)
		}
		return strings.Join(names, ", else "), nil
	}
	m, err := spec.Mechanism(*facts)
	return m.Name, err
}

// Rand is the random source of one component of a run, split from the seed by the component's name, so that a new
// component does not reshuffle the others.
func Rand(seed int64, component string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(component))                     // a hash never fails to write
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64())) //nolint:gosec // any bits are a seed
}

// String is the plan as people read it and as plan.txt keeps it.
func (p *Plan) String() string {
	var b strings.Builder
	s := p.Scenario
	fmt.Fprintf(&b, "scenario     %s\nseed         %d\n", s.Name, p.Seed)
	fmt.Fprintf(&b, "environment  %s\n", environmentOf(s.Environment))
	for _, svc := range p.Services {
		fmt.Fprintf(&b, "  service    %s\n", serviceLine(svc))
	}
	for _, c := range p.Isolation {
		fmt.Fprintf(&b, "  isolation  %s\n", c)
	}
	for _, name := range sortedKeys(s.Workload) {
		w := s.Workload[name]
		fmt.Fprintf(&b, "workload     %s: %s on %s, %d clients, %s\n", name, w.Driver, w.Target, w.Clients, rateText(w.Rate))
		for i, ph := range w.Phase {
			fmt.Fprintf(&b, "  phase      from %s: %s\n", ph.At, phaseText(ph, w.Phase[:i]))
		}
	}
	for _, name := range sortedKeys(s.Probe) {
		pr := s.Probe[name]
		fmt.Fprintf(&b, "probe        %s: %s %s every %s, %s during faults\n", name, pr.Kind, pr.Target, pr.Every, pr.During)
	}
	p.writeLinks(&b)
	for _, step := range s.Setup {
		fmt.Fprintf(&b, "setup        %s%s\n", stepText(step), beforeText(step.Before))
	}
	fmt.Fprintf(&b, "steady       %s\nguard        %s\n", steadyText(s), guardText(s))
	p.writeNemesis(&b)
	b.WriteString("timeline\n")
	for _, in := range p.Injections {
		fmt.Fprintf(&b, "  %-9s  %s\n", in.when(), in.what(p.Services))
		fmt.Fprintf(&b, "  %-9s  by %s (%s)\n", "", in.Mechanism, in.Cause)
		for _, g := range in.Fault.Gate {
			if in.Lane == 0 { // those of the nemesis are told once
				fmt.Fprintf(&b, "  %-9s  gate before the next: %s, within %s\n", "", gateName(g), s.Recovery.Within)
			}
		}
	}
	if len(p.Injections) == 0 {
		b.WriteString("  no faults\n")
	}
	fmt.Fprintf(&b, "recovery     within %s\n", s.Recovery.Within)
	for _, step := range s.Teardown {
		fmt.Fprintf(&b, "teardown     %s\n", stepText(step))
	}
	for _, c := range s.Check {
		fmt.Fprintf(&b, "check        %s on %s%s\n", c.Kind, subject(s, c.Workload), optionsText(c))
	}
	fmt.Fprintf(&b, "expect       %s\n", expectText(s.Expect))
	for _, budget := range s.Budget {
		fmt.Fprintf(&b, "budget       %s\n", budgetOf(budget))
	}
	if !p.probed {
		b.WriteString("mechanisms are alternatives, best first; plan --probe asks this host\n")
	}
	return b.String()
}

// writeLinks tells what is routed, and what of it is not as one might think.
func (p *Plan) writeLinks(b *strings.Builder) {
	for _, l := range p.Routes {
		fmt.Fprintf(b, "link         %s%s\n", l, p.sharing(l))
	}
	if len(p.Routes) > 0 && p.Scenario.Environment.Attach != "" {
		b.WriteString("  unrouted   connections through published ports and the gateway are not routed\n")
	}
	if p.unrouted != "" {
		fmt.Fprintf(b, "  unrouted   no [[link]] is routed: %s\n", p.unrouted)
	}
}

// sharing names the services whose connections count as those of a side of the link, and the other way round, because
// they share a network namespace.
func (p *Plan) sharing(l scenarios.LinkRef) string {
	owner := func(service string) string { return cmp.Or(scenarios.SharesNamespace(service, p.Services), service) }
	var notes []string
	for _, s := range p.Services {
		if ns := owner(s.Name); ns != s.Name && (ns == owner(l.From) || ns == owner(l.To)) {
			notes = append(notes, fmt.Sprintf("%s shares the network namespace of %s", s.Name, ns))
		}
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

func beforeText(before []string) string {
	if len(before) == 0 {
		return ""
	}
	return ", before " + strings.Join(before, ", ")
}

func serviceLine(s scenarios.Service) string {
	text := s.Name
	if s.Replicas > 1 {
		text += fmt.Sprintf(" ×%d", s.Replicas)
	}
	if len(s.Ports) > 0 {
		text += fmt.Sprintf(", ports %v", s.Ports)
	}
	if s.Restart != "" && s.Restart != "no" {
		text += ", restart " + s.Restart
	}
	if s.NetworkMode != "" {
		text += ", network " + s.NetworkMode
	}
	if s.OneShot {
		text += ", one-shot"
	}
	return text
}

func environmentOf(e scenarios.Environment) string {
	switch {
	case e.Attach != "":
		return "attach to running project " + e.Attach
	case e.Use != "":
		return "shipped: " + e.Use
	}
	return strings.Join(e.Files, ", ")
}

func rateText(rate float64) string {
	if rate == 0 {
		return "as fast as answers come"
	}
	return fmt.Sprintf("%g operations/s", rate)
}

// phaseText says what a phase changes, after those before it.
func phaseText(p scenarios.Phase, before []scenarios.Phase) string {
	var parts []string
	if p.Rate > 0 {
		parts = append(parts, rateText(p.Rate))
	}
	if p.Options == nil && len(before) > 0 && before[len(before)-1].Options != nil {
		parts = append(parts, "the workload's own options again")
	}
	return strings.Join(append(parts, p.Changes...), ", ")
}

func expectText(e scenarios.Expect) string {
	parts := []string{e.Verdict}
	if e.Availability != nil {
		parts = append(parts, fmt.Sprintf("availability ≥ %g", *e.Availability))
	}
	if e.ErrorsOnlyDuring != "" {
		parts = append(parts, "errors only during "+e.ErrorsOnlyDuring)
	}
	if e.MaxRecovery != nil {
		parts = append(parts, "recovery ≤ "+e.MaxRecovery.String())
	}
	if e.Leak != nil {
		parts = append(parts, fmt.Sprintf("at most %d descriptors more in a container than before", e.Leak.Descriptors))
	}
	if e.MinRate != nil {
		parts = append(parts, fmt.Sprintf("at least %g acknowledged operations/s in each window", *e.MinRate))
	}
	if len(e.Crashes) > 0 {
		parts = append(parts, "crashes allowed: "+strings.Join(e.Crashes, ", "))
	}
	return strings.Join(parts, "; ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// subject says whether a check looks at a workload or a probe.
func subject(s *scenarios.Scenario, name string) string {
	if _, ok := s.Probe[name]; ok {
		return "probe " + name
	}
	return "workload " + name
}

// optionsText is the options table of a check as JSON, behind a comma.
func optionsText(c scenarios.Check) string {
	if raw := optionsOf(c); len(raw) > 0 && string(raw) != "{}" {
		return ", options " + string(raw)
	}
	return ""
}
