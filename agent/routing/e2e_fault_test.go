//go:build e2e

package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/network"

	"github.com/discompose/discompose/agent"
)

// pair is a routed client a and an unrouted client b of one server.
type pair struct {
	*rig
	lan, db, addr string
	a, b          *driven
}

const pairLink = "workload.a->db:7000"

func newPair(t *testing.T) *pair {
	r := newRig(t)
	p := &pair{rig: r, lan: r.network("", network.CreateOptions{})}
	r.route(pairLink)
	p.db = r.server("db", p.lan)
	p.addr = r.address(p.db, p.lan) + ":7000"
	p.a, p.b = r.client("a", p.lan), r.client("b", p.lan)
	p.same("answered")
	if got := r.counts(pairLink).Accepted; got != 1 {
		t.Fatalf("the proxy accepted %d connections, want the routed client's", got)
	}
	return p
}

// same has both clients do the same and fails the test unless they fare the same, and as wanted.
func (p *pair) same(want string) {
	p.Helper()
	routed, unrouted := p.a.outcome(p.addr), p.b.outcome(p.addr)
	if routed != unrouted {
		p.Errorf("routed: %q, unrouted: %q%s", routed, unrouted, p.told())
	}
	if !strings.HasPrefix(unrouted, want) {
		p.Errorf("unrouted: %q, want %q", unrouted, want)
	}
}

func (p *pair) direct(on bool) {
	p.Helper()
	p.call(agent.OpNetDirect, agent.Direct{ID: "f1", Container: p.db, On: on}, nil)
}

// leaks fails the test if more arrived than the link's counters explain.
func (p *pair) leaks() {
	p.Helper()
	x := p.report(pairLink)
	if leaked := x.Arrived - x.State.Dialled - x.State.DialFailed - x.State.Dialling - x.Direct; leaked > 0 || x.Passed > 0 {
		p.Errorf("%d connections and %d packets unexplained: %+v", leaked, x.Passed, p.counts(pairLink))
	}
}

func TestWithoutToxicsAServerOutOfReachLooksAsItDoesWithoutALink(t *testing.T) {
	t.Run("its container is stopped", func(t *testing.T) {
		p := newPair(t)
		p.direct(true)
		p.stop(p.db)
		p.same("connect: ")
		p.restart(p.db)
		p.direct(false)
		p.addr = p.address(p.db, p.lan) + ":7000"
		p.same("answered")
		if got := p.counts(pairLink).Accepted; got != 2 {
			t.Errorf("the proxy accepted %d connections, want 2: routed again", got)
		}
		p.leaks()
	})
	t.Run("its container is paused", func(t *testing.T) {
		p := newPair(t)
		if err := p.docker.ContainerPause(t.Context(), p.db); err != nil {
			t.Fatal(err)
		}
		p.same("ask: timeout")
		if err := p.docker.ContainerUnpause(t.Context(), p.db); err != nil {
			t.Fatal(err)
		}
		p.same("answered")
		p.leaks()
	})
	t.Run("its port is closed", func(t *testing.T) {
		p := newPair(t)
		p.direct(true)
		if err := p.docker.ContainerKill(t.Context(), p.db, "USR1"); err != nil {
			t.Fatal(err)
		}
		p.eventually("the port is closed", func() bool { return strings.Contains(p.logs(p.db), "deaf") })
		// It is noticed a moment later: what the proxy accepts until then is reset.
		p.eventually("connections are refused", func() bool { return p.a.outcome(p.addr) == "connect: connection refused" })
		before := p.counts(pairLink)
		p.same("connect: connection refused")
		if got := p.counts(pairLink); got.Accepted != before.Accepted || got.Direct != before.Direct+1 {
			t.Errorf("%+v, then %+v; want one more connection, and that past the proxy", before, got)
		}
		p.leaks()
	})
}

func TestACutLooksTheSameToRoutedAndUnroutedClients(t *testing.T) {
	p := newPair(t)
	for i, c := range []struct {
		cut  agent.Cut
		want string
	}{
		{agent.Cut{In: true, Out: true}, "connect: timeout"},
		{agent.Cut{In: true}, "connect: timeout"},
		{agent.Cut{Out: true}, "connect: timeout"},
		{agent.Cut{In: true, Out: true, Reject: true}, "connect: connection refused"},
		{agent.Cut{In: true, Reject: true}, "connect: connection refused"},
		{agent.Cut{Out: true, Reject: true}, "connect: "},
	} {
		name := fmt.Sprintf("in %v, out %v, reject %v", c.cut.In, c.cut.Out, c.cut.Reject)
		c.cut.ID, c.cut.Container, c.cut.Against = fmt.Sprint("cut", i), p.db, []string{"workload"}
		p.call(agent.OpCut, c.cut, nil)
		routed, unrouted := p.a.outcome(p.addr), p.b.outcome(p.addr)
		if routed != unrouted || !strings.HasPrefix(unrouted, c.want) {
			t.Errorf("%s: routed %q, unrouted %q, want %q for both", name, routed, unrouted, c.want)
		}
		for _, way := range []struct {
			reach agent.Reach
			cut   bool
		}{{agent.Reach{From: p.a.id, To: p.db}, c.cut.In}, {agent.Reach{From: p.db, To: p.a.id}, c.cut.Out}} {
			var got agent.ReachResult
			p.call(agent.OpReach, way.reach, &got)
			if got.Sent == 0 || way.cut && got.Arrived > 0 || !way.cut && got.Arrived < got.Sent {
				t.Errorf("%s: reach %+v, cut %v", name, got, way.cut)
			}
		}
		var state agent.CutCount
		p.call(agent.OpCutState, agent.CutID{ID: c.cut.ID}, &state)
		if !state.Active || c.cut.In != (state.In > 0) || c.cut.Out && !c.cut.In && state.Out == 0 {
			t.Errorf("%s: state %+v", name, state)
		}
		p.call(agent.OpUncut, agent.CutID{ID: c.cut.ID}, nil)
		if routed, unrouted := p.a.outcome(p.addr), p.b.outcome(p.addr); routed != "answered" || unrouted != "answered" {
			t.Errorf("after the cut (%s): routed %q, unrouted %q", name, routed, unrouted)
		}
	}
	p.leaks()
}

func TestTheGuardClosesAConnectionThatWasOpenBeforeRoutingWhenAToxicComes(t *testing.T) {
	r := newRig(t)
	// In the engine's own bridge nothing has tracked connections before: the first packet that routing sees is in mid-stream.
	db := r.server("db", "bridge")
	a, b := r.client("a", "bridge"), r.client("b", "bridge")
	addr := r.address(db, "bridge") + ":7000"
	early, other := a.mustDial(addr), b.mustDial(addr)
	a.mustAsk(early, "who")
	r.routeAs(true, pairLink)
	if x := r.armed(a.id); len(x) != 1 || !x[0].Late {
		t.Errorf("the client was armed %+v, want once and late", x)
	}
	a.mustAsk(early, "who")
	late := a.mustDial(addr)
	a.mustAsk(late, "who")
	got := r.counts(pairLink)
	if got.Early == 0 {
		t.Error("no packet of the early connection was counted")
	}
	got.Early = 0
	if want := (counts{Redirects: 1, Accepted: 1, Dialled: 1, Arrived: 1}); got != want {
		t.Errorf("before the toxic: %+v, want %+v%s", got, want, r.told())
	}
	r.addLatency(true, pairLink)
	if answer, errno := a.ask(early, "who"); errno == "" || errno == "timeout" {
		t.Errorf("the early connection: %q %q, want it closed", answer, errno)
	}
	b.mustAsk(other, "who")
	r.eventually("the server's end is closed", func() bool { return a.mustAsk(late, "open") == "2" })
	const why = "opened before the link was routed"
	if x := r.report(pairLink); len(x.Resets) != 1 || x.Resets[0].Count != 1 || x.Resets[0].Why != why || x.Passed != 0 {
		t.Errorf("resets %+v, passed %d; want one connection: %s", x.Resets, x.Passed, why)
	}
	if x := seen[agent.LinkReset](r, agent.EventReset); len(x) != 1 || x[0].Link != pairLink || x[0].Why != why {
		t.Errorf("events %+v, want one of %s", x, pairLink)
	}
}

// past opens a connection that begins past the proxy, while the two are cut apart.
func (p *pair) past() int {
	p.Helper()
	p.call(agent.OpCut, agent.Cut{ID: "past", Container: p.db, Against: []string{"workload.a"}, In: true}, nil)
	opened := make(chan struct{})
	var id int
	var errno string
	go func() {
		defer close(opened)
		id, errno = p.a.dial(p.addr)
	}()
	p.eventually("its first segment is stopped", func() bool {
		var state agent.CutCount
		p.call(agent.OpCutState, agent.CutID{ID: "past"}, &state)
		return state.In > 0
	})
	p.call(agent.OpUncut, agent.CutID{ID: "past"}, nil)
	<-opened
	if errno != "" {
		p.Fatalf("connect after the cut: %s", errno)
	}
	return id
}

func TestAConnectionThatBeganWhileItsServerWasCutOffIsRoutedAfterwards(t *testing.T) {
	p := newPair(t)
	late := p.past()
	p.a.mustAsk(late, "who")
	through := p.a.mustDial(p.addr)
	p.a.mustAsk(through, "who")
	var conns []agent.Connection
	p.call(agent.OpNetConns, nil, &conns)
	if want := (agent.Connection{From: "workload.a", To: "db", Port: 7000, Count: 2}); len(conns) != 1 || conns[0] != want {
		t.Errorf("connections %+v, want %+v", conns, want)
	}
	if got := p.counts(pairLink); got.Direct != 1 || got.Accepted != 3 || got.Arrived != 3 {
		t.Errorf("%+v, want one attempt past the proxy, and every connection through it (the first was the rig's)", got)
	}
	p.addLatency(true, pairLink)
	for _, id := range []int{late, through} {
		p.a.mustAsk(id, "who")
	}
	if x := p.report(pairLink); len(x.Resets) != 0 {
		t.Errorf("resets %+v, want none", x.Resets)
	}
	p.leaks()
}

func TestOnlyAForeignChangeOfToxicsIsTold(t *testing.T) {
	p := newPair(t)
	p.addLatency(true, pairLink)
	p.removeLatency(true, pairLink)
	if got := seen[agent.Foreign](p.rig, agent.EventForeign); len(got) != 0 {
		t.Errorf("our own change was told: %+v", got)
	}
	p.addLatency(false, pairLink)
	if got := seen[agent.Foreign](p.rig, agent.EventForeign); len(got) != 1 || got[0].Link != pairLink || got[0].What != "add slow (latency)" || got[0].At == 0 {
		t.Errorf("a foreign change was told as %+v", got)
	}
}
