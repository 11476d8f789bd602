package workload

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/discompose/discompose/ledger"
)

// loop is the Driver of a System: an open loop (or, at rate 0, a closed one) of operations.
//
// Operation k is invoked at its planned instant by a process that has none in flight. There are Clients of them, each
// with a session of its own, which take turns. Where all wait for answers, a spare process is made, so that a slow system
// does not slow the schedule down; MaxInFlight x Clients bounds them, and what the bound stops is counted as skipped.
//
//	planned --> acquire --> connect, the first time --> Do --> ok, fail: the process is free again
//	               |                                    | `--> unknown: it is retired, a fresh number takes its place
//	               `--> skipped                         `----> no return within Timeout: unknown, never completed; retired
//
// At rate 0 each of the Clients invokes its next operation when the last has returned; after one that did not succeed it
// waits failurePause, so that a system that refuses is asked often, but not by a busy loop.
//
// A phase begins by time: an operation is of the phase in which its instant is planned, or, in a closed loop, in which it is
// invoked. The number K of operations goes on through all phases.
type loop struct {
	cfg    Config
	system System
	opts   LoopOptions
	now    func() int64
	counts counters
	crew   *crew
	stream uint64 // seeds the operations' own random numbers
	stages []stage
	start  int64 // when the schedule began

	emit func([]ledger.Op)
	stop context.CancelFunc // ends the schedule
	life context.Context    // of the operations
	kill context.CancelFunc
	gen  sync.WaitGroup // the schedule
	ops  sync.WaitGroup // operations that are not resolved

	mu      sync.Mutex
	pending map[*call]*process
}

// failurePause is how long a client of a closed loop waits after an operation that did not succeed.
const failurePause = 10 * time.Millisecond

// The time that one try of Setup and of Final may take, and that between two tries.
const (
	setupTry   = 10 * time.Second
	finalTry   = time.Minute
	retryPause = 250 * time.Millisecond
)

// call is one operation in flight. Whoever sets resolved, under the loop's mutex, emits it.
type call struct {
	op       ledger.Op
	resolved bool
	done     chan bool            // nil, or with room for one: whether it succeeded
	governed func(ledger.Outcome) // nil, or what a Governor wants to be called with
}

// NewLoop makes the driver of a system. c is what Spec.New was given.
func NewLoop(c Config, s System, o LoopOptions) Driver { return newLoop(c, s, o, Now) }

func newLoop(c Config, s System, o LoopOptions, now func() int64) *loop {
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultLoopInFlight
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "operations\x00%s\x00%d", c.Name, c.FirstProcess) // a hash does not fail
	return &loop{
		cfg: c, system: s, opts: o, now: now, stream: h.Sum64(), pending: map[*call]*process{}, stages: stages(c, s, o.Phases),
		crew: newCrew(c.FirstProcess, c.Clients, c.Processes, c.Clients*c.MaxInFlight),
	}
}

// Setup implements Driver.
func (l *loop) Setup(ctx context.Context) error {
	if err := again(ctx, setupTry, l.system.Setup); err != nil {
		return fmt.Errorf("set up %s: %w", l.cfg.Target, err)
	}
	return nil
}

// again calls try, each time for at most a time, until it succeeds, ctx ends or the error is permanent.
func again(ctx context.Context, most time.Duration, try func(context.Context) error) error {
	for {
		one, cancel := context.WithTimeout(ctx, most)
		err := try(one)
		cancel()
		if err == nil || errors.Is(err, ErrPermanent) {
			return err
		}
		if !wait(ctx, retryPause) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// Start implements Driver.
//
//nolint:contextcheck // operations outlive the schedule: Stop waits for them
func (l *loop) Start(ctx context.Context, emit func([]ledger.Op)) error {
	l.emit, l.start = emit, l.now()
	schedule, stop := context.WithCancel(ctx)
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	l.stop, l.life, l.kill = stop, life, kill
	if l.cfg.Rate > 0 {
		l.gen.Go(func() { l.open(schedule) })
		return nil
	}
	var k atomic.Int64
	for range l.cfg.Clients {
		l.gen.Go(func() { l.closed(schedule, &k) })
	}
	return nil
}

// open invokes operations at their planned instants.
//
//nolint:contextcheck // operations outlive the schedule: Stop waits for them
func (l *loop) open(ctx context.Context) {
	k := int64(-1)
	pace(ctx, l.now, l.start, l.cfg.Schedule(), 0, 1, func(planned int64) bool {
		k++
		if !l.invoke(&call{}, k, planned) {
			l.counts.skipped.Add(1)
		}
		return true
	})
}

// closed invokes operations one after the other.
//
//nolint:contextcheck // as in open
func (l *loop) closed(ctx context.Context, k *atomic.Int64) {
	for ctx.Err() == nil {
		c := &call{done: make(chan bool, 1)}
		l.invoke(c, k.Add(1)-1, l.now()) // no more than Clients are in flight, so one is free
		select {
		case <-ctx.Done():
		case ok := <-c.done:
			if !ok {
				wait(ctx, failurePause)
			}
		}
	}
}

// invoke begins operation k in a free process, if there is one.
func (l *loop) invoke(c *call, k, planned int64) bool {
	p := l.crew.acquire(l.now())
	if p == nil {
		return false
	}
	p.seq++
	random := rand.New(rand.NewPCG(uint64(l.cfg.Seed)^l.stream, uint64(k))) //nolint:gosec // any bits are a seed
	c.op = l.next(planned)(random, Turn{K: k, Fresh: Value(p.number, p.seq)})
	if g, ok := l.system.(Governor); ok {
		c.op, c.governed = g.Govern(c.op)
	}
	c.op.Workload, c.op.Process, c.op.Planned = l.cfg.Name, p.number, planned
	c.op.Partition, c.op.Offset = -1, -1
	l.ops.Add(1)
	l.counts.invoked.Add(1)
	c.op.Invoke = l.now()
	l.mu.Lock()
	l.pending[c] = p
	l.mu.Unlock()
	go l.run(p, c)
	return true
}

// next is what says what is sent of which the instant is planned: that of the last phase that has begun by then.
func (l *loop) next(planned int64) func(*rand.Rand, Turn) ledger.Op {
	i := len(l.stages) - 1
	for i > 0 && l.stages[i].at > planned-l.start {
		i--
	}
	return l.stages[i].next
}

// run carries one operation out.
func (l *loop) run(p *process, c *call) {
	ctx, cancel := context.WithTimeout(l.life, l.opts.Patience)
	defer cancel()
	limit := time.Duration(l.cfg.Timeout)
	expire := time.AfterFunc(limit, func() { l.giveUp(c, fmt.Errorf("no answer within %s", limit)) })
	op := c.op // a copy: an operation that was given up may still write to it
	outcome, err := l.do(ctx, p, &op)
	complete := l.now()
	expire.Stop()
	op.Workload, op.Process, op.Planned, op.Invoke, op.Complete = c.op.Workload, c.op.Process, c.op.Planned, c.op.Invoke, complete
	if !l.resolve(c, op, outcome, err) {
		l.counts.late.Add(1)
		p.close()
		return
	}
	l.crew.release(p, outcome != ledger.OK && outcome != ledger.Failed, complete)
	l.settle(c, outcome == ledger.OK || errors.Is(err, ErrDeclined))
}

// settle says that c is resolved and its process in order.
func (l *loop) settle(c *call, served bool) {
	if c.done != nil {
		c.done <- served
	}
	l.ops.Done()
}

// do connects p where it is not, and carries op out.
func (l *loop) do(ctx context.Context, p *process, op *ledger.Op) (ledger.Outcome, error) {
	if p.session == nil {
		s, err := l.system.Connect(ctx, p.number)
		if err != nil {
			return ledger.Failed, fmt.Errorf("connect: %w", err)
		}
		p.session = s
	}
	outcome, err := p.session.Do(ctx, op)
	if outcome == ledger.Failed {
		if a, ok := p.session.(Alive); ok && !a.Alive() {
			p.close()
		}
	}
	return outcome, err
}

// giveUp resolves c, whose process still waits for it, and puts another process into that one's place.
func (l *loop) giveUp(c *call, why error) {
	l.mu.Lock()
	p := l.pending[c]
	l.mu.Unlock()
	op := c.op
	op.Complete = 0
	if p != nil && l.resolve(c, op, ledger.Unknown, why) {
		l.crew.replace(p, l.now())
		l.settle(c, false)
	}
}

// resolve emits what became of c, once; it reports whether it was the first to do so.
func (l *loop) resolve(c *call, op ledger.Op, outcome ledger.Outcome, err error) bool {
	l.mu.Lock()
	first := !c.resolved
	c.resolved = true
	delete(l.pending, c)
	l.mu.Unlock()
	if !first {
		return false
	}
	op.Outcome, op.Error = outcome, ""
	if err != nil && outcome != ledger.OK {
		op.Error = cutError(err)
		if errors.Is(err, ErrDeclined) {
			op.Error = ledger.Declined
		} else {
			l.counts.note(err)
		}
	}
	switch outcome {
	case ledger.OK:
		l.counts.ok.Add(1)
	case ledger.Failed:
		l.counts.failed.Add(1)
	case ledger.Unknown:
		l.counts.unknown.Add(1)
	default: // a driver that says nothing knows nothing
		op.Outcome = ledger.Unknown
		l.counts.unknown.Add(1)
	}
	if c.governed != nil {
		c.governed(op.Outcome)
	}
	l.emit([]ledger.Op{op})
	return true
}

// Stop implements Driver.
func (l *loop) Stop(ctx context.Context) error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	l.gen.Wait()
	await(ctx, &l.ops)
	l.mu.Lock()
	left := slices.Collect(maps.Keys(l.pending))
	l.mu.Unlock()
	for _, c := range left {
		l.giveUp(c, errors.New("stopped before an answer came"))
	}
	l.kill()
	await(ctx, l.crew.disband())
	return nil
}

// await waits for g until ctx ends.
func await(ctx context.Context, g *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Final implements Driver.
func (l *loop) Final(ctx context.Context, emit func([]ledger.Op)) error {
	var ops []ledger.Op
	process := l.crew.fresh() // any of the run's may have been retired
	err := again(ctx, finalTry, func(ctx context.Context) error {
		began := l.now()
		found, err := l.system.Final(ctx)
		ops = l.stamped(found, process, began, l.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", l.cfg.Target, err)
	}
	for batch := range slices.Chunk(ops, batchOps) {
		emit(batch)
	}
	for i := range ops {
		if ops[i].Func != ledger.FuncEnd {
			l.counts.read.Add(1)
		}
	}
	return nil
}

// stamped completes the operations of a final read. Those without an outcome are OK. The end of a read comes after what was read,
// also where a ledger is put into the order of its calls.
func (l *loop) stamped(ops []ledger.Op, process int, invoke, complete int64) []ledger.Op {
	for i := range ops {
		o := &ops[i]
		o.Workload, o.Process = l.cfg.Name, process
		if o.Outcome == "" {
			o.Outcome = ledger.OK
		}
		if o.Func == ledger.FuncEnd {
			o.Invoke = max(o.Invoke, complete)
			o.Planned, o.Complete = o.Invoke, o.Invoke
		}
		if o.Invoke == 0 {
			o.Planned, o.Invoke, o.Complete = invoke, invoke, complete
		}
	}
	return ops
}

// Stats implements Driver.
func (l *loop) Stats() Stats { return l.counts.stats() }
