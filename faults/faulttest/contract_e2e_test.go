//go:build e2e

package faulttest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/internal/imagetest"
)

func TestRealEngineKeepsTheContract(t *testing.T) {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docker.Close() })
	imagetest.Need(t, "busybox:latest")
	pids, project := int64(50), fmt.Sprintf("discompose-test-%d", time.Now().UnixNano())
	labels := map[string]string{
		"io.discompose.test": "faulttest", "com.docker.compose.project": project, "com.docker.compose.service": "web",
		"com.docker.compose.container-number": "1",
	}
	c, err := docker.ContainerCreate(t.Context(), &container.Config{
		Image: "busybox:latest", Env: []string{"LEVEL=info"}, Labels: labels,
		Entrypoint: []string{"sh"}, Cmd: []string{"-c", "trap exit TERM; while :; do sleep 0.05; done"},
	}, &container.HostConfig{
		RestartPolicy: container.RestartPolicy{Name: "always"},
		Resources:     container.Resources{NanoCPUs: 1e9, Memory: 64 << 20, PidsLimit: &pids},
	}, nil, nil, project+"-web-1")
	if err != nil {
		t.Skipf("no container of busybox:latest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		left, err := docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))})
		if err != nil {
			t.Error(err)
		}
		for _, c := range left {
			if err := docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
				t.Error(err)
			}
		}
	})
	if err := docker.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	e := engine.New(docker)
	contract(t, e, c.ID)
	replaces(t, e, c.ID)
}
