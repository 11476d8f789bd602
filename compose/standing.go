package compose

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
)

// Standing is one container of a service as far as another run must find it to use the environment again.
type Standing struct {
	Container
	ImageID  string `json:"image_id"`
	Config   string `json:"config"`   // Compose's hash of the service
	Host     string `json:"host"`     // hash of the engine's own settings: limits, mounts, restart policy
	Networks string `json:"networks"` // names and aliases, sorted
	Health   string `json:"health"`   // "healthy"; empty without a healthcheck
	OneShot  bool   `json:"one_shot"`
	ExitCode int    `json:"exit_code"`
	Restarts int    `json:"restarts"` // by its restart policy, since it was made
}

// Standing lists the containers of the project's services, stopped ones too, sorted by service and number.
func (e *Environment) Standing(ctx context.Context) ([]Standing, error) {
	list, err := e.Containers(ctx)
	if err != nil {
		return nil, err
	}
	services, err := e.Services(ctx)
	if err != nil {
		return nil, err
	}
	var out []Standing
	for _, c := range list {
		i, err := e.engine.docker.ContainerInspect(ctx, c.ID)
		if err != nil {
			return nil, fmt.Errorf("inspect %s: %w", c.Name, err)
		}
		s := Standing{
			Container: c, ImageID: i.Image, Config: i.Config.Labels[api.ConfigHashLabel], Networks: networksOf(i), ExitCode: i.State.ExitCode,
			Restarts: i.RestartCount,
			OneShot:  slices.ContainsFunc(services, func(s Service) bool { return s.Name == c.Service && s.OneShot }),
		}
		s.Image = i.Config.Image // the list has an id in its place where the name stands for another image by now
		if s.Host, err = hostHash(i.HostConfig); err != nil {
			return nil, fmt.Errorf("describe %s: %w", c.Name, err)
		}
		if i.State.Health != nil && i.State.Health.Status != container.NoHealthcheck {
			s.Health = i.State.Health.Status
		}
		out = append(out, s)
	}
	return out, nil
}

// hostHash stands for what the engine was told of a container.
func hostHash(h *container.HostConfig) (string, error) {
	raw, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// networksOf tells which networks a container is in and under which names; its own short id is one of them and is left out.
func networksOf(i container.InspectResponse) string {
	if i.NetworkSettings == nil {
		return ""
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(i.NetworkSettings.Networks)) {
		var aliases []string
		if n := i.NetworkSettings.Networks[name]; n != nil {
			aliases = slices.DeleteFunc(slices.Clone(n.Aliases), func(a string) bool { return strings.HasPrefix(i.ID, a) })
		}
		slices.Sort(aliases)
		out = append(out, name+" "+strings.Join(slices.Compact(aliases), ","))
	}
	return strings.Join(out, "; ")
}

// Differ compares the containers of an environment as they were and as they are: what another run would have to find as it
// was, and does not, in a sentence; empty where all stands. A container may be another one with the same configuration. Those
// that idle names may be stopped.
func Differ(was, is []Standing, idle ...string) string {
	for _, w := range was {
		n := slices.IndexFunc(is, func(s Standing) bool { return s.Service == w.Service && s.Number == w.Number })
		if n < 0 {
			return fmt.Sprintf("%s is gone", w)
		}
		if what := w.differs(is[n], slices.Contains(idle, w.Service)); what != "" {
			return what
		}
	}
	for _, s := range is {
		if !slices.ContainsFunc(was, func(w Standing) bool { return s.Service == w.Service && s.Number == w.Number }) {
			return fmt.Sprintf("%s is there and was not", s)
		}
	}
	return ""
}

// Settled reports whether none of some containers is between two states: about to start again, or not healthy, which one that
// was frozen is until its next check.
func Settled(is []Standing) bool {
	return !slices.ContainsFunc(is, func(s Standing) bool {
		return s.State == container.StateRestarting || s.State == container.StateRunning && s.Health != "" && s.Health != container.Healthy
	})
}

func (s Standing) differs(is Standing, idle bool) string {
	switch {
	case is.ImageID != s.ImageID:
		return fmt.Sprintf("%s runs another image", s)
	case is.Config != s.Config:
		return fmt.Sprintf("%s has another configuration", s)
	case is.Host != s.Host:
		return fmt.Sprintf("%s has other limits or mounts", s)
	case is.Networks != s.Networks:
		return fmt.Sprintf("%s is in other networks, or under other names: %s instead of %s", s, cmp.Or(is.Networks, "none"), cmp.Or(s.Networks, "none"))
	case s.OneShot && s.State == container.StateExited:
		if is.State != container.StateExited || is.ExitCode != 0 {
			return fmt.Sprintf("%s is %s with exit code %d", s, is.State, is.ExitCode)
		}
	case idle:
	case is.State != s.State: // "running", or "created" for one that no run starts
		return fmt.Sprintf("%s is %s", s, is.State)
	case is.Health != "" && is.Health != container.Healthy:
		return fmt.Sprintf("%s is %s", s, is.Health)
	}
	return ""
}

// Outdated names the first service whose image, by its name, is another one by now; empty where none is.
func (e *Environment) Outdated(ctx context.Context, is []Standing) (string, error) {
	for _, s := range is {
		i, err := e.engine.docker.ImageInspect(ctx, s.Image)
		if err != nil && !errdefs.IsNotFound(err) { // a tag that is gone says nothing of what runs
			return "", fmt.Errorf("inspect image %s: %w", s.Image, err)
		}
		if err == nil && i.ID != s.ImageID {
			return fmt.Sprintf("%s is another image by now, and %s runs the old one", s.Image, s), nil
		}
	}
	return "", nil
}

// Tidy removes containers of the project that are no service's: those of one-shot runs.
func (e *Environment) Tidy(ctx context.Context) error {
	if e.attached {
		return nil
	}
	list, err := e.engine.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: e.filter()})
	if err != nil {
		return fmt.Errorf("list containers of project %s: %w", e.name, err)
	}
	list = slices.DeleteFunc(list, func(c container.Summary) bool {
		_, ok := e.project.Service(c.Labels[api.ServiceLabel])
		return ok && c.Labels[api.OneoffLabel] != "True" && c.Labels[api.HookLabel] == ""
	})
	return remover{docker: e.engine.docker}.removeContainers(ctx, list)
}

// StopServices stops the containers of services, as `docker compose stop` does, all at once.
func (e *Environment) StopServices(ctx context.Context, services []string) error {
	if len(services) == 0 {
		return nil
	}
	list, err := e.Containers(ctx)
	if err != nil {
		return err
	}
	results, n := make(chan error), 0
	for _, c := range list {
		if !slices.Contains(services, c.Service) {
			continue
		}
		n++
		go func() {
			if err := e.engine.docker.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil {
				results <- fmt.Errorf("stop %s: %w", c, err)
				return
			}
			results <- nil
		}()
	}
	var errs []error
	for range n {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// Resume starts what is stopped of an environment that is up, and waits until all of it is ready.
func (e *Environment) Resume(ctx context.Context, o StartOptions) error {
	if e.attached {
		return fmt.Errorf("start project %s: it is attached", e.name)
	}
	return e.StartWith(ctx, nil, o)
}

// BeginAnew makes logs begin now, by the engine's clock: what services have logged before belongs to an earlier run.
func (e *Environment) BeginAnew(ctx context.Context) error {
	i, err := e.engine.docker.Info(ctx)
	if err != nil {
		return e.engine.broken(err)
	}
	now, err := time.Parse(time.RFC3339Nano, i.SystemTime)
	if err != nil {
		return fmt.Errorf("read the engine's clock: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since = now
	return nil
}

// begun is the instant that logs begin at; zero where they begin with the containers.
func (e *Environment) begun() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.since
}

// engineTime writes an instant as the engine's filters take it; the zero time is no filter.
func engineTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// RemoveClients removes the client containers of a run, and returns when their names are free.
func RemoveClients(ctx context.Context, docker Remover, runID string) error {
	r := remover{docker: docker, runs: []string{runID}}
	for {
		list, err := r.withRole(ctx, "client")
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		if err := r.removeContainers(ctx, list); err != nil {
			return err
		}
		if !wait(ctx, 50*time.Millisecond) {
			return fmt.Errorf("remove clients of run %s: %w", runID, context.Cause(ctx))
		}
	}
}

// Followed are the services whose output a run reads: those with the label of that name.
func Followed(services []Service, label string) []string {
	var out []string
	for _, s := range services {
		if s.Labels[label] != "" {
			out = append(out, s.Name)
		}
	}
	return out
}
