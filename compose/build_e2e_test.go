//go:build e2e

package compose_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
	"github.com/discompose/discompose/internal/imagetest"
)

// built prepares a project with one service of a Dockerfile; the image is removed with the test.
func built(t *testing.T, e *compose.Engine, dockerfile string) (env *compose.Environment, name string) {
	t.Helper()
	name = "dcbuild-" + composetest.RunID()
	dir := composetest.Write(t, map[string]string{
		"compose.yaml":   "name: " + name + "\nservices:\n  app: {build: ./app, command: [sleep, '60'], init: true}\n",
		"app/Dockerfile": dockerfile,
	})
	t.Cleanup(func() {
		list, err := e.Docker().ImageList(context.Background(), image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", name+"-app"))})
		if err != nil {
			t.Error(err)
		}
		for _, i := range list {
			if _, err := e.Docker().ImageRemove(context.Background(), i.ID, image.RemoveOptions{Force: true}); err != nil {
				t.Error(err)
			}
		}
	})
	p, err := compose.Load(t.Context(), compose.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	run := composetest.RunID()
	composetest.NoLeftovers(t, e, run)
	if _, err := p.Isolate(compose.IsolateOptions{Project: "dc-" + run, Run: run}); err != nil {
		t.Fatal(err)
	}
	return e.Environment(p, compose.RunInfo{Run: run, Dir: t.TempDir()}), name
}

func TestABuiltServiceIsBuiltWhereItsImageIsMissing(t *testing.T) {
	imagetest.Need(t, "busybox:1")
	e := composetest.Engine(t)
	env, name := built(t, e, "FROM busybox:1\nRUN echo hello > /greeting\n")
	pre, err := env.Preflight(t.Context(), compose.PreflightOptions{Pull: "missing"})
	if err != nil {
		t.Fatal(err)
	}
	if len(pre.Images) != 1 || pre.Images[0].Source != "build" || pre.Images[0].Ref != name+"-app" || pre.Images[0].ID == "" {
		t.Errorf("images are %+v", pre.Images)
	}
	if err := env.Up(t.Context(), compose.UpOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := env.Exec(t.Context(), "app", 1, []string{"cat", "/greeting"})
	if err != nil || string(r.Out) != "hello\n" {
		t.Errorf("the service says %q, %v", r.Out, err)
	}
	again, err := env.Preflight(t.Context(), compose.PreflightOptions{Pull: "missing"})
	if err != nil || again.Images[0].Source != "present" || again.Images[0].ID != pre.Images[0].ID ||
		len(again.Warnings) != 1 || !strings.Contains(again.Warnings[0], "service app: image "+name+"-app is used as it was built on ") {
		t.Errorf("the next time: %+v, %v", again, err)
	}
	if always, err := env.Preflight(t.Context(), compose.PreflightOptions{Pull: "always"}); err != nil || always.Images[0].Source != "build" {
		t.Errorf("pull always: %+v, %v", always, err)
	}
	down(t, env)
}

func TestABuildThatFailsNamesItsServiceAndLeavesNothing(t *testing.T) {
	imagetest.Need(t, "busybox:1")
	e := composetest.Engine(t)
	for _, tc := range []struct{ name, dockerfile, want string }{
		{"a step", "FROM busybox:1\nRUN echo working && nosuchtool --now\n", "build: /bin/sh: nosuchtool: not found"},
		{"a base image", "FROM localhost:1/no/such:1\n", "localhost:1/no/such:1"},
		{"a Dockerfile", "FORM busybox:1\n", "unknown instruction: FORM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := exited(t, e)
			env, name := built(t, e, tc.dockerfile)
			_, err := env.Preflight(t.Context(), compose.PreflightOptions{Pull: "missing"})
			t.Log(err)
			if !errors.Is(err, compose.ErrImage) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range []string{"service app: ", "build " + name + "-app from ./app: ", tc.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			for id := range exited(t, e) {
				if !before[id] {
					t.Errorf("container %s is left", id)
				}
			}
		})
	}
}

// exited are the containers of builds that failed.
func exited(t *testing.T, e *compose.Engine) map[string]bool {
	t.Helper()
	list, err := e.Docker().ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, c := range list {
		if strings.Contains(c.Command, "nosuchtool") {
			out[c.ID] = true
		}
	}
	return out
}

func TestAServiceThatTheEngineRefusesIsNamed(t *testing.T) {
	imagetest.Need(t, "busybox:1")
	e := composetest.Engine(t)
	env := load(t, e, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": "name: dcrefused\nservices:\n  fine: {image: 'busybox:1', init: true, command: [sleep, '60']}\n  wrong: {image: 'busybox:1', command: [nosuchprogram]}\n"})})
	err := env.Up(t.Context(), compose.UpOptions{})
	var nr *compose.NotReadyError
	if !errors.As(err, &nr) || nr.Service != "wrong" || !strings.Contains(err.Error(), "service wrong is refused by the engine: ") || !strings.Contains(err.Error(), "nosuchprogram") {
		t.Errorf("error is %v", err)
	}
	down(t, env)
}
