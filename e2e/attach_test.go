//go:build e2e

package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
)

func TestFaultsOverlapOnOneTargetAndEndInAnyOrder(t *testing.T) {
	needImage(t, "nginx:1.22")
	j := discompose(t, "run", "overlap.toml").passes(t)
	if len(j.Windows) != 6 {
		t.Errorf("%d windows, want 6", len(j.Windows))
	}
}

func TestAPIOnlyModeStillPauses(t *testing.T) {
	needImage(t, "nginx:1.22")
	discompose(t, "run", "shop_pause.toml", "--no-agent").passes(t)
}

func TestAPIOnlyModeRefusesWhatItCannotDo(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "no_effect.toml", "--no-agent")
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE not-supported" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

// TestKeepAndAttach leaves an environment up, works on it as on the user's own, and finds it as it was.
func TestKeepAndAttach(t *testing.T) {
	needImage(t, "nginx:1.22")
	d := docker(t)
	kept := start(t, "run", "long_pause.toml", "--keep", "--set", "fault.pause.for=2s")
	kept.wait().passes(t)
	ids := kept.ids()
	if len(ids) != 1 {
		t.Fatalf("runs %v", ids)
	}
	t.Cleanup(func() { // the test's own context is over by then
		if err := compose.RemoveRun(context.Background(), d, ids[0]); err != nil {
			t.Error(err)
		}
	})
	project := "dc" + ids[0]
	before := inspectProject(t, project)
	if len(before) != 1 {
		t.Fatalf("%d containers of the kept project, want 1 (no agent, no client)", len(before))
	}
	again := start(t, "run", "attach_pause.toml", "--set", "environment.attach="+project)
	again.wait().passes(t)
	if diff := cmp.Diff(before, inspectProject(t, project)); diff != "" {
		t.Errorf("the attached project is not as it was (-before +after):\n%s", diff)
	}
	for _, id := range again.ids() {
		if id == ids[0] {
			continue
		}
		if l := left(t.Context(), t, d, id); len(l) > 0 {
			t.Errorf("left behind: %v", l)
		}
	}
}

// inspectProject is what the engine tells of a project's containers, without times.
func inspectProject(t *testing.T, project string) map[string]any {
	t.Helper()
	d := docker(t)
	list, err := d.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, c := range list {
		out[c.ID] = atRest(t, d, c.ID)
	}
	return out
}

// atRest is a container as the engine has it while no command, such as its healthcheck, runs in it. A command that was about
// to start when its container was paused never does, and engine 20.10 keeps its ID for up to ten minutes: it says nothing of
// the container, so the IDs are left out.
func atRest(t *testing.T, d *client.Client, id string) any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		in, raw, err := d.ContainerInspectWithRaw(t.Context(), id, false)
		if err != nil {
			t.Fatal(err)
		}
		running := slices.DeleteFunc(in.ExecIDs, func(command string) bool { return !running(t, d, command) })
		if len(running) == 0 {
			v := decoded(t, raw)
			if fields, ok := v.(map[string]any); ok {
				delete(fields, "ExecIDs")
			}
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("commands never end in %s: %v", in.Name, running)
		}
	}
}

// running tells whether the engine runs a command in a container: one that it has forgotten has ended.
func running(t *testing.T, d *client.Client, command string) bool {
	t.Helper()
	in, err := d.ContainerExecInspect(t.Context(), command)
	if err != nil && !cerrdefs.IsNotFound(err) {
		t.Fatal(err)
	}
	return in.Running
}
