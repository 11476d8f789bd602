package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
)

// IsolateOptions says how a project becomes one run's own.
type IsolateOptions struct {
	Project string   // the project's new name, as Compose allows it: lower case, digits, "-" and "_"
	Run     string   // the value of LabelRun
	Share   []string // items to leave as they are: "volume:x", "bind:/path", "network:x", "port:service", "logging:service", "container:x"
	Publish []string // container ports that this machine may reach: "web:8080"

	// Used lists the subnets that are taken on the engine; nil leaves fixed subnets unchecked, for a plan without engine.
	Used func() ([]netip.Prefix, error)
	// Stat describes a path of this machine; nil looks at the file system.
	Stat func(path string) (PathInfo, error)
	// FreePort finds a TCP port on 127.0.0.1 for Publish; nil asks the system.
	FreePort func() (int, error)
}

// PathInfo is what isolation wants to know of a bind mount's source.
type PathInfo struct {
	Mode  fs.FileMode // type bits
	Bytes int64       // of a folder the sum, counted until it passes MaxCopyBytes
}

// MaxCopyBytes is the size up to which a writable bind mount is copied.
const MaxCopyBytes = 1 << 30

// RefusedError is something of a project that a run must not have. It says what to do.
type RefusedError struct {
	Item string // "service web"
	What string
	Do   string
}

// Error is the item, the problem and what to do.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %s; %s", e.Item, e.What, e.Do) }

// Isolate makes the project one run's own: its name, labels on all that it will create, and nothing of it shared with the
// user's stack of the same file. It asks no engine; Options name what it may look at. It returns every change, sorted by
// item. Where something cannot be isolated the project is unchanged and the error joins a *RefusedError for each item.
func (p *Project) Isolate(o IsolateOptions) ([]Change, error) {
	i, err := newIsolation(p, o)
	if err != nil {
		return nil, err
	}
	i.references()
	i.containerNames()
	i.networks()
	i.volumes()
	for _, name := range i.p.ServiceNames() {
		i.quiet = i.disabled[name]
		s := i.p.Services[name]
		i.modes(&s)
		i.ports(&s)
		i.mounts(&s)
		i.images(&s)
		i.logging(&s)
		i.p.Services[name] = s
	}
	i.quiet = false
	i.published()
	i.unusedShares()
	if err := errors.Join(i.errs...); err != nil {
		return nil, fmt.Errorf("isolate project %s: %w", p.origin, err)
	}
	i.label()
	i.split()
	p.p, p.run, p.copies, p.publish, p.blocked = i.p, o.Run, i.copies, i.ports127, i.blocked
	sortChanges(i.changes)
	return i.changes, nil
}

// isolation is the state of one Isolate.
type isolation struct {
	o        IsolateOptions
	p        *types.Project // a deep copy
	origin   string
	changes  []Change
	errs     []error
	shares   map[string]bool // item → used
	names    map[string]string
	copies   []bindCopy
	ports127 []Published

	// Disabled services are isolated too, for RunOneShot may start one. What is wrong with them is no error, and what
	// changes is not told: quiet is set while one of them, or what only they use, is looked at.
	disabled map[string]bool
	used     *types.Project // the enabled services and what they use
	quiet    bool
	blocked  map[string]error
}

func newIsolation(p *Project, o IsolateOptions) (*isolation, error) {
	if p.run != "" {
		return nil, fmt.Errorf("isolate project %s: it is isolated already, for run %s", p.origin, p.run)
	}
	if o.Project == "" || o.Run == "" {
		return nil, errors.New("isolate: project and run must be named")
	}
	i := &isolation{
		o: o, p: p.p.WithServicesDisabled(), origin: p.p.Name, shares: map[string]bool{}, names: map[string]string{},
		disabled: map[string]bool{}, used: p.active(), blocked: map[string]error{},
	}
	i.merge()
	if i.o.Stat == nil {
		i.o.Stat = statPath
	}
	if i.o.FreePort == nil {
		i.o.FreePort = freePort
	}
	for _, s := range o.Share {
		kind, name, ok := strings.Cut(s, ":")
		if !ok || name == "" || !slices.Contains([]string{"volume", "bind", "network", "port", "container", "logging"}, kind) {
			i.refuse("share", fmt.Sprintf("%q is not an item", s),
				`write "volume:name", "bind:/path", "network:name", "port:service", "logging:service" or "container:name"`)
			continue
		}
		if kind == "bind" {
			s = "bind:" + i.abs(name)
		}
		i.shares[s] = false
	}
	for name, s := range i.p.Services {
		if s.ContainerName != "" {
			i.names[s.ContainerName] = name
		}
	}
	i.p.Name = o.Project
	return i, nil
}

// merge treats disabled services as enabled ones for a while.
func (i *isolation) merge() {
	for name, s := range i.p.DisabledServices {
		i.disabled[name] = true
		i.p.Services[name] = s
	}
	i.p.DisabledServices = nil
}

// split undoes merge.
func (i *isolation) split() {
	i.p.DisabledServices = types.Services{}
	for name := range i.disabled {
		i.p.DisabledServices[name] = i.p.Services[name]
		delete(i.p.Services, name)
	}
}

func (i *isolation) change(item, what, why string) {
	if i.quiet {
		return
	}
	i.changes = append(i.changes, Change{Item: item, What: what, Why: why})
}

func (i *isolation) refuse(item, what, do string) {
	if i.quiet {
		i.blocked[item] = &RefusedError{Item: item, What: what, Do: do}
		return
	}
	i.errs = append(i.errs, &RefusedError{Item: item, What: what, Do: do})
}

func (i *isolation) shared(kind string, names ...string) bool {
	found := false
	for _, n := range names {
		if _, ok := i.shares[kind+":"+n]; ok {
			i.shares[kind+":"+n] = true
			found = true
		}
	}
	return found
}

func allow(kind, name string) string {
	return fmt.Sprintf("to allow it, set share = [%q]", kind+":"+name)
}

// unusedShares refuses items that stand for nothing: most likely a typing error, and then the run is not what it seems.
func (i *isolation) unusedShares() {
	for _, item := range slices.Sorted(maps.Keys(i.shares)) {
		if i.shares[item] {
			continue
		}
		kind, _, _ := strings.Cut(item, ":")
		have := map[string][]string{
			"volume": i.p.VolumeNames(), "network": i.p.NetworkNames(), "port": i.p.ServiceNames(), "bind": i.bindSources(),
			"container": nil, "logging": i.p.ServiceNames(),
		}[kind]
		i.refuse("share", fmt.Sprintf("%q is nothing that isolation would change", item), fmt.Sprintf("there are: %s", orNone(have)))
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none of that kind"
	}
	return strings.Join(list, ", ")
}

// containerNames turns container names, which are unique on an engine, into network aliases.
func (i *isolation) containerNames() {
	for _, container := range slices.Sorted(maps.Keys(i.names)) {
		name := i.names[container]
		i.quiet = i.disabled[name]
		s := i.p.Services[name]
		s.ContainerName = ""
		i.p.Services[name] = s
		what := "container_name " + container + " becomes a network alias"
		if !i.alias(name, container) {
			what = "container_name " + container + " is dropped"
		}
		i.change("service "+name, what, "a container name can exist only once on an engine")
	}
	i.quiet = false
}

// alias gives a service a further name on each of its networks; false where it has none of its own.
func (i *isolation) alias(service, alias string) bool {
	s := i.p.Services[service]
	if s.NetworkMode != "" {
		return false
	}
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		n := s.Networks[key]
		if n == nil {
			n = &types.ServiceNetworkConfig{}
		}
		if alias != service && !slices.Contains(n.Aliases, alias) {
			n.Aliases = append(n.Aliases, alias)
		}
		s.Networks[key] = n
	}
	i.p.Services[service] = s
	return len(s.Networks) > 0
}

// references rewrites what names a container: those of this file become services, others are refused.
func (i *isolation) references() {
	for _, name := range i.p.ServiceNames() {
		i.quiet = i.disabled[name]
		s := i.p.Services[name]
		for _, mode := range []struct {
			key   string
			value *string
		}{{"network_mode", &s.NetworkMode}, {"pid", &s.Pid}, {"ipc", &s.Ipc}} {
			if target, ok := strings.CutPrefix(*mode.value, types.ContainerPrefix); ok {
				if owner, ok := i.owner(name, mode.key, target); ok {
					*mode.value = types.ServicePrefix + owner
					i.depend(&s, owner)
				}
			}
		}
		for n, from := range s.VolumesFrom {
			rest, ok := strings.CutPrefix(from, types.ContainerPrefix)
			if !ok {
				continue
			}
			target, access, _ := strings.Cut(rest, ":")
			if owner, ok := i.owner(name, "volumes_from", target); ok {
				s.VolumesFrom[n] = strings.TrimSuffix(owner+":"+access, ":")
				i.depend(&s, owner)
			}
		}
		i.externalLinks(&s)
		i.p.Services[name] = s
	}
	i.quiet = false
}

// owner is the service that a container name stands for.
func (i *isolation) owner(service, key, container string) (string, bool) {
	if owner, ok := i.names[container]; ok {
		i.change("service "+service, fmt.Sprintf("%s: container:%s becomes service:%s", key, container, owner), "the container has another name in the run")
		return owner, true
	}
	if i.shared("container", container) {
		i.change("service "+service, fmt.Sprintf("%s: container:%s is shared", key, container), "the scenario asks for it")
		return "", false
	}
	i.refuse("service "+service, fmt.Sprintf("%s refers to container %s, which is not of this project", key, container),
		"make it a service of the file, or "+allow("container", container))
	return "", false
}

func (i *isolation) depend(s *types.ServiceConfig, on string) {
	if _, ok := s.DependsOn[on]; ok || on == s.Name {
		return
	}
	if s.DependsOn == nil {
		s.DependsOn = types.DependsOnConfig{}
	}
	s.DependsOn[on] = types.ServiceDependency{Condition: types.ServiceConditionStarted, Restart: true, Required: true}
}

func (i *isolation) externalLinks(s *types.ServiceConfig) {
	var keep []string
	for _, l := range s.ExternalLinks {
		container, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = container
		}
		owner, mine := i.names[container]
		switch {
		case mine:
			i.alias(owner, alias)
			i.change("service "+s.Name, fmt.Sprintf("external link %s becomes a network alias of %s", l, owner), "the container has another name in the run")
		case i.shared("container", container):
			keep = append(keep, l)
			i.change("service "+s.Name, "external link "+l+" is shared", "the scenario asks for it")
		default:
			i.refuse("service "+s.Name, "external link "+l+" leaves the project", "make it a service of the file, or "+allow("container", container))
		}
	}
	s.ExternalLinks = keep
}

// images keeps the names of images that the user's stack builds, so that the run uses what is built and leaves no other.
func (i *isolation) images(s *types.ServiceConfig) {
	if s.Build == nil {
		return
	}
	if s.Image == "" {
		s.Image = i.origin + api.Separator + s.Name
	}
	i.change("service "+s.Name, "image "+s.Image+" is used, and built where it is missing", "runs and the user's own stack have the same images: one that is built stays")
}

// label marks everything that the run will create.
func (i *isolation) label() {
	stamp(i.p, nil)
	for name, s := range i.p.Services {
		s.Labels = with(s.Labels, i.o.Run)
		i.p.Services[name] = s
	}
	for key, n := range i.p.Networks {
		if !n.External {
			n.Labels = with(n.Labels, i.o.Run)
			i.p.Networks[key] = n
		}
	}
	for key, v := range i.p.Volumes {
		if !v.External {
			v.Labels = with(v.Labels, i.o.Run)
			i.p.Volumes[key] = v
		}
	}
}

func with(l types.Labels, run string) types.Labels {
	out := types.Labels{LabelRun: run}
	maps.Copy(out, l)
	out[LabelRun] = run
	return out
}

// statPath looks at a path of this machine.
func statPath(path string) (PathInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return PathInfo{}, err
	}
	info := PathInfo{Mode: st.Mode().Type(), Bytes: st.Size()}
	if !st.IsDir() {
		return info, nil
	}
	info.Bytes = 0
	err = fs.WalkDir(os.DirFS(path), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the engine reads it as root; the copy counts again
		}
		if fi, err := d.Info(); err == nil && fi.Mode().IsRegular() {
			info.Bytes += fi.Size()
		}
		if info.Bytes > MaxCopyBytes {
			return fs.SkipAll
		}
		return nil
	})
	return info, err
}
