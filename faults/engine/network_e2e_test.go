//go:build e2e

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/internal/imagetest"
)

const busybox = "busybox:latest"

// lab makes containers and networks that go when the test ends.
type lab struct {
	t      *testing.T
	docker *client.Client
	engine *engine.Engine
	prefix string
}

func newLab(t *testing.T) lab {
	t.Helper()
	imagetest.Need(t, busybox)
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docker.Close() })
	return lab{t, docker, engine.New(docker), fmt.Sprintf("discompose-test-%d-", time.Now().UnixNano())}
}

func (l lab) labels() map[string]string { return map[string]string{"io.discompose.test": "engine"} }

func (l lab) clean(f func(context.Context) error) {
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), 20*time.Second)
		defer cancel()
		if err := f(ctx); err != nil && !cerrdefs.IsNotFound(err) {
			l.t.Error(err)
		}
	})
}

// network makes a network as Compose does, with a key; subnet may be empty.
func (l lab) network(key, subnet string) string {
	l.t.Helper()
	o := network.CreateOptions{Driver: "bridge", Labels: l.labels()}
	o.Labels["com.docker.compose.network"] = key
	if subnet != "" {
		o.IPAM = &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}}
	}
	n, err := l.docker.NetworkCreate(l.t.Context(), l.prefix+key, o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.clean(func(ctx context.Context) error { return l.docker.NetworkRemove(ctx, n.ID) })
	return n.ID
}

// start runs a web server in one network.
func (l lab) start(name, net string, s *network.EndpointSettings, change func(*container.Config, *container.HostConfig)) string {
	l.t.Helper()
	c := &container.Config{Image: busybox, Cmd: []string{"httpd", "-f", "-p", "80", "-h", "/etc"}, Labels: l.labels()}
	h := &container.HostConfig{NetworkMode: container.NetworkMode(net)}
	if change != nil {
		change(c, h)
	}
	var n *network.NetworkingConfig
	if s != nil {
		n = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{net: s}}
	}
	made, err := l.docker.ContainerCreate(l.t.Context(), c, h, n, nil, l.prefix+name)
	if err != nil {
		l.t.Fatal(err)
	}
	l.clean(func(ctx context.Context) error {
		return l.docker.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	if err := l.docker.ContainerStart(l.t.Context(), made.ID, container.StartOptions{}); err != nil {
		l.t.Fatal(err)
	}
	return made.ID
}

func (l lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l lab) restart(id string) {
	l.t.Helper()
	at := 0
	l.must(l.docker.ContainerRestart(l.t.Context(), id, container.StopOptions{Timeout: &at}))
}

func (l lab) endpoints(id string) []faults.Endpoint {
	l.t.Helper()
	eps, err := l.engine.Endpoints(l.t.Context(), id)
	l.must(err)
	return eps
}

// settings is what the engine tells of a container's networks, without the ids of single endpoints.
func (l lab) settings(id string) map[string]*network.EndpointSettings {
	l.t.Helper()
	in, err := l.docker.ContainerInspect(l.t.Context(), id)
	l.must(err)
	for _, s := range in.NetworkSettings.Networks {
		s.EndpointID = ""
	}
	return in.NetworkSettings.Networks
}

// freePort is a port below those that the engine and the kernel draw from: nobody gets it while the container is out.
func freePort(t *testing.T) string {
	t.Helper()
	for range 50 {
		port := strconv.Itoa(20000 + rand.IntN(10000))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no port is free")
	return ""
}

// published is the host's address of the container's port, or "".
func (l lab) published(id string) string {
	l.t.Helper()
	in, err := l.docker.ContainerInspect(l.t.Context(), id)
	l.must(err)
	for _, b := range in.NetworkSettings.Ports["80/tcp"] {
		return net.JoinHostPort(b.HostIP, b.HostPort)
	}
	return ""
}

// answers waits until a web server does.
func (l lab) answers(address string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	c := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	_, err := faults.Await(ctx, 20*time.Millisecond, func() (faults.Witness, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/hostname", nil)
		if err != nil {
			return faults.Witness{}, err
		}
		res, err := c.Do(req)
		if err != nil {
			return faults.Witness{}, fmt.Errorf("%w: %w", faults.ErrNoWitness, err)
		}
		return faults.Witness{}, res.Body.Close()
	})
	if err != nil {
		l.t.Errorf("%s does not answer: %v", address, err)
	}
}

// TestReconnect is the whole way for a container with aliases, a link, a chosen address and published ports.
func TestReconnect(t *testing.T) {
	l := newLab(t)
	front, back := l.network("front", ""), l.network("back", "10.213.9.0/24")
	l.start("peer", front, nil, nil)
	port := freePort(t)
	nothing := &network.EndpointIPAMConfig{} // as Compose asks for nothing; the engine tells it from none
	id := l.start("web", front, &network.EndpointSettings{IPAMConfig: nothing, Aliases: []string{"web", "www"}, Links: []string{l.prefix + "peer:friend"}}, func(c *container.Config, h *container.HostConfig) {
		c.MacAddress = "02:42:ac:99:99:01" //nolint:staticcheck // the only way on engines before 25
		c.ExposedPorts = nat.PortSet{"80/tcp": {}, "81/tcp": {}}
		h.PortBindings = nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1", HostPort: port}}, "81/tcp": {{HostIP: "127.0.0.1"}}}
	})
	l.must(l.docker.NetworkConnect(t.Context(), back, id, &network.EndpointSettings{
		Aliases: []string{"behind"}, IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.213.9.77"},
	}))
	before, was := l.settings(id), l.endpoints(id)
	var keys []string
	for _, ep := range was {
		keys = append(keys, ep.Key)
		if !strings.HasSuffix(ep.Name, ep.Key) || len(ep.Network) != 64 || len(ep.Addresses) != 1 || slices.Contains(ep.Aliases, id[:12]) {
			t.Errorf("endpoint %+v", ep)
		}
	}
	if !slices.Equal(keys, []string{"back", "front"}) || !slices.Equal(was[0].Addresses, []string{"10.213.9.77"}) || !slices.Equal(was[1].Aliases, []string{"web", "www"}) {
		t.Fatalf("endpoints are %+v", was)
	}
	if !strings.Contains(string(was[0].Raw), "10.213.9.77") || strings.Contains(string(was[1].Raw), was[1].Addresses[0]) {
		t.Errorf("what was chosen is in %s and %s", was[0].Raw, was[1].Raw)
	}
	l.answers("127.0.0.1:" + port)
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		for _, i := range order {
			l.must(l.engine.Disconnect(t.Context(), id, was[i].Network))
			l.must(l.engine.Disconnect(t.Context(), id, was[i].Network))
		}
		if got := l.endpoints(id); len(got) != 0 || l.published(id) != "" {
			t.Fatalf("disconnected, and in %+v, published at %q", got, l.published(id))
		}
		l.restart(id)
		if got := l.endpoints(id); len(got) != 0 {
			t.Errorf("restarted while disconnected, and in %+v", got)
		}
		for _, i := range order {
			l.must(l.engine.Connect(t.Context(), id, was[i]))
			once := l.settings(id)
			l.must(l.engine.Connect(t.Context(), id, was[i]))
			if diff := cmp.Diff(once, l.settings(id)); diff != "" {
				t.Errorf("a second connect changed something:\n%s", diff)
			}
		}
		if diff := cmp.Diff(before, l.settings(id)); diff != "" {
			t.Errorf("connected again (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(was, l.endpoints(id)); diff != "" {
			t.Errorf("endpoints (-before +after):\n%s", diff)
		}
		if got := l.published(id); got != "127.0.0.1:"+port {
			t.Errorf("published at %q", got)
		}
		l.answers("127.0.0.1:" + port)
	}
}

// TestAddressOfSomebodyElse is about what becomes of an address while the container is out.
func TestAddressOfSomebodyElse(t *testing.T) {
	l := newLab(t)
	free, fixed := l.network("free", ""), l.network("fixed", "10.213.10.0/24")
	// The first addresses of both networks are given back, so that the engine prefers them to the old one.
	low := []string{l.start("low-free", free, nil, nil), l.start("low-fixed", fixed, nil, nil)}
	id := l.start("web", free, &network.EndpointSettings{Aliases: []string{"web"}}, nil)
	l.must(l.docker.NetworkConnect(t.Context(), fixed, id, &network.EndpointSettings{Aliases: []string{"web"}}))
	was := l.endpoints(id)
	for i, net := range []string{free, fixed} {
		l.must(l.engine.Disconnect(t.Context(), low[i], net))
		l.must(l.engine.Disconnect(t.Context(), id, net))
	}
	for _, ep := range was {
		l.must(l.engine.Connect(t.Context(), id, ep))
	}
	now := l.endpoints(id)
	if len(now) != 2 || now[0].Key != "fixed" || !slices.Equal(now[0].Addresses, was[0].Addresses) {
		t.Fatalf("the address in a network with a subnet is not the old one: %+v, was %+v", now, was)
	}
	if slices.Equal(now[1].Addresses, was[1].Addresses) || len(now[1].Addresses) != 1 || !slices.Equal(now[1].Aliases, was[1].Aliases) {
		t.Errorf("in a network without a subnet it is %+v, was %+v", now[1], was[1])
	}
	l.restart(id)

	// Somebody takes the address that the container has chosen by now.
	chosen := l.endpoints(id)[0]
	l.must(l.engine.Disconnect(t.Context(), id, fixed))
	taken := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: chosen.Addresses[0]}}
	l.start("thief", fixed, taken, nil)
	if err := l.docker.NetworkConnect(t.Context(), fixed, id, taken); err == nil {
		t.Fatal("two containers have one address")
	}
	if half := l.endpoints(id); len(half) != 1 || half[0].Key != "free" {
		t.Errorf("after a refused connect it is in %+v", half)
	}
	l.must(l.engine.Connect(t.Context(), id, chosen))
	now = l.endpoints(id)
	if len(now) != 2 || len(now[0].Addresses) != 1 || slices.Equal(now[0].Addresses, chosen.Addresses) {
		t.Errorf("connected though its address is taken: %+v", now)
	}
	l.restart(id) // fails where a refused address stays in the container's settings
}

func TestNetworksOfAStoppedContainer(t *testing.T) {
	l := newLab(t)
	front := l.network("front", "")
	id := l.start("web", front, &network.EndpointSettings{Aliases: []string{"web"}}, nil)
	was := l.endpoints(id)
	l.must(l.engine.Do(t.Context(), id, faults.Action{Verb: faults.DoStop}))
	if down := l.endpoints(id); len(down) != 1 || down[0].Network != front || len(down[0].Addresses) != 0 || !slices.Equal(down[0].Aliases, []string{"web"}) {
		t.Errorf("stopped, it is in %+v", down)
	}
	for range 2 {
		l.must(l.engine.Disconnect(t.Context(), id, front))
	}
	if out := l.endpoints(id); len(out) != 0 {
		t.Errorf("stopped and disconnected, it is in %+v", out)
	}
	for range 2 {
		l.must(l.engine.Connect(t.Context(), id, was[0]))
	}
	if in := l.endpoints(id); len(in) != 1 || in[0].Network != front {
		t.Errorf("stopped and connected, it is in %+v", in)
	}
	l.must(l.engine.Do(t.Context(), id, faults.Action{Verb: faults.DoStart}))
	if diff := cmp.Diff(was, l.endpoints(id)); diff != "" {
		t.Errorf("started (-before +after):\n%s", diff)
	}
}

func TestNetworksThatAreNot(t *testing.T) {
	l := newLab(t)
	front := l.network("front", "")
	web := l.start("web", front, nil, nil)
	for _, mode := range []string{"host", "none", "container:" + web} {
		id := l.start(mode[:4], mode, nil, func(c *container.Config, _ *container.HostConfig) { c.Cmd = []string{"sleep", "600"} })
		if eps, err := l.engine.Endpoints(t.Context(), id); !errors.Is(err, faults.ErrUnsupported) {
			t.Errorf("network_mode %s: %+v, %v", mode, eps, err)
		}
	}
	ep := l.endpoints(web)[0]
	for what, err := range map[string]error{
		"disconnect": l.engine.Disconnect(t.Context(), "0123456789ab", front),
		"connect":    l.engine.Connect(t.Context(), "0123456789ab", ep),
	} {
		if !errors.Is(err, faults.ErrGone) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
	if err := l.engine.Disconnect(t.Context(), web, "0123456789ab"); err != nil {
		t.Errorf("disconnect from a network that does not exist: %v", err)
	}
	ep.Network = "0123456789ab"
	if err := l.engine.Connect(t.Context(), web, ep); err == nil || errors.Is(err, faults.ErrGone) {
		t.Errorf("connect to a network that does not exist: %v", err)
	}
}
