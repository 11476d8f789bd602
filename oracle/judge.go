package oracle

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

// DecodeRules reads the rules that a run carries in run.json.
func DecodeRules(run ledger.Run) (Rules, error) {
	var r Rules
	if err := json.Unmarshal(run.Rules, &r); err != nil {
		return Rules{}, fmt.Errorf("read the rules of run %s: %w", run.ID, err)
	}
	return r, nil
}

// Judge judges a run: checks with their self-tests, windows with their guards, availability, recovery, probes and
// crashes, and from all findings the verdict. It does not change h. The same history and rules give the same judgement,
// unless a check's time-out or the end of ctx cuts it short, which is a finding (checker-unknown).
func Judge(ctx context.Context, h *ledger.History, rules Rules) Judgement {
	return judge(ctx, h, rules, NewChecker)
}

func judge(ctx context.Context, h *ledger.History, rules Rules, checker func(CheckRule, Rules) (Checker, error)) Judgement {
	x := newIndex(h, rules)
	s := newSpan(h, x)
	j := Judgement{Windows: windows(h, x, s), Phases: x.phases(s), Results: []Result{}}
	j.Overall = x.stats(interval{s.base, s.end}, x.overall()...)
	c := &court{h: h, x: x, span: s, windows: j.Windows, phases: j.Phases}
	c.announced()
	for _, rule := range rules.Checks {
		r := runCheck(ctx, h, rule, func() (Checker, error) { return checker(rule, rules) })
		if c.loose() {
			r.looseEnds()
		}
		j.Results = append(j.Results, r)
		c.take(r)
		for _, m := range r.Mutants {
			switch m.Fate {
			case Convicted:
				j.Convicted++
				j.Tried++
			case Survived:
				j.Tried++
			case NotTried, TimedOut:
			}
		}
	}
	c.witnesses()
	c.links()
	c.guards()
	c.crashes()
	c.hangs()
	c.availability()
	c.budgets()
	c.errorsOutside()
	c.probes()
	j.Findings = settleFindings(c.findings, rules.Expect, c.errors())
	j.Primary = j.Findings[0].Class
	j.Verdict = j.Primary.Verdict()
	return j
}

// overall lists the workloads, or the probes where there is no workload.
func (x *index) overall() []string {
	if names := observers(x.rules.Workloads); len(names) > 0 {
		return names
	}
	return observers(x.rules.Probes)
}

// court collects the findings of one judgement.
type court struct {
	h        *ledger.History
	x        *index
	span     span
	windows  []Window
	phases   []Phase
	findings []Finding
	short    bool // the run did not come to its end: what is missing, or failed on the way out, proves nothing
}

func (c *court) find(class Class, format string, args ...any) {
	if c.short && (class == NoWitness || class == TooFewOps || class == CheckerUnknown) {
		return // a consequence of the end, which is announced
	}
	f := Finding{class, fmt.Sprintf(format, args...)}
	if !slices.Contains(c.findings, f) {
		c.findings = append(c.findings, f)
	}
}

// announced takes the findings that runner and agent made themselves: events of source "runner" whose type is a class that
// is no pass, and the agent's own.
func (c *court) announced() {
	short := false
	c.foreign()
	for _, e := range c.h.Events {
		class := Class(e.Type)
		switch {
		case e.Source == "agent" && e.Type == ledger.EventNetLost:
			if slices.ContainsFunc(c.h.Events, func(e ledger.Event) bool { return e.Source == "runner" && e.Type == string(AgentLost) }) {
				continue // the runner ended the run for it, and says so
			}
			class, e.Detail = AgentLost, cmp.Or(e.Detail, "the process that served links and cuts ended, and all of them with it")
		case e.Source != "runner" || !slices.Contains(Classes(), class) || class.Verdict() == Pass:
			continue
		}
		c.find(class, "%s", cmp.Or(e.Detail, "the runner reports it"))
		if slices.Contains([]Class{Interrupted, AgentLost, NoSteadyState, NotSupported}, class) {
			short = true
		}
	}
	c.short = short
}

// loose reports whether the run ended before its workloads were stopped in order: what they had in flight then is not
// recorded, and may be found all the same.
func (c *court) loose() bool {
	return c.short && !slices.ContainsFunc(c.h.Run.Phases, func(p ledger.Phase) bool { return p.Name == ledger.PhaseFinal })
}

// looseEnds takes back what operations that were not recorded would explain.
func (r *Result) looseEnds() {
	whole := slices.ContainsFunc(Kinds(), func(k Kind) bool { return k.Name == r.Check && k.Whole })
	explained := func(class Class) bool {
		return class == Phantom || (whole && class != Corruption && class.Verdict() == Fail)
	}
	before := len(r.Violations)
	r.Violations = slices.DeleteFunc(r.Violations, func(v Violation) bool { return explained(v.Class) })
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return explained(f.Class) })
	if len(r.Violations) == before {
		return
	}
	r.Total = len(r.Violations)
	if r.Total == 0 {
		r.Verdict = Inconclusive
		r.Findings = append(r.Findings, Finding{CheckerUnknown, fmt.Sprintf("what the %s check of %s found may be operations that were in flight when the run ended", r.Check, r.Workload)})
	}
}

// runCheck runs one check and the self-test of its checker, each within the check's time-out.
func runCheck(ctx context.Context, h *ledger.History, rule CheckRule, checker func() (Checker, error)) (r Result) {
	r = Result{Check: rule.Kind, Workload: rule.Workload, Counts: map[string]int64{}, Violations: []Violation{}, Mutants: []Mutant{}}
	c, err := checker()
	if err != nil {
		r.Findings = []Finding{{CheckerUnknown, err.Error()}}
		return r
	}
	defer func() {
		if p := recover(); p != nil {
			r.Verdict = Merge(r.Verdict, Inconclusive)
			r.Findings = append(r.Findings, Finding{CheckerUnknown, fmt.Sprintf("the %s check of %s panicked: %v", rule.Kind, rule.Workload, p)})
		}
	}()
	cctx, cancel := within(ctx, time.Duration(rule.Timeout))
	defer cancel()
	r = c.Check(cctx, h, rule.Workload)
	r.draw()
	sctx, stop := within(ctx, time.Duration(rule.Timeout))
	defer stop()
	r.Mutants = selfTest(sctx, c, h, r, h.Run.Seed)
	return r
}

// draw makes the bodies of attachments; one that cannot be made is left out.
func (r *Result) draw() {
	kept := r.Attachments[:0]
	for _, a := range r.Attachments {
		if a.draw != nil {
			body, err := a.draw()
			if err != nil {
				continue
			}
			a.Body, a.draw = body, nil
		}
		kept = append(kept, a)
	}
	r.Attachments = kept
}

// within bounds ctx by d, if that is above 0.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("it took longer than %s", d))
}

// take turns the result of a check into findings.
func (c *court) take(r Result) {
	for _, f := range r.Findings {
		c.find(f.Class, "%s", f.Reason)
	}
	if r.Verdict != Pass && len(r.Findings) == 0 {
		c.find(CheckerUnknown, "the %s check of %s is %s without a reason", r.Check, r.Workload, strings.ToLower(r.Verdict.String()))
	}
	var survived []string
	for _, m := range r.Mutants {
		if m.Fate == Survived {
			survived = append(survived, fmt.Sprintf("%s (%s)", m.Name, m.Note))
		}
	}
	if len(survived) > 0 {
		c.find(JudgeUnproven, "the %s check of %s did not convict: %s", r.Check, r.Workload, strings.Join(survived, "; "))
	}
}

// settleFindings orders the findings by precedence, weighs them against what the scenario expects, and adds the class of
// a pass. It is never empty.
func settleFindings(found []Finding, expect string, errors []string) []Finding {
	order := Classes()
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Class), slices.Index(order, b.Class))
	})
	want := Class(expect)
	if expect == "pass" {
		want = ""
	}
	unproven := slices.IndexFunc(found, func(f Finding) bool { return f.Class.Verdict() == Inconclusive })
	switch {
	case len(found) > 0 && found[0].Class == want && unproven >= 0:
		// The weakness is there, but a pass needs an experiment that proves something.
		return append(slices.Clone(found[unproven:]), found[:unproven]...)
	case len(found) > 0 && found[0].Class == want && want.Verdict() == Fail:
		return append([]Finding{{AsExpected, fmt.Sprintf("%s appeared, as the scenario expects: %s", want, found[0].Reason)}}, found...)
	case len(found) > 0:
		return found
	}
	held := Finding{Clean, "every check, probe and gate held, without any error"}
	if len(errors) > 0 {
		held = Finding{Degraded, "it held, with " + strings.Join(errors, ", ")}
	}
	if want != "" && want != held.Class {
		return []Finding{{Unexpected, fmt.Sprintf("the scenario expects %s, and it did not appear: %s", want, held.Reason)}}
	}
	return []Finding{held}
}

// errors lists what keeps a passing run from being clean.
func (c *court) errors() []string {
	var out []string
	for _, kind := range []struct {
		noun, bad string
		names     []string
	}{{"operations", "failed", observers(c.x.rules.Workloads)}, {"probe evaluations", "did not hold", observers(c.x.rules.Probes)}} {
		s := c.x.stats(interval{c.span.base, max(c.span.end, c.x.final)}, kind.names...)
		for _, name := range kind.names {
			failed, unknown := c.demanded(name)
			s.Failed -= failed
			s.Unknown -= unknown
		}
		if s.Failed > 0 {
			out = append(out, fmt.Sprintf("%d of %d %s that %s", s.Failed, s.Invoked, kind.noun, kind.bad))
		}
		if s.Unknown > 0 {
			out = append(out, fmt.Sprintf("%d of %d %s without a known outcome", s.Unknown, s.Invoked, kind.noun))
		}
	}
	out = append(out, c.h.Run.Fallbacks...)
	last := map[string]ledger.Gate{}
	for _, g := range c.h.Gates {
		last[g.Name] = g
	}
	for _, name := range observers(last) {
		if !last[name].Held {
			out = append(out, fmt.Sprintf("gate %s that did not hold", name))
		}
	}
	return out
}
