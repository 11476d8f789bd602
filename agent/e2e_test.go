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
	"github.com/discompose/discompose/internal/imagetest"
)

const testLabel = "io.discompose.test.agent"

// rig is a real engine with the image of testdata/agentmain.
type rig struct {
	*testing.T
	docker *client.Client
	image  agent.Image
}

var builtExe = sync.OnceValues(func() (string, error) { // one build for all tests
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

var usedImage atomic.Value // the tag that TestMain removes

func TestMain(m *testing.M) {
	code := m.Run()
	if exe, err := builtExe(); err == nil {
		_ = os.RemoveAll(filepath.Dir(exe))
	}
	if ref, ok := usedImage.Load().(string); ok {
		if docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err == nil {
			docker.ImageRemove(context.Background(), ref, image.RemoveOptions{}) //nolint:errcheck // another test run may use it
		}
	}
	os.Exit(code)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	imagetest.Need(t, "busybox:latest")
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
	usedImage.Store(img.Ref)
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
	return r.limited(policy, container.Resources{}, cmd...)
}

// limited starts a busybox container with limits of its own.
func (r *rig) limited(policy string, limits container.Resources, cmd ...string) string {
	r.Helper()
	got, err := r.docker.ContainerCreate(r.Context(),
		&container.Config{Image: "busybox", Cmd: cmd, Labels: map[string]string{testLabel: "1"}},
		&container.HostConfig{
			NetworkMode: "none", RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)},
			Binds: []string{"/sys/fs/cgroup:/cg:ro"}, Resources: limits,
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
		{"the connection drops", 0, func(_ *rig, conn *agent.Conn, _ string) { _ = conn.Abort() }},
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
	t.Cleanup(func() {
		_, err := r.docker.ImageRemove(context.Background(), stale.Ref, image.RemoveOptions{})
		if err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
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
