package runner

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
)

// imageVariable is how a shipped environment names the image of the binary itself.
const imageVariable = "DISCOMPOSE_IMAGE"

// prepare loads the project, starts the agent and makes the plan. Nothing of the environment is started yet.
func (r *run) prepare(ctx context.Context, cancel context.CancelCauseFunc) error {
	if err := r.open(); err != nil {
		return err
	}
	var err error
	if r.engine, err = compose.Connect(ctx); err != nil {
		return err
	}
	if err := r.describeEngine(ctx); err != nil {
		return err
	}
	image, err := EnsureImage(ctx, r.engine.Docker(), func(text string) { r.say(Event{Kind: EventProgress, Text: text}) })
	if err != nil {
		return fmt.Errorf("prepare the image of the agent: %w", err)
	}
	r.image = image.Ref
	services, err := r.loadProject(ctx)
	if err != nil {
		return err
	}
	if err := r.o.Scenario.CheckServices(services); err != nil {
		return err
	}
	if err := r.startAgent(ctx, cancel); err != nil {
		return err
	}
	facts := r.fenv.Facts()
	r.plan, err = NewPlan(r.o.Scenario, services, r.info.Isolation, &facts, r.info.Seed)
	if err != nil {
		return err
	}
	return r.writePlan()
}

// open makes the files of the run directory.
func (r *run) open() error {
	s := r.o.Scenario
	r.info = ledger.Run{
		V: ledger.FormatVersion, ID: r.dir.ID, Scenario: s.Name, Description: s.Description, Source: s.Origin.Path, Args: r.o.Args,
		Version: r.o.Version, Project: "dc" + r.dir.ID, Started: time.Now().UTC().Format(time.RFC3339), Mechanisms: map[string]string{},
	}
	if s.Seed != nil {
		r.info.Seed = *s.Seed
	} else {
		r.info.Seed = time.Now().UnixNano() & 0x7fffffff
	}
	var err error
	if r.store, err = ledger.Create(r.dir.Path); err != nil {
		return err
	}
	if r.file, err = openJournal(r.dir.Path); err != nil {
		return err
	}
	if err := r.dir.Write(fileScenario, s.Origin.Source); err != nil {
		return err
	}
	return ledger.WriteRun(r.dir.Path, r.info)
}

func (r *run) describeEngine(ctx context.Context) error {
	info, err := r.engine.Info(ctx)
	if err != nil {
		return err
	}
	r.info.Engine = EngineOf(info, r.engine.Endpoint())
	return nil
}

// EngineOf is what run.json and doctor tell of an engine.
func EngineOf(i compose.Info, endpoint string) ledger.Engine {
	return ledger.Engine{
		Endpoint: endpoint, Version: i.Version, API: i.APIVersion, OS: i.OSName, Arch: i.Arch, Kernel: i.Kernel,
		Cgroup: strconv.Itoa(i.CgroupVersion), Storage: i.Storage, CPUs: i.CPUs, Memory: i.MemoryBytes,
	}
}

// loadProject reads the Compose files and keeps the run apart from the user's own stack.
func (r *run) loadProject(ctx context.Context) ([]scenarios.Service, error) {
	s := r.o.Scenario
	if s.Environment.Attach != "" {
		env, err := r.engine.Attach(ctx, s.Environment.Attach)
		if err != nil {
			return nil, err
		}
		r.env, r.info.Project, r.info.Attached = env, s.Environment.Attach, true
		attached, err := env.Services(ctx)
		return ServicesOf(attached), err
	}
	project, err := LoadProject(ctx, s, r.image)
	if err != nil {
		return nil, err
	}
	changes, err := project.Isolate(compose.IsolateOptions{
		Project: r.info.Project, Run: r.info.ID, Share: s.Environment.Share, Publish: s.Environment.Publish,
		Used: func() ([]netip.Prefix, error) { return r.engine.UsedSubnets(ctx) },
	})
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		r.info.Isolation = append(r.info.Isolation, c.String())
	}
	r.env = r.engine.Environment(project, compose.RunInfo{Run: r.info.ID, Dir: r.dir.Path})
	return ServicesOf(project.Services()), nil
}

// LoadProject reads the Compose files of a scenario's environment. image is that of the binary itself, for shipped
// environments that use it.
func LoadProject(ctx context.Context, s *scenarios.Scenario, image string) (*compose.Project, error) {
	e := s.Environment
	env := map[string]string{}
	for k, v := range e.Env {
		env[k] = v
	}
	o := compose.LoadOptions{Dir: s.Origin.Dir, Profiles: e.Profiles, Env: env, EnvFiles: e.EnvFile}
	if e.Use != "" {
		env[imageVariable] = image
		return compose.LoadShipped(ctx, e.Use, o)
	}
	o.Files = e.Files
	return compose.Load(ctx, o)
}

// ServicesOf is what the scenario language needs to know of a project's services.
func ServicesOf(in []compose.Service) []scenarios.Service {
	var out []scenarios.Service
	for _, s := range in {
		out = append(out, scenarios.Service{
			Name: s.Name, Replicas: s.Replicas, Ports: s.Ports, Restart: s.Restart, NetworkMode: s.NetworkMode, Volumes: s.Volumes, Healthcheck: s.Healthcheck,
		})
	}
	return out
}

// startAgent starts the privileged role and keeps its lease; where the engine refuses it, the run goes on with the
// Docker API alone.
func (r *run) startAgent(ctx context.Context, cancel context.CancelCauseFunc) error {
	docker := r.engine.Docker()
	r.fenv = faults.Env{Engine: engine.New(docker), Journal: r.undo.state, Now: r.clock.now}
	journal := &journalFile{file: r.file, now: r.clock.now, ctx: context.WithoutCancel(ctx)}
	r.undo.state.Commit = journal.commit
	labels := map[string]string{}
	if r.info.Attached {
		labels[labelAttached] = "true"
	}
	conn, err := r.agentConn(ctx, docker, agent.AgentOptions{
		Labels: labels,
		Image:  r.image, Name: AgentName(r.info.Project), Run: r.info.ID, Project: r.info.Project, Dir: r.dir.Path, Lease: leaseTime,
		OnEvent: func(e agent.Event) { r.note("agent", e.Name, "", string(e.Data)) },
	})
	switch {
	case errors.Is(err, agent.ErrRefused):
		r.info.APIOnly = err.Error()
		r.say(Event{Kind: EventWarn, Text: "no agent, Docker API only: " + err.Error()})
	case err != nil:
		return fmt.Errorf("start the agent: %w", err)
	default:
		hello := agent.Hello{Run: r.info.ID, Project: r.info.Project, Keep: r.o.Keep, Attached: r.info.Attached}
		if r.host, err = newSession(ctx, conn, hello, func(err error) { cancel(err) }); err != nil {
			return err
		}
		r.fenv.Host = r.host
		if err := r.clock.sync(ctx, r.host.ping); err != nil {
			return err
		}
		r.info.ClockErrorNs = r.clock.errNs.Load()
		journal.sent = r.host.journal
	}
	note := faults.RunNote{Run: r.info.ID, Project: r.info.Project, Host: r.engine.Endpoint(), Attached: r.info.Attached, Keep: r.o.Keep}
	return r.undo.state.Identify(note)
}

func (r *run) agentConn(ctx context.Context, docker *client.Client, o agent.AgentOptions) (*agent.Conn, error) {
	if r.o.NoAgent {
		return nil, fmt.Errorf("%w: --no-agent", agent.ErrRefused)
	}
	conn, _, err := agent.StartAgent(ctx, docker, o)
	return conn, err
}

// AgentName is the name of a project's agent container: there can be one run on a project at a time.
func AgentName(project string) string { return "discompose-" + project }

func (r *run) writePlan() error {
	for _, in := range r.plan.Injections {
		r.info.Mechanisms[in.Fault.ID] = in.Mechanism
	}
	rules, err := encodeRules(r.plan)
	if err != nil {
		return err
	}
	r.info.Rules = rules
	if err := r.dir.Write(filePlan, []byte(r.plan.String())); err != nil {
		return err
	}
	return ledger.WriteRun(r.dir.Path, r.info)
}

// up brings the environment up and waits until it is ready, running setup steps where services wait for them.
func (r *run) up(ctx context.Context) error {
	s := r.o.Scenario
	r.backgroundCtx, r.stopBack = context.WithCancel(context.WithoutCancel(ctx))
	bctx := r.backgroundCtx
	if !r.info.Attached {
		pre, err := r.env.Preflight(ctx, compose.PreflightOptions{
			Pull: r.o.Pull, Fallback: r.o.Fallback && (s.Environment.Fallback == nil || *s.Environment.Fallback), SelfImage: r.image,
			Progress: r.composeProgress,
		})
		if err != nil {
			return err
		}
		r.fallbacks = pre.Fallbacks
		for _, f := range pre.Fallbacks {
			r.info.Fallbacks = append(r.info.Fallbacks, f.Notice)
			r.say(Event{Kind: EventWarn, Text: fmt.Sprintf("%s: %s (%s: %s)", f.Service, f.Notice, f.Image, f.Reason)})
		}
		for _, w := range pre.Warnings {
			r.say(Event{Kind: EventWarn, Text: w})
		}
		rendered, err := r.env.Render()
		if err != nil {
			return err
		}
		if err := r.dir.Write(fileRendered, rendered); err != nil {
			return err
		}
	}
	r.background.Go(func() {
		err := r.env.Events(bctx, func(e compose.Event) { r.dockerEvent(e) })
		if err != nil && bctx.Err() == nil {
			r.say(Event{Kind: EventWarn, Text: "follow the engine's events: " + err.Error()})
		}
	})
	if r.info.Attached {
		return nil
	}
	rctx, cancel := context.WithTimeoutCause(ctx, s.Environment.Ready.Std(), fmt.Errorf("%w: not ready within %s", compose.ErrNotReady, s.Environment.Ready))
	defer cancel()
	held := map[string]bool{}
	for _, step := range s.Setup {
		for _, name := range step.Before {
			held[name] = true
		}
	}
	if err := r.env.Up(rctx, compose.UpOptions{Hold: sortedKeys(held), Ready: s.Environment.Ready.Std(), Progress: r.composeProgress}); err != nil {
		return err
	}
	if err := r.steps(rctx, s.Setup, "setup"); err != nil {
		return err
	}
	if len(held) == 0 {
		return nil
	}
	return r.env.StartWith(rctx, sortedKeys(held), compose.StartOptions{Ready: s.Environment.Ready.Std(), Progress: r.composeProgress})
}

// composeProgress tells what Compose is doing.
func (r *run) composeProgress(e compose.Event) {
	r.say(Event{Kind: EventProgress, Text: strings.TrimSpace(e.Name + " " + e.Action + " " + e.Detail)})
}

// dockerEvent takes one event of the engine. Its time is the engine's wall clock: the age that it has by this machine's is
// subtracted from now, where the two clocks agree well enough.
func (r *run) dockerEvent(e compose.Event) {
	at := r.clock.now()
	if age := time.Now().UnixNano() - e.Time; age > 0 && age < int64(5*time.Second) {
		at -= age
	}
	if err := r.store.AddEvent(ledger.Event{At: at, Source: "docker", Type: e.Action, Service: e.Service, Detail: e.Detail}); err != nil {
		r.o.Log.Error("record event", "type", e.Action, "err", err)
	}
}

// setUp describes what runs and readies the clients.
func (r *run) setUp(ctx context.Context) error {
	images, err := r.env.Images(ctx)
	if err != nil {
		return err
	}
	services, err := r.env.Services(ctx)
	if err != nil {
		return err
	}
	r.info.Services = describeServices(services, images, r.fallbacks)
	if err := ledger.WriteRun(r.dir.Path, r.info); err != nil {
		return err
	}
	if r.fleet, err = r.startFleet(ctx, r.image); err != nil {
		return err
	}
	if r.host == nil {
		if err := r.syncByClient(ctx); err != nil {
			return err
		}
	}
	r.followOps(r.backgroundCtx, services)
	sctx, cancel := context.WithTimeout(ctx, r.o.Scenario.Environment.Ready.Std())
	defer cancel()
	return r.fleet.setup(sctx)
}

// syncByClient maps the clock through a client container where there is no agent.
func (r *run) syncByClient(ctx context.Context) error {
	if len(r.fleet.clients) == 0 {
		return nil
	}
	err := r.clock.sync(ctx, func(ctx context.Context) (int64, error) { return ping(ctx, r.fleet.clients[0].conn) })
	r.info.ClockErrorNs = r.clock.errNs.Load()
	return err
}

// steps runs setup or teardown steps in order, keeping their output in commands/.
func (r *run) steps(ctx context.Context, steps []scenarios.Step, what string) error {
	for i, step := range steps {
		name := fmt.Sprintf("%s-%d", what, i+1)
		r.say(Event{Kind: EventStep, Text: name + ": " + stepText(step)})
		sctx, cancel := context.WithTimeout(ctx, step.Timeout.Std())
		out, code, err := r.step(sctx, step)
		cancel()
		if werr := r.dir.Write(filepath.Join("commands", name+".log"), []byte(fmt.Sprintf("$ %s\n%s\nexit code %d\n", stepText(step), out, code))); werr != nil {
			return werr
		}
		if err != nil {
			return fmt.Errorf("%s (%s): %w", name, stepText(step), err)
		}
		if code != 0 {
			return fmt.Errorf("%s (%s): exit code %d: %s", name, stepText(step), code, lastLine(out))
		}
	}
	return nil
}

func (r *run) step(ctx context.Context, step scenarios.Step) (out string, code int, err error) {
	switch {
	case len(step.Command) > 0:
		return hostCommand(ctx, r.o.Scenario.Origin.Dir, step.Command)
	case len(step.Exec) > 0:
		res, err := r.env.Exec(ctx, step.Service, 1, step.Exec)
		return string(res.Out), res.Code, err
	}
	res, err := r.env.RunOneShot(ctx, step.Service)
	return string(res.Out), res.Code, err
}

func stepText(s scenarios.Step) string {
	switch {
	case len(s.Command) > 0:
		return fmt.Sprintf("%q on the host", s.Command)
	case len(s.Exec) > 0:
		return fmt.Sprintf("%q in %s", s.Exec, s.Service)
	}
	return "run " + s.Service
}

// describeServices joins services and the images that they run.
func describeServices(services []compose.Service, images []compose.Image, fallbacks []compose.Fallback) []ledger.Service {
	var out []ledger.Service
	for _, s := range services {
		d := ledger.Service{Name: s.Name, Image: s.Image, Replicas: s.Replicas}
		for _, i := range images {
			if i.Service == s.Name {
				d.Digest = i.ID
				if len(i.Digests) > 0 {
					d.Digest = i.Digests[0]
				}
				if d.Image == "" {
					d.Image = i.Ref
				}
			}
		}
		for _, f := range fallbacks {
			if f.Service == s.Name {
				d.Fallback = "embedded"
			}
		}
		out = append(out, d)
	}
	return out
}

// target finds the container of a reference as it is now.
func (r *run) target(ctx context.Context, ref scenarios.Ref) (faults.Target, error) {
	all, err := r.env.Containers(ctx)
	if err != nil {
		return faults.Target{}, err
	}
	for _, c := range all {
		if c.Service == ref.Service && c.Number == max(ref.Number, 1) {
			return faults.Target{Service: c.Service, Number: c.Number, Container: c.ID, Name: c.Name}, nil
		}
	}
	return faults.Target{}, fmt.Errorf("find %s: %w", refText(ref), faults.ErrGone)
}
