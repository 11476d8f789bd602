package compose_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/discompose/discompose/compose"
)

func TestNotReadyErrorSaysEachThingOnce(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  compose.NotReadyError
		want string
	}{
		{
			"a deadline",
			compose.NotReadyError{
				Service: "web", State: "unhealthy (3 checks failed in a row)", HealthLog: []string{"exit 1: no"}, LogTail: []string{"hello"},
				Err: fmt.Errorf("%w: not ready within 2m", compose.ErrNotReady),
			},
			"environment is not ready: service web is unhealthy (3 checks failed in a row): not ready within 2m\n  health: exit 1: no\n  log: hello",
		},
		{
			"a container that ended",
			compose.NotReadyError{Service: "web", State: "exited with code 1"},
			"environment is not ready: service web is exited with code 1\n  it has logged nothing",
		},
		{
			"a container that never ran",
			compose.NotReadyError{Service: "web", State: "refused by the engine", Err: errors.New("start project x: no such program")},
			"environment is not ready: service web is refused by the engine: start project x: no such program",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if !errors.Is(&tc.err, compose.ErrNotReady) {
				t.Error("it is no ErrNotReady")
			}
		})
	}
}

func TestEngineErrorAsksOnce(t *testing.T) {
	err := &compose.EngineError{Endpoint: "unix:///x", Source: "DOCKER_HOST", Err: errors.New("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?")}
	want := "docker engine is not available at unix:///x (from DOCKER_HOST): Cannot connect to the Docker daemon at unix:///x; is Docker running, and may this user reach it? `docker version` shows the same endpoint"
	if got := err.Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
