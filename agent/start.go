package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
)

// ErrRefused says that the engine or its host does not allow the agent: the caller goes on with the API alone.
var ErrRefused = errors.New("agent refused")

// ErrBusy says that another run works on the project. The error is a *BusyError.
var ErrBusy = errors.New("project is in use by another run")

// BusyError names the run whose agent holds a project.
type BusyError struct {
	Name  string // of the container
	Run   string // id of the run; empty if the container is not one of ours
	Dir   string // the run's directory, on the host of its runner
	State string // of the container: "running"
}

// Error says who holds the project and how to get it back.
func (e *BusyError) Error() string {
	if e.Run == "" {
		return fmt.Sprintf("%v: a container named %s that is not discompose's is there: remove or rename it", ErrBusy, e.Name)
	}
	where := e.Dir
	if where == "" {
		where = e.Run
	}
	return fmt.Sprintf("%v: run %s (agent %s, %s): wait for it to end, or undo it with \"discompose heal %s\"",
		ErrBusy, e.Run, e.Name, e.State, where)
}

// Is makes the error match ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// AgentOptions says how to start the agent. Image, Name, Run and Project are required.
type AgentOptions struct { //nolint:revive // the agent of a package that also has ClientOptions, not a stutter
	Image   string // Image.Ref
	Name    string // of the container: "discompose-<project>"; it keeps a second run off the project
	Run     string // the run's id
	Project string
	Dir     string            // absolute path of the run directory; becomes a label
	Labels  map[string]string // more labels
	// SocketPath is the engine's socket on the engine's host. Empty: where the engine says so, else /var/run/docker.sock.
	SocketPath string
	// Lease is how long the agent waits for a renewal, also before Hello; it is handed over as LeaseEnv. Zero is
	// DefaultLease.
	Lease   time.Duration
	OnEvent func(Event) // see NewConn; may be nil
	Args    []string    // the command; default RoleAgent
}

// capabilities is what the agent's operations need. --privileged fails where the engine itself lacks a capability.
func capabilities() []string {
	return []string{
		"SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "SYS_CHROOT", "DAC_OVERRIDE", "DAC_READ_SEARCH", "MKNOD", "KILL",
		"SYS_NICE", "IPC_LOCK",
	}
}

const socketInside = "/var/run/docker.sock"

// StartAgent starts the agent's container and returns its stream and its full id. Hello must be the first call on it.
// Errors: ErrRefused where the engine does not allow such a container, a *BusyError (ErrBusy) where the name is
// taken; others mean that the engine could not be reached or ctx ended. Nothing is left after an error.
func StartAgent(ctx context.Context, docker *client.Client, o AgentOptions) (*Conn, string, error) {
	info, err := docker.Info(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("ask engine for its facts: %w", err)
	}
	if hasOption(info, "rootless") {
		return nil, "", fmt.Errorf("%w: the engine is rootless, its agent would have no power over cgroups and processes of the host", ErrRefused)
	}
	h := &container.HostConfig{
		NetworkMode: "none",
		PidMode:     "host",
		UsernsMode:  "host",
		CapDrop:     []string{"ALL"},
		CapAdd:      capabilities(),
		SecurityOpt: []string{"seccomp=unconfined", "apparmor=unconfined", "label=disable"},
		AutoRemove:  true,
		LogConfig:   container.LogConfig{Type: "none"},
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: cgroupRoot, Target: cgroupRoot},
			{Type: mount.TypeBind, Source: socketOnHost(docker, info, o.SocketPath), Target: socketInside},
		},
	}
	if info.CgroupVersion == "2" {
		h.CgroupnsMode = container.CgroupnsModeHost
	}
	if len(o.Args) == 0 {
		o.Args = []string{RoleAgent}
	}
	stop := 60 // seconds to heal in, on "docker stop"
	c := &container.Config{
		Image: o.Image, Cmd: o.Args, StopTimeout: &stop, StopSignal: "SIGTERM",
		Env:    []string{"DOCKER_HOST=unix://" + socketInside},
		Labels: labels(o.Labels, map[string]string{LabelRun: o.Run, LabelRole: RoleAgent, LabelProject: o.Project, LabelDir: o.Dir}),
	}
	if o.Lease > 0 {
		c.Env = append(c.Env, LeaseEnv+"="+o.Lease.String())
	}
	conn, id, err := start(ctx, docker, spec{name: o.Name, config: c, host: h, onEvent: o.OnEvent})
	if err != nil {
		return nil, "", refusal(ctx, err)
	}
	return conn, id, nil
}

// LeaseEnv is the environment variable in which StartAgent hands AgentOptions.Lease to the agent's command, as a Go
// duration. The command passes it on as ServeOptions.Lease.
const LeaseEnv = "DISCOMPOSE_LEASE"

// refusal tells a host that does not allow the agent from an engine that could not be asked.
func refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrBusy) || client.IsErrConnectionFailed(err) || errdefs.IsNotFound(err) {
		return fmt.Errorf("start agent: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

func hasOption(info system.Info, name string) bool {
	return slices.ContainsFunc(info.SecurityOptions, func(s string) bool {
		return slices.Contains(strings.Split(s, ","), "name="+name)
	})
}

// socketOnHost is where the engine's socket lies on the engine's own host. A local path means something there only
// where client and engine share the host.
func socketOnHost(docker *client.Client, info system.Info, set string) string {
	if set != "" {
		return set
	}
	path, unix := strings.CutPrefix(docker.DaemonHost(), "unix://")
	if unix && runtime.GOOS == "linux" && !strings.Contains(info.OperatingSystem, "Docker Desktop") {
		return path
	}
	return socketInside
}

// ClientOptions says how to start a client. Image, Name, Run and Project are required.
type ClientOptions struct {
	Image    string // Image.Ref
	Name     string
	Run      string
	Project  string
	Networks []string          // ids; none is a container without a network
	Labels   map[string]string // more labels
	OnEvent  func(Event)       // see NewConn; may be nil
	Args     []string          // the command; default RoleClient
	Env      []string          // "KEY=value"
}

// StartClient starts an ordinary container, without any capability and with a read-only root, in the given networks,
// and returns its stream and its full id. Errors are the engine's, or a *BusyError for a name that is taken. Nothing
// is left after an error.
func StartClient(ctx context.Context, docker *client.Client, o ClientOptions) (*Conn, string, error) {
	if len(o.Args) == 0 {
		o.Args = []string{RoleClient}
	}
	s := spec{
		name: o.Name, networks: o.Networks, onEvent: o.OnEvent,
		config: &container.Config{
			Image: o.Image, Cmd: o.Args, Env: o.Env,
			Labels: labels(o.Labels, map[string]string{LabelRun: o.Run, LabelRole: RoleClient, LabelProject: o.Project}),
		},
		host: &container.HostConfig{
			NetworkMode:    "none",
			CapDrop:        []string{"ALL"},
			SecurityOpt:    []string{"no-new-privileges"},
			ReadonlyRootfs: true,
			Tmpfs:          map[string]string{"/tmp": ""},
			AutoRemove:     true,
			LogConfig:      container.LogConfig{Type: "none"},
		},
	}
	if len(o.Networks) > 0 {
		s.host.NetworkMode = container.NetworkMode(o.Networks[0])
	}
	conn, id, err := start(ctx, docker, s)
	if err != nil {
		return nil, "", fmt.Errorf("start client %s: %w", o.Name, err)
	}
	return conn, id, nil
}

func labels(more, ours map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, more)
	for k, v := range ours {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

// spec is a container to start with its stream attached.
type spec struct {
	name     string
	config   *container.Config
	host     *container.HostConfig
	networks []string // ids; the first one is host.NetworkMode
	onEvent  func(Event)
}

func start(ctx context.Context, docker *client.Client, s spec) (conn *Conn, id string, err error) {
	s.config.OpenStdin, s.config.StdinOnce = true, true
	s.config.AttachStdin, s.config.AttachStdout, s.config.AttachStderr = true, true, true
	id, err = create(ctx, docker, s)
	if err != nil {
		return nil, "", err
	}
	made := id // the results are cleared by the time the deferred function runs
	defer func() {
		if err == nil {
			return
		}
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		rerr := docker.ContainerRemove(rctx, made, container.RemoveOptions{Force: true})
		if rerr != nil && !errdefs.IsNotFound(rerr) && !errdefs.IsConflict(rerr) {
			err = errors.Join(err, fmt.Errorf("remove container %s: %w", short(made), rerr))
		}
	}()
	for _, n := range s.networks[min(1, len(s.networks)):] {
		// One by one: engines before API 1.44 take a single network at creation.
		if err := docker.NetworkConnect(ctx, n, id, &network.EndpointSettings{}); err != nil {
			return nil, "", fmt.Errorf("connect to network %s: %w", short(n), err)
		}
	}
	stream, err := docker.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, "", fmt.Errorf("attach to container: %w", err)
	}
	if err := docker.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		stream.Close()
		return nil, "", fmt.Errorf("start container: %w", err)
	}
	conn = newConn(s.onEvent)
	conn.abort = stream.Conn.Close
	conn.start(newDemux(stream.Reader, conn.stderr), stdin{stream})
	return conn, id, nil
}

// stdin is the writing half of an attach stream; closing it ends the container's input and nothing else.
type stdin struct{ types.HijackedResponse }

var _ io.WriteCloser = stdin{}

func (s stdin) Write(p []byte) (int, error) { return s.Conn.Write(p) }
func (s stdin) Close() error                { return s.CloseWrite() }

// createBudget bounds one create call.
const createBudget = 20 * time.Second

// create makes the container. The agent of a run that has just ended may still hold the name for a moment.
func create(ctx context.Context, docker *client.Client, s spec) (string, error) {
	const wait, step = 3 * time.Second, 50 * time.Millisecond
	for left := wait; ; left -= step {
		// A create that is cancelled here may still land on the engine, and nobody would know its id: it is waited for, and
		// what comes of it is removed by the caller where ctx has ended.
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createBudget)
		got, err := docker.ContainerCreate(cctx, s.config, s.host, &network.NetworkingConfig{}, nil, s.name)
		cancel()
		if err == nil {
			return got.ID, nil
		}
		if !errdefs.IsConflict(err) {
			return "", fmt.Errorf("create container: %w", err)
		}
		other, ierr := docker.ContainerInspect(ctx, s.name)
		switch {
		case errdefs.IsNotFound(ierr) && left > 0: // it went away meanwhile
		case ierr != nil:
			return "", fmt.Errorf("create container: %w", errors.Join(err, ierr))
		case left <= 0 || other.State.Running || other.Config.Labels[LabelRun] == "":
			l := other.Config.Labels
			return "", &BusyError{Name: s.name, Run: l[LabelRun], Dir: l[LabelDir], State: other.State.Status}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("create container: %w", context.Cause(ctx))
		case <-time.After(step):
		}
	}
}
