package compose

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// maxOutput is how much of a command's output is kept.
const maxOutput = 1 << 20

// ExecResult is what a command in a service did.
type ExecResult struct {
	Out  []byte // standard output and standard error, as they came, at most 1 MiB
	Code int
}

// Exec runs a command in a running container of a service and waits for its end. An exit code is no error. Where ctx ends
// first Exec returns its cause; the engine has no call that ends a command, so it goes on in the container.
func (e *Environment) Exec(ctx context.Context, service string, number int, argv []string) (ExecResult, error) {
	if len(argv) == 0 {
		return ExecResult{}, fmt.Errorf("exec in %s: no command", service)
	}
	c, err := e.Container(ctx, service, number)
	if err != nil {
		return ExecResult{}, err
	}
	r, err := e.execIn(ctx, c.ID, argv)
	if err != nil {
		return r, fmt.Errorf("exec %v in %s: %w", argv, c, err)
	}
	return r, nil
}

func (e *Environment) execIn(ctx context.Context, id string, argv []string) (ExecResult, error) {
	d := e.engine.docker
	created, err := d.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return ExecResult{}, err
	}
	stream, err := d.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return ExecResult{}, err
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close) // unblocks the copy
	defer stop()
	out := &limited{most: maxOutput}
	if _, err := stdcopy.StdCopy(out, out, stream.Reader); err != nil && ctx.Err() == nil {
		return ExecResult{Out: out.Bytes()}, err
	}
	if ctx.Err() != nil {
		return ExecResult{Out: out.Bytes()}, context.Cause(ctx)
	}
	code, err := e.exitCode(ctx, created.ID)
	return ExecResult{Out: out.Bytes(), Code: code}, err
}

// limited keeps the first bytes and swallows the rest.
type limited struct {
	bytes.Buffer
	most int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if room := l.most - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// RunOneShot runs a service once, as its own container "<service>-run-<n>", and waits for its end; what it depends on must
// be ready. The container stays until Down, so that its log is saved. An exit code is no error.
func (e *Environment) RunOneShot(ctx context.Context, service string) (ExecResult, error) {
	if e.attached {
		return ExecResult{}, fmt.Errorf("run service %s: project %s is attached", service, e.name)
	}
	p, name, err := e.oneShotProject(service)
	if err != nil {
		return ExecResult{}, err
	}
	s, err := e.engine.service(nil)
	if err != nil {
		return ExecResult{}, err
	}
	seen := listen()
	defer seen.stop()
	build := api.BuildOptions{Progress: "quiet", Quiet: true}
	err = s.Create(ctx, p, api.CreateOptions{Build: &build, IgnoreOrphans: true, QuietPull: true})
	if err == nil && e.project.disabled(service) {
		err = e.fill(ctx, service, nil)
	}
	if err == nil {
		err = s.Start(ctx, e.name, api.StartOptions{Project: p})
	}
	if err != nil {
		return ExecResult{}, fmt.Errorf("run service %s: %w", service, err)
	}
	c, err := e.Container(ctx, name, 1)
	if err != nil {
		return ExecResult{}, fmt.Errorf("run service %s: %w", service, err)
	}
	return e.waitExit(ctx, c)
}

// oneShotProject is a project of one service: a copy under another name, so that the SDK never takes the service's own
// containers for outdated ones.
func (e *Environment) oneShotProject(service string) (*types.Project, string, error) {
	s, ok := e.project.p.Services[service]
	if !ok {
		s, ok = e.project.p.DisabledServices[service]
	}
	if !ok {
		return nil, "", fmt.Errorf("run service %q: there is no such service in project %s", service, e.name)
	}
	if err := e.project.mayRun(s); err != nil {
		return nil, "", fmt.Errorf("run service %q: %w", service, err)
	}
	name := fmt.Sprintf("%s-run-%06x", service, rand.Uint32()&0xffffff)
	if s.Image == "" {
		s.Image = api.GetImageNameOrDefault(s, e.name)
	}
	one := 1
	s.Name, s.ContainerName, s.Scale, s.Deploy, s.Restart = name, "", &one, nil, "no"
	s.DependsOn, s.Ports, s.Profiles = nil, nil, nil
	s.CustomLabels = maps.Clone(s.CustomLabels)
	s.CustomLabels[api.ServiceLabel] = name
	p := *e.project.p
	p.Services = types.Services{name: s}
	p.DisabledServices = nil
	return p.WithoutUnnecessaryResources(), name, nil
}

func (p *Project) disabled(service string) bool {
	_, ok := p.p.DisabledServices[service]
	return ok
}

// mayRun tells what isolation refused of a disabled service.
func (p *Project) mayRun(s types.ServiceConfig) error {
	items := []string{"service " + s.Name}
	for key := range s.Networks {
		items = append(items, "network "+key)
	}
	for _, v := range s.Volumes {
		items = append(items, "volume "+v.Source)
	}
	var errs []error
	for _, item := range items {
		errs = append(errs, p.blocked[item])
	}
	return errors.Join(errs...)
}

func (e *Environment) waitExit(ctx context.Context, c Container) (ExecResult, error) {
	done, errs := e.engine.docker.ContainerWait(ctx, c.ID, container.WaitConditionNotRunning)
	select {
	case r := <-done:
		logs, err := e.engine.docker.ContainerLogs(ctx, c.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			return ExecResult{Code: int(r.StatusCode)}, fmt.Errorf("read log of %s: %w", c.Name, err)
		}
		out := &limited{most: maxOutput}
		_, err = stdcopy.StdCopy(out, out, logs)
		return ExecResult{Out: out.Bytes(), Code: int(r.StatusCode)}, errors.Join(err, logs.Close())
	case err := <-errs:
		return ExecResult{}, fmt.Errorf("wait for %s: %w", c.Name, errors.Join(err, context.Cause(ctx)))
	}
}

// frame is one message of a container's log as the engine frames it.
type frame struct {
	stderr bool
	text   []byte
}

// readFrame reads one frame of a multiplexed stream (moby, api/types/container: 8 bytes, stream and length).
func readFrame(r io.Reader) (frame, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	size := binary.BigEndian.Uint32(head[4:])
	if size > 1<<26 {
		return frame{}, fmt.Errorf("read log: a frame of %d bytes", size)
	}
	text := make([]byte, size)
	_, err := io.ReadFull(r, text)
	return frame{stderr: head[0] == byte(stdcopy.Stderr), text: text}, err
}
