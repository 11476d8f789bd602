//go:build e2e

package routing_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/google/nftables"

	"github.com/discompose/discompose/agent"
)

// child is the pid of the agent's networks' child.
func (r *rig) child() int {
	r.Helper()
	top, err := r.docker.ContainerTop(r.Context(), r.agentID, nil)
	if err != nil {
		r.Fatal(err)
	}
	at := slices.Index(top.Titles, "PID")
	for _, p := range top.Processes {
		if strings.HasSuffix(p[len(p)-1], " "+agent.RoleNet) {
			pid, err := strconv.Atoi(p[at])
			if err != nil {
				r.Fatal(err)
			}
			return pid
		}
	}
	r.Fatalf("the agent has no child: %+v", top)
	return 0
}

func TestRulesEndWithTheProcessThatMadeThem(t *testing.T) {
	p := newPair(t)
	open := p.a.mustDial(p.addr)
	p.a.mustAsk(open, "who")
	p.call(agent.OpCut, agent.Cut{ID: "x", Container: p.db, Against: []string{"workload.b"}, In: true}, nil)
	p.call(agent.OpSignal, agent.Signal{Container: p.agentID, PID: p.child(), Signal: "SIGKILL"}, nil)
	p.eventually("the loss is told", func() bool { return len(seen[string](p.rig, agent.EventNetLost)) == 1 })
	if answer, errno := p.a.ask(open, "who"); errno == "" || errno == "timeout" {
		t.Errorf("a proxied connection: %q %q, want it closed", answer, errno)
	}
	p.same("answered") // a rule that is left would redirect to nobody, or drop
	if err := p.host.Call(t.Context(), agent.OpNetLinks, nil, nil); err == nil {
		t.Error("the links were reported after their process ended")
	}
	p.call(agent.OpUncut, agent.CutID{ID: "x"}, nil) // healing goes on

	// The whole agent goes; another one finds nothing of it.
	p.call(agent.OpNetStart, agent.NetStart{Run: p.run, Project: p.project, Links: []agent.Edge{{Name: pairLink, From: "workload.a", To: "db", Port: 7000}}}, nil)
	p.same("answered")
	if got := p.counts(pairLink).Accepted; got != 1 {
		t.Fatalf("the second child's proxy accepted %d connections, want 1", got)
	}
	if err := p.docker.ContainerKill(t.Context(), p.agentID, "KILL"); err != nil {
		t.Fatal(err)
	}
	p.eventually("the agent is gone", func() bool {
		_, err := p.docker.ContainerInspect(t.Context(), p.agentID)
		return errdefs.IsNotFound(err)
	})
	p.same("answered")
	p.route(pairLink) // fails if a table of this name is there and owned
	p.same("answered")
	if got := p.counts(pairLink).Accepted; got != 1 {
		t.Errorf("the second agent's proxy accepted %d connections, want 1", got)
	}
}

func TestAnAgentThatLeavesTakesItsRulesAlong(t *testing.T) {
	p := newPair(t)
	p.call(agent.OpBye, nil, nil)
	p.host.Close()
	<-p.host.Done()
	if err := p.host.Err(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	p.same("answered")
	if s := p.host.Stderr(); s != "" {
		t.Errorf("it said %s", s)
	}
}

func TestTheEnginesOwnNamespaceIsNeverTouched(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	hosted := func() string { return r.start(service{name: "db", mode: "host", cmd: []string{"idle"}}) }
	before := hosted()
	const link = "db->web:7000"
	r.route(link)
	during := hosted()
	web := r.server("web", lan)
	r.eventually("a later one is armed", func() bool { return len(r.armed(web)) == 1 })
	for _, id := range []string{before, during} {
		if a := r.armed(id); len(a) > 0 {
			t.Errorf("a container in the engine's namespace was armed: %+v", a)
		}
	}
	var peers agent.PeerList
	r.call(agent.OpPeers, agent.Peers{Container: web, Against: []string{"*"}}, &peers)
	if len(peers.Peers) > 0 {
		t.Errorf("peers %+v, want none: packets of host containers cannot be cut", peers.Peers)
	}
	var reached agent.ReachResult
	r.call(agent.OpReach, agent.Reach{From: during, To: web}, &reached)
	if reached.Sent > 0 {
		t.Errorf("datagrams were sent from the engine's namespace: %+v", reached)
	}
	if x := r.report(link); x.Clients != 0 {
		t.Errorf("report %+v, want no client", x)
	}
	if _, err := net.InterfaceByName("docker0"); err != nil {
		t.Logf("the engine's tables cannot be listed from here: %v", err)
		return
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Logf("the engine's tables cannot be listed: %v", err)
		return
	}
	for _, x := range tables {
		if strings.HasPrefix(x.Name, "discompose_") {
			t.Errorf("the engine's namespace has table %s", x.Name)
		}
	}
}

func TestAContainerWithACgroupElsewhereIsArmedLate(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	const link = "web->db:7000"
	r.route(link)
	db := r.server("db", lan)
	web := r.start(service{name: "web", networks: []string{lan}, parent: "/", cmd: []string{"loop", r.address(db, lan) + ":7000"}})
	r.eventually("it is armed", func() bool { return len(r.armed(web)) == 1 })
	if a := r.armed(web)[0]; !a.Late {
		t.Errorf("armed %+v, want late: the watch does not see its cgroup", a)
	}
	r.eventually("it is routed", func() bool { return r.counts(link).Dialled > 2 })
	r.stop(web)
	var peers agent.PeerList
	r.eventually("it has left", func() bool {
		r.call(agent.OpPeers, agent.Peers{Against: []string{"web"}}, &peers)
		return len(peers.Peers) == 0
	})
}

func TestManyConnectionsKeepTheirBytesWhileToxicsComeAndGo(t *testing.T) {
	p := newPair(t)
	p.a.call("bulk", map[string]any{"Addr": p.addr, "Conns": 200}, nil)
	moved := func() (n int64) { p.a.call("moved", nil, &n); return n }
	for _, toxic := range []string{
		`{"name":"t","type":"latency","attributes":{"latency":3,"jitter":2}}`,
		`{"name":"t","type":"slicer","stream":"upstream","toxicity":0.5,"attributes":{"average_size":4000,"size_variation":1000,"delay":10}}`,
		`{"name":"t","type":"bandwidth","attributes":{"rate":2000}}`,
	} {
		for range 3 {
			p.toxiproxy(true, "POST", "/proxies/"+pairLink+"/toxics", toxic)
			at := moved()
			p.eventually("bytes move through the toxic", func() bool { return moved() > at+1<<20 })
			p.toxiproxy(true, "DELETE", "/proxies/"+pairLink+"/toxics/t", "")
			at = moved()
			p.eventually("bytes move without it", func() bool { return moved() > at+1<<20 })
		}
	}
	var out struct {
		Bytes int64
		Errs  []string
	}
	p.a.call("stop", nil, &out)
	if len(out.Errs) > 0 || out.Bytes == 0 {
		t.Errorf("%d bytes, %d connections failed: %.3q", out.Bytes, len(out.Errs), out.Errs)
	}
	got := p.counts(pairLink)
	if got.Accepted != 201 || got.Arrived != 201 || got.Guarded != 0 {
		t.Errorf("%+v, want 201 connections, all through the proxy", got)
	}
	t.Logf("%d bytes each way", out.Bytes)
	p.leaks()
}

// six is a network with IPv6, or skips the test.
func (r *rig) six() string {
	r.Helper()
	n, err := r.docker.NetworkCreate(r.Context(), r.project+"-six", network.CreateOptions{
		Labels: map[string]string{testLabel: "1"}, EnableIPv6: new(true),
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "fd00:" + r.run[:4] + ":" + r.run[4:] + "::/64"}}},
	})
	if err != nil {
		r.Skipf("this engine makes no network with IPv6: %v", err)
	}
	r.Cleanup(func() {
		if err := r.docker.NetworkRemove(context.Background(), n.ID); err != nil {
			r.Error(err)
		}
	})
	return n.ID
}

func (r *rig) address6(id string) netip.AddrPort {
	r.Helper()
	for _, n := range r.inspect(id).NetworkSettings.Networks {
		if a, err := netip.ParseAddr(n.GlobalIPv6Address); err == nil {
			return netip.AddrPortFrom(a, 7000)
		}
	}
	r.Fatalf("container %.12s has no IPv6 address", id)
	return netip.AddrPort{}
}

func TestIPv6IsRoutedWhereTheClientHasALoopback(t *testing.T) {
	r := newRig(t)
	lan := r.six()
	r.route(pairLink)
	db := r.server("db", lan)
	a := r.client("a", lan)
	if got, want := a.peer(a.mustDial(r.address6(db).String())), r.address6(a.id).Addr().String(); got != want {
		t.Errorf("the server sees %s, want the client's own %s", got, want)
	}
	a.peer(a.mustDial(r.address(db, lan) + ":7000"))
	if got, want := r.counts(pairLink), (counts{Redirects: 2, Accepted: 2, Dialled: 2, Arrived: 2}); got != want {
		t.Errorf("%+v, want %+v%s", got, want, r.told())
	}
	r.addLatency(true, pairLink)
	a.peer(a.mustDial(r.address6(db).String()))
	if x := r.report(pairLink); x.Unrouted != "" || x.Passed != 0 || x.State.Accepted != 3 {
		t.Errorf("report %+v, want 3 through the proxy", x)
	}
}

func TestIPv6OfAClientWithoutALoopbackIsToldAsUnrouted(t *testing.T) {
	r := newRig(t)
	lan := r.six()
	r.route("web->db:7000")
	db := r.server("db", lan)
	web := r.start(service{
		name: "web", networks: []string{lan}, cmd: []string{"loop", r.address6(db).String()},
		sysctls: map[string]string{"net.ipv6.conf.lo.disable_ipv6": "1"},
	})
	r.eventually("it connects", func() bool { return strings.Contains(r.logs(web), "up") })
	if x := r.report("web->db:7000"); !strings.Contains(x.Unrouted, "web has no ::1") {
		t.Errorf("unrouted %q, want it to name the missing ::1", x.Unrouted)
	}
	r.addLatency(true, "web->db:7000")
	ups := strings.Count(r.logs(web), "up")
	r.eventually("it connects while the link has a toxic", func() bool { return strings.Count(r.logs(web), "up") > ups+2 })
}
