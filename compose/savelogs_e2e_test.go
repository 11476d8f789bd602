//go:build e2e

package compose_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

const talkers = `
name: talkers
services:
  web:
    image: busybox:1
    command: [sh, -c, "echo first; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    deploy: {replicas: 2}
`

// TestReplacedContainersKeepTheirLogsAndLeaveNoVolume replaces one container of a service by hand, as a fault does, and
// removes the other one for good.
func TestReplacedContainersKeepTheirLogsAndLeaveNoVolume(t *testing.T) {
	e := composetest.Engine(t)
	env := load(t, e, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": talkers}), Files: []string{"compose.yaml"}})
	if err := env.Up(t.Context(), compose.UpOptions{Ready: time.Minute}); err != nil {
		t.Fatal(err)
	}
	list, err := env.Containers(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("containers %v, %v", list, err)
	}
	docker, dir := e.Docker(), t.TempDir()
	was, err := docker.ContainerInspect(t.Context(), list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if err := env.KeepLog(t.Context(), dir, c.ID); err != nil {
			t.Error(err)
		}
		if err := docker.ContainerRemove(t.Context(), c.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	v, err := docker.VolumeCreate(t.Context(), volume.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	was.Config.Labels[compose.LabelVolumes] = v.Name
	was.Config.Cmd = []string{"sh", "-c", "echo second"}
	was.HostConfig.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: v.Name, Target: "/data"}}
	again, err := docker.ContainerCreate(t.Context(), was.Config, was.HostConfig, nil, nil, list[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := docker.ContainerStart(t.Context(), again.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	wait, errs := docker.ContainerWait(t.Context(), again.ID, container.WaitConditionNotRunning)
	select {
	case <-wait:
	case err := <-errs:
		t.Fatal(err)
	}
	if err := env.SaveLogs(t.Context(), dir); err != nil {
		t.Error(err)
	}
	for name, words := range map[string]string{"web-1.log": "first second", "web-2.log": "first"} {
		if said := lastWords(t, filepath.Join(dir, "logs", name)); said != words {
			t.Errorf("%s says %q", name, said)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "logs", "*")); len(files) != 2 {
		t.Errorf("files %v", files)
	}
	down(t, env)
	if _, err := docker.VolumeInspect(t.Context(), v.Name); err == nil {
		t.Error("the volume that the container had in place of one without a name was left")
	}
}

// lastWords are those of each line.
func lastWords(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	var said []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		said = append(said, f[len(f)-1])
	}
	return strings.Join(said, " ")
}
