package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/versions"

	"github.com/discompose/discompose/faults"
)

var _ faults.Replacer = (*Engine)(nil)

// Named observes the container of a name; the error wraps faults.ErrGone if there is none.
func (e *Engine) Named(ctx context.Context, name string) (faults.Container, error) {
	c, err := e.Inspect(ctx, name)
	if err == nil && c.Name != name { // the engine takes the beginning of an id for a name
		return faults.Container{}, fmt.Errorf("%w: %s", faults.ErrGone, name)
	}
	return c, err
}

// Replicas observes the containers of a Compose service, stopped ones too, sorted by number.
func (e *Engine) Replicas(ctx context.Context, project, service string) ([]faults.Container, error) {
	all, err := e.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", projectLabel+"="+project), filters.Arg("label", serviceLabel+"="+service))})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", service, err)
	}
	var out []faults.Container
	for _, s := range all {
		if s.Labels[oneOffLabel] == "True" || s.Labels[hookLabel] != "" {
			continue
		}
		c, err := e.Inspect(ctx, s.ID)
		switch {
		case errors.Is(err, faults.ErrGone):
		case err != nil:
			return nil, err
		default:
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b faults.Container) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Image is the id of an image that the engine has; the error wraps faults.ErrNoImage if it does not.
func (e *Engine) Image(ctx context.Context, ref string) (string, error) {
	i, err := e.docker.ImageInspect(ctx, ref)
	if err != nil && cerrdefs.IsNotFound(err) {
		return "", fmt.Errorf("%w: %w", faults.ErrNoImage, err)
	}
	if err != nil {
		return "", fmt.Errorf("inspect image %s: %w", ref, err)
	}
	return i.ID, nil
}

const (
	// createBudget bounds the making of a container. A call that was cancelled may still land on the engine, after everybody
	// has looked whether it did: it is waited for.
	createBudget = 20 * time.Second
	// lookAgain is the time between two looks for a container whose removal somebody else has begun.
	lookAgain = 20 * time.Millisecond
)

// Create makes a container as a blueprint and changes say, in all its networks, and does not start it.
func (e *Engine) Create(ctx context.Context, b faults.Blueprint, ch faults.Changes) (string, error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createBudget)
	defer cancel()
	p, err := decodePlan(b)
	if err != nil {
		return "", err
	}
	if err := e.pin(ctx, b, p); err != nil {
		return "", err
	}
	if err := e.change(ctx, &p, ch); err != nil {
		return "", err
	}
	name, eps := b.Was.Name, b.Networks
	if ch.Replica != nil {
		name = ch.Replica.Name
		if eps, err = renamed(eps, b.Was.Name, name); err != nil {
			return "", err
		}
	}
	first, rest, err := e.split(p, eps)
	if err != nil {
		return "", err
	}
	made, err := e.docker.ContainerCreate(ctx, p.Config, p.Host, first, nil, name)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	if err := e.join(ctx, made.ID, p, eps, rest); err != nil {
		return "", errors.Join(err, e.Remove(ctx, made.ID, ch.Replica != nil))
	}
	return made.ID, nil
}

// pin makes sure that the container is made of the same image, whatever its name stands for by now.
func (e *Engine) pin(ctx context.Context, b faults.Blueprint, p plan) error {
	id, err := e.Image(ctx, p.Config.Image)
	switch {
	case err != nil && !errors.Is(err, faults.ErrNoImage):
		return err
	case err != nil || id != b.Was.ImageID:
		p.Config.Image = b.Was.ImageID
	}
	return nil
}

// Missing names a network, a named volume or a container that the blueprint's container stands on and that is not there.
func (e *Engine) Missing(ctx context.Context, b faults.Blueprint) (string, error) {
	p, err := decodePlan(b)
	if err != nil {
		return "", err
	}
	for _, ep := range b.Networks {
		if _, err := e.docker.NetworkInspect(ctx, ep.Network, network.InspectOptions{}); err != nil {
			return lacks("network "+ep.Name, err)
		}
	}
	if id := p.Host.NetworkMode.ConnectedContainer(); id != "" {
		if _, err := e.docker.ContainerInspect(ctx, id); err != nil {
			return lacks(fmt.Sprintf("container %.12s", id), err)
		}
	}
	for _, name := range volumes(p.Host) {
		if _, err := e.docker.VolumeInspect(ctx, name); err != nil {
			return lacks("volume "+name, err)
		}
	}
	return "", nil
}

func lacks(what string, err error) (string, error) {
	if cerrdefs.IsNotFound(err) {
		return what, nil
	}
	return "", fmt.Errorf("inspect %s: %w", what, err)
}

// volumes are those that a container has by their names.
func volumes(h *container.HostConfig) []string {
	var out []string
	for _, bind := range h.Binds {
		if name, _, _ := strings.Cut(bind, ":"); name != "" && !strings.ContainsAny(name, `/\`) {
			out = append(out, name)
		}
	}
	for _, m := range h.Mounts {
		if m.Type == mount.TypeVolume && m.Source != "" {
			out = append(out, m.Source)
		}
	}
	return out
}

// split says which endpoints the call that makes a container takes: one on engines before API 1.44, the container's main
// network's, else all.
func (e *Engine) split(p plan, eps []faults.Endpoint) (*network.NetworkingConfig, []faults.Endpoint, error) {
	first := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	var rest []faults.Endpoint
	old := versions.LessThan(e.docker.ClientVersion(), "1.44")
	for _, ep := range eps {
		if old && !mainNetwork(p, ep) {
			rest = append(rest, ep)
			continue
		}
		s, err := decodeEndpoint(ep)
		if err != nil {
			return nil, nil, err
		}
		if old {
			s.MacAddress = "" // it is in the container's own settings
		}
		first.EndpointsConfig[ep.Name] = &s
	}
	return first, rest, nil
}

func decodeEndpoint(ep faults.Endpoint) (s network.EndpointSettings, err error) {
	if err := json.Unmarshal(ep.Raw, &s); err != nil {
		return s, fmt.Errorf("decode endpoint in %s: %w", ep.Name, err)
	}
	return s, nil
}

// mainNetwork reports whether an endpoint is in the network that the engine connects the container to by itself.
func mainNetwork(p plan, ep faults.Endpoint) bool {
	mode := string(p.Host.NetworkMode)
	return mode == ep.Name || mode == ep.Network || ((mode == "" || mode == "default") && ep.Name == "bridge")
}

// join connects a new container to its other networks, and takes it out of the main one where it was not in it.
func (e *Engine) join(ctx context.Context, id string, p plan, all, rest []faults.Endpoint) error {
	for _, ep := range rest {
		s, err := decodeEndpoint(ep)
		if err != nil {
			return err
		}
		if err := e.connect(ctx, id, ep.Network, s); err != nil {
			return fmt.Errorf("connect container %.12s to network %s: %w", id, ep.Name, err)
		}
	}
	m := p.Host.NetworkMode
	if m.IsHost() || m.IsNone() || m.IsContainer() || slices.ContainsFunc(all, func(ep faults.Endpoint) bool { return mainNetwork(p, ep) }) {
		return nil
	}
	now, err := e.Endpoints(ctx, id)
	if err != nil {
		return err
	}
	for _, ep := range now {
		if mainNetwork(p, ep) {
			return e.Disconnect(ctx, id, ep.Network)
		}
	}
	return nil
}

// renamed gives the endpoints of a further replica: with its own name as alias, and without addresses that somebody chose.
func renamed(eps []faults.Endpoint, from, to string) ([]faults.Endpoint, error) {
	out := slices.Clone(eps)
	for i, ep := range out {
		s, err := decodeEndpoint(ep)
		if err != nil {
			return nil, err
		}
		s.IPAMConfig, s.MacAddress = nil, ""
		for n, a := range s.Aliases {
			if a == from {
				s.Aliases[n] = to
			}
		}
		if out[i].Raw, err = json.Marshal(s); err != nil {
			return nil, fmt.Errorf("encode endpoint in %s: %w", ep.Name, err)
		}
	}
	return out, nil
}

// Remove removes a container, killing it first if it runs; one that is gone is fine.
func (e *Engine) Remove(ctx context.Context, id string, volumes bool) error {
	if e.removing != nil {
		err := e.Do(ctx, id, faults.Action{Verb: faults.DoStop})
		if errors.Is(err, faults.ErrGone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stop container %.12s: %w", id, err)
		}
		e.removing(ctx, id)
	}
	for {
		err := e.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: volumes})
		switch {
		case err == nil || cerrdefs.IsNotFound(err):
			return nil
		case !strings.Contains(err.Error(), "is already in progress"):
			return fmt.Errorf("remove container %.12s: %w", id, err)
		}
		if err := faults.Pause(ctx, lookAgain); err != nil {
			return fmt.Errorf("remove container %.12s: somebody else is at it: %w", id, err)
		}
	}
}

// number reads a replica's number; 0 where Compose gave none.
func number(labels map[string]string) int {
	n, err := strconv.Atoi(labels[numberLabel])
	if err != nil {
		return 0
	}
	return n
}
