package compose_test

import (
	"context"
	"errors"
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
	volumes map[string]string // id → LabelVolumes
	busy    int               // removals of volumes that are refused first
	removed []string
}

func (e *lateEngine) ContainerList(_ context.Context, o container.ListOptions) ([]container.Summary, error) {
	var out []container.Summary
	for id, at := range e.made {
		c := container.Summary{ID: id, Names: []string{"/" + id}, Labels: map[string]string{}}
		if v := e.volumes[id]; v != "" {
			c.Labels[compose.LabelVolumes] = v
		}
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

func (e *lateEngine) VolumeRemove(_ context.Context, name string, _ bool) error {
	if e.busy--; e.busy >= 0 {
		return errors.New("volume is in use")
	}
	e.removed = append(e.removed, name)
	return nil
}

func TestVolumesThatGoWithAContainerAreRemovedAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &lateEngine{began: time.Now(), made: map[string]time.Duration{"web": 0}, volumes: map[string]string{"web": "v1,v2"}, busy: 1}
		if err := compose.RemoveRun(t.Context(), e, "0a0b0c0d"); err != nil {
			t.Fatal(err)
		}
		if want := []string{"web", "v2", "v1"}; !slices.Equal(e.removed, want) {
			t.Errorf("removed %v, want %v: the volume that was in use for a while last", e.removed, want)
		}
	})
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
