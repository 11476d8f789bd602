//go:build e2e

package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/discompose/discompose/agent"
)

const testLabel = "io.discompose.test.agent"

// rig is a real engine with the image of testdata/agentmain.
type rig struct {
	*testing.T
	docker *client.Client
	image  agent.Image
}

var builtExe = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // one build for all tests
	dir, err := os.MkdirTemp("", "agentmain")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "agentmain")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "./testdata/agentmain")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build agentmain: %w\n%s", err, out)
	}
	return exe, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if exe, err := builtExe(); err == nil {
		os.RemoveAll(filepath.Dir(exe))
	}
	os.Exit(code)
}

func newRig(t *testing.T) *rig {
	t.Helper()
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
	return &rig{T: t, docker: docker, image: img}
}

// name is unique to the test and the process.
func (r *rig) name() string {
	return fmt.Sprintf("discompose-agenttest-%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(r.Name(), "/", "-")))
}

func (r *rig) options() agent.AgentOptions {
	return agent.AgentOptions{
		Image: r.image.Ref, Name: r.name(), Run: "0a0b0c0d", Project: "agenttest", Dir: "/tmp/runs/x",
		Labels: map[string]string{testLabel: "1"},
	}
}

func (r *rig) agent(o agent.AgentOptions) (*agent.Conn, string) {
	r.Helper()
	conn, id, err := agent.StartAgent(r.Context(), r.docker, o)
	if err != nil {
		r.Fatal(err)
	}
	r.removeLater(id)
	r.call(conn, agent.OpHello, agent.Hello{Run: o.Run, Project: o.Project}, nil)
	return conn, id
}

func (r *rig) call(conn *agent.Conn, op string, args, out any) {
	r.Helper()
	if err := conn.Call(r.Context(), op, args, out); err != nil {
		r.Fatalf("%v (stderr: %s)", err, conn.Stderr())
	}
}

func (r *rig) removeLater(id string) {
	r.Cleanup(func() {
		err := r.docker.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			r.Error(err)
		}
	})
}

// target starts a busybox container.
func (r *rig) target(policy string, cmd ...string) string {
	r.Helper()
	got, err := r.docker.ContainerCreate(r.Context(),
		&container.Config{Image: "busybox", Cmd: cmd, Labels: map[string]string{testLabel: "1"}},
		&container.HostConfig{
			NetworkMode: "none", RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)},
			Binds: []string{"/sys/fs/cgroup:/cg:ro"},
		}, nil, nil, "")
	if err != nil {
		r.Fatal(err)
	}
	r.removeLater(got.ID)
	if err := r.docker.ContainerStart(r.Context(), got.ID, container.StartOptions{}); err != nil {
		r.Fatal(err)
	}
	return got.ID
}

func (r *rig) inspect(id string) container.InspectResponse {
	r.Helper()
	got, err := r.docker.ContainerInspect(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return got
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

// eventually waits for a condition of the real engine, which has no way to be waited for.
func (r *rig) eventually(what string, ok func() bool) time.Duration {
	r.Helper()
	start := time.Now()
	for time.Since(start) < 30*time.Second {
		if ok() {
			return time.Since(start)
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.Fatalf("not within 30 s: %s", what)
	return 0
}

func (r *rig) gone(id string) func() bool {
	return func() bool {
		_, err := r.docker.ContainerInspect(r.Context(), id)
		return errdefs.IsNotFound(err)
	}
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

func TestAgentStartsAndAnswers(t *testing.T) {
	r := newRig(t)
	exe, err := builtExe()
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(exe)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.docker.ImageRemove(t.Context(), r.image.Ref, image.RemoveOptions{}); err != nil {
		t.Log("cannot measure a cold load: ", err)
	}
	for _, want := range []string{"cold", "warm"} {
		start := time.Now()
		img, err := agent.EnsureImage(t.Context(), r.docker, exe, func(s string) { t.Log(s) })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("image, %s: %v (loaded %v, %.1f MB)", want, time.Since(start), img.Loaded, float64(st.Size())/1e6)
		if want == "warm" && img.Loaded {
			t.Error("the image was loaded although it was there")
		}
	}
	var starts []time.Duration
	for range 5 {
		start := time.Now()
		conn, id := r.agent(r.options())
		starts = append(starts, time.Since(start))
		r.call(conn, agent.OpBye, nil, nil)
		conn.Close()
		<-conn.Done()
		r.eventually("agent is gone", r.gone(id))
	}
	t.Logf("agent: start to hello answered: median %v of %v", median(starts), starts)

	conn, _ := r.agent(r.options())
	var facts agent.HelloResult
	start := time.Now()
	r.call(conn, agent.OpHello, agent.Hello{Run: "0a0b0c0d"}, &facts)
	t.Logf("hello with probe: %v: %+v", time.Since(start), facts)
	if len(facts.Missing) > 0 || len(facts.Has) != 6 {
		t.Errorf("has %v, missing %v: want all six here", facts.Has, facts.Missing)
	}
	var pings []time.Duration
	var last agent.Instant
	for range 1000 {
		start := time.Now()
		var at agent.Instant
		r.call(conn, agent.OpPing, nil, &at)
		pings = append(pings, time.Since(start))
		if at.Now <= last.Now {
			t.Fatalf("clock went from %d to %d", last.Now, at.Now)
		}
		last = at
	}
	t.Logf("ping: median %v, max %v", median(pings), slices.Max(pings))
}

func TestSecondAgentOfAProjectIsRefused(t *testing.T) {
	r := newRig(t)
	r.agent(r.options())
	_, _, err := agent.StartAgent(t.Context(), r.docker, r.options())
	if !errors.Is(err, agent.ErrBusy) || !strings.Contains(err.Error(), `"discompose heal /tmp/runs/x"`) {
		t.Errorf("got %v, want ErrBusy with the heal command", err)
	}
}

func TestRefusedHostIsTold(t *testing.T) {
	r := newRig(t)
	o := r.options()
	o.SocketPath = "/no/such/socket" // stands for whatever an engine does not allow
	_, _, err := agent.StartAgent(t.Context(), r.docker, o)
	if !errors.Is(err, agent.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
	if _, err := r.docker.ContainerInspect(t.Context(), o.Name); !errdefs.IsNotFound(err) {
		t.Errorf("the refused container was left behind: %v", err)
	}
}

// quota is the cgroup file of the tests, its base and a held value, by cgroup version.
func quota(v2 bool, id, value string) agent.CgroupFile {
	f := agent.CgroupFile{Container: id, Controller: "cpu", File: "cpu.cfs_quota_us", Value: value}
	if v2 {
		f.File = "cpu.max"
		f.Value = map[string]string{"-1": "max 100000", "50000": "50000 100000"}[value]
	}
	return f
}

func TestHoldSurvivesRestart(t *testing.T) {
	r := newRig(t)
	var facts agent.HelloResult
	o := r.options()
	var rewritten atomic.Int64
	o.OnEvent = func(e agent.Event) {
		if e.Name == agent.EventRewritten {
			rewritten.Add(1)
		}
	}
	conn, _ := r.agent(o)
	r.call(conn, agent.OpHello, agent.Hello{Run: o.Run}, &facts)
	v2 := facts.CgroupVersion == 2
	// The program prints the value that it sees in its own cgroup, first of all.
	print := `read -r v < /cg/cpu$(sed -n 's/^[0-9]*:[a-z,]*cpu[a-z,]*://p' /proc/self/cgroup | tail -n 1)/cpu.cfs_quota_us; echo "$v"; exec sleep 1000`
	if v2 {
		print = `read -r v < /cg$(sed -n 's/^0:://p' /proc/self/cgroup)/cpu.max; echo "$v"; exec sleep 1000`
	}
	id := r.target("no", "sh", "-c", print)
	var got agent.CgroupValue
	base, held := quota(v2, id, "-1"), quota(v2, id, "50000")
	r.call(conn, agent.OpCgroupRead, base, &got)
	if got.Value != base.Value {
		t.Fatalf("base is %q, want %q", got.Value, base.Value)
	}
	r.call(conn, agent.OpCgroupHold, held, nil)
	zero := 0
	const restarts = 5
	for range restarts {
		if err := r.docker.ContainerRestart(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
			t.Fatal(err)
		}
		r.call(conn, agent.OpCgroupRead, held, &got)
		if got.Value != held.Value {
			t.Errorf("after a restart the value is %q, want %q", got.Value, held.Value)
		}
	}
	var seen []string
	r.eventually("every start has printed", func() bool {
		seen = strings.Split(strings.TrimSpace(r.logs(id)), "\n")
		return len(seen) == 1+restarts
	})
	for i, v := range seen[1:] {
		if v != held.Value {
			t.Errorf("program of restart %d saw %q, want %q", i+1, v, held.Value)
		}
	}
	if n := rewritten.Load(); n < restarts {
		t.Errorf("%d rewrites were told, want at least %d", n, restarts)
	}

	r.call(conn, agent.OpCgroupRelease, base, nil)
	r.call(conn, agent.OpCgroupRead, base, &got)
	if got.Value != base.Value {
		t.Errorf("after the release the value is %q, want %q", got.Value, base.Value)
	}
	if err := r.docker.ContainerRestart(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	r.call(conn, agent.OpCgroupRead, base, &got)
	if got.Value != base.Value {
		t.Errorf("a restart after the release brought %q back", got.Value)
	}
}

func TestHoldOfAStoppedContainerTakesEffectWhenItStarts(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	id := r.target("no", "sleep", "1000")
	v2 := strings.HasPrefix(r.version(conn), "2")
	zero := 0
	if err := r.docker.ContainerStop(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	err := conn.Call(t.Context(), agent.OpCgroupRead, quota(v2, id, ""), nil)
	if !errors.Is(err, agent.ErrNotRunning) {
		t.Errorf("read of a stopped container: %v, want ErrNotRunning", err)
	}
	held := quota(v2, id, "50000")
	r.call(conn, agent.OpCgroupHold, held, nil)
	if err := r.docker.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	var got agent.CgroupValue
	r.call(conn, agent.OpCgroupRead, held, &got)
	if got.Value != held.Value {
		t.Errorf("value is %q, want %q", got.Value, held.Value)
	}
	if err := r.docker.ContainerStop(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	r.call(conn, agent.OpCgroupRelease, quota(v2, id, "-1"), nil)
}

func (r *rig) version(conn *agent.Conn) string {
	r.Helper()
	var facts agent.HelloResult
	r.call(conn, agent.OpHello, agent.Hello{Run: "0a0b0c0d"}, &facts)
	return fmt.Sprint(facts.CgroupVersion)
}

func TestRefusedWriteTellsWhatIsInUse(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	if r.version(conn) != "1" {
		t.Skip("cgroup v2 takes a limit below the usage and reclaims")
	}
	// Memory of a tmpfs cannot be reclaimed.
	id := r.target("no", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; echo full; exec sleep 1000")
	r.eventually("memory is in use", func() bool { return strings.Contains(r.logs(id), "full") })
	err := conn.Call(t.Context(), agent.OpCgroupHold,
		agent.CgroupFile{Container: id, Controller: "memory", File: "memory.limit_in_bytes", Value: "8388608"}, nil)
	t.Log(err)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "memory.usage_in_bytes is 2") {
		t.Errorf("got %v, want EBUSY with the usage", err)
	}
}

func TestForkProbe(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	id := r.target("no", "sleep", "1000")
	file := agent.CgroupFile{Container: id, Controller: "pids", File: "pids.max"}
	current := agent.CgroupFile{Container: id, Controller: "pids", File: "pids.current"}
	probe := func(limit string, most int, want agent.ForkResult) {
		t.Helper()
		file.Value = limit
		r.call(conn, agent.OpCgroupHold, file, nil)
		var got agent.ForkResult
		start := time.Now()
		r.call(conn, agent.OpForkProbe, agent.ForkProbe{Container: id, Most: most}, &got)
		t.Logf("pids.max=%s most=%d: %+v in %v", limit, most, got, time.Since(start))
		if got != want {
			t.Errorf("pids.max=%s most=%d: %+v, want %+v", limit, most, got, want)
		}
		var left agent.CgroupValue
		r.call(conn, agent.OpCgroupRead, current, &left)
		if left.Value != "1" {
			t.Errorf("%s processes are in the container, want its own only", left.Value)
		}
	}
	probe("max", 5, agent.ForkResult{Forked: 5})
	probe("4", 5, agent.ForkResult{Refused: true, Forked: 2}) // sleep, the prober, two children
	probe("1", 5, agent.ForkResult{Refused: true})
	probe("max", 300, agent.ForkResult{Forked: 300})
}

func TestSignalKillsLikeACrash(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	id, other := r.target("always", "sleep", "1000"), r.target("no", "sleep", "1000")
	before := r.inspect(id)
	err := conn.Call(t.Context(), agent.OpSignal, agent.Signal{Container: other, PID: before.State.Pid, Signal: "SIGKILL"}, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing was touched") {
		t.Errorf("signal to a process of another container: %v, want a refusal", err)
	}
	var alive agent.AliveResult
	r.call(conn, agent.OpAlive, agent.Alive{PID: before.State.Pid}, &alive)
	if !alive.Alive {
		t.Fatal("PID 1 is not alive before the signal")
	}
	r.call(conn, agent.OpSignal, agent.Signal{Container: id, PID: before.State.Pid, Signal: "SIGKILL"}, nil)
	gone := r.eventually("the process is gone", func() bool {
		r.call(conn, agent.OpAlive, agent.Alive{PID: before.State.Pid}, &alive)
		return !alive.Alive
	})
	t.Logf("gone after %v", gone)
	r.eventually("the restart policy acts", func() bool {
		s := r.inspect(id)
		return s.RestartCount == 1 && s.State.Running && s.State.Pid != before.State.Pid
	})
	err = conn.Call(t.Context(), agent.OpSignal, agent.Signal{Container: id, PID: before.State.Pid, Signal: "SIGKILL"}, nil)
	if err == nil {
		t.Error("a signal to the old pid was accepted")
	}
}

// paused starts a container, journals its pause at the agent, and pauses it.
func (r *rig) paused(conn *agent.Conn) string {
	r.Helper()
	id := r.target("no", "sleep", "1000")
	r.call(conn, agent.OpJournal, agent.Journal{Entry: json.RawMessage(fmt.Sprintf(`{"pause":%q}`, id))}, nil)
	if err := r.docker.ContainerPause(r.Context(), id); err != nil {
		r.Fatal(err)
	}
	return id
}

func TestAgentHealsWhenTheRunnerIsGone(t *testing.T) {
	for _, c := range []struct {
		name  string
		lease time.Duration
		end   func(r *rig, conn *agent.Conn, id string)
	}{
		{"the connection drops", 0, func(_ *rig, conn *agent.Conn, _ string) { conn.Abort() }},
		{"the input ends", 0, func(_ *rig, conn *agent.Conn, _ string) { conn.Close() }},
		{"the lease expires", 700 * time.Millisecond, func(*rig, *agent.Conn, string) {}},
		{"the agent is stopped", 0, func(r *rig, _ *agent.Conn, id string) {
			if err := r.docker.ContainerStop(r.Context(), id, container.StopOptions{}); err != nil {
				r.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			o := r.options()
			o.Name = r.name() + "-heal"
			o.Name = strings.ReplaceAll(o.Name, "_", "-")
			conn, id := r.agent(o)
			target := r.paused(conn)
			if !r.inspect(target).State.Paused {
				t.Fatal("the target is not paused")
			}
			if c.lease > 0 {
				r.call(conn, agent.OpHello, agent.Hello{Run: o.Run, LeaseMs: c.lease.Milliseconds()}, nil)
			}
			start := time.Now()
			c.end(r, conn, id)
			r.eventually("the target runs again", func() bool { return !r.inspect(target).State.Paused })
			healed := time.Since(start)
			r.eventually("the agent is gone", r.gone(id))
			t.Logf("healed after %v, agent gone after %v", healed, time.Since(start))
			<-conn.Done()
		})
	}
}

func TestAgentOfARunnerThatRenewsStays(t *testing.T) {
	r := newRig(t)
	conn, id := r.agent(r.options())
	target := r.paused(conn)
	r.call(conn, agent.OpHello, agent.Hello{Run: "0a0b0c0d", LeaseMs: 1500}, nil)
	for range 15 {
		time.Sleep(200 * time.Millisecond)
		r.call(conn, agent.OpRenew, nil, nil)
	}
	if !r.inspect(target).State.Paused {
		t.Error("the agent healed although the lease was renewed")
	}
	r.call(conn, agent.OpBye, nil, nil)
	conn.Close()
	<-conn.Done()
	r.eventually("the agent is gone", r.gone(id))
	if conn.Err() != nil {
		t.Errorf("after an orderly end: %v", conn.Err())
	}
	if !r.inspect(target).State.Paused {
		t.Error("the agent healed after good-bye")
	}
	if err := r.docker.ContainerUnpause(t.Context(), target); err != nil {
		t.Error(err)
	}
}

func TestClientIsAnOrdinaryContainer(t *testing.T) {
	r := newRig(t)
	var nets []string
	for range 2 {
		n, err := r.docker.NetworkCreate(t.Context(), r.name()+fmt.Sprint(len(nets)), network.CreateOptions{Labels: map[string]string{testLabel: "1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.docker.NetworkRemove(context.Background(), n.ID); err != nil {
				t.Error(err)
			}
		})
		nets = append(nets, n.ID)
	}
	var events, bytes atomic.Int64
	start := time.Now()
	conn, id, err := agent.StartClient(t.Context(), r.docker, agent.ClientOptions{
		Image: r.image.Ref, Name: r.name(), Run: "0a0b0c0d", Project: "agenttest", Networks: nets,
		Labels: map[string]string{testLabel: "1"},
		OnEvent: func(e agent.Event) {
			events.Add(1)
			bytes.Add(int64(len(e.Data)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.removeLater(id)
	var echo string
	r.call(conn, "echo", "hello", &echo)
	t.Logf("client in two networks: start to first answer: %v", time.Since(start))
	if echo != "hello" {
		t.Errorf("echo is %q", echo)
	}
	if err := conn.Call(t.Context(), "write", nil, nil); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write to the root: %v, want EROFS", err)
	}
	s := r.inspect(id)
	if len(s.NetworkSettings.Networks) != 2 {
		t.Errorf("it is in %d networks, want 2", len(s.NetworkSettings.Networks))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.State.Pid))
	if err == nil && !strings.Contains(string(status), "CapBnd:\t0000000000000000") {
		t.Errorf("it has capabilities:\n%s", status)
	}
	const n = 200_000
	start = time.Now()
	var sent int
	r.call(conn, "flood", n, &sent)
	took := time.Since(start)
	t.Logf("%d events of %d bytes in %v: %.0f/s", sent, bytes.Load()/max(1, events.Load()), took, n/took.Seconds())
	if events.Load() != n { // the answer comes after the last event
		t.Errorf("%d events came, want %d", events.Load(), n)
	}
	conn.Close()
	<-conn.Done()
	r.eventually("the client is gone", r.gone(id))
}

func TestPruneImagesKeepsWhatIsUsed(t *testing.T) {
	r := newRig(t)
	exe, err := builtExe()
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old")
	if err := copyWith(exe, old, "another build"); err != nil {
		t.Fatal(err)
	}
	stale, err := agent.EnsureImage(t.Context(), r.docker, old, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.agent(r.options()) // uses r.image
	all, err := r.docker.ImageList(t.Context(), image.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range all {
		if _, ours := img.Labels[agent.LabelImage]; ours && !slices.Contains([]string{r.image.Ref, stale.Ref}, img.RepoTags[0]) {
			t.Skipf("image %v of somebody else is here: pruning would remove it", img.RepoTags)
		}
	}
	removed, err := agent.PruneImages(t.Context(), r.docker, "discompose/self:none")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(removed, []string{stale.Ref}) {
		t.Errorf("removed %v, want %v", removed, stale.Ref)
	}
	if _, err := r.docker.ImageInspect(t.Context(), r.image.Ref); err != nil {
		t.Errorf("the image in use: %v", err)
	}
}

func copyWith(from, to, more string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(b, more...), 0o755)
}
