//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose/composetest"
)

// stack is a user's own: made by Docker Compose alone, with one of most things that a fault could leave changed.
type stack struct {
	t      *testing.T
	docker *client.Client
	name   string
}

func userStack(t *testing.T) *stack {
	t.Helper()
	for _, image := range []string{"nginx:1.22", "postgres:15", "busybox:1"} {
		needImage(t, image)
	}
	file, err := os.ReadFile("testdata/userstack/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, docker: docker(t), name: "user" + composetest.RunID()}
	own := strings.NewReplacer("18089", stackPort(t), "10.217.44.", fmt.Sprintf("10.217.%d.", rand.IntN(256)))
	dir := composetest.Write(t, map[string]string{"compose.yaml": own.Replace(string(file))})
	composetest.UserUp(t, dir, s.name)
	s.psql("CREATE TABLE orders (id int PRIMARY KEY, body text)", "INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(1, 5000) i")
	return s
}

// stackPort is a free port below those that the engine and the kernel draw from: nobody gets it while its service is down.
func stackPort(t *testing.T) string {
	t.Helper()
	for range 50 {
		port := strconv.Itoa(20000 + rand.IntN(10000))
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// id is the container of a service, by its number.
func (s *stack) id(service string, number int) string {
	s.t.Helper()
	list, err := s.docker.ContainerList(s.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", "com.docker.compose.project="+s.name), filters.Arg("label", "com.docker.compose.service="+service),
		filters.Arg("label", fmt.Sprintf("com.docker.compose.container-number=%d", number)))})
	if err != nil || len(list) != 1 {
		s.t.Fatalf("container %d of %s: %d found, %v", number, service, len(list), err)
	}
	return list[0].ID
}

// exec runs a command in a container and returns what it wrote to standard output.
func (s *stack) exec(id string, argv ...string) (string, error) {
	s.t.Helper()
	ctx := s.t.Context()
	made, err := s.docker.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", err
	}
	at, err := s.docker.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer at.Close()
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, at.Reader); err != nil {
		return "", err
	}
	done, err := s.docker.ContainerExecInspect(ctx, made.ID)
	if err == nil && done.ExitCode != 0 {
		err = fmt.Errorf("%v: exit code %d: %s", argv, done.ExitCode, &errs)
	}
	return out.String(), err
}

// psql runs statements in the database and returns what the last one prints.
func (s *stack) psql(statements ...string) string {
	s.t.Helper()
	id := s.id("db", 1)
	out := ""
	for _, sql := range statements {
		var err error
		if out, err = s.exec(id, "psql", "-U", "postgres", "-XAtqc", sql); err != nil {
			s.t.Fatal(err)
		}
	}
	return strings.TrimSpace(out)
}

// snapshot is everything that the engine, the kernel and the database tell of the stack, as JSON has it: kind/name → value.
type snapshot map[string]any

// limitFiles are the cgroup's limits as a container sees them, of both versions.
const limitFiles = `cd /sys/fs/cgroup; for f in cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes pids/pids.max freezer/freezer.state cpu.max memory.max memory.swap.max pids.max cgroup.freeze; do [ -r $f ] && echo $f $(cat $f); done; true`

// quiet waits until each container is as it is at rest: healthy for so long that its last checks were all good, and with
// no command running in it.
func (s *stack) quiet() {
	s.t.Helper()
	busy := ""
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if busy = s.busy(); busy == "" {
			return
		}
	}
	s.t.Fatalf("the stack does not come to rest: %s", busy)
}

func (s *stack) busy() string {
	s.t.Helper()
	for _, c := range s.containers() {
		in, err := s.docker.ContainerInspect(s.t.Context(), c.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		h := in.State.Health
		switch {
		case !in.State.Running:
			return in.Name + " does not run"
		case h != nil && (h.Status != "healthy" || len(h.Log) < 5):
			return in.Name + " is " + h.Status
		case h != nil && slices.ContainsFunc(h.Log, func(r *container.HealthcheckResult) bool { return r.ExitCode != 0 }):
			return in.Name + " was unhealthy"
		}
	}
	return ""
}

func (s *stack) containers() []container.Summary {
	s.t.Helper()
	list, err := s.docker.ContainerList(s.t.Context(), container.ListOptions{All: true, Filters: s.own()})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(list) != 9 {
		s.t.Fatalf("the stack has %d containers, want 9", len(list))
	}
	return list
}

func (s *stack) own() filters.Args {
	return filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+s.name))
}

// look takes a snapshot.
func (s *stack) look() snapshot {
	s.t.Helper()
	s.quiet()
	out := snapshot{"rows": s.psql("SELECT count(*), md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o")}
	for _, c := range s.containers() {
		name := strings.TrimPrefix(c.Names[0], "/"+s.name+"-")
		limits, err := s.exec(c.ID, "sh", "-c", limitFiles)
		if err != nil || limits == "" {
			s.t.Fatalf("read limits of %s: %q, %v", name, limits, err)
		}
		out["limits/"+name] = limits
		out["container/"+name] = atRest(s.t, s.docker, c.ID)
	}
	s.networks(out)
	s.volumes(out)
	s.images(out)
	return out
}

// networks adds the stack's networks.
func (s *stack) networks(out snapshot) {
	s.t.Helper()
	networks, err := s.docker.NetworkList(s.t.Context(), network.ListOptions{Filters: s.own()})
	if err != nil || len(networks) != 2 {
		s.t.Fatalf("%d networks, want 2: %v", len(networks), err)
	}
	for _, n := range networks {
		_, raw, err := s.docker.NetworkInspectWithRaw(s.t.Context(), n.ID, network.InspectOptions{Verbose: true})
		if err != nil {
			s.t.Fatal(err)
		}
		out["network/"+strings.TrimPrefix(n.Name, s.name+"_")] = decoded(s.t, raw)
	}
}

// volumes adds the stack's volumes: those that carry its label, and those that are mounted.
func (s *stack) volumes(out snapshot) {
	s.t.Helper()
	all, err := s.docker.VolumeList(s.t.Context(), volume.ListOptions{Filters: s.own()})
	if err != nil {
		s.t.Fatal(err)
	}
	names := map[string]bool{}
	for _, v := range all.Volumes {
		names[v.Name] = true
	}
	for _, c := range s.containers() {
		for _, m := range c.Mounts {
			names[m.Name] = true
		}
	}
	if len(names) != 2 {
		s.t.Fatalf("volumes %v, want a named and an anonymous one", names)
	}
	for name := range names {
		_, raw, err := s.docker.VolumeInspectWithRaw(s.t.Context(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		out["volume/"+name] = decoded(s.t, raw)
	}
}

// images adds the images that the stack's containers are made from, without their tags: others may tag them too.
func (s *stack) images(out snapshot) {
	s.t.Helper()
	for _, c := range s.containers() {
		in, err := s.docker.ImageInspect(s.t.Context(), c.ImageID)
		if err != nil {
			s.t.Fatal(err)
		}
		in.Metadata.LastTagTime, in.RepoTags = time.Time{}, nil
		raw, err := json.Marshal(in)
		if err != nil {
			s.t.Fatal(err)
		}
		out["image/"+c.ImageID] = decoded(s.t, raw)
	}
}

func decoded(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// allowed is a path that may differ, as go-cmp writes it without types, for some containers.
type allowed struct {
	path string   // regular expression, anchored
	of   []string // containers ("web-1"); nil: all
}

// mayDiffer lists what may differ: times everywhere; of containers that a fault restarted what a start makes anew; of those
// that were out of a network what a connect makes anew.
func mayDiffer(restarted, policy, disconnected []string) []allowed {
	connected := slices.Concat(restarted, disconnected)
	return []allowed{
		{`container/NAME\.State\.Health\.Log\[\d+\]\.(Start|End)`, nil},
		{`volume/.*\.CreatedAt`, nil}, // the engine means the folder's last change: Postgres writes into it when it starts
		{`container/NAME\.State\.(StartedAt|FinishedAt)`, restarted},
		{`container/NAME\.State\.Pid`, restarted},
		{`container/NAME\.RestartCount`, policy},
		{`container/NAME\.NetworkSettings\.(SandboxID|SandboxKey)`, restarted},
		{`container/NAME\.NetworkSettings\.Networks\.\w+\.EndpointID`, connected},
		{`network/\w+\.Containers\.NAME\.EndpointID`, connected},
	}
}

// differences lists what two snapshots have different, but for what may differ: a line for each path.
func (s *stack) differences(before, after snapshot, may []allowed) []string {
	names := map[string]string{} // id → "web-1"
	for key, v := range before {
		name, ok := strings.CutPrefix(key, "container/")
		if in, is := v.(map[string]any); ok && is {
			names[fmt.Sprint(in["Id"])] = name
		}
	}
	r := &paths{names: names}
	cmp.Equal(map[string]any(before), map[string]any(after), cmp.Reporter(r))
	return slices.DeleteFunc(r.differ, func(line string) bool {
		path, _, _ := strings.Cut(line, ": ")
		return slices.ContainsFunc(may, func(a allowed) bool { return a.fits(path, names) })
	})
}

func (a allowed) fits(path string, names map[string]string) bool {
	of := a.of
	if of == nil {
		for _, name := range names {
			of = append(of, name)
		}
	}
	return slices.ContainsFunc(of, func(name string) bool {
		return regexp.MustCompile("^" + strings.ReplaceAll(a.path, "NAME", regexp.QuoteMeta(name)) + "$").MatchString(path)
	})
}

// paths is a go-cmp reporter: the path of each difference, with keys of maps alone, and both values.
type paths struct {
	names  map[string]string
	at     cmp.Path
	differ []string
}

func (p *paths) PushStep(s cmp.PathStep) { p.at = append(p.at, s) }
func (p *paths) PopStep()                { p.at = p.at[:len(p.at)-1] }

func (p *paths) Report(r cmp.Result) {
	if r.Equal() {
		return
	}
	var b strings.Builder
	for _, step := range p.at {
		switch step := step.(type) {
		case cmp.MapIndex:
			key := step.Key().String()
			if name, ok := p.names[key]; ok {
				key = name
			}
			if b.Len() > 0 {
				b.WriteString(".")
			}
			b.WriteString(key)
		case cmp.SliceIndex:
			was, is := step.SplitKeys()
			fmt.Fprintf(&b, "[%d]", max(was, is))
		}
	}
	was, is := p.at.Last().Values()
	p.differ = append(p.differ, fmt.Sprintf("%s: %v, was %v", &b, is, was))
}

// asItWas fails the test for each difference that may not be.
func (s *stack) asItWas(before snapshot, may []allowed) {
	s.t.Helper()
	for _, line := range s.differences(before, s.look(), may) {
		s.t.Errorf("the user's stack is not as it was: %s", line)
	}
}

// nothingLeft fails the test if anything of a run, or of an agent on this stack, is on the engine.
func (s *stack) nothingLeft(c *call) {
	s.t.Helper()
	c.nothingLeft()
	if left := agentsFor(s.t, s.name); len(left) > 0 {
		s.t.Errorf("left behind: %v", left)
	}
}
