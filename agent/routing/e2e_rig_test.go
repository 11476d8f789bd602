//go:build e2e

package routing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/agent/proxy"
	"github.com/discompose/discompose/internal/imagetest"
)

const testLabel = "io.discompose.test.routing"

// rig is a real engine with a project of the test's own, whose containers run testdata/netmain.
type rig struct {
	*testing.T
	docker  *client.Client
	image   string
	run     string
	project string
	host    *agent.Conn
	agentID string

	mu     sync.Mutex
	events []agent.Event
}

var builtExe = sync.OnceValues(func() (string, error) { // one build for all tests
	dir, err := os.MkdirTemp("", "netmain")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "netmain")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "./testdata/netmain")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build netmain: %w\n%s", err, out)
	}
	return exe, nil
})

var usedImage string // the tag that TestMain removes; tests run one at a time

func TestMain(m *testing.M) {
	code := m.Run()
	if usedImage != "" {
		if exe, err := builtExe(); err == nil {
			_ = os.RemoveAll(filepath.Dir(exe))
		}
		if docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err == nil {
			docker.ImageRemove(context.Background(), usedImage, image.RemoveOptions{}) //nolint:errcheck // another test run may use it
		}
	}
	os.Exit(code)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	imagetest.Need(t) // an engine
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	exe, err := builtExe()
	if err != nil {
		t.Fatal(err)
	}
	img, err := agent.EnsureImage(t.Context(), docker, exe, nil)
	if err != nil {
		t.Fatal(err)
	}
	usedImage = img.Ref
	run := fmt.Sprintf("%08x", rand.Uint32())
	return &rig{T: t, docker: docker, image: img.Ref, run: run, project: "routingtest" + run}
}

// eventually waits for a condition of the real engine, which has no way to be waited for.
func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.Fatalf("not within 30 s: %s%s", what, r.told())
}

// told is what the agent said, for a test that has failed.
func (r *rig) told() string {
	if r.host == nil {
		return ""
	}
	return "\nthe agent said: " + r.host.Stderr()
}

// route starts an agent that routes links, named as in a scenario: "workload.a->db:7000".
func (r *rig) route(links ...string) { r.Helper(); r.routeAs(false, links...) }

func (r *rig) routeAs(attached bool, links ...string) {
	r.Helper()
	r.hostAgent("", r.onEvent)
	start := agent.NetStart{Run: r.run, Project: r.project, Seed: 1, Attached: attached}
	for _, name := range links {
		from, rest, _ := strings.Cut(name, "->")
		to, port, _ := strings.Cut(rest, ":")
		n, err := strconv.Atoi(port)
		if err != nil {
			r.Fatal(err)
		}
		start.Links = append(start.Links, agent.Edge{Name: name, From: from, To: to, Port: n})
	}
	r.call(agent.OpNetStart, start, nil)
}

func (r *rig) onEvent(e agent.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// hostAgent starts an agent whose container's name ends in suffix.
func (r *rig) hostAgent(suffix string, onEvent func(agent.Event)) {
	r.Helper()
	conn, id, err := agent.StartAgent(r.Context(), r.docker, agent.AgentOptions{
		Image: r.image, Name: "discompose-" + r.project + suffix, Run: r.run, Project: r.project,
		Labels: map[string]string{testLabel: "1"}, OnEvent: onEvent,
	})
	if err != nil {
		r.Fatal(err)
	}
	r.removeLater(id)
	r.host, r.agentID = conn, id
	r.call(agent.OpHello, agent.Hello{Run: r.run, Project: r.project}, nil)
}

func (r *rig) call(op string, args, out any) {
	r.Helper()
	if err := r.host.Call(r.Context(), op, args, out); err != nil {
		r.Fatalf("%v%s", err, r.told())
	}
}

func (r *rig) removeLater(id string) {
	r.Cleanup(func() {
		err := r.docker.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			r.Error(err)
		}
		for range 1000 { // an agent that removes itself holds its networks until it has
			if _, err := r.docker.ContainerInspect(context.Background(), id); errdefs.IsNotFound(err) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		r.Errorf("container %.12s is still there", id)
	})
}

// network makes a network; its name ends in suffix.
func (r *rig) network(suffix string, o network.CreateOptions) string {
	r.Helper()
	o.Labels = map[string]string{testLabel: "1"}
	n, err := r.docker.NetworkCreate(r.Context(), r.project+suffix, o)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := r.docker.NetworkRemove(context.Background(), n.ID); err != nil {
			r.Error(err)
		}
	})
	return n.ID
}

// service is a container to start. Its networks, or its mode, are what it must have.
type service struct {
	name     string // empty: it is not of the project
	number   int    // 0 is 1
	networks []string
	mode     string // of the network, where there are no networks
	cmd      []string
	sysctls  map[string]string
	parent   string // of its cgroup
}

func (r *rig) start(s service) (id string) {
	r.Helper()
	labels := map[string]string{testLabel: "1"}
	if s.name != "" {
		maps.Copy(labels, map[string]string{
			"com.docker.compose.project": r.project, "com.docker.compose.service": s.name,
			"com.docker.compose.container-number": strconv.Itoa(max(1, s.number)),
		})
	}
	h := &container.HostConfig{NetworkMode: container.NetworkMode(s.mode), Sysctls: s.sysctls, Resources: container.Resources{CgroupParent: s.parent}}
	if len(s.networks) > 0 {
		h.NetworkMode = container.NetworkMode(s.networks[0])
	}
	endpoint := &network.EndpointSettings{Aliases: []string{s.name}}
	nets := &network.NetworkingConfig{}
	if s.name != "" && len(s.networks) > 0 && s.networks[0] != "bridge" { // the engine's own has no aliases
		nets.EndpointsConfig = map[string]*network.EndpointSettings{s.networks[0]: endpoint}
	}
	got, err := r.docker.ContainerCreate(r.Context(), &container.Config{Image: r.image, Cmd: s.cmd, Labels: labels}, h, nets, nil, "")
	if err != nil {
		r.Fatal(err)
	}
	r.removeLater(got.ID)
	for _, n := range s.networks[min(1, len(s.networks)):] {
		if err := r.docker.NetworkConnect(r.Context(), n, got.ID, endpoint); err != nil {
			r.Fatal(err)
		}
	}
	r.restart(got.ID)
	return got.ID
}

// restart starts a container that is not running, and waits for a server to listen.
func (r *rig) restart(id string) {
	r.Helper()
	before := strings.Count(r.logs(id), "listening")
	if err := r.docker.ContainerStart(r.Context(), id, container.StartOptions{}); err != nil {
		r.Fatal(err)
	}
	if r.inspect(id).Config.Cmd[0] == "server" {
		r.eventually("the server listens", func() bool { return strings.Count(r.logs(id), "listening") > before })
	}
}

// server starts a server of the project that listens on ports 7000 and 7001.
func (r *rig) server(name string, networks ...string) string {
	r.Helper()
	return r.start(service{name: name, networks: networks, cmd: []string{"server", "7000", "7001"}})
}

func (r *rig) stop(id string) {
	r.Helper()
	if err := r.docker.ContainerStop(r.Context(), id, container.StopOptions{}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) inspect(id string) container.InspectResponse {
	r.Helper()
	got, err := r.docker.ContainerInspect(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return got
}

// address is a container's address in a network.
func (r *rig) address(id, network string) string {
	r.Helper()
	for name, n := range r.inspect(id).NetworkSettings.Networks {
		if n.NetworkID == network || name == network {
			return n.IPAddress
		}
	}
	r.Fatalf("container %.12s is not in network %.12s", id, network)
	return ""
}

func (r *rig) logs(id string) string {
	r.Helper()
	body, err := r.docker.ContainerLogs(r.Context(), id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		r.Fatal(err)
	}
	defer body.Close()
	var b strings.Builder
	if _, err := stdcopy.StdCopy(&b, &b, body); err != nil {
		r.Fatal(err)
	}
	return b.String()
}

// report is what a link did.
type report struct {
	agent.LinkReport
	State proxy.Snapshot `json:"state"`
}

func (r *rig) report(link string) report {
	r.Helper()
	var all []report
	r.call(agent.OpNetLinks, nil, &all)
	i := slices.IndexFunc(all, func(x report) bool { return x.Name == link })
	if i < 0 {
		r.Fatalf("there is no report of %s", link)
	}
	return all[i]
}

// counts are the parts of a report that a test compares.
type counts struct{ Redirects, Accepted, Dialled, Arrived, Direct, Early, Guarded, Passed int64 }

func (r *rig) counts(link string) counts {
	r.Helper()
	x := r.report(link)
	return counts{x.Redirects, x.State.Accepted, x.State.Dialled, x.Arrived, x.Direct, x.Early, x.Guarded, x.Passed}
}

// seen decodes the events of a name so far.
func seen[A any](r *rig, name string) []A {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []A
	for _, e := range r.events {
		if e.Name != name {
			continue
		}
		var a A
		if err := json.Unmarshal(e.Data, &a); err != nil {
			r.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// armed returns how a container has been armed so far, in order.
func (r *rig) armed(id string) []agent.Armed {
	r.Helper()
	return slices.DeleteFunc(seen[agent.Armed](r, agent.EventArmed), func(a agent.Armed) bool { return a.Container != id })
}

// toxiproxy makes a request of Toxiproxy's API.
func (r *rig) toxiproxy(own bool, method, path, body string) {
	r.Helper()
	var a agent.HTTPResponse
	r.call(agent.OpNetToxiproxy, agent.HTTPRequest{Method: method, Path: path, Own: own, Body: []byte(body)}, &a)
	if a.Status >= 300 {
		r.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
}

func (r *rig) addLatency(own bool, link string) {
	r.Helper()
	r.toxiproxy(own, "POST", "/proxies/"+link+"/toxics", `{"name":"slow","type":"latency","attributes":{"latency":1}}`)
}

func (r *rig) removeLatency(own bool, link string) {
	r.Helper()
	r.toxiproxy(own, "DELETE", "/proxies/"+link+"/toxics/slow", "")
}

// driven is a client container that does what the test says.
type driven struct {
	r       *rig
	id      string
	conn    *agent.Conn
	timeout time.Duration // of each dial and ask
}

// client starts a client container "workload.<name>".
func (r *rig) client(name string, networks ...string) *driven {
	r.Helper()
	conn, id, err := agent.StartClient(r.Context(), r.docker, agent.ClientOptions{
		Image: r.image, Name: r.project + "-" + name, Run: r.run, Project: r.project, Networks: networks,
		Labels: map[string]string{testLabel: "1", agent.LabelClient: "workload." + name},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.removeLater(id)
	return &driven{r, id, conn, 10 * time.Second}
}

func (c *driven) call(op string, args, out any) {
	c.r.Helper()
	if err := c.conn.Call(c.r.Context(), op, args, out); err != nil {
		c.r.Fatalf("%v (stderr: %s)", err, c.conn.Stderr())
	}
}

// dial opens a connection and returns its number, or what became of it.
func (c *driven) dial(addr string) (id int, errno string) {
	c.r.Helper()
	var out struct {
		ID  int
		Err string
	}
	c.call("dial", map[string]any{"Addr": addr, "Timeout": c.timeout}, &out)
	return out.ID, out.Err
}

// mustDial opens a connection.
func (c *driven) mustDial(addr string) int {
	c.r.Helper()
	id, errno := c.dial(addr)
	if errno != "" {
		c.r.Fatalf("connect to %s: %s%s", addr, errno, c.r.told())
	}
	return id
}

// ask sends a line and returns the answer, or what became of it.
func (c *driven) ask(id int, line string) (answer, errno string) {
	c.r.Helper()
	var out struct{ Answer, Err string }
	c.call("ask", map[string]any{"ID": id, "Line": line, "Timeout": c.timeout}, &out)
	return out.Answer, out.Err
}

// mustAsk sends a line and returns the answer.
func (c *driven) mustAsk(id int, line string) string {
	c.r.Helper()
	answer, errno := c.ask(id, line)
	if errno != "" {
		c.r.Fatalf("ask %q: %s%s", line, errno, c.r.told())
	}
	return answer
}

// peer is the address that the server of a connection sees.
func (c *driven) peer(id int) string {
	c.r.Helper()
	host, _, err := net.SplitHostPort(c.mustAsk(id, "who"))
	if err != nil {
		c.r.Fatal(err)
	}
	return host
}

// outcome is what a short exchange over a new connection comes to.
func (c *driven) outcome(addr string) string {
	c.r.Helper()
	short := *c
	short.timeout = time.Second
	id, errno := short.dial(addr)
	if errno != "" {
		return "connect: " + errno
	}
	_, errno = short.ask(id, "who")
	c.call("close", id, nil)
	if errno != "" {
		return "ask: " + errno
	}
	return "answered"
}
