package replace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Update is what a container is made again with. At least one of its fields but Grace is set.
type Update struct {
	Image      string            `toml:"image" doc:"an image instead of the container's, pulled before the run where the engine does not have it; one of image, env, command, entrypoint, cpus and memory is needed"`
	Env        map[string]string `toml:"env" doc:"variables to set, beside those that the container has"`
	Command    []string          `toml:"command" doc:"the command, or the arguments of the entrypoint"`
	Entrypoint []string          `toml:"entrypoint" doc:"the entrypoint; without a command of its own the image's command goes"`
	CPUs       float64           `toml:"cpus" doc:"CPUs that the container may use, at least 0.01"`
	Memory     units.Size        `toml:"memory" doc:"memory that the container may use, at least 6MiB"`
	Grace      *units.Duration   `toml:"grace" doc:"time between a container's stop signal and SIGKILL, in whole seconds, at most 15s; default: the container's own, of which the undo waits 15s at most"`
}

// leastMemory is what the engine asks for at the least.
const leastMemory = 6 << 20

// Validate wants something to change, and values that the engine takes.
func (u *Update) Validate() error {
	var errs []error
	bad := func(key, hint, format string, args ...any) {
		errs = append(errs, &faults.ParamError{Key: key, Err: fmt.Errorf(format, args...), Hint: hint})
	}
	if u.Image == "" && len(u.Env) == 0 && len(u.Command) == 0 && len(u.Entrypoint) == 0 && u.CPUs == 0 && u.Memory == 0 {
		bad("image", `image = "nginx:1.23", or env, command, entrypoint, cpus or memory`, "nothing would change")
	}
	for _, k := range slices.Sorted(maps.Keys(u.Env)) {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			bad("env", `env = { LOG_LEVEL = "debug" }`, "%q is no name of a variable", k)
		}
	}
	if u.CPUs != 0 && (math.IsNaN(u.CPUs) || u.CPUs < 0.01 || u.CPUs > 4096) {
		bad("cpus", "cpus = 0.5", "must be between 0.01 and 4096, not %v", u.CPUs)
	}
	if u.Memory != 0 && u.Memory < leastMemory {
		bad("memory", `memory = "64MiB"`, "must be at least 6MiB, not %s", u.Memory)
	}
	return errors.Join(append(errs, validGrace(u.Grace))...)
}

// Images is the image that containers are made again from, if it is another one.
func (u *Update) Images() []string {
	if u.Image == "" {
		return nil
	}
	return []string{u.Image}
}

func (u *Update) prepare(ctx context.Context, env faults.Env, kind faults.Kind, on faults.Target) (faults.Record, error) {
	return prepare(ctx, env, kind, on, want{Grace: grace(u.Grace, -1), Changes: &faults.Changes{
		Image: u.Image, Env: u.Env, Command: u.Command, Entrypoint: u.Entrypoint,
		NanoCPUs: int64(math.Round(u.CPUs * 1e9)), MemoryBytes: u.Memory.Bytes(),
	}})
}

// Recreate makes a container again with something changed, and as it was after a time.
type Recreate struct{ Update }

// RollingUpdate makes the containers of its targets again with something changed, one after the other.
type RollingUpdate struct{ Update }

const updateDoc = "The container is stopped in good order and removed, and one of its name is made with the changes and started: it has the old one's volumes, networks, names and ports, and a new process, address and root file system. "

const updateWitness = "Witness: what runs under the name has another image, or the values that were asked for, as the engine tells; its process is another one, and the old one is gone. A change to what the container had already has no witness. " +
	"Undo: it is replaced in the same way by one that is made as the first one was. " +
	"A container that another fault acts on is refused, and so is one whose network, or volumes, another container uses."

// RecreateSpec describes the kind.
func RecreateSpec() faults.Spec {
	s := spec(kindRecreate, updateDoc+updateWitness)
	s.Summary = "replace a container by one with another image, environment, command or limit"
	s.New, s.Effect = func() faults.Fault { return &Recreate{} }, update{}
	return s
}

// RollingUpdateSpec describes the kind.
func RollingUpdateSpec() faults.Spec {
	s := spec(kindRolling, updateDoc+
		"The next one follows when this one is ready again and the fault's gates hold. When all are updated they stay so for the time of the fault, and go back in the opposite order, with the same waits. "+updateWitness)
	s.Summary = "replace containers one after the other by ones with another image, environment, command or limit"
	s.New, s.Effect, s.Rolling = func() faults.Fault { return &RollingUpdate{} }, update{}, true
	return s
}

// spec is what the kinds of this package have in common.
func spec(kind faults.Kind, doc string) faults.Spec {
	return faults.Spec{
		Kind: kind, Family: faults.Process, Doc: doc, Targets: []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "Docker API"}}, Cuts: true, Replaces: true,
	}
}

// Prepare journals what the container was made of. It refuses one that is not running or that another fault acts on, and an
// image that the engine does not have.
func (f *Recreate) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return f.prepare(ctx, env, kindRecreate, on)
}

// Prepare does the same as that of Recreate.
func (f *RollingUpdate) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return f.prepare(ctx, env, kindRolling, on)
}

// resolve finds the id of the changed image.
func resolve(ctx context.Context, rep faults.Replacer, w *want) error {
	if w.Changes == nil || w.Changes.Image == "" {
		return nil
	}
	id, err := rep.Image(ctx, w.Changes.Image)
	if errors.Is(err, faults.ErrNoImage) {
		return fmt.Errorf("%w: the engine has lost image %s since the run began (docker pull %[2]s): %w",
			faults.ErrUnsupported, w.Changes.Image, err)
	}
	w.ImageID = id
	return err
}

// update is the effect of recreate and rolling_update.
type update struct{ effect }

// Confirm measures that what runs has the changes, or that it is as it was.
func (update) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return gone(ctx, env, r)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	s, w, err := slotOf(env, r, "")
	if err != nil {
		return faults.Witness{}, err
	}
	if s.want.by == nil || s.want.by.ID != r.ID {
		return faults.Witness{}, noWitness("%s %q has been overtaken by %s %q", r.Kind, r.ID, s.want.by.Kind, s.want.by.ID)
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) { return updated(ctx, env, r, w, s) })
}

func updated(ctx context.Context, env faults.Env, r faults.Record, w want, s slot) (faults.Witness, error) {
	c, there, err := named(ctx, env, w.Name)
	if err != nil {
		return faults.Witness{}, err
	}
	if wrong := s.want.mismatch(c, there); wrong != "" {
		return faults.Witness{}, noWitness("%s %s", r.On, wrong)
	}
	if err := ended(ctx, env, w.PID); err != nil {
		return faults.Witness{}, err
	}
	said, err := changed(s.base.Was, c, w)
	if err != nil {
		return faults.Witness{}, fmt.Errorf("%w on %s", err, r.On)
	}
	return faults.Witness{
		What: "new container", Value: float64(c.PID), Unit: "pid",
		Note: fmt.Sprintf("%s was replaced: process %d is gone, %d runs since %s with %s", r.On, w.PID, c.PID, c.StartedAt.UTC().Format("15:04:05.000"), strings.Join(said, ", ")),
	}, nil
}

// changed says what a container has otherwise than it had. It fails where a parameter is not seen, or had its value before.
func changed(was, is faults.Container, w want) ([]string, error) {
	var said []string
	var errs []error
	ch := w.Changes
	see := func(asked bool, what string, has, had bool, note string) {
		switch {
		case !asked:
		case !has:
			errs = append(errs, noWitness("the new container does not have the %s that was asked for", what))
		case had:
			errs = append(errs, noWitness("the %s that was asked for is the one that the container had", what))
		default:
			said = append(said, note)
		}
	}
	see(ch.Image != "", "image", is.ImageID == w.ImageID, was.ImageID == w.ImageID, fmt.Sprintf("image %s (%s)", ch.Image, short(w.ImageID)))
	keys := slices.Sorted(maps.Keys(ch.Env))
	see(len(keys) > 0, "environment", has(is.Env, ch.Env), has(was.Env, ch.Env), "another "+strings.Join(keys, ", "))
	see(len(ch.Entrypoint) > 0, "entrypoint", slices.Equal(is.Entrypoint, ch.Entrypoint), slices.Equal(was.Entrypoint, ch.Entrypoint), "another entrypoint")
	see(len(ch.Command) > 0, "command", slices.Equal(is.Command, ch.Command), slices.Equal(was.Command, ch.Command), "another command")
	see(ch.NanoCPUs > 0, "CPU limit", is.Limits.NanoCPUs == ch.NanoCPUs, was.Limits.NanoCPUs == ch.NanoCPUs, fmt.Sprintf("%v CPUs", float64(ch.NanoCPUs)/1e9))
	see(ch.MemoryBytes > 0, "memory limit", is.Limits.MemoryBytes == ch.MemoryBytes, was.Limits.MemoryBytes == ch.MemoryBytes, units.Size(ch.MemoryBytes).String()+" of memory")
	return said, errors.Join(errs...)
}

// has reports whether an environment has all variables with these values.
func has(env []string, all map[string]string) bool {
	for k, v := range all {
		if !slices.Contains(env, k+"="+v) {
			return false
		}
	}
	return true
}

// short is the part of an image's id that people compare.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
