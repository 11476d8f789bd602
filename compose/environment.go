package compose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// RunInfo names the run that an environment belongs to.
type RunInfo struct {
	Run string // the value of LabelRun
	Dir string // the run's folder, absolute; copies of bound files go into it
}

// Environment is a project on an engine: that of one run, or a running one that is only attached to. It is safe for
// concurrent use, except that Preflight, Up and Start run one after the other.
type Environment struct {
	engine   *Engine
	project  *Project // nil where attached
	name     string
	run      RunInfo
	attached bool

	mu      sync.Mutex
	held    map[string]bool // services that Up was told not to start
	created bool
	since   time.Time // where logs begin; zero: with the containers
}

// Environment joins an isolated project and a run. It touches nothing on the engine or on disk yet.
func (e *Engine) Environment(p *Project, r RunInfo) *Environment {
	placeFiles(p, r.Dir)
	return &Environment{engine: e, project: p, name: p.Name(), run: r, held: map[string]bool{}}
}

// Attach uses a running project as it is: nothing is created in it or removed from it. It is an error if the project has
// no container.
func (e *Engine) Attach(ctx context.Context, project string) (*Environment, error) {
	env := &Environment{engine: e, name: project, attached: true, held: map[string]bool{}}
	list, err := env.Containers(ctx)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("attach to project %q: it has no container (is it up? `docker compose ls` lists projects): %w", project, ErrNotReady)
	}
	return env, nil
}

// Name is the project's name on the engine.
func (e *Environment) Name() string { return e.name }

// Engine is the engine that the environment is on.
func (e *Environment) Engine() *Engine { return e.engine }

// Attached reports whether the project is only used, not owned.
func (e *Environment) Attached() bool { return e.attached }

// Project is the project, or nil where attached.
func (e *Environment) Project() *Project { return e.project }

// Services are the services: the project's, or where attached what the containers' labels tell.
func (e *Environment) Services(ctx context.Context) ([]Service, error) {
	if e.project != nil {
		return e.project.Services(), nil
	}
	list, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]*Service{}
	for _, c := range list {
		if err := e.addService(ctx, byName, c); err != nil {
			return nil, err
		}
	}
	var out []Service
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, *byName[name])
	}
	markOneShots(list, out)
	nameNamespaces(list, out)
	return out, nil
}

// nameNamespaces turns "container:<id>" into "service:<name>", as the Compose file has it.
func nameNamespaces(list []container.Summary, services []Service) {
	for i, s := range services {
		id, ok := strings.CutPrefix(s.NetworkMode, "container:")
		if !ok {
			continue
		}
		for _, c := range list {
			if c.ID == id {
				services[i].NetworkMode = "service:" + c.Labels[api.ServiceLabel]
			}
		}
	}
}

func (e *Environment) addService(ctx context.Context, to map[string]*Service, c container.Summary) error {
	name := c.Labels[api.ServiceLabel]
	if s := to[name]; s != nil {
		s.Replicas++
		return nil
	}
	i, err := e.engine.docker.ContainerInspect(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", name, err)
	}
	to[name] = attachedService(name, i)
	return nil
}

// attachedService describes a service by one of its containers.
func attachedService(name string, i container.InspectResponse) *Service {
	s := &Service{
		Name: name, Image: i.Config.Image, Replicas: 1, Restart: cmp.Or(string(i.HostConfig.RestartPolicy.Name), "no"),
		Healthcheck: i.State.Health != nil, Environment: map[string]string{}, Labels: i.Config.Labels, Links: map[string]string{},
		ReadOnly: i.HostConfig.ReadonlyRootfs, User: i.Config.User, OneShot: i.Config.Labels[LabelOneShot] == "true",
		Networks: slices.Sorted(maps.Keys(i.NetworkSettings.Networks)), DependsOn: dependencies(i.Config.Labels),
	}
	if mode := i.HostConfig.NetworkMode; mode.IsHost() || mode.IsNone() || mode.IsContainer() {
		s.NetworkMode, s.Networks = string(mode), nil
	}
	for _, kv := range i.Config.Env {
		k, v, _ := strings.Cut(kv, "=")
		s.Environment[k] = v
	}
	tcp := map[int]bool{}
	for p := range i.Config.ExposedPorts {
		s.Ports = append(s.Ports, p.Int())
		tcp[p.Int()] = tcp[p.Int()] || p.Proto() == "tcp"
	}
	for p, is := range tcp {
		if !is {
			s.UDPPorts = append(s.UDPPorts, p)
		}
	}
	slices.Sort(s.UDPPorts)
	for p, bindings := range i.HostConfig.PortBindings {
		for _, b := range bindings {
			s.Published = append(s.Published, b.HostPort+":"+string(p))
		}
	}
	for _, m := range i.Mounts {
		s.Volumes = append(s.Volumes, m.Destination)
	}
	slices.Sort(s.Ports)
	s.Ports = slices.Compact(s.Ports)
	slices.Sort(s.Published)
	slices.Sort(s.Volumes)
	return s
}

// dependencies reads the label that Compose leaves: "db:service_healthy:false,migrate:service_completed_successfully:false".
func dependencies(labels map[string]string) []string {
	var out []string
	for dep := range strings.SplitSeq(labels[api.DependenciesLabel], ",") {
		if name, _, _ := strings.Cut(dep, ":"); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func markOneShots(list []container.Summary, services []Service) {
	for _, c := range list {
		for dep := range strings.SplitSeq(c.Labels[api.DependenciesLabel], ",") {
			name, rest, _ := strings.Cut(dep, ":")
			if !strings.HasPrefix(rest, "service_completed_successfully") {
				continue
			}
			for i := range services {
				services[i].OneShot = services[i].OneShot || services[i].Name == name
			}
		}
	}
}

// Render is the Compose file as it is started, for the run's folder.
func (e *Environment) Render() ([]byte, error) {
	if e.project == nil {
		return nil, fmt.Errorf("render project %q: it is attached, so there is no file", e.name)
	}
	return e.project.YAML()
}

// Container is one container of a service.
type Container struct {
	Service string `json:"service"`
	Number  int    `json:"number"` // replica, from 1
	ID      string `json:"id"`     // full
	Name    string `json:"name"`
	State   string `json:"state"` // "created", "running", "paused", "restarting", "exited", "dead"
	Image   string `json:"image"` // as named when it was made
}

// String is the name that people know it by: "web" or "web[2]".
func (c Container) String() string {
	if c.Number > 1 {
		return fmt.Sprintf("%s[%d]", c.Service, c.Number)
	}
	return c.Service
}

// Containers are the containers of the services, stopped ones too, sorted by service and number.
func (e *Environment) Containers(ctx context.Context) ([]Container, error) {
	list, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	var out []Container
	for _, c := range list {
		n, err := strconv.Atoi(c.Labels[api.ContainerNumberLabel])
		if err != nil {
			n = 1
		}
		out = append(out, Container{
			Service: c.Labels[api.ServiceLabel], Number: n, ID: c.ID, Name: containerName(c.Names), State: c.State, Image: c.Image,
		})
	}
	slices.SortFunc(out, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// ErrNoContainer says that a service has no container of that number.
var ErrNoContainer = errors.New("no such container")

// Container is one container of a service; its error wraps ErrNoContainer if there is none of that number.
func (e *Environment) Container(ctx context.Context, service string, number int) (Container, error) {
	list, err := e.Containers(ctx)
	if err != nil {
		return Container{}, err
	}
	for _, c := range list {
		if c.Service == service && c.Number == number {
			return c, nil
		}
	}
	return Container{}, fmt.Errorf("find %s[%d] of project %s: %w", service, number, e.name, ErrNoContainer)
}

// list lists the project's containers without those of `compose run` and of hooks.
func (e *Environment) list(ctx context.Context) ([]container.Summary, error) {
	list, err := e.engine.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: e.filter()})
	if err != nil {
		return nil, fmt.Errorf("list containers of project %s: %w", e.name, err)
	}
	return slices.DeleteFunc(list, func(c container.Summary) bool {
		return c.Labels[api.ServiceLabel] == "" || c.Labels[api.OneoffLabel] == "True" || c.Labels[api.HookLabel] != ""
	}), nil
}

// filter selects what belongs to the project; of a run's own project only what carries the run's label.
func (e *Environment) filter() filters.Args {
	f := filters.NewArgs(filters.Arg("label", api.ProjectLabel+"="+e.name))
	if !e.attached {
		f.Add("label", LabelRun+"="+e.run.Run)
	}
	return f
}

func containerName(names []string) string {
	for _, n := range names {
		if strings.LastIndex(n, "/") == 0 {
			return n[1:]
		}
	}
	return ""
}

// Network is one network that the services are in.
type Network struct {
	Key      string   `json:"key"` // as the file names it; "" for one that is not the project's
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Internal bool     `json:"internal"`
	Subnets  []string `json:"subnets"` // "172.20.0.0/16"
	Services []string `json:"services"`
}

// Networks are the networks that services of the project are in, shared ones included, sorted by name: what a client
// container joins to reach them.
func (e *Environment) Networks(ctx context.Context) ([]Network, error) {
	list, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	services := map[string][]string{}
	for _, c := range list {
		if c.NetworkSettings == nil {
			continue
		}
		for name, n := range c.NetworkSettings.Networks {
			services[cmp.Or(n.NetworkID, name)] = append(services[cmp.Or(n.NetworkID, name)], c.Labels[api.ServiceLabel])
		}
	}
	var out []Network
	for id, users := range services {
		n, err := e.engine.docker.NetworkInspect(ctx, id, network.InspectOptions{})
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("inspect network %s: %w", id, err)
		}
		if n.Driver == "host" || n.Driver == "null" {
			continue
		}
		slices.Sort(users)
		out = append(out, Network{
			Key: n.Labels[api.NetworkLabel], Name: n.Name, ID: n.ID, Internal: n.Internal,
			Subnets: subnetsOf(n), Services: slices.Compact(users),
		})
	}
	slices.SortFunc(out, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func subnetsOf(n network.Inspect) []string {
	var out []string
	for _, c := range n.IPAM.Config {
		if c.Subnet != "" {
			out = append(out, c.Subnet)
		}
	}
	return out
}

// UsedSubnets are the subnets of every network on the engine: what IsolateOptions.Used asks for.
func (e *Engine) UsedSubnets(ctx context.Context) ([]netip.Prefix, error) {
	list, err := e.docker.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var out []netip.Prefix
	for _, n := range list {
		for _, s := range subnetsOf(n) {
			if p, err := netip.ParsePrefix(s); err == nil {
				out = append(out, p.Masked())
			}
		}
	}
	return out, nil
}

// Image is the image that a service runs.
type Image struct {
	Service string   `json:"service"`
	Ref     string   `json:"ref"`
	ID      string   `json:"id"`
	Digests []string `json:"digests"` // of registries; empty for an image that was never pulled or pushed
}

// Images are the images that the services' containers were made from, sorted by service.
func (e *Environment) Images(ctx context.Context) ([]Image, error) {
	list, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	byService := map[string]Image{}
	for _, c := range list {
		name := c.Labels[api.ServiceLabel]
		if _, done := byService[name]; done {
			continue
		}
		img := Image{Service: name, Ref: c.Image, ID: c.ImageID}
		if i, err := e.engine.docker.ImageInspect(ctx, c.ImageID); err == nil {
			img.Digests = i.RepoDigests
		}
		byService[name] = img
	}
	var out []Image
	for _, name := range slices.Sorted(maps.Keys(byService)) {
		out = append(out, byService[name])
	}
	return out, nil
}
