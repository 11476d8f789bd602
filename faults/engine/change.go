package engine

import (
	"context"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/discompose/discompose/faults"
)

// change puts changes, and what a container that is made again needs, into a plan.
func (e *Engine) change(ctx context.Context, p *plan, ch faults.Changes) error {
	if ch.Image != "" || len(ch.Entrypoint) > 0 {
		image, err := e.docker.ImageInspect(ctx, p.Config.Image)
		if err != nil {
			return fmt.Errorf("inspect image %s: %w", p.Config.Image, err)
		}
		was := image.Config
		if was == nil {
			was = &dockerspec.DockerOCIImageConfig{}
		}
		if len(ch.Entrypoint) > 0 && slices.Equal(p.Config.Cmd, was.Cmd) {
			p.Config.Cmd = nil // as everywhere in Docker: a new entrypoint is not given the image's own command
		}
		if ch.Image != "" {
			subtract(p.Config, was)
			p.Config.Image = ch.Image
		}
	}
	if len(ch.Entrypoint) > 0 {
		p.Config.Entrypoint = ch.Entrypoint
	}
	if len(ch.Command) > 0 {
		p.Config.Cmd = ch.Command
	}
	p.Config.Env = overlay(p.Config.Env, ch.Env)
	limit(&p.Host.Resources, ch)
	label(p, ch)
	if ch.Replica != nil {
		p.Host.PortBindings, p.Config.MacAddress = nil, "" //nolint:staticcheck // engines before API 1.44 have the address there
		return nil
	}
	attach(p)
	return nil
}

// subtract takes out of a container's configuration what it has from its image, so that another image gives its own.
func subtract(c *container.Config, image *dockerspec.DockerOCIImageConfig) {
	c.Env = slices.DeleteFunc(c.Env, func(kv string) bool { return slices.Contains(image.Env, kv) })
	maps.DeleteFunc(c.Labels, func(k, v string) bool {
		was, ok := image.Labels[k]
		return ok && was == v
	})
	maps.DeleteFunc(c.Volumes, func(target string, _ struct{}) bool {
		_, ok := image.Volumes[target]
		return ok
	})
	for port := range c.ExposedPorts {
		if _, ok := image.ExposedPorts[string(port)]; ok {
			delete(c.ExposedPorts, port)
		}
	}
	// The command of an image belongs to its entrypoint: where somebody chose another entrypoint, no command is the image's.
	if slices.Equal(c.Entrypoint, image.Entrypoint) {
		if slices.Equal(c.Cmd, image.Cmd) {
			c.Entrypoint, c.Cmd = nil, nil
		} else if len(c.Cmd) > 0 {
			c.Entrypoint = nil
		}
	}
	same := func(to *string, of string) {
		if *to == of {
			*to = ""
		}
	}
	same(&c.User, image.User)
	same(&c.WorkingDir, image.WorkingDir)
	same(&c.StopSignal, image.StopSignal)
	if reflect.DeepEqual(c.Healthcheck, image.Healthcheck) {
		c.Healthcheck = nil
	}
	if slices.Equal(c.Shell, image.Shell) {
		c.Shell = nil
	}
	c.OnBuild = nil
}

// overlay sets variables: in their place those that are there, sorted at the end the others.
func overlay(env []string, set map[string]string) []string {
	out, done := slices.Clone(env), map[string]bool{}
	for i, kv := range out {
		key, _, _ := strings.Cut(kv, "=")
		if v, ok := set[key]; ok {
			out[i], done[key] = key+"="+v, true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if !done[key] {
			out = append(out, key+"="+set[key])
		}
	}
	return out
}

// limit sets limits; those that the engine derives from them it derives anew.
func limit(r *container.Resources, ch faults.Changes) {
	if ch.NanoCPUs > 0 {
		r.NanoCPUs, r.CPUPeriod, r.CPUQuota = ch.NanoCPUs, 0, 0
	}
	if ch.MemoryBytes > 0 {
		r.Memory = ch.MemoryBytes
		if r.MemorySwap > 0 {
			r.MemorySwap = 0
		}
		r.MemoryReservation = min(r.MemoryReservation, r.Memory)
	}
}

// label tells whose changes the container has, and which of its volumes are anonymous.
func label(p *plan, ch faults.Changes) {
	labels := maps.Clone(p.Config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	delete(labels, faults.LabelRecord)
	delete(labels, faults.LabelVolumes)
	if ch.Record != "" {
		labels[faults.LabelRecord] = ch.Record
	}
	var names []string
	for _, m := range p.Volumes {
		names = append(names, m.Source)
	}
	switch {
	case ch.Replica != nil:
		labels[numberLabel] = strconv.Itoa(ch.Replica.Number)
	case len(names) > 0:
		labels[faults.LabelVolumes] = strings.Join(names, ",")
	}
	p.Config.Labels = labels
}

// attach gives a container its anonymous volumes back, by their names.
func attach(p *plan) {
	for _, v := range p.Volumes {
		i := slices.IndexFunc(p.Host.Mounts, func(m mount.Mount) bool { return path.Clean(m.Target) == path.Clean(v.Target) })
		if i >= 0 {
			p.Host.Mounts[i].Source = v.Source
			continue
		}
		p.Host.Mounts = append(p.Host.Mounts, v)
	}
}
