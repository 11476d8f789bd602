package compose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// ErrNoFile says that no Compose file is in a folder or above it.
var ErrNoFile = errors.New("no compose.yaml")

// ErrNoProject says that no container of a project runs.
var ErrNoProject = errors.New("it does not run")

// RunningProject is a Compose project with containers on an engine.
type RunningProject struct {
	Name       string
	Containers int    // those that run, paused ones included
	Run        string // the run that made it; "" for the user's own
}

// Projects lists the Compose projects of which at least one container runs, sorted by name.
func (e *Engine) Projects(ctx context.Context) ([]RunningProject, error) {
	list, err := e.docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", api.ProjectLabel))})
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	found := map[string]RunningProject{}
	for _, c := range list {
		if c.Labels[api.ServiceLabel] == "" { // of a run's own, such as its clients
			continue
		}
		p := found[c.Labels[api.ProjectLabel]]
		p.Name, p.Run = c.Labels[api.ProjectLabel], c.Labels[LabelRun]
		p.Containers++
		found[p.Name] = p
	}
	return slices.SortedFunc(maps.Values(found), func(a, b RunningProject) int { return cmp.Compare(a.Name, b.Name) }), nil
}

// ProjectName is the name that `docker compose` would give to the project of a folder ("" is the current one):
// COMPOSE_PROJECT_NAME, else what the Compose file there, or above it, says or implies. ErrNoFile where there is neither.
func ProjectName(ctx context.Context, dir string) (string, error) {
	p, err := Load(ctx, LoadOptions{Dir: dir})
	switch name := os.Getenv("COMPOSE_PROJECT_NAME"); {
	case err == nil:
		return p.Name(), nil
	case name != "" && errors.Is(err, ErrNoFile):
		return name, nil
	}
	return "", err
}
