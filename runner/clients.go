package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/program"
)

// caller is the stream to a client container, or a client in this process.
type caller interface {
	Call(ctx context.Context, op string, args, out any) error
	Close() error
}

// clientConn is one client container, or a client in this process, and what it runs.
type clientConn struct {
	conn      caller
	local     bool // in this process: it runs the user's own program
	name      string
	workloads []workload.Config
	probes    []workload.ProbeConfig
}

// who is how links and cuts know the client.
func (c *clientConn) who() string {
	if len(c.workloads) > 0 {
		return "workload." + c.workloads[0].Name
	}
	return c.name
}

// fleet is every client container of a run, and the probes that the runner evaluates itself.
type fleet struct {
	r       *run
	clients []*clientConn
	local   sync.WaitGroup
	stop    context.CancelFunc // ends the runner's own probes
}

// startFleet starts the client containers and makes them ready to run: connected, configured, topics there.
func (r *run) startFleet(ctx context.Context, image string) (*fleet, error) {
	f := &fleet{r: r}
	specs, err := r.clientSpecs()
	if err != nil {
		return nil, err
	}
	networks, err := r.env.Networks(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the project's networks: %w", err)
	}
	var ids []string
	for _, n := range networks {
		ids = append(ids, n.ID)
	}
	errs := make([]error, len(specs))
	var starting sync.WaitGroup
	for i, c := range specs {
		starting.Go(func() { errs[i] = r.startClient(ctx, c, image, ids) })
	}
	starting.Wait()
	for _, c := range specs {
		if c.conn != nil {
			f.clients = append(f.clients, c)
		}
	}
	return f, errors.Join(errs...)
}

// startClient starts one client container and tells it what to run.
func (r *run) startClient(ctx context.Context, c *clientConn, image string, networks []string) error {
	if c.local {
		return r.startLocal(ctx, c)
	}
	conn, _, err := agent.StartClient(ctx, r.engine.Docker(), agent.ClientOptions{
		Image: image, Name: r.info.Project + "-discompose-" + c.name, Run: r.info.ID, Project: r.info.Project, Networks: networks,
		Labels:  map[string]string{agent.LabelClient: c.who()},
		OnEvent: func(e agent.Event) { r.clientEvent(c, e) },
	})
	if err != nil {
		return fmt.Errorf("start client %s: %w", c.name, err)
	}
	c.conn = conn
	if err := conn.Call(ctx, workload.OpConfigure, workload.ClientConfig{Workloads: c.workloads, Probes: c.probes}, nil); err != nil {
		return fmt.Errorf("configure client %s: %w", c.name, err)
	}
	return nil
}

// clientSpecs lays workloads out over client containers, and puts all probes that need the project's network into one.
func (r *run) clientSpecs() ([]*clientConn, error) {
	s := r.o.Scenario
	var out []*clientConn
	for _, name := range sortedKeys(s.Workload) {
		specs, err := r.workloadSpecs(name, s.Workload[name])
		if err != nil {
			return nil, fmt.Errorf("encode options of workload %s: %w", name, err)
		}
		out = append(out, specs...)
	}
	probes := &clientConn{name: "probes"}
	for _, name := range sortedKeys(s.Probe) {
		if p := s.Probe[name]; p.Kind == "tcp" || p.Kind == "http" {
			probes.probes = append(probes.probes, probeConfig(name, p))
		}
	}
	if len(probes.probes) > 0 {
		out = append(out, probes)
	}
	return out, nil
}

// workloadSpecs lays one workload out over its containers: each has its part of the clients and of the rates.
func (r *run) workloadSpecs(name string, w scenarios.Workload) ([]*clientConn, error) {
	options, err := json.Marshal(w.Options)
	if err != nil {
		return nil, err
	}
	var out []*clientConn
	first, containers := 0, max(w.Containers, 1)
	if w.Driver == program.Name {
		containers = 1
	}
	for i := range containers {
		clients := w.Clients / containers
		if i < w.Clients%containers {
			clients++
		}
		if clients == 0 {
			continue
		}
		share := func(rate float64) float64 { return rate * float64(clients) / float64(w.Clients) }
		phases, err := phasesOf(w, share)
		if err != nil {
			return nil, err
		}
		cfg := workload.Config{
			Name: name, Driver: w.Driver, Target: w.Target, Clients: clients, FirstProcess: first, Processes: w.Clients,
			Rate: share(w.Rate), Timeout: w.Timeout.Std().Nanoseconds(), Seed: r.info.Seed, Options: options, Phases: phases,
		}
		first += clients
		label := name
		if containers > 1 {
			label = fmt.Sprintf("%s-%d", name, i+1)
		}
		out = append(out, &clientConn{name: label, local: w.Driver == program.Name, workloads: []workload.Config{cfg}})
	}
	return out, nil
}

// phasesOf are the phases of a workload as a container runs them; share is its part of a rate.
func phasesOf(w scenarios.Workload, share func(float64) float64) (out []workload.Phase, err error) {
	for i, p := range w.Phase {
		one := workload.Phase{At: p.At.Std().Nanoseconds(), Rate: share(p.Rate)}
		if p.Options != nil {
			if one.Options, err = json.Marshal(p.Options); err != nil {
				return nil, fmt.Errorf("phase[%d]: %w", i, err)
			}
		}
		out = append(out, one)
	}
	return out, nil
}

func probeConfig(name string, p scenarios.Probe) workload.ProbeConfig {
	return workload.ProbeConfig{
		Name: name, Kind: p.Kind, Target: p.Target, Every: p.Every.Std().Nanoseconds(), Timeout: p.Timeout.Std().Nanoseconds(),
		Method: p.Method, Body: p.Body, Status: p.Status, Match: p.Match,
	}
}

// clientEvent takes what a client container tells.
func (r *run) clientEvent(c *clientConn, e agent.Event) {
	switch e.Name {
	case workload.EventOps:
		ops, err := ledger.DecodeOps(e.Data)
		if err != nil {
			r.o.Log.Error("decode operations", "client", c.name, "err", err)
			return
		}
		r.ingest(ops, false)
	case workload.EventNote:
		var text string
		if err := json.Unmarshal(e.Data, &text); err != nil {
			r.o.Log.Error("decode note", "client", c.name, "err", err)
			return
		}
		r.note("client", "note", "", c.name+": "+text)
		r.say(Event{Kind: EventNote, Text: c.name + ": " + text})
	}
}

// ingest takes operations from any source into the ledger, the tracker and the positions. followed says that they are what a
// service printed, whose consumers go on when the workload has ended; a driver's own have ended with it.
func (r *run) ingest(ops []ledger.Op, followed bool) {
	r.polled.add(ops, followed)
	if err := r.store.Append(ops); err != nil {
		r.o.Log.Error("append operations", "err", err)
		return
	}
	r.track.add(ops)
}

// setup prepares every workload's target: topics and the like.
func (f *fleet) setup(ctx context.Context) error {
	done := map[string]bool{}
	for _, c := range f.clients {
		for _, w := range c.workloads {
			if done[w.Name] {
				continue
			}
			done[w.Name] = true
			if err := c.conn.Call(ctx, workload.OpSetup, workload.Named{Workload: w.Name}, nil); err != nil {
				return fmt.Errorf("set up workload %s: %w", w.Name, err)
			}
		}
	}
	return nil
}

// start begins all workloads and probes.
func (f *fleet) start(ctx context.Context) error {
	lctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = cancel
	for _, name := range sortedKeys(f.r.o.Scenario.Probe) {
		p := f.r.o.Scenario.Probe[name]
		eval, err := f.localProbe(lctx, name, p)
		if err != nil {
			return err
		}
		if eval == nil {
			continue
		}
		f.local.Go(func() {
			workload.RunProbe(lctx, probeConfig(name, p), eval, f.r.clock.now, func(ops []ledger.Op) { f.r.ingest(ops, false) })
		})
	}
	for _, c := range f.clients {
		if err := c.conn.Call(ctx, workload.OpStart, nil, nil); err != nil {
			return fmt.Errorf("start client %s: %w", c.name, err)
		}
	}
	return nil
}

// drain ends the workloads; those of their operations that never return are recorded as unknown.
func (f *fleet) drain(ctx context.Context) error {
	return f.eachWorkload(ctx, workload.OpStop)
}

// final makes the closing reads of every workload.
func (f *fleet) final(ctx context.Context) error {
	return f.eachWorkload(ctx, workload.OpFinal)
}

// clean takes away what the workloads have put into the system. A workload whose driver cannot is an error.
func (f *fleet) clean(ctx context.Context) error {
	if f == nil {
		return nil
	}
	return f.eachWorkload(ctx, workload.OpClean)
}

func (f *fleet) eachWorkload(ctx context.Context, op string) error {
	var errs []error
	done := map[string]bool{}
	for _, c := range f.clients {
		for _, w := range c.workloads {
			if op != workload.OpStop && done[w.Name] {
				continue
			}
			done[w.Name] = true
			if err := c.conn.Call(ctx, op, workload.Named{Workload: w.Name}, nil); err != nil {
				errs = append(errs, fmt.Errorf("%s workload %s: %w", op, w.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// close ends the clients' streams: their containers leave.
func (f *fleet) close() { f.leave(func(*clientConn) bool { return true }) }

// rest ends what still sends operations after the final reads. Clients with workloads stay: they can clean.
func (f *fleet) rest() { f.leave(func(c *clientConn) bool { return len(c.workloads) == 0 }) }

// leave ends the runner's own probes, and the streams of some of the clients.
func (f *fleet) leave(who func(*clientConn) bool) {
	if f == nil {
		return
	}
	if f.stop != nil {
		f.stop()
		f.local.Wait()
	}
	f.clients = slices.DeleteFunc(f.clients, func(c *clientConn) bool {
		if !who(c) {
			return false
		}
		if err := c.conn.Close(); err != nil {
			f.r.o.Log.Debug("close client", "client", c.name, "err", err)
		}
		return true
	})
}

// followed is a service whose output is read into the ledger: it carries the label io.discompose.ops=<workload>.
func (r *run) followOps(ctx context.Context, services []compose.Service) {
	for _, s := range services {
		name := s.Labels[labelOps]
		if name == "" {
			continue
		}
		r.background.Go(func() {
			err := r.env.FollowLogs(ctx, s.Name, func(line string, _ time.Time) {
				ops, ok := workload.ParseConsumeLine([]byte(line))
				if !ok {
					return
				}
				for i := range ops {
					ops[i].Workload = name
				}
				r.ingest(ops, true)
			})
			if err != nil && ctx.Err() == nil {
				r.say(Event{Kind: EventWarn, Text: fmt.Sprintf("read the output of %s: %v", s.Name, err)})
			}
		})
	}
}

// positions follows how far each partition was read by the consumers whose output is followed, and where the final read found its last record.
type positions struct {
	mu     sync.Mutex
	polled map[string]map[int32]int64 // workload → partition → next offset
	ends   map[string]map[int32]int64
}

func (p *positions) add(ops []ledger.Op, followed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.polled == nil {
		p.polled, p.ends = map[string]map[int32]int64{}, map[string]map[int32]int64{}
	}
	for i := range ops {
		switch o := &ops[i]; {
		case o.Outcome != ledger.OK:
		case o.Func == ledger.FuncPoll && followed:
			raise(p.polled, o.Workload, o.Partition, o.Offset+1)
		case o.Func == ledger.FuncRead: // not the end: behind the last record there may be marks of transactions, which nobody is handed
			raise(p.ends, o.Workload, o.Partition, o.Offset+1)
		}
	}
}

func raise(m map[string]map[int32]int64, workload string, partition int32, offset int64) {
	if m[workload] == nil {
		m[workload] = map[int32]int64{}
	}
	m[workload][partition] = max(m[workload][partition], offset)
}

// behind lists the partitions in which the followed consumers of a workload, where there are any, have not come to the end,
// sorted.
func (p *positions) behind() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for workload, polled := range p.polled {
		for partition, end := range p.ends[workload] {
			if at := polled[partition]; at < end {
				out = append(out, fmt.Sprintf("%s/%d at %d of %d", workload, partition, at, end))
			}
		}
	}
	slices.Sort(out)
	return out
}
