//go:build e2e

package routing_test

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/discompose/discompose/agent"
)

func TestARoutedConnectionReachesTheServerWithTheClientsOwnAddress(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	const linkA, linkB = "workload.a->db:7000", "workload.b->db:7000"
	r.route(linkA, linkB)
	r.server("db", lan)
	a, b := r.client("a", lan), r.client("b", lan)

	if got, want := a.peer(a.mustDial("db:7000")), r.address(a.id, lan); got != want {
		t.Errorf("the server sees %s, want the client's own %s", got, want)
	}
	want := counts{Redirects: 1, Accepted: 1, Dialled: 1, Arrived: 1}
	if got := r.counts(linkA); got != want {
		t.Errorf("after one connection: %+v, want %+v%s", got, want, r.told())
	}
	a.peer(a.mustDial("db:7001"))
	if got := r.counts(linkA); got != want {
		t.Errorf("after a connection to another port: %+v, want %+v", got, want)
	}
	for range 2 {
		if got, want := b.peer(b.mustDial("db:7000")), r.address(b.id, lan); got != want {
			t.Errorf("the server sees %s, want the client's own %s", got, want)
		}
	}
	if got := r.counts(linkA); got != want {
		t.Errorf("after another client's connections: %+v, want %+v", got, want)
	}
	want = counts{Redirects: 2, Accepted: 2, Dialled: 2, Arrived: 2}
	if got := r.counts(linkB); got != want {
		t.Errorf("the other client's link: %+v, want %+v", got, want)
	}
	if x := r.report(linkA); x.Unrouted != "" || x.Clients != 1 || x.State.Clients != 1 {
		t.Errorf("report %+v, want one client and nothing unrouted", x)
	}
}

func TestAServerThatComesBackWithAnotherAddressIsRoutedAgain(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	const link = "workload.a->db:7000"
	r.route(link)
	db := r.server("db", lan)
	a := r.client("a", lan)
	a.peer(a.mustDial("db:7000"))
	old := r.address(db, lan)
	r.stop(db)
	squatter := r.start(service{networks: []string{lan}, cmd: []string{"server", "7000"}})
	if got := r.address(squatter, lan); got != old {
		t.Fatalf("the squatter has %s, not the server's old address %s", got, old)
	}
	r.restart(db)
	if now := r.address(db, lan); now == old {
		t.Fatalf("the server has its old address %s", old)
	}
	a.peer(a.mustDial("db:7000"))
	want := counts{Redirects: 2, Accepted: 2, Dialled: 2, Arrived: 2}
	if got := r.counts(link); got != want {
		t.Errorf("after the server came back: %+v, want %+v%s", got, want, r.told())
	}
	a.peer(a.mustDial(old + ":7000"))
	if got := r.counts(link); got != want {
		t.Errorf("after a connection to whoever has the old address: %+v, want %+v", got, want)
	}
}

func TestAServiceThatStartsAgainIsArmedBeforeItsFirstInstruction(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	const link = "web->db:7000"
	r.route(link)
	db := r.server("db", lan)
	web := r.start(service{name: "web", networks: []string{lan}, cmd: []string{"loop", r.address(db, lan) + ":7000"}})
	const starts = 4
	for range starts - 1 {
		ups := strings.Count(r.logs(web), "up")
		r.eventually("it connects", func() bool { return strings.Count(r.logs(web), "up") > ups+2 })
		if err := r.docker.ContainerRestart(t.Context(), web, container.StopOptions{Signal: "SIGKILL"}); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("it is armed after its last start", func() bool { return len(r.armed(web)) == starts })
	ups := strings.Count(r.logs(web), "up")
	r.eventually("it connects", func() bool { return strings.Count(r.logs(web), "up") > ups+2 })
	r.stop(web)
	for _, a := range r.armed(web) {
		if a.Late || a.Listeners != 1 {
			t.Errorf("armed %+v, want in time, with one listener", a)
		}
	}
	x := r.report(link)
	if ups := int64(strings.Count(r.logs(web), "up")); x.Arrived < ups || ups == 0 {
		t.Errorf("%d connections arrived, the service made %d", x.Arrived, ups)
	}
	if leaked := x.Arrived - x.State.Dialled - x.State.DialFailed - x.State.Dialling - x.Direct; leaked > 0 || x.Redirects < x.Arrived {
		t.Errorf("%d connections bypassed the proxy: %+v%s", leaked, r.counts(link), r.told())
	}
	if x.Clients != starts {
		t.Errorf("%d client namespaces, want %d", x.Clients, starts)
	}
}

func TestEveryReplicaIsRouted(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	const link = "workload.a->db:7000"
	r.route(link)
	var all []string
	for i := range 3 {
		all = append(all, r.start(service{name: "db", number: i + 1, networks: []string{lan}, cmd: []string{"server", "7000"}}))
	}
	a := r.client("a", lan)
	for i, db := range all {
		a.peer(a.mustDial(r.address(db, lan) + ":7000"))
		n := int64(i + 1)
		if got, want := r.counts(link), (counts{Redirects: n, Accepted: n, Dialled: n, Arrived: n}); got != want {
			t.Errorf("after replica %d: %+v, want %+v", i+1, got, want)
		}
	}
	var peers agent.PeerList
	r.call(agent.OpPeers, agent.Peers{Container: all[0], Against: []string{"db", "workload"}}, &peers)
	if len(peers.Peers) != 3 || peers.Peers[0].Name != "db[2]" || peers.Peers[1].Name != "db[3]" || peers.Peers[2].Name != "workload.a" {
		t.Errorf("peers of the first replica: %+v", peers)
	}
}

func TestTheAddressesInAllSharedNetworksAreRouted(t *testing.T) {
	r := newRig(t)
	one, two := r.network("-one", network.CreateOptions{}), r.network("-two", network.CreateOptions{})
	const link = "workload.a->db:7000"
	r.route(link)
	db := r.server("db", one, two)
	a := r.client("a", two, one)
	for i, lan := range []string{one, two} {
		if got, want := a.peer(a.mustDial(r.address(db, lan)+":7000")), r.address(a.id, lan); got != want {
			t.Errorf("the server sees %s, want %s", got, want)
		}
		n := int64(i + 1)
		if got, want := r.counts(link), (counts{Redirects: n, Accepted: n, Dialled: n, Arrived: n}); got != want {
			t.Errorf("after %d networks: %+v, want %+v", n, got, want)
		}
	}
}

func TestTwoServicesOfOneNamespaceShareAListener(t *testing.T) {
	r := newRig(t)
	lan := r.network("", network.CreateOptions{})
	const first, second, self = "web->db:7000", "sidecar->db:7000", "sidecar->web:7000"
	r.route(first, second, self)
	db := r.server("db", lan)
	loop := []string{"loop", r.address(db, lan) + ":7000"}
	web := r.start(service{name: "web", networks: []string{lan}, cmd: loop})
	sidecar := r.start(service{name: "sidecar", mode: "container:" + web, cmd: loop})
	for _, id := range []string{web, sidecar} {
		r.eventually("it connects", func() bool { return strings.Contains(r.logs(id), "up") })
	}
	r.stop(sidecar)
	if a := r.armed(sidecar); len(a) != 1 || a[0].Late || a[0].Listeners == 0 {
		t.Errorf("the sidecar was armed %+v, want once and in time", a)
	}
	ups := strings.Count(r.logs(web), "up")
	r.eventually("the other one is routed on", func() bool { return strings.Count(r.logs(web), "up") > ups+2 })
	r.stop(web)
	x := r.report(first)
	if x.Arrived == 0 || x.Arrived > x.State.Dialled+x.State.DialFailed+x.State.Dialling {
		t.Errorf("the first link: %+v, want all arrivals through it%s", r.counts(first), r.told())
	}
	for link, want := range map[string]string{second: first, self: "shares its network namespace"} {
		if x := r.report(link); !strings.Contains(x.Unrouted, want) || x.State.Accepted != 0 {
			t.Errorf("%s: unrouted %q, accepted %d; want it to name %q", link, x.Unrouted, x.State.Accepted, want)
		}
	}
}
