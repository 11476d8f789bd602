package compose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
)

// SelfPlaceholder is the image that a shipped environment names for this program's own; Preflight puts SelfImage there.
const SelfPlaceholder = "discompose.invalid/self"

// PreflightOptions says what Preflight may do. The zero value pulls what is missing and falls back on nothing.
type PreflightOptions struct {
	Pull       string        // "missing" (default), "always", "never"
	Fallback   bool          // a shipped environment may use its embedded service for an image that cannot be had
	SelfImage  string        // this program's image, present on the engine; needed for fallbacks and shipped clients
	NoProgress time.Duration // after which a pull is given up; 0 is 15 s
	Progress   func(Event)   // may be nil
}

// Preflight is what was found and done before the environment starts.
type Preflight struct {
	Images    []ImageState `json:"images"`    // one for each service, sorted by service
	Fallbacks []Fallback   `json:"fallbacks"` // services that an embedded one stands in for
	Warnings  []string     `json:"warnings"`
	// MemoryBytes is what the services' limits add up to, FreeDiskBytes what is left where the engine keeps its data; 0 is
	// not known.
	MemoryBytes   int64 `json:"memory_bytes"`
	FreeDiskBytes int64 `json:"free_disk_bytes"`
}

// ImageState is where a service's image comes from.
type ImageState struct {
	Service string   `json:"service"`
	Ref     string   `json:"ref"`
	ID      string   `json:"id"`
	Digests []string `json:"digests"`
	Source  string   `json:"source"` // "present", "pulled", "build", "self", "fallback"
}

// Fallback is a service of a shipped environment that runs on this program instead of its image.
type Fallback struct {
	Service string `json:"service"`
	Image   string `json:"image"`  // that could not be had
	Reason  string `json:"reason"` // why
	Notice  string `json:"notice"` // "embedded broker, not Apache Kafka"
}

// ErrImage says that an image is neither on the engine nor to be had.
var ErrImage = errors.New("image is not available")

// minFreeDisk is what a run needs at the least; below warnFreeDisk it is told.
const (
	minFreeDisk  = 256 << 20
	warnFreeDisk = 2 << 30
)

// Preflight checks memory, disk and images, pulls what it may, and builds what is missing. All problems are joined; those with images wrap
// ErrImage and name image and reason. It changes the project: fallbacks take their services' place.
func (e *Environment) Preflight(ctx context.Context, o PreflightOptions) (Preflight, error) {
	var out Preflight
	if e.attached {
		return out, nil
	}
	if err := o.complete(); err != nil {
		return out, err
	}
	info, err := e.engine.Info(ctx)
	if err != nil {
		return out, err
	}
	errs := []error{e.checkMemory(info, &out), e.checkDisk(info, &out)}
	pulled := map[string]error{} // by reference: several services may have one image
	for _, name := range e.project.p.ServiceNames() {
		errs = append(errs, e.checkImage(ctx, o, name, pulled, &out))
	}
	if err := errors.Join(errs...); err != nil {
		return out, fmt.Errorf("preflight of project %s: %w", e.name, err)
	}
	return out, nil
}

// HaveImages makes sure that images which no service names are on the engine, for faults that make containers from them, and
// pulls what is missing as o says. All problems are joined; they wrap ErrImage.
func (e *Environment) HaveImages(ctx context.Context, o PreflightOptions, refs []string) error {
	if err := o.complete(); err != nil {
		return err
	}
	var errs []error
	pulled := map[string]error{}
	for _, ref := range refs {
		if err := e.obtain(ctx, o, types.ServiceConfig{Image: ref}, pulled, &ImageState{Ref: ref}); err != nil {
			errs = append(errs, fmt.Errorf("a fault makes containers from %s: %w", ref, err))
		}
	}
	return errors.Join(errs...)
}

// complete sets defaults and refuses what Pull does not know.
func (o *PreflightOptions) complete() error {
	if !slices.Contains([]string{"", "missing", "always", "never"}, o.Pull) {
		return fmt.Errorf("preflight: pull %q is not one of missing, always, never", o.Pull)
	}
	if o.NoProgress <= 0 {
		o.NoProgress = 15 * time.Second
	}
	return nil
}

func (e *Environment) checkMemory(info Info, out *Preflight) error {
	for _, s := range e.project.p.Services {
		out.MemoryBytes += memoryLimit(s) * int64(s.GetScale())
	}
	if info.MemoryBytes > 0 && out.MemoryBytes > info.MemoryBytes {
		out.Warnings = append(out.Warnings, fmt.Sprintf("the services' memory limits add up to %d MiB, and the engine has %d MiB",
			out.MemoryBytes>>20, info.MemoryBytes>>20))
	}
	const least = 256 << 20
	if info.MemoryBytes > 0 && info.MemoryBytes < least {
		return fmt.Errorf("the engine has %d MiB of memory; give it at least %d MiB", info.MemoryBytes>>20, int64(least)>>20)
	}
	return nil
}

func (e *Environment) checkDisk(info Info, out *Preflight) error {
	if !e.engine.Local() || info.Desktop {
		return nil // the engine's disk is not this machine's
	}
	free, known := freeDisk(info.RootDir)
	if !known {
		return nil
	}
	out.FreeDiskBytes = free
	switch {
	case free < minFreeDisk:
		return fmt.Errorf("%d MiB are free in %s; a run needs at least %d MiB (`docker system df` shows what is used)", free>>20, info.RootDir, minFreeDisk>>20)
	case free < warnFreeDisk:
		out.Warnings = append(out.Warnings, fmt.Sprintf("%d MiB are free in %s", free>>20, info.RootDir))
	}
	return nil
}

// checkImage makes sure that one service's image is there.
func (e *Environment) checkImage(ctx context.Context, o PreflightOptions, name string, pulled map[string]error, out *Preflight) error {
	s := e.project.p.Services[name]
	if s.Image == SelfPlaceholder {
		s.Image = o.SelfImage
		e.project.p.Services[name] = s
	}
	state := ImageState{Service: name, Ref: s.Image}
	switch {
	case s.Image == "":
		return fmt.Errorf("service %s: %w: it runs this program, whose image is not named", name, ErrImage)
	case s.Image == o.SelfImage:
		state.Source = "self"
	case s.Build != nil && (o.Pull == "always" || s.PullPolicy == types.PullPolicyBuild || e.present(ctx, &state) != nil):
		state.Source = "build"
		if err := e.build(ctx, name, o.Progress); err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
	case s.Build != nil:
		out.Warnings = append(out.Warnings, fmt.Sprintf("service %s: image %s is used as it was built %s; --pull always builds it anew", name, s.Image, e.built(ctx, s.Image)))
	default:
		if err := e.obtain(ctx, o, s, pulled, &state); err != nil {
			f, ok := e.fallBack(ctx, o, s, err)
			if !ok {
				return fmt.Errorf("service %s: %w", name, err)
			}
			out.Fallbacks = append(out.Fallbacks, f)
			state = ImageState{Service: name, Ref: o.SelfImage, Source: "fallback"}
		}
		e.pulledAlready(name)
	}
	_ = e.present(ctx, &state) // what is not there was said above
	out.Images = append(out.Images, state)
	return nil
}

// pulledAlready keeps the SDK from pulling again what Preflight has seen to.
func (e *Environment) pulledAlready(name string) {
	s := e.project.p.Services[name]
	if s.Build == nil {
		s.PullPolicy = types.PullPolicyMissing
		e.project.p.Services[name] = s
	}
}

// present looks an image up on the engine.
func (e *Environment) present(ctx context.Context, s *ImageState) error {
	i, err := e.engine.docker.ImageInspect(ctx, s.Ref)
	if err != nil {
		return err
	}
	s.ID, s.Digests = i.ID, i.RepoDigests
	if s.Source == "" {
		s.Source = "present"
	}
	return nil
}

// built is when an image was made, for people.
func (e *Environment) built(ctx context.Context, ref string) string {
	i, err := e.engine.docker.ImageInspect(ctx, ref)
	if err != nil {
		return "some time ago"
	}
	at, err := time.Parse(time.RFC3339Nano, i.Created)
	if err != nil {
		return "some time ago"
	}
	return "on " + at.Local().Format("2006-01-02 15:04")
}

// obtain finds an image or pulls it, as Pull and the service's own pull_policy say.
func (e *Environment) obtain(ctx context.Context, o PreflightOptions, s types.ServiceConfig, pulled map[string]error, state *ImageState) error {
	err := e.present(ctx, state)
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("look image %s up: %w", s.Image, err)
	}
	never := o.Pull == "never" || (o.Pull == "" && s.PullPolicy == types.PullPolicyNever)
	always := o.Pull == "always" || (o.Pull == "" && s.PullPolicy == types.PullPolicyAlways)
	switch {
	case err == nil && !always:
		return nil
	case never && err != nil:
		return fmt.Errorf("%w: %s is not on the engine, and pull is \"never\"", ErrImage, s.Image)
	case never:
		return nil
	}
	if _, done := pulled[s.Image]; !done {
		pulled[s.Image] = e.pull(ctx, o, s.Image, s.Platform)
	}
	if err := pulled[s.Image]; err != nil {
		return err
	}
	state.Source = "pulled"
	return nil
}

// fallBack replaces a service of a shipped environment by the embedded one that it declares:
//
//	x-discompose: {fallback: embedded, notice: …, command: […], user: …, healthcheck: […]}
func (e *Environment) fallBack(ctx context.Context, o PreflightOptions, s types.ServiceConfig, reason error) (Fallback, bool) {
	x, ok := s.Extensions["x-discompose"].(map[string]any)
	if !ok || e.project.shipped == "" || !o.Fallback || o.SelfImage == "" || x["fallback"] != "embedded" || ctx.Err() != nil {
		return Fallback{}, false
	}
	f := Fallback{Service: s.Name, Image: s.Image, Reason: reason.Error(), Notice: text(x["notice"])}
	s.Image, s.Entrypoint, s.Command, s.User = o.SelfImage, nil, list(x["command"]), text(x["user"])
	if test := list(x["healthcheck"]); len(test) > 0 && s.HealthCheck != nil {
		h := *s.HealthCheck
		second := types.Duration(time.Second)
		h.Test, h.Interval = types.HealthCheckTest(test), &second // it is no JVM: a check costs nothing
		s.HealthCheck = &h
	}
	e.project.p.Services[s.Name] = s
	return f, true
}

func text(v any) string {
	s, _ := v.(string) // absent is ""
	return s
}

func list(v any) []string {
	items, _ := v.([]any) // absent is none
	var out []string
	for _, i := range items {
		out = append(out, strings.TrimSpace(fmt.Sprint(i)))
	}
	return out
}

// Embedded names the services of a shipped environment that declare an embedded fallback, sorted.
func (p *Project) Embedded() []string {
	var out []string
	for _, name := range p.p.ServiceNames() {
		x, ok := p.p.Services[name].Extensions["x-discompose"].(map[string]any)
		if ok && p.shipped != "" && x["fallback"] == "embedded" {
			out = append(out, name)
		}
	}
	return out
}
