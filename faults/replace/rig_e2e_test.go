//go:build e2e

package replace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/internal/imagetest"
)

const busybox = "busybox:latest"

// rig is a service of one or more containers as Compose would make them, with two networks, a named volume and one without
// a name. What the test leaves of it goes with the test.
type rig struct {
	t       *testing.T
	docker  *client.Client
	project string
	chosen  string // the first container's address in network front; "" for none
}

func newRig(t *testing.T, containers int, address bool) rig {
	t.Helper()
	imagetest.Need(t, busybox)
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docker.Close() })
	r := rig{t: t, docker: docker, project: fmt.Sprintf("discompose-test-%d", time.Now().UnixNano())}
	t.Cleanup(r.clean)
	if address {
		r.chosen = r.frontOf("10.213."+strconv.Itoa(rand.IntN(256))) + ".77"
	} else {
		r.must(r.network("front", ""))
	}
	r.must(r.network("back", ""))
	for n := range containers {
		r.start(n + 1)
	}
	return r
}

func (r rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r rig) labels() map[string]string {
	return map[string]string{"io.discompose.test": "replace", "com.docker.compose.project": r.project}
}

func (r rig) name(n int) string { return fmt.Sprintf("%s-web-%d", r.project, n) }

// frontOf makes network front with a subnet, the wanted one or the next that is free, and returns its first three numbers.
func (r rig) frontOf(prefix string) string {
	r.t.Helper()
	var err error
	for range 10 {
		if err = r.network("front", prefix+".0/24"); err == nil {
			return prefix
		}
		prefix = "10.213." + strconv.Itoa(rand.IntN(256))
	}
	r.t.Fatal(err)
	return ""
}

func (r rig) network(key, subnet string) error {
	o := network.CreateOptions{Driver: "bridge", Labels: r.labels()}
	o.Labels["com.docker.compose.network"] = key
	if subnet != "" {
		o.IPAM = &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}}
	}
	_, err := r.docker.NetworkCreate(r.t.Context(), r.project+"_"+key, o)
	return err
}

func (r rig) start(n int) {
	r.t.Helper()
	labels := r.labels()
	labels["com.docker.compose.service"], labels["com.docker.compose.container-number"] = "web", strconv.Itoa(n)
	s := &network.EndpointSettings{Aliases: []string{r.name(n), "web", "www"}}
	if r.chosen != "" {
		s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: r.chosen}
	}
	made, err := r.docker.ContainerCreate(r.t.Context(), &container.Config{
		Image: busybox, Env: []string{"LEVEL=info"}, Labels: labels, Volumes: map[string]struct{}{"/anonymous": {}},
		Cmd: []string{"sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"},
	}, &container.HostConfig{
		NetworkMode: container.NetworkMode(r.project + "_front"), RestartPolicy: container.RestartPolicy{Name: "unless-stopped"},
		Mounts:    []mount.Mount{{Type: mount.TypeVolume, Source: r.project + "_data", Target: "/named"}},
		Resources: container.Resources{Memory: 64 << 20},
	}, &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{r.project + "_front": s}}, nil, r.name(n))
	r.must(err)
	r.must(r.docker.NetworkConnect(r.t.Context(), r.project+"_back", made.ID, &network.EndpointSettings{Aliases: []string{r.name(n), "web", "inner"}}))
	r.must(r.docker.ContainerStart(r.t.Context(), made.ID, container.StartOptions{}))
	r.exec(made.ID, fmt.Sprintf("touch /anonymous/mark-%[1]d /named/mark-%[1]d /tmp/mark-%[1]d", n))
}

// exec runs a shell command in a container and returns its output.
func (r rig) exec(id, command string) string {
	r.t.Helper()
	x, err := r.docker.ContainerExecCreate(r.t.Context(), id, container.ExecOptions{Cmd: []string{"sh", "-c", command}, AttachStdout: true})
	r.must(err)
	s, err := r.docker.ContainerExecAttach(r.t.Context(), x.ID, container.ExecAttachOptions{})
	r.must(err)
	defer s.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, s.Reader)
	r.must(err)
	return strings.TrimSpace(out.String())
}

// clean removes everything of the project, and the volumes that its containers have.
func (r rig) clean() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 30*time.Second)
	defer cancel()
	mine := filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+r.project))
	list, err := r.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	volumes := map[string]bool{}
	for _, c := range list {
		for _, m := range c.Mounts {
			volumes[m.Name] = volumes[m.Name] || m.Type == mount.TypeVolume
		}
		err = errors.Join(err, r.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}
	for v := range volumes {
		err = errors.Join(err, r.docker.VolumeRemove(ctx, v, true))
	}
	networks, nerr := r.docker.NetworkList(ctx, network.ListOptions{Filters: mine})
	err = errors.Join(err, nerr)
	for _, n := range networks {
		err = errors.Join(err, r.docker.NetworkRemove(ctx, n.ID))
	}
	if err != nil {
		r.t.Error(err)
	}
}

// state is what a container is, as far as faults must give it back.
type state struct {
	Running bool
	Image   string
	Config  container.Config
	Host    container.HostConfig
	Volumes map[string]string // by target
	Aliases map[string][]string
	Chosen  map[string]string // addresses by network
	Address string            // of the first, where one is chosen
	Files   string            // in the volumes
}

// now observes the containers of the service, by name.
func (r rig) now() map[string]state {
	r.t.Helper()
	list, err := r.docker.ContainerList(r.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", "com.docker.compose.project="+r.project), filters.Arg("label", "com.docker.compose.service=web"))})
	r.must(err)
	out := map[string]state{}
	for _, c := range list {
		in, err := r.docker.ContainerInspect(r.t.Context(), c.ID)
		r.must(err)
		s := state{Running: in.State.Running, Image: in.Image, Config: *in.Config, Host: *in.HostConfig, Volumes: map[string]string{}, Aliases: map[string][]string{}, Chosen: map[string]string{}}
		if strings.HasPrefix(in.ID, s.Config.Hostname) {
			s.Config.Hostname = ""
		}
		s.Config.Labels = maps.Clone(s.Config.Labels)
		delete(s.Config.Labels, faults.LabelVolumes)
		s.Host.Mounts = nil // the volumes are compared as they are mounted
		for _, m := range in.Mounts {
			s.Volumes[m.Destination] = m.Name
		}
		for name, ep := range in.NetworkSettings.Networks {
			aliases := slices.DeleteFunc(slices.Clone(ep.Aliases), func(a string) bool { return strings.HasPrefix(in.ID, a) })
			slices.Sort(aliases)
			s.Aliases[name] = aliases
			if ep.IPAMConfig != nil {
				s.Chosen[name] = ep.IPAMConfig.IPv4Address
			}
			if s.Chosen[name] != "" {
				s.Address = ep.IPAddress
			}
		}
		if in.State.Running {
			s.Files = r.exec(in.ID, "cd /named && echo *; cd /anonymous && echo *")
		}
		out[strings.TrimPrefix(in.Name, "/")] = s
	}
	return out
}

// id is that of the container with a number.
func (r rig) id(n int) string {
	r.t.Helper()
	in, err := r.docker.ContainerInspect(r.t.Context(), r.name(n))
	r.must(err)
	return in.ID
}

// dying is the way to the engine of a process that is killed at one of its changing calls: before it is sent, or, with
// effect set, when the engine has done it.
type dying struct {
	http.RoundTripper
	effect bool

	mu   sync.Mutex
	left int // changing calls that get through
	dead bool
}

var errDead = errors.New("the process is dead")

func (d *dying) RoundTrip(q *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errDead
	}
	if q.Method == http.MethodGet || q.Method == http.MethodHead {
		return d.RoundTripper.RoundTrip(q)
	}
	if d.left > 0 {
		d.left--
		return d.RoundTripper.RoundTrip(q)
	}
	d.dead = true
	if d.effect {
		resp, err := d.RoundTripper.RoundTrip(q)
		if err != nil {
			return nil, err
		}
		return nil, errors.Join(errDead, resp.Body.Close())
	}
	return nil, errDead
}

// worker is a process that works on the rig with a journal of its own, kept as its lines.
type worker struct {
	env   faults.Env
	lines *[][]byte
	death *dying
}

// worker starts one that dies after so many changing calls; negative is never.
func (r rig) worker(calls int, effect bool) worker {
	r.t.Helper()
	if calls < 0 {
		calls = 1 << 30
	}
	dial := r.docker.Dialer()
	d := &dying{effect: effect, left: calls, RoundTripper: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}}
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation(), client.WithHTTPClient(&http.Client{Transport: d}))
	r.must(err)
	r.t.Cleanup(func() { _ = docker.Close() })
	lines := &[][]byte{}
	journal := &faults.State{Commit: func(e faults.Entry) error {
		line, err := json.Marshal(e)
		*lines = append(*lines, line)
		return err
	}}
	return worker{faults.Env{Engine: engine.New(docker), Journal: journal}, lines, d}
}

// heal undoes what a journal owes, in a process that has nothing but its lines.
func (r rig) heal(p worker, e faults.Effect) faults.Witness {
	r.t.Helper()
	state := &faults.State{}
	for _, line := range *p.lines {
		var entry faults.Entry
		r.must(json.Unmarshal(line, &entry))
		r.must(state.Replay(entry))
	}
	owed := state.Owed()
	if len(owed) != 1 {
		r.t.Fatalf("the journal owes %v", owed)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	w, err := faults.Undo(ctx, faults.Env{Engine: engine.New(r.docker), Journal: state}, e, owed[0])
	r.must(err)
	return w
}
