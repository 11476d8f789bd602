package runner

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
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
	if err := r.takeOver(ctx); err != nil {
		return err
	}
	var err error
	if r.taken == nil {
		if r.engine, err = compose.Connect(ctx); err != nil {
			return err
		}
	}
	if err := r.describeEngine(ctx); err != nil {
		return err
	}
	image, err := r.o.Image.ensure(ctx, r.engine.Docker(), func(text string) { r.say(Event{Kind: EventProgress, Text: text}) })
	if err != nil {
		return fmt.Errorf("prepare the image of the agent: %w", err)
	}
	r.image, r.info.Build = image.Ref, image.Hash
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
	if r.taken != nil {
		if err := r.taken.relieve(ctx); err != nil {
			return err
		}
	}
	facts := r.fenv.Facts()
	r.plan, err = NewPlan(r.o.Scenario, services, r.info.Isolation, &facts, r.info.Seed)
	if err != nil {
		return err
	}
	if err := r.writePlan(); err != nil {
		return err
	}
	return r.route(ctx)
}

// open makes the files of the run directory.
func (r *run) open() error {
	s := r.o.Scenario
	r.info = ledger.Run{
		V: ledger.RunVersion, ID: r.dir.ID, Scenario: s.Name, Description: s.Description, Source: s.Origin.Path, Args: r.o.Args,
		Version: r.o.Version, Project: "dc" + r.dir.ID, Injected: r.o.inject, Started: time.Now().UTC().Format(time.RFC3339), Mechanisms: map[string]string{},
		Phases: r.info.Phases, Digest: r.o.Digest,
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
	if r.taken != nil {
		return ServicesOf(r.env.Project().Services()), nil
	}
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
			Name: s.Name, Replicas: s.Replicas, Ports: s.Ports, UDPPorts: s.UDPPorts, HostPorts: s.HostPorts, Restart: s.Restart, NetworkMode: s.NetworkMode, Networks: s.Networks, Volumes: s.Volumes,
			Healthcheck: s.Healthcheck, OneShot: s.OneShot, Names: s.Names,
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
	note := faults.RunNote{Run: r.info.ID, Project: r.info.Project, Host: r.engine.Endpoint(), Attached: r.info.Attached, Keep: r.o.Keep}
	if r.info.Attached {
		labels[labelAttached] = "true"
	}
	if r.taken != nil {
		note.Owner, note.OwnerDir = r.taken.owner.ID, r.taken.owner.Path
		labels[labelOwner] = note.Owner
	}
	conn, err := r.agentConn(ctx, docker, agent.AgentOptions{
		Labels: labels,
		Image:  r.image, Name: AgentName(r.info.Project), Run: r.info.ID, Project: r.info.Project, Dir: r.dir.Path, Lease: leaseTime,
		OnEvent: func(e agent.Event) { r.agentEvent(cancel, e) },
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
		if err := r.mapClock(ctx, r.host.ping); err != nil {
			return err
		}
		journal.sent = r.host.journal
	}
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
	text := r.plan.String()
	if r.o.inject { // nothing is judged
		text = r.plan.Injection()
	} else {
		rules, err := encodeRules(r.plan)
		if err != nil {
			return err
		}
		r.info.Rules = rules
	}
	if err := r.dir.Write(filePlan, []byte(text)); err != nil {
		return err
	}
	return ledger.WriteRun(r.dir.Path, r.info)
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
	r.followOps(r.backgroundCtx, services) //nolint:contextcheck // they are followed until the run's end, not this stage's
	sctx, cancel := context.WithTimeout(ctx, r.o.Scenario.Environment.Ready.Std())
	defer cancel()
	return r.fleet.setup(sctx)
}

// syncByClient maps the clock through a client container where there is no agent.
func (r *run) syncByClient(ctx context.Context) error {
	i := slices.IndexFunc(r.fleet.clients, func(c *clientConn) bool { return !c.local })
	if i < 0 {
		return nil
	}
	return r.mapClock(ctx, func(ctx context.Context) (int64, error) { return ping(ctx, r.fleet.clients[i].conn) })
}

// mapClock maps the clock, and moves the phases so far with it: they were of this machine's own.
func (r *run) mapClock(ctx context.Context, ping func(context.Context) (int64, error)) error {
	was := r.clock.offset.Load()
	if err := r.clock.sync(ctx, ping); err != nil {
		return err
	}
	r.info.ClockErrorNs = r.clock.errNs.Load()
	moved := r.clock.offset.Load() - was
	for i := range r.info.Phases {
		p := &r.info.Phases[i]
		p.From += moved
		if p.To != 0 {
			p.To += moved
		}
	}
	return nil
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

// target finds the container of a reference as it is now; a whole service has none.
func (r *run) target(ctx context.Context, ref scenarios.Ref) (faults.Target, error) {
	if ref.Link != "" {
		return faults.Target{Service: ref.Service, Name: ref.Link, Link: ref.Link}, nil
	}
	if ref.Number == 0 {
		return faults.Target{Service: ref.Service, Project: r.info.Project, Name: ref.Service}, nil
	}
	all, err := r.env.Containers(ctx)
	if err != nil {
		return faults.Target{}, err
	}
	for _, c := range all {
		if c.Service == ref.Service && c.Number == ref.Number {
			return faults.Target{Service: c.Service, Number: c.Number, Container: c.ID, Name: c.Name}, nil
		}
	}
	return faults.Target{}, fmt.Errorf("find %s: %w", refText(ref), faults.ErrGone)
}

// exec runs a command in the container of a reference: its output and exit code.
func (r *run) exec(ctx context.Context, ref scenarios.Ref, argv []string) (out string, code int, err error) {
	res, err := r.env.Exec(ctx, ref.Service, max(ref.Number, 1), argv)
	return string(res.Out), res.Code, err
}
