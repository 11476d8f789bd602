package program

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// driver runs one program.
type driver struct {
	cfg workload.Config
	o   Options
	env Env

	in      *bufio.Writer
	process *Process
	emit    func([]ledger.Op)
	end     context.CancelFunc
	broken  chan struct{} // closed when err is set
	done    map[string]chan struct{}

	mu       sync.Mutex
	err      error
	clients  []client
	next     int // number of the next fresh process
	finals   int64
	final    int64 // instant of the command; 0: not yet
	ended    bool  // the program printed FuncEnd itself
	finished bool
	stats    workload.Stats
}

// client is one client of the program.
type client struct {
	number int // of its process in the history
	op     *ledger.Op
	line   int  // where op was invoked
	gone   bool // op was given up; its completion is late
}

func newDriver(c workload.Config, o Options, env Env) *driver {
	d := &driver{
		cfg: c, o: o, env: env, clients: make([]client, c.Clients), next: c.Clients, broken: make(chan struct{}),
		done: map[string]chan struct{}{cmdStop: make(chan struct{}), cmdFinal: make(chan struct{})},
	}
	for i := range d.clients {
		d.clients[i].number = i
	}
	return d
}

// Setup implements workload.Driver: what the program needs it makes itself.
func (d *driver) Setup(context.Context) error { return nil }

// Start implements workload.Driver.
func (d *driver) Start(ctx context.Context, emit func([]ledger.Op)) error {
	target, err := d.env.Target(ctx, d.o, d.cfg.Target)
	if err != nil {
		return err
	}
	first, err := json.Marshal(d.o.config(d.cfg, target, ledger.FormatVersion))
	if err != nil {
		return fmt.Errorf("encode the program's configuration: %w", err)
	}
	ctx, d.end = context.WithCancel(ctx)
	d.emit = emit
	if d.process, err = d.env.Launch(ctx, d.o); err != nil {
		return fmt.Errorf("start %v: %w", d.o.Command, err)
	}
	d.in = bufio.NewWriter(d.process.In)
	go d.read(ctx)
	go d.expire(ctx)
	return d.tell(string(first))
}

// tell writes one line to the program.
func (d *driver) tell(text string) error {
	_, err := d.in.WriteString(text + "\n")
	if err = errors.Join(err, d.in.Flush()); err != nil {
		return fmt.Errorf("write to %s: %w", d.o.Command[0], err)
	}
	return nil
}

// longest is the longest line that a program may print.
const longest = 16 << 20

// read takes the program's lines until its output ends.
func (d *driver) read(ctx context.Context) {
	lines := bufio.NewScanner(d.process.Out)
	lines.Buffer(make([]byte, 0, 64<<10), longest)
	n := 0
	for lines.Scan() {
		n++
		at := d.env.Now()
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		if err := d.take(text, n, at); err != nil {
			d.breakOff(fmt.Errorf("line %d of %s: %w: %s", n, d.o.Command[0], err, cut(text)))
			d.end()
			break
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		d.breakOff(fmt.Errorf("line %d of %s: %w", n+1, d.o.Command[0], err))
	}
	how := d.process.Wait()
	d.mu.Lock()
	finished := d.finished
	d.mu.Unlock()
	if !finished && ctx.Err() == nil {
		d.breakOff(fmt.Errorf("%s ended after %d lines, before its final read was done: %s", d.o.Command[0], n, how))
	}
}

func cut(text []byte) string {
	const most = 200
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// breakOff ends the workload with an error; only the first counts.
func (d *driver) breakOff(err error) {
	err = fmt.Errorf("workload %s: %w: %w", d.cfg.Name, ErrBroken, err)
	d.mu.Lock()
	first := d.err == nil
	if first {
		d.err = err
		d.stats.LastError = err.Error()
		close(d.broken)
	}
	d.mu.Unlock()
	if first {
		d.env.Broken(err)
	}
}

// take does what a line says.
func (d *driver) take(text []byte, n int, at int64) error {
	l, err := parse(text)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.Done != "" {
		return d.acknowledge(l.Done)
	}
	if d.finished {
		return errors.New("it comes after the final read was done")
	}
	if l.P >= len(d.clients) {
		return fmt.Errorf("p = %d, but the workload has %d clients, from 0", l.P, len(d.clients))
	}
	c := &d.clients[l.P]
	if l.R == invoked {
		return d.invoke(c, l, n, at)
	}
	return d.complete(c, l, at)
}

// acknowledge takes the end of a command.
func (d *driver) acknowledge(command string) error {
	select {
	case <-d.done[command]:
		return fmt.Errorf("%s was done before", command)
	default:
	}
	if command == cmdFinal {
		if d.final == 0 {
			return errors.New("nobody has asked for the final read yet")
		}
		d.finished = true
		if !d.ended {
			end := d.op(&d.clients[0], d.final)
			end.Func, end.Outcome, end.Offset, end.Complete = ledger.FuncEnd, ledger.OK, d.finals, d.env.Now()
			d.emit([]ledger.Op{end})
		}
	}
	close(d.done[command])
	return nil
}

// op is an operation of a client that begins at an instant.
func (d *driver) op(c *client, at int64) ledger.Op {
	return ledger.Op{Workload: d.cfg.Name, Process: c.number, Partition: -1, Offset: -1, Planned: at, Invoke: at}
}

func (d *driver) invoke(c *client, l line, n int, at int64) error {
	if c.op != nil {
		return fmt.Errorf("client %d invokes an operation while that of line %d has not come back", l.P, c.line)
	}
	op := d.op(c, at)
	if err := errors.Join(d.allowed(l, at), l.onto(&op)); err != nil {
		return err
	}
	c.op, c.line, c.gone = &op, n, false
	d.stats.Invoked++
	return nil
}

func (d *driver) complete(c *client, l line, at int64) error {
	if c.gone { // it counted as unknown when its time was up
		c.gone, c.op = false, nil
		d.stats.Late++
		return nil
	}
	op := d.op(c, d.final)
	if c.op != nil {
		op = *c.op
	} else if l.F == "" || (d.final == 0 && l.T1 == 0) {
		return fmt.Errorf("client %d has no operation that could come back (print one with \"r\": \"invoke\" before it is sent; without it, the line needs f and its own t1 and t2)", l.P)
	} else {
		d.stats.Invoked++
	}
	if err := errors.Join(d.allowed(l, at), l.onto(&op)); err != nil {
		return err
	}
	op.Complete, op.Outcome = at, ledger.Outcome(l.R)
	if l.T2 != 0 {
		op.Complete = l.T2
	}
	if op.Invoke > op.Complete {
		return fmt.Errorf("it ends at %d, before it begins at %d", op.Complete, op.Invoke)
	}
	c.op = nil
	d.settle(c, op, l.E)
	return nil
}

// slack is how far a program's own clock may be ahead: of the stamps on the way from the engine's clock to the runner's.
const slack = int64(100 * time.Millisecond)

// allowed checks what a line may say when.
func (d *driver) allowed(l line, at int64) error {
	if d.final == 0 && (l.F == ledger.FuncRead || l.F == ledger.FuncEnd) {
		return fmt.Errorf("%q belongs to the final read, which nobody has asked for yet", l.F)
	}
	for _, t := range []int64{l.T1, l.T2} {
		if t < 0 || t > at+slack {
			return fmt.Errorf("the instant %d is later than its arrival at %d (t1 and t2 are ns on the engine host's boot-time clock)", t, at)
		}
	}
	return nil
}

// settle emits an operation and counts it.
func (d *driver) settle(c *client, op ledger.Op, why string) {
	const most = 200
	switch op.Outcome {
	case ledger.OK:
		d.stats.OK++
	case ledger.Failed:
		d.stats.Failed++
		op.Error = why[:min(len(why), most)]
	case ledger.Unknown:
		d.stats.Unknown++
		op.Error = why[:min(len(why), most)]
		c.number = d.next // what is not known may still happen: it is the last of its process
		d.next++
	}
	if op.Error != "" && op.Error != ledger.Declined {
		d.stats.LastError = op.Error
	}
	if op.Func == ledger.FuncEnd {
		d.ended = true
	} else if d.final > 0 {
		d.finals++
		d.stats.Read++
	}
	d.emit([]ledger.Op{op})
}

// expire gives up operations whose time is up.
func (d *driver) expire(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.giveUp(d.env.Now()-d.cfg.Timeout, fmt.Sprintf("no answer within %s", time.Duration(d.cfg.Timeout)))
		case <-ctx.Done():
			return
		}
	}
}

// giveUp settles what was invoked before an instant as unknown and never completed.
func (d *driver) giveUp(before int64, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.clients {
		c := &d.clients[i]
		if c.op == nil || c.gone || c.op.Invoke > before {
			continue
		}
		op := *c.op
		op.Outcome, op.Complete = ledger.Unknown, 0
		c.gone = true
		d.settle(c, op, why)
	}
}

// Stop implements workload.Driver.
func (d *driver) Stop(ctx context.Context) error {
	if d.process == nil {
		return nil
	}
	err := d.command(ctx, cmdStop, time.Duration(d.cfg.Timeout)+grace)
	d.giveUp(d.env.Now(), "stopped before an answer came")
	if err != nil {
		d.end()
	}
	return err
}

// grace is how much longer than an operation a program may take to stop.
const grace = 5 * time.Second

// command tells the program what to do and waits until it is done.
func (d *driver) command(ctx context.Context, name string, within time.Duration) error {
	if err := d.tell(name); err != nil {
		d.breakOff(err)
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-d.done[name]:
		return nil
	case <-d.broken:
	case <-timer.C:
		d.breakOff(fmt.Errorf("%s did not answer %q with {\"done\": %q} within %s", d.o.Command[0], name, name, within))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// mostFinal bounds a final read; the caller's context mostly ends before.
const mostFinal = 10 * time.Minute

// Final implements workload.Driver. The emit of Start takes what the program prints; the program ends after it.
func (d *driver) Final(ctx context.Context, _ func([]ledger.Op)) error {
	if d.process == nil {
		return errors.New("the program was never started")
	}
	d.mu.Lock()
	d.final = d.env.Now()
	for i := range d.clients { // what was given up does not come back any more
		c := &d.clients[i]
		c.op, c.gone = nil, false
	}
	d.mu.Unlock()
	if err := d.command(ctx, cmdFinal, mostFinal); err != nil {
		return err
	}
	// A program that ends with its last line takes its input with it.
	if err := d.process.In.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close the program's input: %w", err)
	}
	return nil
}

// Stats implements workload.Driver.
func (d *driver) Stats() workload.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.InFlight = s.Invoked - s.OK - s.Failed - s.Unknown
	return s
}
