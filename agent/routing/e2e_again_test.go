//go:build e2e

package routing_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent"
)

// TestAnEnvironmentIsRoutedAgainForAnotherRun stops routing as the end of a run does, and starts it again as the next run's
// beginning does, on the same containers.
func TestAnEnvironmentIsRoutedAgainForAnotherRun(t *testing.T) {
	p := newPair(t)
	left := func() []string {
		t.Helper()
		var out []string
		p.call(agent.OpNetLeft, agent.NetLeft{Project: p.project}, &out)
		return out
	}
	if diff := cmp.Diff([]string{"discompose_" + p.run + " in db"}, left()); diff != "" {
		t.Fatalf("rules while routing goes on (-want +got):\n%s", diff)
	}
	proxied := p.a.mustDial(p.addr)
	p.a.mustAsk(proxied, "who")

	p.call(agent.OpNetStop, nil, nil)
	if answer, errno := p.a.ask(proxied, "who"); errno == "" || errno == "timeout" {
		t.Errorf("a proxied connection: %q %q, want it closed", answer, errno)
	}
	if l := left(); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	p.call(agent.OpNetStop, nil, nil)
	p.call(agent.OpNetStop, nil, nil) // of none
	p.same("answered")
	between := p.a.mustDial(p.addr)
	p.a.mustAsk(between, "who")

	start := agent.NetStart{Run: p.run, Project: p.project, Afresh: true, Links: []agent.Edge{{Name: pairLink, From: "workload.a", To: "db", Port: 7000}}}
	p.call(agent.OpNetStart, start, nil)
	if answer, errno := p.a.ask(between, "who"); errno == "" || errno == "timeout" {
		t.Errorf("a connection from before the second start: %q %q, want it closed", answer, errno)
	}
	p.same("answered")
	x := p.report(pairLink)
	if x.State.Accepted != 1 || x.Passed != 0 || len(x.Resets) != 1 || x.Resets[0].Count != 1 || x.Resets[0].Why != "opened before the link was routed" {
		t.Errorf("the second proxy accepted %d connections, %d packets passed by, resets %+v", x.State.Accepted, x.Passed, x.Resets)
	}
	if lost := seen[string](p.rig, agent.EventNetLost); len(lost) > 0 {
		t.Errorf("a process that was stopped on purpose is told as lost: %v", lost)
	}
}
