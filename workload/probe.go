package workload

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/discompose/discompose/ledger"
)

// ProbeConfig is one probe. Kinds tcp and http run in client containers (see NewProbe); the runner plugs exec, command and
// log into RunProbe, which uses Name, Every and Timeout only.
type ProbeConfig struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`   // "tcp" or "http"
	Target  string `json:"target"` // tcp: host:port; http: a URL
	Every   int64  `json:"every"`  // ns between two evaluations; 0: 1 s
	Timeout int64  `json:"timeout"`
	Method  string `json:"method,omitempty"` // http; empty: GET
	Body    string `json:"body,omitempty"`   // http
	Status  []int  `json:"status,omitempty"` // http: codes that hold; empty: 200
	Match   string `json:"match,omitempty"`  // http: a regular expression that the body must match
}

// maxHanging bounds evaluations that do not return although their time is over.
const maxHanging = 100

var (
	errProbeTimeout = errors.New("timeout")
	errProbeHanging = fmt.Errorf("%d evaluations have not returned after their time-out", maxHanging)
)

func (c ProbeConfig) withDefaults() ProbeConfig {
	if c.Every == 0 {
		c.Every = int64(time.Second)
	}
	if c.Timeout == 0 {
		c.Timeout = int64(2 * time.Second)
	}
	if c.Method == "" {
		c.Method = "GET"
	}
	if len(c.Status) == 0 {
		c.Status = []int{200}
	}
	return c
}

// NewProbe makes the evaluation of a tcp or http probe: nil holds, an error tells concisely why not. Each evaluation
// resolves the name and connects anew. Errors name what is wrong with c.
func NewProbe(c ProbeConfig) (func(ctx context.Context) error, error) {
	c = c.withDefaults()
	if c.Every < 0 || c.Timeout < 0 {
		return nil, fmt.Errorf("probe %s: every and timeout must not be negative", c.Name)
	}
	match, err := regexp.Compile(c.Match)
	if err != nil {
		return nil, fmt.Errorf("probe %s: match: %w", c.Name, err)
	}
	switch c.Kind {
	case "tcp":
		return tcpProbe(c)
	case "http":
		return httpProbe(c, match)
	default:
		return nil, fmt.Errorf("probe %s: kind %q does not run in a client (there are \"tcp\" and \"http\")", c.Name, c.Kind)
	}
}

// RunProbe evaluates a probe every c.Every, from now on until ctx ends, whether or not earlier evaluations have returned,
// and emits each as an operation: ok, or fail with the error's text ("timeout" after c.Timeout). Evaluations that are
// running when ctx ends are discarded. eval runs concurrently with itself; its context ends with its time-out.
func RunProbe(ctx context.Context, c ProbeConfig, eval func(ctx context.Context) error, now func() int64, emit func([]ledger.Op)) {
	c = c.withDefaults()
	p := &probeRun{cfg: c, eval: eval, now: now, emit: emit}
	pace(ctx, now, now(), Schedule{{Rate: 1e9 / float64(c.Every)}}, 0, 1, func(planned int64) bool {
		p.running.Go(func() { p.once(ctx, planned) })
		return true
	})
	p.running.Wait()
}

// probeRun is one probe that runs.
type probeRun struct {
	cfg     ProbeConfig
	eval    func(ctx context.Context) error
	now     func() int64
	emit    func([]ledger.Op)
	running sync.WaitGroup
	hanging atomic.Int64
}

// once makes one evaluation and emits it.
func (p *probeRun) once(parent context.Context, planned int64) {
	op := ledger.Op{
		Workload: p.cfg.Name, Func: ledger.FuncProbe, Partition: -1, Offset: -1,
		Planned: planned, Invoke: p.now(), Outcome: ledger.OK,
	}
	err := p.bounded(parent)
	op.Complete = p.now()
	if parent.Err() != nil {
		return
	}
	if err != nil {
		op.Outcome, op.Error = ledger.Failed, cutError(err)
	}
	p.emit([]ledger.Op{op})
}

// bounded returns when eval does, or when its time is over.
func (p *probeRun) bounded(parent context.Context) error {
	if p.hanging.Load() >= maxHanging {
		return errProbeHanging
	}
	ctx, cancel := context.WithTimeout(parent, time.Duration(p.cfg.Timeout))
	defer cancel()
	result := make(chan error, 1)
	p.hanging.Add(1)
	go func() {
		defer p.hanging.Add(-1)
		result <- p.eval(ctx)
	}()
	select {
	case err := <-result:
		if err != nil && ctx.Err() != nil {
			return errProbeTimeout
		}
		return err
	case <-ctx.Done():
		return errProbeTimeout
	}
}
