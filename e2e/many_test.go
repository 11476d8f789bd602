//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/ledger"
)

// ownState gives the test a registry of open runs of its own, and returns what is in it.
func ownState(t *testing.T) (open func() []string) {
	t.Helper()
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	return func() []string {
		list, err := filepath.Glob(filepath.Join(state, "discompose", "runs", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
}

// token marks the containers of testdata/many/compose.yaml as this test's.
func token(t *testing.T) {
	t.Helper()
	t.Setenv("MANY_TOKEN", fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()))
}

// many are runs of one call, by scenario.
type many map[string]oneOf

type oneOf struct {
	ledger.Run
	dir string
	web string // the id of web's container before the faults
}

// read reads the run directories of a call.
func (c *call) read() many {
	t := c.t
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(c.runs, "*Z-*"))
	if err != nil {
		t.Fatal(err)
	}
	out := many{}
	for _, dir := range dirs {
		info, err := ledger.ReadRun(dir)
		if err != nil {
			continue // the summary
		}
		one := oneOf{Run: info, dir: dir}
		if raw, err := os.ReadFile(filepath.Join(dir, "metrics", "before.json")); err == nil {
			var stats []compose.Stat
			if err := json.Unmarshal(raw, &stats); err != nil {
				t.Fatal(err)
			}
			for _, s := range stats {
				if s.Service == "web" {
					one.web = s.Container
				}
			}
		}
		out[info.Scenario] = one
	}
	return out
}

func TestScenariosUseOneEnvironmentOneAfterTheOther(t *testing.T) {
	needImage(t, "nginx:1.22")
	open := ownState(t)
	token(t)
	c := start(t, "run", "many/first.toml", "many/second.toml", "many/alone.toml")
	r := c.wait()
	c.nothingLeft()
	if r.code != 0 {
		t.Fatalf("exit %d", r.code)
	}
	runs := c.read()
	first, second, alone := runs["first"], runs["second"], runs["alone"]
	if first.web == "" || second.web != first.web {
		t.Errorf("the second scenario ran on container %.12s, the first on %.12s", second.web, first.web)
	}
	if alone.web == "" || alone.web == first.web {
		t.Errorf("the scenario that wants its own environment ran on container %.12s, the first on %.12s", alone.web, first.web)
	}
	want := ledger.Origin{From: filepath.Base(first.dir), Uses: 1, Why: "fresh = false, and it stands as it was started"}
	if diff := cmp.Diff(want, second.Environment); diff != "" {
		t.Errorf("second (-want +got):\n%s", diff)
	}
	if first.Environment.From != "" || alone.Environment.From != "" || second.Project != first.Project || alone.Project == first.Project {
		t.Errorf("first %+v in %s, alone %+v in %s", first.Environment, first.Project, alone.Environment, alone.Project)
	}
	if step, err := os.ReadFile(filepath.Join(second.dir, "commands", "setup-1.log")); err != nil || strings.Count(string(step), "once more") != 2 { // the command itself, and its output
		t.Errorf("the setup step: %v\n%s", err, step)
	}
	report, err := os.ReadFile(filepath.Join(second.dir, "report.md"))
	if say := "environment: reused from " + filepath.Base(first.dir) + ", after 1 run, because fresh = false"; err != nil || !strings.Contains(string(report), say) {
		t.Errorf("the report does not say %q: %v", say, err)
	}
	log, err := os.ReadFile(filepath.Join(second.dir, "logs", "web.log"))
	if err != nil || strings.Contains(string(log), "start worker process") {
		t.Errorf("the second run's log has what was logged before it: %v", err)
	}
	if !strings.Contains(r.stdout, "the scenarios' own waiting") {
		t.Errorf("the summary does not tell where the time went")
	}
	if n := open(); len(n) > 0 {
		t.Errorf("runs that are still open: %v", n)
	}
}

func TestABrokenEnvironmentIsStartedAfresh(t *testing.T) {
	needImage(t, "nginx:1.22")
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skipf("the scenario removes a container with the docker command: %v", err)
	}
	open := ownState(t)
	token(t)
	c := start(t, "run", "many/breaks.toml", "many/second.toml")
	r := c.wait()
	c.nothingLeft()
	if r.code != 0 {
		t.Fatalf("exit %d", r.code)
	}
	runs := c.read()
	breaks, second := runs["breaks"], runs["second"]
	want := ledger.Origin{Why: "that of " + filepath.Base(breaks.dir) + " cannot be used again: web is gone"}
	if diff := cmp.Diff(want, second.Environment); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if second.web == breaks.web || second.Project == breaks.Project {
		t.Errorf("the second scenario ran in project %s on %.12s", second.Project, second.web)
	}
	if say := "environment: taken down, because that of " + filepath.Base(breaks.dir) + " cannot be used again: web is gone"; !strings.Contains(r.stderr, say) {
		t.Errorf("standard error does not say %q", say)
	}
	text := strings.Join(strings.Fields(r.stdout), " ")
	if say := "environ. fresh, because that of " + filepath.Base(breaks.dir) + " cannot be used again: web is gone"; !strings.Contains(text, say) {
		t.Errorf("standard output does not say %q", say)
	}
	if n := open(); len(n) > 0 {
		t.Errorf("runs that are still open: %v", n)
	}
}

// inSecond waits until the second run of a call holds its pause on the first one's container, and returns its id.
func (c *call) inSecond(d *client.Client) string {
	c.t.Helper()
	for began := time.Now(); time.Since(began) < 3*time.Minute; time.Sleep(50 * time.Millisecond) {
		if len(c.ids()) == 2 {
			return c.inPause(d)
		}
	}
	c.t.Fatal("the second run did not begin")
	return ""
}

func TestKilledInTheSecondRunOfAnEnvironmentLeavesNothing(t *testing.T) {
	needImage(t, "nginx:1.22")
	open := ownState(t)
	token(t)
	c := start(t, "run", "many/second.toml", "many/held.toml")
	c.inSecond(docker(t))
	killed := time.Now()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait()
	for len(c.left()) > 0 {
		if time.Since(killed) > 30*time.Second {
			t.Fatalf("left 30 s after the runner was killed: %v", c.left())
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("nothing left %d ms after SIGKILL", time.Since(killed).Milliseconds())
	if n := open(); len(n) != 2 {
		t.Errorf("open runs: %v, want both: nobody has looked yet", n)
	}
	if r := discompose(t, "heal", "--all"); r.code != 0 {
		t.Errorf("heal: exit %d: %s", r.code, r.stderr)
	}
	if n := open(); len(n) > 0 {
		t.Errorf("runs that are still open: %v", n)
	}
}

// TestHealTakesDownAnEnvironmentWhoseRunnerAndAgentAreDead kills both, so that only the journals are left to work from.
func TestHealTakesDownAnEnvironmentWhoseRunnerAndAgentAreDead(t *testing.T) {
	needImage(t, "nginx:1.22")
	for _, how := range []string{"by name", "all"} {
		t.Run(how, func(t *testing.T) {
			open := ownState(t)
			token(t)
			d := docker(t)
			c := start(t, "run", "many/second.toml", "many/held.toml")
			c.inSecond(d)
			var agents []string
			for _, id := range c.ids() {
				list, err := d.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(
					filters.Arg("label", "io.discompose.run="+id), filters.Arg("label", "io.discompose.role=agent"))})
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range list {
					agents = append(agents, a.ID)
				}
			}
			if len(agents) != 1 {
				t.Fatalf("agents %v, want that of the second run", agents)
			}
			if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // it must not heal by itself
				t.Fatal(err)
			}
			if err := d.ContainerKill(t.Context(), agents[0], "KILL"); err != nil {
				t.Fatal(err)
			}
			if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = c.cmd.Wait()
			if len(c.left()) == 0 {
				t.Fatal("nothing is left to heal")
			}
			args := []string{"heal", "--all"}
			if how == "by name" {
				args = []string{"heal", c.read()["held"].dir}
			}
			if r := discompose(t, args...); r.code != 0 {
				t.Errorf("%v: exit %d: %s", args, r.code, r.stderr)
			}
			c.nothingLeft()
			if n := open(); len(n) > 0 {
				t.Errorf("runs that are still open: %v", n)
			}
		})
	}
}

func TestInterruptTakesASharedEnvironmentDown(t *testing.T) {
	needImage(t, "nginx:1.22")
	for name, c := range map[string]struct {
		args []string
		wait func(*call, *client.Client) string
		runs int
	}{
		"in the first run":  {[]string{"run", "many/held.toml", "many/second.toml"}, (*call).inPause, 1},
		"in the second run": {[]string{"run", "many/second.toml", "many/held.toml", "many/first.toml"}, (*call).inSecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			open := ownState(t)
			token(t)
			call := start(t, c.args...)
			c.wait(call, docker(t))
			if err := call.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			r := call.wait()
			call.nothingLeft()
			if r.code != 130 || len(call.ids()) != c.runs {
				t.Errorf("exit %d after %d runs, want 130 after %d", r.code, len(call.ids()), c.runs)
			}
			if n := open(); len(n) > 0 {
				t.Errorf("runs that are still open: %v", n)
			}
		})
	}
}

// TestRunsAtTheSameTime has three scenarios that ask for one subnet, two at a time, and then asks for what is left of them.
func TestRunsAtTheSameTime(t *testing.T) {
	needImage(t, "nginx:1.22")
	open := ownState(t)
	token(t)
	names := []string{"alone", "first", "second"}
	args := []string{"run", "many/alone.toml", "many/first.toml", "many/second.toml", "--parallel", "2"}
	c := start(t, args...)
	r := c.wait()
	c.nothingLeft()
	if r.code != 0 {
		t.Fatalf("exit %d", r.code)
	}
	overlap := false
	runs := c.read()
	for _, name := range names {
		one := runs[name]
		report, _, _ := strings.Cut(r.stdout[max(strings.Index(r.stdout, "): "+name+"\n"), 0):], "\nPASS")
		if !strings.Contains(report, "report    "+one.dir) {
			t.Errorf("the report of %s is not in one piece:\n%s", name, report)
		}
		if !strings.Contains(r.stderr, name+" | run directory: "+one.dir+"\n") {
			t.Errorf("the run directory of %s is not told with its name", name)
		}
		for _, other := range runs {
			overlap = overlap || other.Base > one.Base && len(one.Phases) > 0 && other.Base < one.Phases[len(one.Phases)-1].From
		}
	}
	if !overlap {
		t.Error("no two runs went on at the same time")
	}
	for line := range strings.Lines(r.stderr) {
		name, _, ok := strings.Cut(line, " | ")
		if !ok && !strings.HasPrefix(line, "parallel: ") && !strings.HasPrefix(line, "summary: ") || ok && !slices.Contains(names, name) {
			t.Errorf("a line is nobody's: %s", line)
		}
	}
	if n := open(); len(n) > 0 {
		t.Errorf("runs that are still open: %v", n)
	}

	t.Run("what has passed is not run again", func(t *testing.T) {
		again := exec.CommandContext(t.Context(), binary(t), append([]string{"--runs-dir", c.runs, "--no-color"}, append(args, "--resume")...)...)
		again.Dir = "testdata"
		out, err := again.CombinedOutput()
		if err != nil || strings.Count(string(out), ": passed before, in ") != 3 || !strings.Contains(string(out), "3 scenarios: 3 passed") || len(c.ids()) != 3 {
			t.Errorf("%v, %d run directories\n%s", err, len(c.ids()), out)
		}
	})
	t.Run("nor with another scenario in its place", func(t *testing.T) {
		again := exec.CommandContext(t.Context(), binary(t), "--runs-dir", c.runs, "--no-color", "run", "many/first.toml", "--resume", "--set", "fault.pause.for=3s")
		again.Dir = "testdata"
		out, err := again.CombinedOutput()
		if err != nil || strings.Contains(string(out), "passed before") || len(c.ids()) != 4 {
			t.Errorf("%v, %d run directories\n%s", err, len(c.ids()), out)
		}
	})
}

// TestAnInterruptEndsAllRuns stops two runs that go on at the same time.
func TestAnInterruptEndsAllRuns(t *testing.T) {
	needImage(t, "nginx:1.22")
	open := ownState(t)
	token(t)
	d := docker(t)
	c := start(t, "run", "many/held.toml", "--runs", "3", "--parallel", "2")
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		paused := 0
		for _, id := range c.ids() {
			list, err := d.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "io.discompose.run="+id), filters.Arg("status", "paused"))})
			if err != nil {
				t.Fatal(err)
			}
			paused += len(list)
		}
		if paused == 2 {
			break
		}
		if time.Since(began) > 3*time.Minute {
			t.Fatal("no two containers were paused")
		}
	}
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r := c.wait()
	c.nothingLeft()
	if r.code != 130 || !strings.Contains(r.stderr, "held: 1 of 3 runs did not begin: interrupted") {
		t.Errorf("exit %d", r.code)
	}
	if n := open(); len(n) > 0 {
		t.Errorf("runs that are still open: %v", n)
	}
}

// TestAKafkaTopicIsMadeAnewInASharedEnvironment runs on the embedded broker: its consumer and its log go through two runs.
func TestAKafkaTopicIsMadeAnewInASharedEnvironment(t *testing.T) {
	ownState(t)
	c := start(t, "run", "kafka_broker_pause", "kafka_latency", "--pull", "never", "--set", "environment.env.KAFKA_IMAGE=apache/kafka:0.0.0-absent")
	r := c.wait()
	c.nothingLeft()
	runs := c.read()
	second := runs["kafka_latency"]
	if r.code != 0 || second.Environment.From != filepath.Base(runs["kafka_broker_pause"].dir) {
		t.Fatalf("exit %d, environment %+v", r.code, second.Environment)
	}
	first, _, _ := strings.Cut(r.stdout[max(strings.Index(r.stdout, "kafka_latency\n")-60, 0):], "kafka_latency\n")
	if !strings.Contains(first, "embedded broker, not Apache Kafka") {
		t.Errorf("the second run does not say on what it ran: %q", first)
	}
	if j := (result{dir: second.dir}).judgement(t); j.Results[0].Counts["delivered"] == 0 || j.Convicted == 0 || j.Convicted != j.Tried {
		t.Errorf("the second run's check: %+v, %d of %d convicted", j.Results[0].Counts, j.Convicted, j.Tried)
	}
}
