//go:build e2e

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
)

// sleeper ends at once when it is told to.
func sleeper() []string {
	return []string{"sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"}
}

func (l lab) blueprint(id string) faults.Blueprint {
	l.t.Helper()
	b, err := l.engine.Blueprint(l.t.Context(), id)
	l.must(err)
	return b
}

// again removes a container and makes and starts it anew.
func (l lab) again(b faults.Blueprint, ch faults.Changes) string {
	l.t.Helper()
	if c, err := l.engine.Named(l.t.Context(), b.Was.Name); err == nil && ch.Replica == nil {
		l.must(l.engine.Remove(l.t.Context(), c.ID, false))
	}
	id, err := l.engine.Create(l.t.Context(), b, ch)
	l.must(err)
	l.clean(func(ctx context.Context) error { return l.engine.Remove(ctx, id, true) })
	l.must(l.engine.Do(l.t.Context(), id, faults.Action{Verb: faults.DoStart}))
	return id
}

func (l lab) inspect(id string) container.InspectResponse {
	l.t.Helper()
	in, err := l.docker.ContainerInspect(l.t.Context(), id)
	l.must(err)
	return in
}

// compose makes a change that gives a container the labels of a replica of a Compose service.
func (l lab) compose(service string, more func(*container.Config, *container.HostConfig)) func(*container.Config, *container.HostConfig) {
	return func(c *container.Config, h *container.HostConfig) {
		c.Cmd = sleeper()
		c.Labels["com.docker.compose.project"], c.Labels["com.docker.compose.service"] = strings.TrimSuffix(l.prefix, "-"), service
		c.Labels["com.docker.compose.container-number"] = "1"
		if more != nil {
			more(c, h)
		}
	}
}

// volume is a named one.
func (l lab) volume(name string) string {
	l.t.Helper()
	v, err := l.docker.VolumeCreate(l.t.Context(), volume.CreateOptions{Name: l.prefix + name, Labels: l.labels()})
	l.must(err)
	l.clean(func(ctx context.Context) error { return l.docker.VolumeRemove(ctx, v.Name, true) })
	return v.Name
}

// forget removes, at the test's end, the volumes that a container has, and whatever uses them by then.
func (l lab) forget(id string) {
	l.t.Helper()
	for _, m := range l.inspect(id).Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		l.clean(func(ctx context.Context) error {
			users, err := l.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("volume", m.Name))})
			for _, c := range users {
				err = errors.Join(err, l.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}))
			}
			return errors.Join(err, l.docker.VolumeRemove(ctx, m.Name, true))
		})
	}
}

func mounts(in container.InspectResponse) map[string]string {
	out := map[string]string{}
	for _, m := range in.Mounts {
		out[m.Destination] = m.Name
	}
	return out
}

func TestAContainerIsMadeAgainWithItsNetworksAndVolumes(t *testing.T) {
	l := newLab(t)
	_, prefix := l.subnetwork("front")
	back := l.network("back", "")
	named := l.volume("data")
	chosen := prefix + ".77"
	id := l.start("web-1", l.prefix+"front", &network.EndpointSettings{
		Aliases: []string{l.prefix + "web-1", "web", "www"}, IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: chosen},
	}, l.compose("web", func(c *container.Config, h *container.HostConfig) {
		c.Volumes = map[string]struct{}{"/image-like": {}}
		c.Env = []string{"A=1"}
		h.RestartPolicy.Name = "unless-stopped"
		h.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/anonymous"}, {Type: mount.TypeVolume, Source: named, Target: "/named"}}
		h.Tmpfs = map[string]string{"/tmp": ""}
		h.NanoCPUs, h.Memory = 5e8, 64<<20
	}))
	l.must(l.docker.NetworkConnect(t.Context(), back, id, &network.EndpointSettings{Aliases: []string{"web", "inner"}}))
	l.forget(id)
	was := l.inspect(id)
	b := l.blueprint(id)
	if len(b.Single) != 1 || !strings.Contains(b.Single[0], chosen) {
		t.Errorf("what only one container can have: %v", b.Single)
	}
	for range 2 { // the second time from what was made the first time
		id = l.again(b, faults.Changes{})
		l.alike(was, l.inspect(id))
		names := cmpopts.IgnoreFields(faults.Endpoint{}, "Addresses", "Raw")
		if diff := cmp.Diff(b.Networks, l.endpoints(id), names); diff != "" || len(b.Networks) != 2 {
			t.Errorf("networks (-was +is):\n%s", diff)
		}
		if ip := l.inspect(id).NetworkSettings.Networks[l.prefix+"front"].IPAddress; ip != chosen {
			t.Errorf("its address is %s, not %s", ip, chosen)
		}
		b = l.blueprint(id)
	}
	further := l.again(b, faults.Changes{Record: "r", Replica: &faults.Replica{Name: l.prefix + "web-2", Number: 2}})
	l.forget(further)
	is := l.inspect(further)
	for path, name := range mounts(is) {
		if own := path != "/named"; own == (name == mounts(was)[path]) {
			t.Errorf("%s of the further container is volume %s", path, name)
		}
	}
	if is.Config.Labels[faults.LabelVolumes] != "" || is.NetworkSettings.Networks[l.prefix+"front"].IPAddress == chosen {
		t.Errorf("the further container has %v and %+v", is.Config.Labels, is.NetworkSettings.Networks)
	}
	if names := l.endpoints(further)[1].Aliases; !slices.Contains(names, l.prefix+"web-2") || !slices.Contains(names, "www") || slices.Contains(names, l.prefix+"web-1") {
		t.Errorf("the further container is known as %v", names)
	}
	l.must(l.engine.Remove(t.Context(), further, true))
	if _, err := l.docker.VolumeInspect(t.Context(), mounts(is)["/anonymous"]); err == nil {
		t.Error("a volume of the further container's own was left")
	}
}

// alike compares a container that was made again with the first one.
func (l lab) alike(was, is container.InspectResponse) {
	l.t.Helper()
	if is.Config.Hostname == was.Config.Hostname || is.ID == was.ID {
		l.t.Errorf("its host name is the old one's: %s", is.Config.Hostname)
	}
	ours := cmpopts.IgnoreMapEntries(func(k, _ string) bool { return k == faults.LabelVolumes })
	if diff := cmp.Diff(was.Config, is.Config, cmpopts.IgnoreFields(container.Config{}, "Hostname"), ours); diff != "" {
		l.t.Errorf("configuration (-was +is):\n%s", diff)
	}
	if diff := cmp.Diff(was.HostConfig, is.HostConfig, cmpopts.IgnoreFields(container.HostConfig{}, "Mounts")); diff != "" {
		l.t.Errorf("host configuration (-was +is):\n%s", diff)
	}
	if diff := cmp.Diff(mounts(was), mounts(is)); diff != "" {
		l.t.Errorf("volumes (-was +is):\n%s", diff)
	}
	given := strings.Split(is.Config.Labels[faults.LabelVolumes], ",")
	anonymous := []string{mounts(was)["/anonymous"], mounts(was)["/image-like"]}
	if slices.Sort(given); !slices.Equal(given, slices.Sorted(slices.Values(anonymous))) {
		l.t.Errorf("the label lists %v, the anonymous volumes are %v", given, anonymous)
	}
}

// subnetwork makes a network with a subnet that is free, and returns its id and the first three numbers of its addresses.
func (l lab) subnetwork(key string) (id, prefix string) {
	l.t.Helper()
	var err error
	for range 10 {
		prefix = fmt.Sprintf("10.214.%d", rand.IntN(256))
		o := network.CreateOptions{Driver: "bridge", Labels: l.labels(), IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: prefix + ".0/24"}}}}
		var n network.CreateResponse
		if n, err = l.docker.NetworkCreate(l.t.Context(), l.prefix+key, o); err == nil {
			l.clean(func(ctx context.Context) error { return l.docker.NetworkRemove(ctx, n.ID) })
			return n.ID, prefix
		}
	}
	l.t.Fatal(err)
	return "", ""
}

// image makes one by committing a container, with changes as of a Dockerfile.
func (l lab) image(name string, changes ...string) string {
	l.t.Helper()
	made, err := l.docker.ContainerCreate(l.t.Context(), &container.Config{Image: busybox, Labels: l.labels()}, nil, nil, nil, "")
	l.must(err)
	ref := strings.TrimSuffix(l.prefix, "-") + ":" + name
	_, err = l.docker.ContainerCommit(l.t.Context(), made.ID, container.CommitOptions{Reference: ref, Changes: changes})
	l.must(err)
	l.must(l.docker.ContainerRemove(l.t.Context(), made.ID, container.RemoveOptions{Force: true}))
	l.clean(func(ctx context.Context) error {
		_, err := l.docker.ImageRemove(ctx, ref, image.RemoveOptions{Force: true})
		return err
	})
	return ref
}

func TestAnotherImageBringsItsOwnDefaults(t *testing.T) {
	l := newLab(t)
	script := `["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done", "%s"]`
	one := l.image("one", "ENV VERSION=1", "ENV BOTH=old", "CMD "+fmt.Sprintf(script, "one"), "EXPOSE 81", "LABEL of=one")
	two := l.image("two", "ENV VERSION=2", "ENV BOTH=new", "CMD "+fmt.Sprintf(script, "two"), "EXPOSE 82", "LABEL of=two")
	net := l.network("front", "")
	id := l.start("web-1", net, nil, func(c *container.Config, _ *container.HostConfig) {
		c.Image, c.Cmd, c.Env = one, nil, []string{"BOTH=chosen"}
	})
	b := l.blueprint(id)
	is := l.inspect(l.again(b, faults.Changes{Image: two}))
	if !slices.Contains(is.Config.Env, "VERSION=2") || slices.Contains(is.Config.Env, "VERSION=1") || !slices.Contains(is.Config.Env, "BOTH=chosen") {
		t.Errorf("environment: %v", is.Config.Env)
	}
	if is.Config.Cmd[len(is.Config.Cmd)-1] != "two" || is.Config.Labels["of"] != "two" || is.Config.Labels["io.discompose.test"] == "" {
		t.Errorf("command %v, labels %v", is.Config.Cmd, is.Config.Labels)
	}
	if _, ok := is.Config.ExposedPorts["81/tcp"]; ok || len(is.Config.ExposedPorts) != 1 {
		t.Errorf("ports %v", is.Config.ExposedPorts)
	}
	// The name may stand for another image by the time that the container comes back.
	l.must(l.docker.ImageTag(t.Context(), two, one))
	l.clean(func(ctx context.Context) error {
		_, err := l.docker.ImageRemove(ctx, b.Was.ImageID, image.RemoveOptions{Force: true})
		return err
	})
	back := l.inspect(l.again(b, faults.Changes{}))
	if back.Image != b.Was.ImageID || back.Config.Cmd[len(back.Config.Cmd)-1] != "one" {
		t.Errorf("the container came back with image %s and command %v", back.Image, back.Config.Cmd)
	}
	entry := l.inspect(l.again(b, faults.Changes{Entrypoint: sleeper()}))
	if len(entry.Config.Cmd) != 0 || !slices.Equal(entry.Config.Entrypoint, sleeper()) || !entry.State.Running {
		t.Errorf("with another entrypoint: %v %v", entry.Config.Entrypoint, entry.Config.Cmd)
	}
}

func TestAContainerThatOthersStandOnIsNotReplaced(t *testing.T) {
	for _, tt := range []struct {
		name string
		uses func(h *container.HostConfig, id string)
	}{
		{"its network", func(h *container.HostConfig, id string) { h.NetworkMode = container.NetworkMode("container:" + id) }},
		{"its process ids", func(h *container.HostConfig, id string) { h.PidMode = container.PidMode("container:" + id) }},
		{"its volumes", func(h *container.HostConfig, id string) { h.VolumesFrom = []string{id + ":ro"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			id := l.start("web-1", "none", nil, l.compose("web", nil))
			other := l.start("side-1", "none", nil, l.compose("side", func(_ *container.Config, h *container.HostConfig) { tt.uses(h, id) }))
			_, err := l.engine.Blueprint(t.Context(), id)
			if !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "side-1") {
				t.Errorf("blueprint: %v", err)
			}
			b := l.blueprint(other) // the one that stands on it is fine
			if again := l.inspect(l.again(b, faults.Changes{})); !again.State.Running || again.HostConfig.NetworkMode != l.inspect(again.ID).HostConfig.NetworkMode {
				t.Errorf("made again: %+v", again.State)
			}
		})
	}
}

func TestWhatAContainerStoodOnIsMissed(t *testing.T) {
	l := newLab(t)
	net, data := l.network("front", ""), l.volume("data")
	id := l.start("web-1", net, nil, func(_ *container.Config, h *container.HostConfig) { h.Binds = []string{data + ":/data"} })
	side := l.start("side-1", "container:"+id, nil, nil)
	inNet, beside := l.blueprint(id), l.blueprint(side)
	alone := inNet
	alone.Networks = nil
	missing := func(b faults.Blueprint) string {
		what, err := l.engine.Missing(t.Context(), b)
		l.must(err)
		return what
	}
	if a, b, c := missing(inNet), missing(beside), missing(alone); a+b+c != "" {
		t.Errorf("while all is there: %q, %q, %q", a, b, c)
	}
	l.must(l.engine.Remove(t.Context(), side, false))
	l.must(l.engine.Remove(t.Context(), id, false))
	if got := missing(beside); !strings.HasPrefix(got, "container ") {
		t.Errorf("without the container whose network it had: %q", got)
	}
	l.must(l.docker.NetworkRemove(t.Context(), net))
	if got := missing(inNet); got != "network "+l.prefix+"front" {
		t.Errorf("without its network: %q", got)
	}
	l.must(l.docker.VolumeRemove(t.Context(), data, true))
	if got := missing(alone); got != "volume "+data {
		t.Errorf("without its volume: %q", got)
	}
}

func TestTheLogOfAContainerCanBeKeptBeforeItGoes(t *testing.T) {
	l := newLab(t)
	id := l.start("web-1", "none", nil, nil)
	var seen []string
	e := l.engine.BeforeRemove(func(ctx context.Context, id string) {
		in, err := l.docker.ContainerInspect(ctx, id)
		l.must(err)
		seen = append(seen, fmt.Sprintf("%t %d", in.State.Running, in.State.ExitCode))
	})
	var _ faults.Replacer = e
	l.must(e.Remove(t.Context(), id, false))
	l.must(e.Remove(t.Context(), id, false))
	if len(seen) == 0 || seen[0] != "false 137" {
		t.Errorf("before the removal it was %v", seen)
	}
	if _, err := engine.New(l.docker).Inspect(t.Context(), id); !errors.Is(err, faults.ErrGone) {
		t.Errorf("after it: %v", err)
	}
}
