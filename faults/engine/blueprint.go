package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"

	"github.com/discompose/discompose/faults"
)

// The labels that Compose gives to containers.
const (
	projectLabel = "com.docker.compose.project"
	serviceLabel = "com.docker.compose.service"
	numberLabel  = "com.docker.compose.container-number"
	oneOffLabel  = "com.docker.compose.oneoff"
	hookLabel    = "com.docker.compose.hook"
)

// plan is what a blueprint keeps for the engine alone.
type plan struct {
	Config *container.Config     `json:"config"` // the image's defaults included
	Host   *container.HostConfig `json:"host"`
	// Volumes are the anonymous ones. They are not part of Host, because a further replica gets its own.
	Volumes []mount.Mount `json:"volumes,omitempty"`
}

// Blueprint reads everything that is needed to make a container again. Errors: faults.ErrGone, faults.ErrUnsupported.
func (e *Engine) Blueprint(ctx context.Context, id string) (faults.Blueprint, error) {
	in, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return faults.Blueprint{}, gone(err)
	}
	was, err := observe(in)
	if err != nil {
		return faults.Blueprint{}, err
	}
	if in.Config == nil {
		return faults.Blueprint{}, fmt.Errorf("inspect container %.12s: the engine's answer has no configuration", id)
	}
	b := faults.Blueprint{Was: was, Project: in.Config.Labels[projectLabel], Service: in.Config.Labels[serviceLabel]}
	if err := e.missed(ctx, in); err != nil {
		return b, err
	}
	p := plan{Config: in.Config, Host: in.HostConfig}
	if p.Volumes, err = e.anonymous(ctx, in); err != nil {
		return b, err
	}
	if m := in.HostConfig.NetworkMode; !m.IsHost() && !m.IsNone() && !m.IsContainer() {
		if b.Networks, err = e.Endpoints(ctx, in.ID); err != nil {
			return b, err
		}
	}
	b.Single = single(in, b)
	drawn(in, p)
	if b.Raw, err = json.Marshal(p); err != nil {
		return b, fmt.Errorf("encode configuration of %s: %w", was.Name, err)
	}
	return b, nil
}

// missed fails if another container of the project stands on this one: it would lose its network, or its volumes.
func (e *Engine) missed(ctx context.Context, in container.InspectResponse) error {
	project := in.Config.Labels[projectLabel]
	if project == "" {
		return nil
	}
	all, err := e.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", projectLabel+"="+project))})
	if err != nil {
		return fmt.Errorf("list containers of project %s: %w", project, err)
	}
	own := []string{in.ID, strings.TrimPrefix(in.Name, "/")}
	for _, c := range all {
		if c.ID == in.ID {
			continue
		}
		other, err := e.docker.ContainerInspect(ctx, c.ID)
		switch {
		case err != nil && cerrdefs.IsNotFound(err):
			continue
		case err != nil:
			return fmt.Errorf("inspect container %.12s: %w", c.ID, err)
		case other.ContainerJSONBase == nil || other.HostConfig == nil:
			continue
		}
		if what := leans(other.HostConfig, own); what != "" {
			return fmt.Errorf("%w: %s uses %s of the container, which a new one would not be", faults.ErrUnsupported, strings.TrimPrefix(other.Name, "/"), what)
		}
	}
	return nil
}

// leans says what a container uses of another one, of an id or name; "" for nothing.
func leans(h *container.HostConfig, on []string) string {
	switch {
	case slices.Contains(on, h.NetworkMode.ConnectedContainer()):
		return "the network"
	case slices.Contains(on, h.PidMode.Container()):
		return "the process ids"
	case slices.Contains(on, h.IpcMode.Container()):
		return "the shared memory"
	}
	for _, from := range h.VolumesFrom {
		if name, _, _ := strings.Cut(from, ":"); slices.Contains(on, name) {
			return "the volumes"
		}
	}
	return ""
}

// anonymous lists the volumes that nobody has named, as mounts that name them, and takes from the container's settings the
// names that it was given when it was made again.
func (e *Engine) anonymous(ctx context.Context, in container.InspectResponse) ([]mount.Mount, error) {
	given := strings.Split(in.Config.Labels[faults.LabelVolumes], ",")
	for i, m := range in.HostConfig.Mounts {
		if m.Type == mount.TypeVolume && slices.Contains(given, m.Source) {
			in.HostConfig.Mounts[i].Source = ""
		}
	}
	named := map[string]bool{} // by target
	for _, bind := range in.HostConfig.Binds {
		if parts := strings.Split(bind, ":"); len(parts) > 1 {
			named[path.Clean(parts[1])] = true
		}
	}
	options := map[string]*mount.VolumeOptions{}
	for _, m := range in.HostConfig.Mounts {
		if m.Source != "" {
			named[path.Clean(m.Target)] = true
		}
		options[path.Clean(m.Target)] = m.VolumeOptions
	}
	for _, from := range in.HostConfig.VolumesFrom {
		name, _, _ := strings.Cut(from, ":")
		other, err := e.docker.ContainerInspect(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("inspect container %.12s, whose volumes it uses: %w", name, err)
		}
		for _, m := range other.Mounts {
			named[path.Clean(m.Destination)] = true
		}
	}
	var out []mount.Mount
	for _, m := range in.Mounts {
		if m.Type == mount.TypeVolume && m.Name != "" && !named[path.Clean(m.Destination)] {
			out = append(out, mount.Mount{
				Type: mount.TypeVolume, Source: m.Name, Target: m.Destination, ReadOnly: !m.RW, VolumeOptions: options[path.Clean(m.Destination)],
			})
		}
	}
	return out, nil
}

// single names what a second container of the service could not have.
func single(in container.InspectResponse, b faults.Blueprint) []string {
	var out []string
	if _, ok := separator(b); !ok {
		out = append(out, "the name "+b.Was.Name)
	}
	for _, ep := range b.Networks {
		var s network.EndpointSettings
		if json.Unmarshal(ep.Raw, &s) != nil || s.IPAMConfig == nil {
			continue
		}
		for _, a := range append([]string{s.IPAMConfig.IPv4Address, s.IPAMConfig.IPv6Address}, s.IPAMConfig.LinkLocalIPs...) {
			if a != "" {
				out = append(out, fmt.Sprintf("the address %s in network %s", a, ep.Name))
			}
		}
	}
	if in.Config.MacAddress != "" { //nolint:staticcheck // engines before API 1.44 have it there
		out = append(out, "the hardware address "+in.Config.MacAddress) //nolint:staticcheck // as above
	}
	return out
}

// separator is what stands between the parts of a name that Compose made: "-", or "_" of old; ok is false for another name.
func separator(b faults.Blueprint) (string, bool) {
	for _, s := range []string{"-", "_"} {
		if b.Was.Name == strings.Join([]string{b.Project, b.Service, strconv.Itoa(b.Was.Number)}, s) {
			return s, true
		}
	}
	return "", false
}

// drawn takes out of a plan what the engine drew by itself, and what it tells in another form than it takes.
func drawn(in container.InspectResponse, p plan) {
	c, h := p.Config, p.Host
	if strings.HasPrefix(in.ID, c.Hostname) {
		c.Hostname = ""
	}
	if h.NetworkMode.IsContainer() { // the other container's, and the engine refuses them here
		c.Hostname, c.Domainname, c.ExposedPorts = "", "", nil
	}
	if h.UTSMode.IsHost() {
		c.Hostname, c.Domainname = "", ""
	}
	for i, link := range h.Links { // "/db:/web/alias" is told, "db:alias" is taken
		from, to, _ := strings.Cut(link, ":")
		h.Links[i] = strings.TrimPrefix(from, "/") + ":" + path.Base(to)
	}
}

// decodePlan reads the engine's part of a blueprint.
func decodePlan(b faults.Blueprint) (plan, error) {
	var p plan
	if err := json.Unmarshal(b.Raw, &p); err != nil {
		return plan{}, fmt.Errorf("decode configuration of %s: %w", b.Was.Name, err)
	}
	if p.Config == nil || p.Host == nil {
		return plan{}, errors.New("decode configuration of " + b.Was.Name + ": it is not complete")
	}
	return p, nil
}
