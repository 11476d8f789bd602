package workload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
)

// kafkaDriver produces to one topic from Clients producers, each with its own connections and producer id.
//
// Record seq of process p is value p<<32|seq. Its partition is drawn from seed and value and set explicitly, and a
// producer hands records to the library in the order of seq, so the records of one process stand in the order of their
// values in each partition. produceOutcome has the table of outcomes.
type kafkaDriver struct {
	cfg  Config
	opts KafkaOptions

	producers []*producer
	gen       sync.WaitGroup  // generators and the group consumer
	ops       sync.WaitGroup  // operations in flight
	work      context.Context //nolint:containedctx // the calls that end transactions; they outlive the schedule
	stopWork  context.CancelFunc
	stopGen   context.CancelFunc
	stopWatch context.CancelFunc
	watched   chan struct{}
	emit      func([]ledger.Op)
	counts    counters
	acked     []atomic.Int64 // by partition: the offset after the last record that was acknowledged
}

// counters are the sums behind Stats.
type counters struct {
	invoked, ok, failed, unknown, skipped, late, polled, read, dataLoss atomic.Int64
	lastError                                                           atomic.Pointer[string]
}

func (c *counters) note(err error) {
	s := cutError(err)
	c.lastError.Store(&s)
}

// Kafka is the driver of Kafka.
func Kafka() Spec {
	return Spec{
		Name:    "kafka",
		Options: func() any { return &KafkaOptions{} },
		New: func(c Config) (Driver, error) {
			d, err := newKafka(c)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
	}
}

func newKafka(c Config) (*kafkaDriver, error) {
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	o, err := parseKafkaOptions(c.Options)
	if err != nil {
		return nil, err
	}
	for i, p := range c.Phases {
		if len(p.Options) > 0 {
			return nil, fmt.Errorf("phases[%d]: options: the kafka driver's do not change while it runs", i)
		}
	}
	d := &kafkaDriver{cfg: c, opts: o, acked: make([]atomic.Int64, o.Partitions)}
	for i := range c.Clients {
		p := newProducer(d, c.FirstProcess+i)
		d.producers = append(d.producers, p)
		if err := kgo.ValidateOpts(p.options()...); err != nil {
			return nil, fmt.Errorf("check client options: %w", err)
		}
	}
	return d, nil
}

// clientOptions are those of every Kafka client here. They make a client come back soon after a fault ends:
//
//   - dial time-out 2 s and back-off of at most 500 ms: a broker that is back is found within 2.5 s;
//   - unacknowledged data for 4 s closes the connection (Linux), so that a dropped path is not left to TCP's own back-off,
//     while a frozen broker, whose kernel still acknowledges, keeps its connections;
//   - metadata at most 5 s old and at least 250 ms apart (the library's 5 s would delay finding a new leader).
//
// A target is one broker to ask for the others, or several with commas between them.
func clientOptions(target string) []kgo.Opt {
	dialer := &net.Dialer{Timeout: 2 * time.Second, Control: closeUnacknowledged(4 * time.Second)}
	return []kgo.Opt{
		kgo.SeedBrokers(strings.Split(target, ",")...),
		kgo.ClientID("discompose"),
		kgo.Dialer(dialer.DialContext),
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(5 * time.Second),
		kgo.RequestTimeoutOverhead(5 * time.Second),
		kgo.DisableClientMetrics(),
		kgo.AlwaysRetryEOF(), // a broker that dies on the first read is not a wrong SASL configuration
	}
}

// backoff is 50 ms, doubled for each further failure, at most 500 ms.
func backoff(tries int) time.Duration {
	return min(500*time.Millisecond, 25*time.Millisecond<<min(max(tries, 1), 5))
}

// Setup makes the topic, waits until every partition has a leader, and makes sure that it is empty (ErrTopicNotEmpty).
func (d *kafkaDriver) Setup(ctx context.Context) error {
	cl, err := kgo.NewClient(clientOptions(d.cfg.Target)...)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	var last error
	for {
		if last = d.trySetup(ctx, adm); last == nil || errors.Is(last, ErrPermanent) {
			break
		}
		if !wait(ctx, 250*time.Millisecond) {
			return fmt.Errorf("set up topic %s on %s: %w", d.opts.Topic, d.cfg.Target, errors.Join(context.Cause(ctx), last))
		}
	}
	if last != nil {
		return fmt.Errorf("set up topic %s on %s: %w", d.opts.Topic, d.cfg.Target, last)
	}
	for _, p := range d.producers {
		if err := p.open(); err != nil {
			return err
		}
	}
	return nil
}

func (d *kafkaDriver) trySetup(ctx context.Context, adm *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	topic, want := d.opts.Topic, d.opts.Partitions
	_, err := adm.CreateTopic(ctx, int32(want), int16(d.opts.Replication), nil, topic) //nolint:gosec // both are validated
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic: %w", err)
	}
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	detail := topics[topic]
	if detail.Err != nil {
		return fmt.Errorf("describe topic: %w", detail.Err)
	}
	if have := len(detail.Partitions); have != want {
		return fmt.Errorf("topic has %d partitions, options.partitions is %d: %w", have, want, ErrPermanent)
	}
	for _, p := range detail.Partitions.Sorted() {
		if p.Err != nil || p.Leader < 0 {
			return fmt.Errorf("partition %d has no leader (%w)", p.Partition, errors.Join(p.Err))
		}
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	if err := ends.Error(); err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	var records int64
	ends.Each(func(o kadm.ListedOffset) { records += o.Offset })
	if records > 0 {
		return fmt.Errorf("%w: it holds %d records; set options.topic to a topic of the run's own: %w", ErrTopicNotEmpty, records, ErrPermanent)
	}
	return nil
}

// Start begins the schedule of every producer, all from one instant.
func (d *kafkaDriver) Start(ctx context.Context, emit func([]ledger.Op)) error {
	d.emit = emit
	for _, p := range d.producers {
		if err := p.open(); err != nil {
			return err
		}
	}
	genCtx, stopGen := context.WithCancel(ctx)
	watchCtx, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	d.work, d.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	d.stopGen, d.stopWatch, d.watched = stopGen, stopWatch, make(chan struct{})
	go func() {
		defer close(d.watched)
		d.watch(watchCtx)
	}()
	start := Now()
	for i, p := range d.producers {
		d.gen.Go(func() { p.generate(genCtx, start, i) })
	}
	if d.opts.Group != "" {
		d.gen.Go(func() { d.pollGroup(genCtx) })
	}
	return nil
}

// watch gives up operations whose time is over.
func (d *kafkaDriver) watch(ctx context.Context) {
	for wait(ctx, 100*time.Millisecond) {
		for _, p := range d.producers {
			p.expire(Now() - d.cfg.Timeout)
		}
	}
}

// Stop ends the schedule and waits for what is in flight; the time-out of operations bounds it too.
func (d *kafkaDriver) Stop(ctx context.Context) error {
	if d.stopGen == nil {
		return nil
	}
	d.stopGen()
	generated, back := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(back)
		d.gen.Wait() // transactions that are open are ended
		close(generated)
		d.ops.Wait()
	}()
	select {
	case <-back:
	case <-ctx.Done():
	}
	d.stopWork()
	if d.opts.Transactions != nil && ctx.Err() != nil {
		for _, p := range d.producers {
			p.interrupt()
		}
	}
	<-generated
	d.stopWatch()
	<-d.watched
	for _, p := range d.producers {
		p.abandon(errors.New("stopped before an answer came"))
	}
	var closing sync.WaitGroup
	for _, p := range d.producers {
		closing.Go(p.close)
	}
	closing.Wait()
	return nil
}

// Stats sums up what happened so far.
func (d *kafkaDriver) Stats() Stats { return d.counts.stats() }

func (c *counters) stats() Stats {
	s := Stats{
		OK: c.ok.Load(), Failed: c.failed.Load(), Unknown: c.unknown.Load(), Skipped: c.skipped.Load(), Late: c.late.Load(),
		Polled: c.polled.Load(), Read: c.read.Load(), DataLoss: c.dataLoss.Load(), Invoked: c.invoked.Load(),
	}
	s.InFlight = max(s.Invoked-s.OK-s.Failed-s.Unknown, 0)
	if e := c.lastError.Load(); e != nil {
		s.LastError = strings.ToValidUTF8(*e, "?")
	}
	return s
}

// wait waits for d and reports whether ctx is still on.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
