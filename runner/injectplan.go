package runner

import (
	"fmt"
	"strings"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

// Injection is the plan of a fault by hand as people read it: what happens to what, how it is seen, and how it is undone.
func (p *Plan) Injection() string {
	var b strings.Builder
	fmt.Fprintf(&b, "project      %s (running; nothing is created, recreated or removed in it)\n", p.Scenario.Environment.Attach)
	for _, in := range p.Injections {
		fmt.Fprintf(&b, "inject       %s\n", in.byHand(p.Services))
		if in.Fault.Pick != "" && in.Fault.Pick != "all" {
			fmt.Fprintf(&b, "  picked     %s, by seed %d\n", in.Fault.Pick, p.Seed)
		}
		what, witness, undo := parts(in.Fault.Spec.Doc)
		fmt.Fprintf(&b, "  what       %s\n  witness    %s\n  undo       %s\n", what, witness, undo)
	}
	for _, l := range p.Routes {
		fmt.Fprintf(&b, "link         %s%s\n", l, p.sharing(l))
	}
	if len(p.Routes) > 0 {
		b.WriteString("  open       connections that are open now are reset when the fault begins, and those through the proxy end with the agent\n")
		b.WriteString("  unrouted   connections through published ports and the gateway\n")
	}
	return b.String()
}

// parts are what a kind's description says of its effect, its witness and its undo.
func parts(doc string) (what, witness, undo string) {
	what, rest, _ := strings.Cut(doc, " Witness: ")
	witness, undo, _ = strings.Cut(rest, " Undo: ")
	return what, witness, undo
}

// byHand says what an injection does, in a line.
func (in Injection) byHand(services []scenarios.Service) string {
	in.Fault.Pick = "" // which ones it chose is told
	text := strings.TrimPrefix(in.what(services), in.ID+": ")
	if d, ok := in.Fault.Params.(faults.Downtimer); ok && in.Fault.For == nil && d.Down() > 0 {
		text = strings.Replace(text, fmt.Sprintf("down = %q", d.Down()), "down for "+d.Down().String(), 1)
	}
	return fmt.Sprintf("%s, by %s", text, in.Mechanism)
}
