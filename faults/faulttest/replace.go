package faulttest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// project is the Compose project that the world's containers belong to.
const project = "fake"

// title is the container's name on the engine: as Compose makes it, or its id where nothing knows it by a name.
func (b *box) title() string {
	if b.Name == "" {
		return b.ID
	}
	return fmt.Sprintf("%s-%s-%d", project, b.service(), b.replica())
}

// replica is the container's number: 2 of "web[2]", 1 of "web".
func (b *box) replica() int {
	_, rest, _ := strings.Cut(b.Name, "[")
	n, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
	if err != nil {
		return 1
	}
	return n
}

// image is what the container runs, as it was named when it was made.
func (b *box) image() string { return cmp.Or(b.Image, "fake") }

// Current is the id of the container that has a name now, as Box.Name has it; "" where there is none.
func (w *World) Current(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, b := range w.boxes {
		if b.Name == name {
			return id
		}
	}
	return ""
}

// Service tells in one text which containers a service has and what they are made of.
func (w *World) Service(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, id := range sorted(w.boxes) {
		if b := w.boxes[id]; b.service() == name {
			out = append(out, fmt.Sprintf("%s: image %s, environment %v, command %v, record %q", b.title(), b.image(), b.Environ, b.Command, b.record))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TakeDown removes every container and network, as the one who made them does at the end.
func (w *World) TakeDown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.boxes)
	w.down = true
}

// AddImage makes the engine have an image.
func (w *World) AddImage(ref, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images[ref] = id
}

// Failed reports whether the call that FailNext was asked for has failed, and forgets one that has not.
func (w *World) Failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := w.failIn == 0
	w.failIn, w.failAt, w.failWith = 0, never, nil
	return failed
}

// built is what a blueprint of the fake engine keeps.
type built struct {
	Box    Box
	Number int // of the address
}

func (e engine) Blueprint(ctx context.Context, id string) (faults.Blueprint, error) {
	was, err := e.Inspect(ctx, id)
	if err != nil {
		return faults.Blueprint{}, err
	}
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	b, err := e.w.find(id)
	if err != nil {
		return faults.Blueprint{}, err
	}
	raw, err := json.Marshal(built{b.Box, b.number})
	return faults.Blueprint{
		Was: was, Project: project, Service: b.service(), Networks: b.endpoints(), Single: b.Single, Raw: raw,
	}, err
}

func (e engine) Create(ctx context.Context, p faults.Blueprint, c faults.Changes) (string, error) {
	var plan built
	if err := json.Unmarshal(p.Raw, &plan); err != nil {
		return "", err
	}
	id := "phantom"
	err := e.w.act(ctx, func() (func() error, error) {
		return func() (err error) {
			id, err = e.w.create(plan, c)
			return err
		}, nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

func (w *World) create(plan built, c faults.Changes) (string, error) {
	w.made++
	x := plan.Box
	x.ID = fmt.Sprintf("made-%d", w.made)
	x.Image = cmp.Or(c.Image, x.Image)
	if _, ok := w.images[cmp.Or(x.Image, "fake")]; !ok {
		return "", fmt.Errorf("%w: %s", faults.ErrNoImage, x.Image)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Env)) {
		x.Environ = slices.DeleteFunc(slices.Clone(x.Environ), func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
		x.Environ = append(x.Environ, key+"="+c.Env[key])
	}
	if len(c.Command) > 0 {
		x.Command = c.Command
	}
	if len(c.Entrypoint) > 0 {
		x.Entrypoint = c.Entrypoint
	}
	if c.NanoCPUs > 0 {
		x.Limits.NanoCPUs, x.Limits.CPUPeriod, x.Limits.CPUQuota = c.NanoCPUs, 0, 0
	}
	if c.MemoryBytes > 0 {
		x.Limits.MemoryBytes = c.MemoryBytes
	}
	b := &box{Box: x, holds: map[string]string{}, out: map[string]bool{}, files: map[string]bool{page: true}, number: plan.Number, record: c.Record, cg: cgroups{at: time.Now()}}
	if c.Replica != nil {
		b.Name = fmt.Sprintf("%s[%d]", b.service(), c.Replica.Number)
		if b.title() != c.Replica.Name {
			return "", fmt.Errorf("replica %d is named %s", c.Replica.Number, c.Replica.Name)
		}
	}
	last := 0
	for _, other := range w.boxes {
		if other.title() == b.title() {
			return "", fmt.Errorf("the name %s is in use by container %s", b.title(), other.ID)
		}
		if last = max(last, other.number); other.number == plan.Number {
			b.number = 0
		}
	}
	if b.number == 0 {
		b.number = last + 1
	}
	w.boxes[b.ID] = b
	return b.ID, nil
}

func (e engine) Remove(ctx context.Context, id string, _ bool) error {
	return e.w.act(ctx, func() (func() error, error) {
		return func() error { delete(e.w.boxes, id); return nil }, nil
	})
}

func (e engine) Named(ctx context.Context, name string) (faults.Container, error) {
	e.w.mu.Lock()
	id := ""
	for _, b := range e.w.boxes {
		if b.title() == name {
			id = b.ID
		}
	}
	e.w.mu.Unlock()
	return e.Inspect(ctx, id)
}

func (e engine) Replicas(ctx context.Context, of, service string) ([]faults.Container, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	e.w.mu.Lock()
	ids := sorted(e.w.boxes)
	e.w.mu.Unlock()
	var out []faults.Container
	for _, id := range ids {
		e.w.mu.Lock()
		b := e.w.boxes[id]
		its := b != nil && of == project && b.service() == service
		e.w.mu.Unlock()
		if !its {
			continue
		}
		c, err := e.Inspect(ctx, id)
		switch {
		case errors.Is(err, faults.ErrGone):
		case err != nil:
			return nil, err
		default:
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b faults.Container) int { return cmp.Compare(a.Number, b.Number) })
	return out, nil
}

func (e engine) Missing(_ context.Context, b faults.Blueprint) (string, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.w.down && len(b.Networks) > 0 {
		return "network " + b.Networks[0].Name, nil
	}
	return "", nil
}

func (e engine) Image(_ context.Context, ref string) (string, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if id, ok := e.w.images[ref]; ok {
		return id, nil
	}
	return "", fmt.Errorf("%w: %s", faults.ErrNoImage, ref)
}
