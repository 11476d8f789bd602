package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// bindCopy is a bound folder or file that the run gets a copy of.
type bindCopy struct {
	Source  string // absolute, on the engine's host
	Service string // whose image and mounts serve for the copy
	Target  string // where the service mounts it
	Volume  string // key of the run's volume; "" for a file
	Index   int    // of the file's folder under the run's
	Empty   bool   // nothing to copy: the source does not exist
}

// abs is a path of the file made absolute against the project's folder.
func (i *isolation) abs(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(i.p.WorkingDir, path)
	}
	return filepath.Clean(path)
}

func (i *isolation) bindSources() []string {
	set := map[string]bool{}
	for _, s := range i.p.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				set[i.abs(v.Source)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// volumes makes every volume the run's own, and empty.
func (i *isolation) volumes() {
	for _, key := range i.p.VolumeNames() {
		v := i.p.Volumes[key]
		_, needed := i.used.Volumes[key]
		i.quiet = !needed
		item := "volume " + key
		own := i.p.Name + "_" + key
		fixed := v.Name != i.origin+"_"+key
		device := v.DriverOpts["device"]
		switch {
		case i.shared("volume", key, v.Name):
			i.change(item, "the existing volume "+v.Name+" is used", "the scenario shares it: faults and workloads reach its data")
			v = types.VolumeConfig{Name: v.Name, External: true}
		case bool(v.External):
			i.change(item, "the external volume "+v.Name+" becomes an empty volume of the run", "a run never reaches data that is not its own")
			v = types.VolumeConfig{Name: own}
		case v.Driver != "" && v.Driver != "local":
			i.refuse(item, "its driver "+v.Driver+" keeps data outside the engine", "use a local volume for the run, or "+allow("volume", key))
		case device != "" && bindOption(v.DriverOpts["o"]):
			i.boundVolume(key, device)
			v = types.VolumeConfig{Name: own}
		case device != "" && v.DriverOpts["type"] != "tmpfs":
			i.refuse(item, fmt.Sprintf("it mounts %s %s", v.DriverOpts["type"], device), "use a local volume for the run, or "+allow("volume", key))
		case fixed:
			i.change(item, "its fixed name "+v.Name+" is dropped, and it is empty", "a run never reaches data that is not its own")
			v.Name = own
		default:
			v.Name = own
		}
		i.p.Volumes[key] = v
	}
	i.quiet = false
}

func bindOption(o string) bool {
	return slices.ContainsFunc(strings.Split(o, ","), func(s string) bool { return s == "bind" || s == "rbind" })
}

// boundVolume has a volume filled with a copy of the folder that it stands for.
func (i *isolation) boundVolume(key, source string) {
	item := "volume " + key
	info, err := i.o.Stat(source)
	switch {
	case reachesSocket(source):
		i.refuse(item, "it is the folder "+source+", and with it the Docker socket", allow("volume", key))
		return
	case errors.Is(err, fs.ErrNotExist):
		i.change(item, "the bound folder "+source+" does not exist, so it is an empty volume of the run", "a run makes no folder of the user's")
		return
	case hostFolder(source), info.Bytes > MaxCopyBytes:
		i.refuse(item, "it is the folder "+source+", which is too large to copy (more than 1 GiB) or the host's own", allow("volume", key))
		return
	}
	i.change(item, "the bound folder "+source+" is copied into a volume of the run", "a run never writes to data that is not its own")
	for _, name := range i.p.ServiceNames() {
		for _, v := range i.p.Services[name].Volumes {
			if v.Type == types.VolumeTypeVolume && v.Source == key {
				i.copies = append(i.copies, bindCopy{Source: source, Service: name, Target: v.Target, Volume: key})
				return
			}
		}
	}
}

// mounts copies writable bind mounts, keeps read-only ones, and refuses what reaches into the host.
func (i *isolation) mounts(s *types.ServiceConfig) {
	if s.UseAPISocket && !i.shared("bind", "/var/run/docker.sock") {
		i.refuse("service "+s.Name, "use_api_socket gives it the Docker socket", allow("bind", "/var/run/docker.sock"))
	}
	for n := range s.Volumes {
		v := &s.Volumes[n]
		switch v.Type {
		case types.VolumeTypeBind:
			i.bind(s, v)
		case types.VolumeTypeNamedPipe, types.VolumeTypeCluster:
			i.refuse("service "+s.Name, fmt.Sprintf("a mount of type %s at %s cannot be isolated", v.Type, v.Target), "use a volume instead")
		}
	}
}

func (i *isolation) bind(s *types.ServiceConfig, v *types.ServiceVolumeConfig) {
	item, source := "service "+s.Name, i.abs(v.Source)
	if i.shared("bind", source) {
		i.change(item, fmt.Sprintf("%s is bound at %s as it is", source, v.Target), "the scenario shares it: faults and workloads reach its data")
		return
	}
	if reachesSocket(source) {
		i.refuse(item, fmt.Sprintf("it binds %s, and with it the Docker socket: it could reach everything on the engine", source), allow("bind", source))
		return
	}
	info, err := i.o.Stat(source)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.Bind != nil && !bool(v.Bind.CreateHostPath):
		i.refuse(item, fmt.Sprintf("it binds %s, which does not exist (create_host_path: false)", source), "make it first")
	case errors.Is(err, fs.ErrNotExist):
		i.change(item, fmt.Sprintf("%s does not exist, so %s is an empty volume of the run", source, v.Target), "a run makes no folder of the user's")
		i.toVolume(s, v, source, true)
	case err != nil && !errors.Is(err, fs.ErrPermission):
		i.refuse(item, fmt.Sprintf("it binds %s, which cannot be read: %v", source, err), allow("bind", source))
	case info.Mode&(fs.ModeSocket|fs.ModeDevice|fs.ModeNamedPipe) != 0:
		i.refuse(item, fmt.Sprintf("it binds %s, which is a %s of the host", source, special(info.Mode)), allow("bind", source))
	case v.ReadOnly:
		return
	case hostFolder(source):
		i.refuse(item, fmt.Sprintf("it binds the host's %s writable", source), "bind it read-only, or "+allow("bind", source))
	case info.Bytes > MaxCopyBytes:
		i.refuse(item, fmt.Sprintf("it binds %s writable, which is too large to copy (more than 1 GiB)", source),
			"bind it read-only, or a smaller part of it, or "+allow("bind", source))
	case info.Mode.IsDir() || err != nil:
		i.change(item, fmt.Sprintf("%s at %s is a copy, in a volume of the run", source, v.Target), "a run never writes to data that is not its own")
		i.toVolume(s, v, source, false)
	default:
		i.change(item, fmt.Sprintf("%s at %s is a copy, in the run's folder", source, v.Target), "a run never writes to data that is not its own")
		i.copies = append(i.copies, bindCopy{Source: source, Service: s.Name, Target: v.Target, Index: len(i.copies)})
	}
}

// toVolume mounts a volume of the run instead; services that bind the same source get the same volume.
func (i *isolation) toVolume(s *types.ServiceConfig, v *types.ServiceVolumeConfig, source string, empty bool) {
	key := ""
	for _, c := range i.copies {
		if c.Source == source && c.Volume != "" {
			key = c.Volume
		}
	}
	if key == "" {
		key = fmt.Sprintf("bind-%d", len(i.copies)+1)
		if i.p.Volumes == nil {
			i.p.Volumes = types.Volumes{}
		}
		i.p.Volumes[key] = types.VolumeConfig{Name: i.p.Name + "_" + key}
		i.copies = append(i.copies, bindCopy{Source: source, Service: s.Name, Target: v.Target, Volume: key, Empty: empty})
	}
	*v = types.ServiceVolumeConfig{
		Type: types.VolumeTypeVolume, Source: key, Target: v.Target, ReadOnly: v.ReadOnly,
		Volume: &types.ServiceVolumeVolume{NoCopy: true}, // an empty folder hides the image's, so an empty volume must too
	}
}

// reachesSocket tells whether a bound path is, or contains, an engine's socket.
func reachesSocket(source string) bool {
	switch filepath.Base(source) {
	case "docker.sock", "podman.sock", "containerd.sock":
		return true
	}
	return slices.Contains([]string{"/", "/var", "/var/run", "/run", "/run/docker", "/run/containerd"}, source)
}

func hostFolder(source string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/boot", "/lib/modules", "/var/lib/docker", "/etc", "/usr"} {
		if source == dir || (dir != "/etc" && dir != "/usr" && strings.HasPrefix(source, dir+"/")) {
			return true
		}
	}
	return false
}

func special(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	}
	return "device"
}

// Published is a container port that this machine may reach.
type Published struct {
	Service  string `json:"service"`
	Port     int    `json:"port"` // of the container
	Host     string `json:"host"` // "127.0.0.1"
	HostPort int    `json:"host_port"`
}

// Published are the ports that Isolate has opened, in the order in which they were asked for.
func (p *Project) Published() []Published { return slices.Clone(p.publish) }

// ports takes the host ports away: two stacks cannot have the same.
func (i *isolation) ports(s *types.ServiceConfig) {
	if len(s.Ports) == 0 || i.shared("port", s.Name) {
		if len(s.Ports) > 0 {
			i.change("service "+s.Name, "its host ports are kept", "the scenario shares them")
		}
		return
	}
	var dropped []string
	for _, p := range s.Ports {
		dropped = append(dropped, strings.TrimPrefix(fmt.Sprintf("%s:%d/%s", p.Published, p.Target, p.Protocol), ":"))
		expose := fmt.Sprintf("%d/%s", p.Target, p.Protocol)
		if !slices.Contains(s.Expose, expose) {
			s.Expose = append(s.Expose, expose)
		}
	}
	s.Ports = nil
	i.change("service "+s.Name, "host ports "+strings.Join(dropped, ", ")+" are not published",
		"they would collide with the user's stack; publish = [\"service:port\"] opens one on a free port")
}

// published opens the ports that Publish names. A fixed host port stays the same when the service restarts.
func (i *isolation) published() {
	for _, item := range i.o.Publish {
		name, text, _ := strings.Cut(item, ":")
		port, err := strconv.Atoi(text)
		s, ok := i.p.Services[name]
		switch {
		case err != nil || port < 1 || port > 65535:
			i.refuse("publish", fmt.Sprintf("%q is not an item", item), `write "service:port" with the container's port, as in "web:8080"`)
		case !ok:
			i.refuse("publish", fmt.Sprintf("%q: there is no service %s", item, name), "there are: "+strings.Join(i.p.ServiceNames(), ", "))
		case s.NetworkMode != "":
			i.refuse("publish", fmt.Sprintf("%q: %s has no network of its own (network_mode: %s)", item, name, s.NetworkMode), "publish the port of the service that has")
		case s.GetScale() > 1:
			i.refuse("publish", fmt.Sprintf("%q: %s has %d replicas, and a host port belongs to one", item, name, s.GetScale()), "reach them from a client inside the network")
		default:
			i.open(s, port)
		}
	}
}

func (i *isolation) open(s types.ServiceConfig, port int) {
	host, err := i.o.FreePort()
	if err != nil {
		i.errs = append(i.errs, fmt.Errorf("find a free port for %s:%d: %w", s.Name, port, err))
		return
	}
	s.Ports = append(s.Ports, types.ServicePortConfig{
		Mode: "ingress", HostIP: "127.0.0.1", Target: uint32(port), Published: strconv.Itoa(host), Protocol: "tcp", //nolint:gosec // at most 65535
	})
	i.p.Services[s.Name] = s
	i.ports127 = append(i.ports127, Published{Service: s.Name, Port: port, Host: "127.0.0.1", HostPort: host})
	i.change("service "+s.Name, fmt.Sprintf("port %d is published on a free port of 127.0.0.1", port), "the scenario asks for it")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a loopback listener does not block
	if err != nil {
		return 0, err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.Join(fmt.Errorf("listen: %v is no TCP address", l.Addr()), l.Close())
	}
	return addr.Port, l.Close()
}
