package compose_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/compose"
)

// lateEngine is an engine that holds containers from given instants on, and tells in which order they were removed.
type lateEngine struct {
	client.ContainerAPIClient
	client.NetworkAPIClient
	client.VolumeAPIClient
	began   time.Time
	made    map[string]time.Duration // id → since began
	agent   string
	removed []string
}

func (e *lateEngine) ContainerList(_ context.Context, o container.ListOptions) ([]container.Summary, error) {
	var out []container.Summary
	for id, at := range e.made {
		c := container.Summary{ID: id, Names: []string{"/" + id}, Labels: map[string]string{}}
		if id == e.agent {
			c.Labels[compose.LabelRole] = "agent"
		}
		agentsOnly := slices.Contains(o.Filters.Get("label"), compose.LabelRole+"=agent")
		if time.Since(e.began) < at || slices.Contains(e.removed, id) || agentsOnly && id != e.agent {
			continue
		}
		out = append(out, c)
	}
	return out, nil
}

func (e *lateEngine) ContainerRemove(_ context.Context, id string, _ container.RemoveOptions) error {
	e.removed = append(e.removed, id)
	return nil
}

func (e *lateEngine) NetworkList(context.Context, network.ListOptions) ([]network.Summary, error) {
	return nil, nil
}

func (e *lateEngine) VolumeList(context.Context, volume.ListOptions) (volume.ListResponse, error) {
	return volume.ListResponse{}, nil
}

func TestADeadRunIsRemovedWithWhatTheEngineMadeAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &lateEngine{began: time.Now(), agent: "agent", made: map[string]time.Duration{"agent": 0, "early": 0, "late": 1200 * time.Millisecond, "later": 3 * time.Second}}
		if err := compose.RemoveDeadRun(t.Context(), e, "0a0b0c0d"); err != nil {
			t.Fatal(err)
		}
		if want := []string{"early", "late", "later", "agent"}; !slices.Equal(e.removed, want) {
			t.Errorf("removed %v, want %v", e.removed, want)
		}
		if took := time.Since(e.began); took > 6*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
