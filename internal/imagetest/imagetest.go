// Package imagetest lets a test ask for the images that it needs: what is not on the engine is pulled, and where that
// cannot be done the test is skipped, aloud.
//
// It is for tests with the tag e2e only. Its functions may be called from any test goroutine that may call Skip.
package imagetest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// pullBudget bounds the pull of one image.
const pullBudget = 3 * time.Minute

// Need skips the test unless there is an engine with every image, or one that can pull what is missing.
func Need(tb testing.TB, refs ...string) {
	tb.Helper()
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		tb.Skipf("no engine: %v", err)
	}
	defer docker.Close() //nolint:errcheck // nothing is written through it
	if _, err := docker.Ping(tb.Context()); err != nil {
		tb.Skipf("no engine: %v", err)
	}
	for _, ref := range refs {
		if _, err := docker.ImageInspect(tb.Context(), ref); err == nil {
			continue
		}
		if err := pull(tb.Context(), docker, ref); err != nil {
			tb.Skipf("image %s is not on this engine and cannot be pulled: %v", ref, err)
		}
	}
}

func pull(ctx context.Context, docker *client.Client, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, pullBudget)
	defer cancel()
	progress, err := docker.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return err
	}
	defer progress.Close() //nolint:errcheck // read to its end
	if _, err := io.Copy(io.Discard, progress); err != nil {
		return err
	}
	_, err = docker.ImageInspect(ctx, ref)
	return err
}
