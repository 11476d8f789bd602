//go:build e2e

package faulttest_test

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
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
	pids := int64(50)
	c, err := docker.ContainerCreate(t.Context(), &container.Config{
		Image: "busybox:latest", Cmd: []string{"sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"},
		Labels: map[string]string{"io.discompose.test": "faulttest"},
	}, &container.HostConfig{
		RestartPolicy: container.RestartPolicy{Name: "always"},
		Resources:     container.Resources{NanoCPUs: 1e9, Memory: 64 << 20, PidsLimit: &pids},
	}, nil, nil, "")
	if err != nil {
		t.Skipf("no container of busybox:latest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	})
	if err := docker.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	contract(t, engine.New(docker), c.ID)
}
