package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/faults"
)

// target is a container that does nothing, says so when it is ready, and ends on SIGTERM.
type target struct {
	docker *client.Client
	id     string
	name   string
}

const (
	greeting = "ready\n"
	idle     = `trap 'exit 0' TERM; echo ready; while :; do sleep 3600 & wait $!; done`
)

func (b *bench) newTarget(ctx context.Context) (*target, error) {
	image, err := b.firstImage(ctx, "busybox:latest", "alpine:3", "alpine:latest", "nginx:1.22")
	if err != nil {
		return nil, err
	}
	t := &target{docker: b.docker, name: "bench" + b.id + "-target"}
	made, err := b.docker.ContainerCreate(ctx, &container.Config{
		Image: image, Entrypoint: []string{"sh", "-c", idle}, Labels: map[string]string{agent.LabelRun: b.id},
	}, &container.HostConfig{}, nil, nil, t.name)
	if err != nil {
		return nil, fmt.Errorf("create the target: %w", err)
	}
	t.id = made.ID
	if err := b.docker.ContainerStart(ctx, t.id, container.StartOptions{}); err != nil {
		return nil, fmt.Errorf("start the target: %w", err)
	}
	return t, t.greets(ctx, 1)
}

func (b *bench) firstImage(ctx context.Context, refs ...string) (string, error) {
	for _, ref := range refs {
		_, err := b.docker.ImageInspect(ctx, ref)
		if err == nil {
			return ref, nil
		}
		if !errdefs.IsNotFound(err) {
			return "", fmt.Errorf("look for image %s: %w", ref, err)
		}
	}
	return "", fmt.Errorf("none of the images %v is on this engine: pull one", refs)
}

// greetings is how often the target has said that it is ready.
func (t *target) greetings(ctx context.Context) (int, error) {
	out, err := t.docker.ContainerLogs(ctx, t.id, container.LogsOptions{ShowStdout: true})
	if err != nil {
		return 0, fmt.Errorf("read the target's log: %w", err)
	}
	raw, err := io.ReadAll(out)
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, fmt.Errorf("read the target's log: %w", err)
	}
	return bytes.Count(raw, []byte(greeting)), nil
}

// greets waits until the target has said n times that it is ready: a shell that has not set its trap yet ignores SIGTERM.
func (t *target) greets(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		got, err := t.greetings(ctx)
		if err != nil || got >= n {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the target: %w", err)
		}
	}
}

// faults is the target as faults know it.
func (t *target) faults() faults.Target {
	return faults.Target{Service: "target", Number: 1, Container: t.id, Name: t.name}
}

func (t *target) remove(ctx context.Context) error {
	if err := t.docker.ContainerRemove(ctx, t.id, container.RemoveOptions{Force: true}); err != nil {
		return fmt.Errorf("remove the target: %w", err)
	}
	return nil
}
