//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

// talking has a connection that stays open once client is healthy. Nothing but client's command tells of it.
const talking = `
name: talking
services:
  server:
    image: busybox:latest
    init: true
    command: [nc, -ll, -p, "7000", -e, cat]
  client:
    image: busybox:latest
    init: true
    command: [sh, -c, "until nc server 7000 -e cat; do sleep 1; done"]
    healthcheck: {test: "netstat -tn | grep ':7000 *ESTABLISHED'", interval: 1s, retries: 60}
  idle:
    image: busybox:latest
    init: true
    command: [sleep, "3600"]
    environment: {TARGET: "server:7000"}
`

func TestTopologyObservesARunningProjectAndLeavesItAsItWas(t *testing.T) {
	needImage(t, "busybox:latest")
	project, file := upProject(t, talking)
	before := withoutHealth(t, project)

	r := discompose(t, "topology", "--observe", project)
	if r.code != 0 {
		t.Fatalf("exit %d", r.code)
	}
	if !regexp.MustCompile(`(?m)^client -> server:7000 +1 open connection$`).MatchString(r.stdout) {
		t.Errorf("the open connection is not seen:\n%s", r.stdout)
	}
	if regexp.MustCompile(`(?m)^(idle|server) ->`).MatchString(r.stdout) {
		t.Errorf("a connection is seen that is not there:\n%s", r.stdout)
	}

	r = discompose(t, "topology", file, "--observe", project, "--for", "0s")
	for _, want := range []string{`(?m)^client -> server:7000 +command, 1 open connection$`, `(?m)^idle -> server:7000 +environment TARGET$`} {
		if r.code != 0 || !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("exit %d, no line matches %s:\n%s", r.code, want, r.stdout)
		}
	}

	c := start(t, "topology", "--observe", project, "--for", "10m")
	for deadline := time.After(time.Minute); len(agentsFor(t, project)) == 0; {
		select {
		case <-deadline:
			t.Fatal("there is no agent")
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := c.wait(); r.code != 130 {
		t.Errorf("interrupted: exit %d, want 130", r.code)
	}

	if diff := cmp.Diff(before, withoutHealth(t, project)); diff != "" {
		t.Errorf("the project is not as it was (-before +after):\n%s", diff)
	}
	if left := agentsFor(t, project); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// agentsFor are the names of the containers, in any state, that work on a project without being its own.
func agentsFor(t *testing.T, project string) (names []string) {
	t.Helper()
	list, err := docker(t).ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "io.discompose.project="+project))})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		names = append(names, c.Names...)
	}
	return names
}

func TestTopologyOfAProjectThatDoesNotRunExits69(t *testing.T) {
	if r := discompose(t, "topology", "--observe", "no-such-project"); r.code != 69 {
		t.Errorf("exit %d, want 69", r.code)
	}
}

// withoutHealth is inspectProject without what the engine's own checks change all the time.
func withoutHealth(t *testing.T, project string) map[string]any {
	t.Helper()
	all := inspectProject(t, project)
	if len(all) != 3 {
		t.Fatalf("%d containers of the project, want 3", len(all))
	}
	for _, c := range all {
		if state, ok := c.(map[string]any)["State"].(map[string]any); ok {
			delete(state, "Health")
		}
	}
	return all
}

// upProject starts a project under a name of its own, and removes it after the test.
func upProject(t *testing.T, file string) (project, path string) {
	t.Helper()
	e := composetest.Engine(t)
	dir := composetest.Write(t, map[string]string{"compose.yaml": file})
	p, err := compose.Load(t.Context(), compose.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	run := composetest.RunID()
	if _, err := p.Isolate(compose.IsolateOptions{Project: "dc" + run, Run: run}); err != nil {
		t.Fatal(err)
	}
	composetest.NoLeftovers(t, e, run)
	env := e.Environment(p, compose.RunInfo{Run: run, Dir: t.TempDir()})
	t.Cleanup(func() { // the test's own context is over by then
		if err := env.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := env.Preflight(t.Context(), compose.PreflightOptions{Pull: "never"}); err != nil {
		t.Fatal(err)
	}
	if err := env.Up(t.Context(), compose.UpOptions{Ready: 2 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	return "dc" + run, filepath.Join(dir, "compose.yaml")
}
