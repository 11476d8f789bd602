//go:build e2e

// Package e2e runs the built binary on a real engine: one intent per test, and nothing with the run's label remains.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

const kafkaImage = "apache/kafka:3.9.1"

// result is what one call of the binary left.
type result struct {
	code           int
	stdout, stderr string
	dir            string // the run directory
}

// call is one call of the binary that is under way.
type call struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err text
	runs     string
}

// text is a buffer that may be read while a call writes to it.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *text) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *text) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *text) contains(s string) bool { return strings.Contains(b.String(), s) }

func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../bin/discompose")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return path
}

// start calls the binary in testdata, with runs in a folder of its own.
func start(t *testing.T, args ...string) *call {
	t.Helper()
	return startIn(t, "testdata", args...)
}

// startIn is start in another folder.
func startIn(t *testing.T, dir string, args ...string) *call {
	t.Helper()
	c := &call{t: t, runs: filepath.Join(t.ArtifactDir(), "runs")}
	c.cmd = exec.CommandContext(t.Context(), binary(t), append([]string{"--runs-dir", c.runs}, args...)...)
	c.cmd.Dir = dir
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = 2 * time.Minute
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *call) wait() result {
	c.t.Helper()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	r := result{code: c.cmd.ProcessState.ExitCode(), stdout: c.out.String(), stderr: c.err.String()}
	r.dir, _ = filepath.EvalSymlinks(filepath.Join(c.runs, "latest"))
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
		}
	})
	return r
}

func discompose(t *testing.T, args ...string) result {
	t.Helper()
	c := start(t, args...)
	r := c.wait()
	c.nothingLeft()
	return r
}

// ids are the ids of the runs that the calls of this test made.
func (c *call) ids() []string {
	c.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(c.runs, "*Z-*"))
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, d := range dirs {
		out = append(out, d[strings.LastIndexByte(d, '-')+1:])
	}
	return out
}

func docker(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// needImage skips, aloud, a test whose image cannot be had.
func needImage(t *testing.T, ref string) {
	t.Helper()
	imagetest.Need(t, ref)
}

// left names what carries the label of a run.
func left(ctx context.Context, t *testing.T, d *client.Client, id string) []string {
	t.Helper()
	label := filters.NewArgs(filters.Arg("label", "io.discompose.run="+id))
	var out []string
	containers, err := d.ContainerList(ctx, container.ListOptions{All: true, Filters: label})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		out = append(out, "container "+c.Names[0]+" "+c.State)
	}
	networks, err := d.NetworkList(ctx, network.ListOptions{Filters: label})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		out = append(out, "network "+n.Name)
	}
	volumes, err := d.VolumeList(ctx, volume.ListOptions{Filters: label})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Volumes {
		out = append(out, "volume "+v.Name)
	}
	slices.Sort(out)
	return out
}

// left names what carries the label of any run of this test.
func (c *call) left() []string {
	c.t.Helper()
	d := docker(c.t)
	var out []string
	for _, id := range c.ids() {
		out = append(out, left(c.t.Context(), c.t, d, id)...)
	}
	return out
}

func (c *call) nothingLeft() {
	c.t.Helper()
	if l := c.left(); len(l) > 0 {
		c.t.Errorf("left behind: %v", l)
	}
}

// verdict is what the run directory says.
func (r result) verdict(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "verdict"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func (r result) judgement(t *testing.T) oracle.Judgement {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "judgement.json"))
	if err != nil {
		t.Fatal(err)
	}
	var j oracle.Judgement
	if err := json.Unmarshal(raw, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// passes fails the test unless the run passed with every fault's witness seen in its window and gone after it.
func (r result) passes(t *testing.T) oracle.Judgement {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit %d, want 0 (%s)", r.code, r.verdict(t))
	}
	j := r.judgement(t)
	if len(j.Windows) == 0 {
		t.Fatal("no fault had a window")
	}
	for _, w := range j.Windows {
		if w.Active == nil || w.Gone == nil {
			t.Errorf("fault %s: witness active %v, gone %v", w.Fault.ID, w.Active, w.Gone)
		}
	}
	return j
}

func TestKafkaBrokerPause(t *testing.T) {
	needImage(t, kafkaImage)
	r := discompose(t, "run", "kafka_broker_pause", "--no-fallback")
	j := r.passes(t)
	if j.Tried == 0 || j.Convicted != j.Tried {
		t.Errorf("mutants: %d convicted of %d tried", j.Convicted, j.Tried)
	}
	if n := j.Results[0].Counts["acknowledged"]; n < 1000 {
		t.Errorf("acknowledged %d records, want at least 1000", n)
	}
	report, err := os.ReadFile(filepath.Join(r.dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{kafkaImage, "cpu", "acknowledged", "convicted"} {
		if !strings.Contains(strings.ToLower(string(report)), strings.ToLower(want)) {
			t.Errorf("report.md does not mention %q", want)
		}
	}
	t.Run("the same run, judged again, gives the same verdict", func(t *testing.T) {
		again := discompose(t, "check", r.dir)
		if again.code != 0 {
			t.Errorf("exit %d", again.code)
		}
	})
	t.Run("a loss planted in the recorded history is convicted with the operation", func(t *testing.T) {
		op := plantLoss(t, r.dir)
		bad := discompose(t, "check", r.dir)
		if bad.code != 1 {
			t.Fatalf("exit %d, want 1", bad.code)
		}
		j := r.judgement(t)
		if j.Primary != oracle.DataLoss {
			t.Errorf("primary class %s, want data-loss", j.Primary)
		}
		named := false
		for _, v := range j.Results[0].Violations {
			named = named || v.Class == oracle.DataLoss && slices.Contains(v.Ops, op)
		}
		if !named {
			t.Errorf("no data-loss violation names operation %d", op)
		}
	})
}

// plantLoss removes one acknowledged record from the final read of a stored run and returns its produce operation.
func plantLoss(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := ledger.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := store.Load(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	var produced ledger.Op
	n := 0
	for _, o := range h.Ops {
		if o.Func == ledger.FuncProduce && o.Outcome == ledger.OK {
			if n++; n == 100 {
				produced = o
			}
		}
	}
	for _, o := range h.Ops {
		if o.Func == ledger.FuncRead && o.Value == produced.Value {
			deleteOp(t, dir, o.ID)
			return produced.ID
		}
	}
	t.Fatal("the final read does not hold the 100th acknowledged record")
	return 0
}

func TestFallbackIsSaidInTheFirstLine(t *testing.T) {
	r := discompose(t, "run", "kafka_broker_pause", "--pull", "never", "--set", "environment.env.KAFKA_IMAGE=apache/kafka:0.0.0-absent")
	r.passes(t)
	report, err := os.ReadFile(filepath.Join(r.dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(report), "\n")
	if !strings.Contains(first, "embedded broker, not Apache Kafka") {
		t.Errorf("first line is %q", first)
	}
	if v := r.verdict(t); v != "PASS degraded" {
		t.Errorf("verdict %q, want PASS degraded", v)
	}
	if first, _, _ := strings.Cut(r.stdout, "\n"); !strings.Contains(first, "embedded broker, not Apache Kafka") {
		t.Errorf("first line of output is %q", first)
	}
}

func TestNoFallbackExits69(t *testing.T) {
	r := discompose(t, "run", "kafka_broker_pause", "--pull", "never", "--no-fallback", "--set", "environment.env.KAFKA_IMAGE=apache/kafka:0.0.0-absent")
	if r.code != 69 {
		t.Errorf("exit %d, want 69", r.code)
	}
	if !strings.Contains(r.stderr, "apache/kafka:0.0.0-absent") {
		t.Error("the missing image is not named")
	}
}

func TestTheImageOfAnUpdateIsHadBeforeAnythingStarts(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "kinds/recreate", "--pull", "never", "--set", "fault[0].image=nginx:0.0.0-absent")
	if r.code != 69 || !strings.Contains(r.stderr, "nginx:0.0.0-absent") {
		t.Errorf("exit %d, want 69, and the image named", r.code)
	}
	if strings.Contains(r.stderr, "timeline") {
		t.Error("the run went as far as its timeline")
	}
}

func TestEveryKind(t *testing.T) {
	kinds, err := filepath.Glob("../scenarios/kinds/*.toml")
	if err != nil || len(kinds) == 0 {
		t.Fatalf("no scenario of a kind: %v", err)
	}
	for _, path := range kinds {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".toml"), func(t *testing.T) {
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			r := discompose(t, "run", abs)
			if r.code == 69 {
				t.Skipf("its environment cannot be had here: %s", lastLine(r.stderr))
			}
			r.passes(t)
		})
	}
}

func TestForeignComposeFileWithAProbeOnly(t *testing.T) {
	needImage(t, "nginx:1.22")
	needImage(t, "postgres:15")
	raw, err := os.ReadFile("testdata/shop_pause.toml")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(strings.TrimSpace(string(raw)), "\n") + 1; lines > 15 {
		t.Errorf("the scenario has %d lines, want at most 15", lines)
	}
	discompose(t, "run", "shop_pause.toml").passes(t)
}

func TestSetupStepsProbesAndPick(t *testing.T) {
	needImage(t, "nginx:1.22")
	needImage(t, "busybox:latest")
	r := discompose(t, "run", "setup.toml")
	j := r.passes(t)
	if len(j.Windows) != 1 {
		t.Errorf("%d windows, want that of one replica", len(j.Windows))
	}
	out, err := os.ReadFile(filepath.Join(r.dir, "commands", "teardown-1.log"))
	if err != nil || !strings.Contains(string(out), "seeded") {
		t.Errorf("the teardown step printed %q: %v", out, err)
	}
	for _, name := range []string{"home", "data", "access", "host"} {
		if j.Windows[0].Before[name].OK == 0 {
			t.Errorf("probe %s never held", name)
		}
	}
}

func TestAFaultThatDoesNothingIsInconclusive(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "no_effect.toml")
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE no-witness" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

func TestTooFewOperationsAreInconclusive(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "too_few.toml")
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE too-few-operations" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

func TestFailLeavesNothing(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "unavailable.toml")
	if r.code != 1 || r.verdict(t) != "FAIL unavailable" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

func TestNeverReadyNamesTheServiceAndLeavesNothing(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "never_ready.toml")
	if r.code != 69 {
		t.Errorf("exit %d, want 69", r.code)
	}
	for _, want := range []string{"broken", "the last words of the service"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error does not say %q", want)
		}
	}
}

// inPause returns the paused container of the call's run once there is one.
func (c *call) inPause(d *client.Client) string {
	c.t.Helper()
	deadline := time.After(3 * time.Minute)
	for {
		for _, id := range c.ids() {
			list, err := d.ContainerList(c.t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "io.discompose.run="+id), filters.Arg("status", "paused"))})
			if err != nil {
				c.t.Fatal(err)
			}
			if len(list) > 0 {
				return list[0].ID
			}
		}
		select {
		case <-deadline:
			c.t.Fatal("no container was paused")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestInterruptHealsReportsAndLeavesNothing(t *testing.T) {
	needImage(t, "nginx:1.22")
	c := start(t, "run", "long_pause.toml")
	c.inPause(docker(t))
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r := c.wait()
	c.nothingLeft()
	if r.code != 130 || r.verdict(t) != "INCONCLUSIVE interrupted" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

func TestKilledRunnerIsHealedByItsAgent(t *testing.T) {
	needImage(t, "nginx:1.22")
	d := docker(t)
	c := start(t, "run", "long_pause.toml")
	id := c.inPause(d)
	killed := time.Now()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait()
	for ; ; time.Sleep(50 * time.Millisecond) {
		state, err := d.ContainerInspect(t.Context(), id)
		if errdefs.IsNotFound(err) || err == nil && !state.State.Paused {
			break
		}
		if time.Since(killed) > 20*time.Second {
			t.Fatal("still paused 20 s after the runner was killed")
		}
	}
	t.Logf("thawed %d ms after SIGKILL", time.Since(killed).Milliseconds())
	for len(c.left()) > 0 {
		if time.Since(killed) > 30*time.Second {
			t.Fatalf("left 30 s after the runner was killed: %v", c.left())
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("nothing left %d ms after SIGKILL", time.Since(killed).Milliseconds())
	runs, err := filepath.Glob(filepath.Join(c.runs, "*-long_pause-*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("runs: %v %v", runs, err)
	}
	for range 2 {
		if r := discompose(t, "heal", runs[0]); r.code != 0 {
			t.Errorf("heal after it: exit %d: %s", r.code, r.stderr)
		}
	}
}

func TestLostAgentIsInconclusiveAndHealed(t *testing.T) {
	needImage(t, "nginx:1.22")
	d := docker(t)
	c := start(t, "run", "long_pause.toml")
	c.inPause(d)
	if err := d.ContainerKill(t.Context(), "discompose-dc"+c.ids()[0], "KILL"); err != nil {
		t.Fatal(err)
	}
	r := c.wait()
	c.nothingLeft()
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE agent-lost" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
