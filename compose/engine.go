package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/connhelper"
	dockerctx "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/pkg/api"
	sdk "github.com/docker/compose/v5/pkg/compose"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"
	"github.com/spf13/pflag"
)

// ErrEngine says that the Docker engine cannot be used: no endpoint, no answer, or not the right one.
var ErrEngine = errors.New("docker engine is not available")

// EngineError is an engine that cannot be used. It wraps ErrEngine and the cause.
type EngineError struct {
	Endpoint string // as resolved; empty where that failed
	Source   string // the setting that chose it: "DOCKER_HOST", "context colima", "default"
	Err      error
}

// Error names the endpoint, the setting that it comes from, the cause, and what to do.
func (e *EngineError) Error() string {
	at := ""
	if e.Endpoint != "" {
		at = " at " + e.Endpoint
	}
	cause := strings.TrimSuffix(fmt.Sprint(e.Err), ". Is the docker daemon running?")
	return fmt.Sprintf("%v%s (from %s): %s; is Docker running, and may this user reach it? `docker version` shows the same endpoint",
		ErrEngine, at, e.Source, cause)
}

// Unwrap gives ErrEngine and the cause.
func (e *EngineError) Unwrap() []error { return []error{ErrEngine, e.Err} }

// Engine is one Docker engine, reached through one endpoint by both the Compose SDK and the Docker client.
// It is safe for concurrent use; Close ends it.
type Engine struct {
	docker   *client.Client
	cli      *command.DockerCli
	config   *configfile.ConfigFile
	endpoint string
	source   string
}

// Connect resolves the endpoint once, by docker/cli's rules (DOCKER_HOST, DOCKER_CONTEXT, the current context, TLS
// settings, ssh), and asks the engine whether it is there. Every error is an *EngineError. Nothing is written to standard
// output or standard error.
func Connect(ctx context.Context) (*Engine, error) {
	quietSDK()
	opts := clientOptions()
	cfg := config.LoadDefaultConfigFile(io.Discard)
	e := &Engine{config: cfg, source: endpointSource(cfg)}

	// The CLI exits the process where it cannot make a client, so the client is made, with errors, before it.
	api, err := command.NewAPIClientFromFlags(opts, cfg)
	if err != nil {
		return nil, e.broken(err)
	}
	e.endpoint = api.DaemonHost()
	e.cli, err = command.NewDockerCli(command.WithBaseContext(ctx), command.WithCombinedStreams(io.Discard),
		command.WithInputStream(io.NopCloser(strings.NewReader(""))), command.WithAPIClient(api))
	if err != nil {
		return nil, e.broken(err)
	}
	if err := e.cli.Initialize(opts); err != nil {
		return nil, e.broken(err)
	}
	endpoint := e.cli.DockerEndpoint()
	if endpoint.Host == "" {
		return nil, e.broken(errors.New("no endpoint"))
	}
	e.endpoint = endpoint.Host
	if e.docker, err = newClient(endpoint, cfg); err != nil {
		return nil, e.broken(err)
	}
	if _, err := e.docker.Ping(ctx); err != nil {
		return nil, errors.Join(e.broken(err), e.docker.Close())
	}
	return e, nil
}

func (e *Engine) broken(err error) error {
	return &EngineError{Endpoint: e.endpoint, Source: e.source, Err: err}
}

// clientOptions are the options that the docker command has without any flag: the environment's.
func clientOptions() *flags.ClientOptions {
	opts := flags.NewClientOptions()
	set := pflag.NewFlagSet("docker", pflag.ContinueOnError)
	opts.InstallFlags(set)
	opts.SetDefaultOptions(set)
	return opts
}

// endpointSource names the setting that docker/cli takes the endpoint from (cli/command.resolveContextName, v29).
func endpointSource(cfg *configfile.ConfigFile) string {
	switch {
	case os.Getenv("DOCKER_HOST") != "":
		return "DOCKER_HOST"
	case os.Getenv("DOCKER_CONTEXT") != "":
		return "DOCKER_CONTEXT, context " + os.Getenv("DOCKER_CONTEXT")
	case cfg.CurrentContext != "":
		return "context " + cfg.CurrentContext + " in " + cfg.Filename
	}
	return "the default"
}

// newClient makes the docker/docker client from the endpoint that the CLI resolved.
func newClient(ep dockerctx.Endpoint, cfg *configfile.ConfigFile) (*client.Client, error) {
	opts := []client.Opt{client.WithAPIVersionNegotiation(), client.WithVersionFromEnv()}
	if len(cfg.HTTPHeaders) > 0 {
		opts = append(opts, client.WithHTTPHeaders(cfg.HTTPHeaders))
	}
	helper, err := connhelper.GetConnectionHelper(ep.Host)
	if err != nil {
		return nil, err
	}
	if helper != nil {
		opts = append(opts, client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
			client.WithHost(helper.Host), client.WithDialContext(helper.Dialer))
		return client.NewClientWithOpts(opts...)
	}
	if !local(ep.Host) && (ep.TLSData != nil || ep.SkipTLSVerify) {
		httpClient, err := tlsClient(ep)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithHTTPClient(httpClient))
	}
	return client.NewClientWithOpts(append(opts, client.WithHost(ep.Host))...)
}

// tlsClient is an HTTP client with the endpoint's certificates.
func tlsClient(ep dockerctx.Endpoint) (*http.Client, error) {
	tls := tlsconfig.ClientDefault()
	tls.InsecureSkipVerify = ep.SkipTLSVerify // the user's own setting (DOCKER_TLS_VERIFY, or the context's)
	if ep.TLSData != nil {
		if err := addTLSData(tls, ep.TLSData); err != nil {
			return nil, err
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: tls}, CheckRedirect: client.CheckRedirect}, nil
}

// local tells whether an endpoint is a socket or a pipe of this machine.
func local(host string) bool {
	scheme, _, _ := strings.Cut(host, "://")
	return scheme == "unix" || scheme == "npipe" || scheme == "fd"
}

// Docker is the client for everything that is not Compose. It stays the Engine's; do not close it.
func (e *Engine) Docker() *client.Client { return e.docker }

// Endpoint is the address of the engine: "unix:///var/run/docker.sock", "ssh://host".
func (e *Engine) Endpoint() string { return e.endpoint }

// Source names the setting that the endpoint comes from.
func (e *Engine) Source() string { return e.source }

// Local reports whether the endpoint is a socket of this machine. A virtual machine (Docker Desktop) counts as local.
func (e *Engine) Local() bool { return local(e.endpoint) }

// Close ends both clients.
func (e *Engine) Close() error {
	return errors.Join(e.docker.Close(), e.cli.Client().Close())
}

// Info is what the engine says about itself. Zero fields are unknown.
type Info struct {
	Version       string `json:"version"`     // "20.10.24"
	APIVersion    string `json:"api_version"` // negotiated: "1.41"
	Name          string `json:"name"`        // host name
	OS            string `json:"os"`          // "linux"
	OSName        string `json:"os_name"`     // "Debian GNU/Linux 12"
	Arch          string `json:"arch"`        // as Go names it: "amd64"
	Kernel        string `json:"kernel"`
	CgroupVersion int    `json:"cgroup_version"` // 1 or 2
	CgroupDriver  string `json:"cgroup_driver"`  // "cgroupfs", "systemd"
	Storage       string `json:"storage"`        // "overlay2"
	RootDir       string `json:"root_dir"`       // on the engine's host
	CPUs          int    `json:"cpus"`
	MemoryBytes   int64  `json:"memory_bytes"`
	Rootless      bool   `json:"rootless"`
	UserNS        bool   `json:"userns"` // userns-remap
	Desktop       bool   `json:"desktop"`
	Containerd    bool   `json:"containerd"` // containerd image store
}

// Info asks the engine about itself. Its errors wrap ErrEngine.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	v, err := e.docker.ServerVersion(ctx)
	if err != nil {
		return Info{}, e.broken(err)
	}
	i, err := e.docker.Info(ctx)
	if err != nil {
		return Info{}, e.broken(err)
	}
	out := Info{
		Version: v.Version, APIVersion: e.docker.ClientVersion(), Name: i.Name, OS: i.OSType, OSName: i.OperatingSystem,
		Arch: v.Arch, Kernel: i.KernelVersion, CgroupDriver: i.CgroupDriver, Storage: i.Driver, RootDir: i.DockerRootDir,
		CPUs: i.NCPU, MemoryBytes: i.MemTotal, Desktop: strings.Contains(i.OperatingSystem, "Docker Desktop"),
	}
	out.CgroupVersion = 1
	if i.CgroupVersion == "2" {
		out.CgroupVersion = 2
	}
	for _, o := range i.SecurityOptions {
		out.Rootless = out.Rootless || strings.Contains(o, "name=rootless")
		out.UserNS = out.UserNS || strings.Contains(o, "name=userns")
	}
	for _, s := range i.DriverStatus {
		out.Containerd = out.Containerd || strings.Contains(s[1], "io.containerd.snapshotter")
	}
	return out, nil
}

// service makes a Compose service of the SDK that reports to progress and writes nowhere.
func (e *Engine) service(progress func(Event)) (api.Compose, error) {
	yes := func(string, bool) (bool, error) { return true, nil }
	s, err := sdk.NewComposeService(e.cli, sdk.WithStreams(io.Discard, io.Discard, strings.NewReader("")),
		sdk.WithPrompt(yes), sdk.WithEventProcessor(&progressBus{to: progress}))
	if err != nil {
		return nil, fmt.Errorf("make compose service: %w", err)
	}
	return s, nil
}
