package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The events that a Client emits.
const (
	EventOps  = "ops"  // data: a JSON array of ledger.Op
	EventNote = "note" // data: a JSON string for people
)

// The operations of a Client. Each answers null unless it says otherwise.
const (
	OpConfigure      = "configure"       // ClientConfig: once, before all others
	OpSetup          = "setup"           // Named: the driver's Setup; without a name, of all workloads
	OpStart          = "start"           // nothing: probes and workloads
	OpStartProbes    = "start_probes"    // nothing
	OpStartWorkloads = "start_workloads" // nothing
	OpStop           = "stop"            // Named: a workload or a probe; without a name, all workloads and all probes
	OpStopProbes     = "stop_probes"     // nothing
	OpFinal          = "final"           // Named: the driver's Final; without a name, of all workloads
	OpClean          = "clean"           // Named: the driver's Clean (see Cleaner); without a name, of all workloads
	OpStats          = "stats"           // nothing → map of workload to Stats
	OpPing           = "ping"            // nothing → PingReply
)

// ClientConfig is what a client container runs.
type ClientConfig struct {
	Workloads []Config      `json:"workloads"`
	Probes    []ProbeConfig `json:"probes"`
}

// Named is the argument of operations on one workload or on all.
type Named struct {
	Workload string `json:"workload,omitempty"` // empty: all
	Within   int64  `json:"within,omitempty"`   // ns; bounds setup, stop, final and clean; 0: the call's own context alone
}

// PingReply is the client's clock.
type PingReply struct {
	Now int64 `json:"now"` // boot-time clock, ns
}

// Client is the client role: it runs workloads and probes for a runner that calls its operations. Make one with NewClient,
// and Close it when the stream to the runner ends.
type Client struct {
	specs  []Spec
	outbox *outbox
	note   func(text string)

	mu      sync.Mutex
	stop    context.CancelFunc // ends all that runs
	life    context.Context    // what runs outlives the call that starts it
	running sync.WaitGroup
	drivers map[string]*clientDriver
	names   []string // of drivers, in the order of the configuration
	probes  []*clientProbe
}

type clientDriver struct {
	Driver
	started, stopped bool
}

type clientProbe struct {
	cfg  ProbeConfig
	eval func(ctx context.Context) error
	stop context.CancelFunc // nil until it is started
	done chan struct{}
}

// NewClient makes a client with the given drivers that hands events to emit, which must be safe for concurrent use; while
// it blocks, operations wait in memory.
func NewClient(specs []Spec, emit func(event string, data json.RawMessage)) *Client {
	return &Client{
		specs:   specs,
		outbox:  newOutbox(func(ops json.RawMessage) { emit(EventOps, ops) }),
		note:    func(text string) { emit(EventNote, appendText(nil, text)) },
		drivers: map[string]*clientDriver{},
	}
}

// Ops is the client's operations by name. They may be called concurrently.
func (c *Client) Ops() map[string]func(ctx context.Context, args json.RawMessage) (any, error) {
	type op = func(ctx context.Context, args json.RawMessage) (any, error)
	plain := func(f func() error) op {
		return func(context.Context, json.RawMessage) (any, error) { return nil, f() }
	}
	return map[string]op{
		OpConfigure: c.configure,
		OpSetup: c.each(func(ctx context.Context, d *clientDriver) error {
			return d.Setup(ctx)
		}),
		OpStart: plain(func() error {
			if err := c.startProbes(); err != nil {
				return err
			}
			return c.startWorkloads()
		}),
		OpStartProbes:    plain(c.startProbes),
		OpStartWorkloads: plain(c.startWorkloads),
		OpStop:           c.stopNamed,
		OpStopProbes:     plain(func() error { c.stopProbes(""); return nil }),
		OpFinal: c.each(func(ctx context.Context, d *clientDriver) error {
			return d.Final(ctx, c.outbox.add)
		}),
		OpClean: c.each(func(ctx context.Context, d *clientDriver) error {
			if cleaner, ok := d.Driver.(Cleaner); ok {
				return cleaner.Clean(ctx)
			}
			return ErrNotClean
		}),
		OpStats: func(context.Context, json.RawMessage) (any, error) { return c.Stats(), nil },             //nolint:unparam // an op
		OpPing:  func(context.Context, json.RawMessage) (any, error) { return PingReply{Now: Now()}, nil }, //nolint:unparam // an op
	}
}

// Stats is the sums of every workload by name.
func (c *Client) Stats() map[string]Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]Stats, len(c.drivers))
	for name, d := range c.drivers {
		out[name] = d.Stats()
	}
	return out
}

// Close ends all that runs, without waiting for operations in flight, and hands on what was not emitted.
//
//nolint:contextcheck // what it ends lives under the client's own context
func (c *Client) Close() {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	gone, cancel := context.WithCancel(c.life) // already over: Stop waits for nothing
	defer cancel()
	_ = c.forEach(gone, "", func(ctx context.Context, d *clientDriver) error { return c.stopDriver(ctx, d) })
	c.stopProbes("")
	c.running.Wait()
}

func (c *Client) configure(ctx context.Context, args json.RawMessage) (any, error) {
	var cfg ClientConfig
	if err := json.Unmarshal(args, &cfg); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return nil, errors.New("configure: this client is configured already")
	}
	drivers, probes := map[string]*clientDriver{}, []*clientProbe{}
	var names []string
	var errs []error
	for _, w := range cfg.Workloads {
		d, err := New(w, c.specs)
		if err == nil && drivers[w.Name] != nil {
			err = fmt.Errorf("workload %s: configured twice", w.Name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		drivers[w.Name], names = &clientDriver{Driver: d}, append(names, w.Name)
	}
	for _, p := range cfg.Probes {
		eval, err := NewProbe(p)
		errs = append(errs, err)
		probes = append(probes, &clientProbe{cfg: p, eval: eval})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.drivers, c.names, c.probes = drivers, names, probes
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.life, c.stop = life, stop
	c.running.Go(func() { c.outbox.run(life) })
	c.running.Go(func() { c.watchBound(life) })
	return nil, nil //nolint:nilnil // no answer but the acknowledgement
}

// watchBound notes when a workload hits its bound of operations in flight, at most once a second each.
func (c *Client) watchBound(ctx context.Context) {
	seen := map[string]int64{}
	for wait(ctx, time.Second) {
		for name, s := range c.Stats() {
			if more := s.Skipped - seen[name]; more > 0 {
				c.note(fmt.Sprintf("workload %s: %d planned operations were not invoked: %d are in flight, which is the bound of a client",
					name, more, s.InFlight))
			}
			seen[name] = s.Skipped
		}
	}
}

// each makes an operation of f on the named workload, or on all.
func (c *Client) each(f func(ctx context.Context, d *clientDriver) error) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, args json.RawMessage) (any, error) {
		n, err := named(args)
		if err != nil {
			return nil, err
		}
		ctx, cancel := n.bound(ctx)
		defer cancel()
		return nil, c.forEach(ctx, n.Workload, f)
	}
}

// forEach calls f for the named workload or all, concurrently, joins the errors, and hands on what was emitted.
func (c *Client) forEach(ctx context.Context, name string, f func(ctx context.Context, d *clientDriver) error) error {
	c.mu.Lock()
	names := slices.Clone(c.names)
	if name != "" {
		names = []string{name}
	}
	drivers := make([]*clientDriver, len(names))
	for i, n := range names {
		drivers[i] = c.drivers[n]
	}
	c.mu.Unlock()
	errs := make([]error, len(names))
	var calls sync.WaitGroup
	for i, d := range drivers {
		calls.Go(func() {
			if d == nil {
				errs[i] = fmt.Errorf("no workload %q is configured", names[i])
				return
			}
			if err := f(ctx, d); err != nil {
				errs[i] = fmt.Errorf("workload %s: %w", names[i], err)
			}
		})
	}
	calls.Wait()
	c.outbox.flush()
	return errors.Join(errs...)
}

//nolint:contextcheck // workloads outlive the call that starts them
func (c *Client) startWorkloads() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		return errors.New("start: configure first")
	}
	for _, name := range c.names {
		d := c.drivers[name]
		if d.started {
			continue
		}
		if err := d.Start(c.life, c.outbox.add); err != nil {
			return fmt.Errorf("start workload %s: %w", name, err)
		}
		d.started = true
	}
	return nil
}

//nolint:contextcheck // probes outlive the call that starts them
func (c *Client) startProbes() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		return errors.New("start: configure first")
	}
	for _, p := range c.probes {
		if p.stop != nil {
			continue
		}
		ctx, stop := context.WithCancel(c.life)
		p.stop, p.done = stop, make(chan struct{})
		go func() {
			defer close(p.done)
			RunProbe(ctx, p.cfg, p.eval, Now, c.outbox.add)
		}()
	}
	return nil
}

func (c *Client) stopNamed(ctx context.Context, args json.RawMessage) (any, error) {
	n, err := named(args)
	if err != nil {
		return nil, err
	}
	if n.Workload != "" && c.stopProbes(n.Workload) {
		return nil, nil //nolint:nilnil // no answer but the acknowledgement
	}
	ctx, cancel := n.bound(ctx)
	defer cancel()
	err = c.forEach(ctx, n.Workload, c.stopDriver)
	if n.Workload == "" {
		c.stopProbes("")
	}
	return nil, err
}

// stopDriver stops d if it was started and is not stopped yet.
func (c *Client) stopDriver(ctx context.Context, d *clientDriver) error {
	c.mu.Lock()
	run := d.started && !d.stopped
	d.stopped = d.stopped || run
	c.mu.Unlock()
	if !run {
		return nil
	}
	return d.Stop(ctx)
}

// stopProbes stops the probe of that name, or all, and reports whether there is one.
func (c *Client) stopProbes(name string) bool {
	c.mu.Lock()
	var stopping []*clientProbe
	found := false
	for _, p := range c.probes {
		if name != "" && p.cfg.Name != name {
			continue
		}
		found = true
		if p.stop != nil {
			stopping = append(stopping, p)
		}
	}
	c.mu.Unlock()
	for _, p := range stopping {
		p.stop()
		<-p.done
	}
	c.outbox.flush()
	return found
}

func named(args json.RawMessage) (n Named, err error) {
	if len(args) == 0 {
		return n, nil
	}
	if err := json.Unmarshal(args, &n); err != nil {
		return n, fmt.Errorf("read arguments: %w", err)
	}
	return n, nil
}

func (n Named) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if n.Within <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(n.Within))
}
