package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/ledger"
)

// ConsumeOptions is what a consumer service is told.
type ConsumeOptions struct {
	Target    string // host:port of a broker, or several with commas between them
	Topic     string // empty: "orders"
	Group     string // empty: "discompose"
	Workload  string // name in the operations; empty: "consumer"
	Process   int    // number in the operations: the instance
	Isolation string // "read-uncommitted"; empty: "read-committed"
	Seed      *int64 // with Size: bodies are compared with what they derive; nil: only their own checksum is checked
	Size      int    // bytes of a value; used with Seed
	Log       io.Writer
}

// maxLine bounds a line: Docker's log drivers split longer ones at 16 KiB.
const maxLine = 15 << 10

// consumeLine is one line of a consumer's output.
type consumeLine struct {
	V     int         `json:"v"`
	Hello *helloLine  `json:"hello,omitempty"`
	Ops   []ledger.Op `json:"ops,omitempty"`
}

type helloLine struct {
	Role    string `json:"role"`
	Topic   string `json:"topic"`
	Group   string `json:"group"`
	Process int    `json:"process"`
	At      int64  `json:"at"`
}

// ConsumerProcess is a process number for the consumer on a host, apart from those of clients. Consumers of one service
// have different ones, so that what one of them is handed is not compared with the position of another.
func ConsumerProcess(host string) int {
	const first, most = 1_000_000, 1_000_000
	return first + int(crc32.ChecksumIEEE([]byte(host))%most)
}

// Consume joins a consumer group and polls until ctx ends, which is its only way to return nil; the other is that out
// cannot be written. What it is handed it prints to out, as JSON lines that ParseConsumeLine reads, before it commits the
// offsets: a consumer that dies in between is handed, and prints, the same records again. It outlives every outage of the
// broker, and waits for a topic that is not there yet.
func Consume(ctx context.Context, o ConsumeOptions, out io.Writer) error {
	o = o.withDefaults()
	if o.Target == "" {
		return errors.New("consume: target is empty (write host:port)")
	}
	hello, err := json.Marshal(consumeLine{V: ledger.FormatVersion, Hello: &helloLine{
		Role: "consumer", Topic: o.Topic, Group: o.Group, Process: o.Process, At: Now(),
	}})
	if err != nil {
		return fmt.Errorf("encode hello: %w", err)
	}
	if _, err := out.Write(append(hello, '\n')); err != nil {
		return fmt.Errorf("write hello: %w", err)
	}
	check := CheckBodyAlone
	if o.Seed != nil {
		check = func(body []byte) (int64, uint32) { return CheckBody(body, *o.Seed, o.Size) }
	}
	m := member{
		target: o.Target, topic: o.Topic, group: o.Group, isolation: o.Isolation, workload: o.Workload, process: o.Process, check: check,
		handle: func(ops []ledger.Op) error { return writeLines(out, ops) },
		note:   func(err error) { _, _ = fmt.Fprintf(o.Log, "consume: %v\n", err) },
	}
	err = m.run(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of ctx is the orderly end
	}
	return err
}

func (o ConsumeOptions) withDefaults() ConsumeOptions {
	if o.Topic == "" {
		o.Topic = "orders"
	}
	if o.Group == "" {
		o.Group = "discompose"
	}
	if o.Workload == "" {
		o.Workload = "consumer"
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

// writeLines writes ops in as many lines as the bound on a line needs, each with one call.
func writeLines(out io.Writer, ops []ledger.Op) error {
	const head, tail = `{"v":1,"ops":[`, "]}\n"
	line := []byte(head)
	flush := func() error {
		if len(line) == len(head) {
			return nil
		}
		_, err := out.Write(append(line, tail...))
		line = line[:len(head)]
		if err != nil {
			return fmt.Errorf("write operations: %w", err)
		}
		return nil
	}
	var one []byte
	for i := range ops {
		one = appendOp(one[:0], &ops[i])
		if len(line)+len(one)+len(tail)+1 > maxLine {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(line) > len(head) {
			line = append(line, ',')
		}
		line = append(line, one...)
	}
	return flush()
}

// ParseConsumeLine reads one line of a consumer's output. ok says that the line is one of its own; the first line carries
// no operation. Lines of a newer format are not ok.
func ParseConsumeLine(line []byte) (ops []ledger.Op, ok bool) {
	line = bytes.TrimSpace(line)
	if !bytes.HasPrefix(line, []byte(`{"v":`)) {
		return nil, false
	}
	var l consumeLine
	if err := json.Unmarshal(line, &l); err != nil || l.V < 1 || l.V > ledger.FormatVersion {
		return nil, false
	}
	return l.Ops, l.Hello != nil || len(l.Ops) > 0
}

// member is one member of a consumer group.
type member struct {
	target, topic, group string
	isolation            string
	workload             string
	process              int
	check                func(body []byte) (value int64, sum uint32)
	handle               func(ops []ledger.Op) error // what it is handed; offsets are committed when it returns nil
	note                 func(err error)             // errors that it goes on after
}

// assignments gathers the partitions that were assigned anew since the last poll.
type assignments struct {
	mu         sync.Mutex
	partitions []int32
}

func (a *assignments) add(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, partitions := range topics {
		a.partitions = append(a.partitions, partitions...)
	}
}

func (a *assignments) take() []int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.partitions
	a.partitions = nil
	return out
}

// run polls, handles and commits until ctx ends or handle fails.
func (m member) run(ctx context.Context) error {
	assigned := &assignments{}
	cl, err := kgo.NewClient(append(clientOptions(m.target),
		kgo.ConsumerGroup(m.group),
		kgo.ConsumeTopics(m.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // nothing is handed to another member between poll and commit
		kgo.OnPartitionsAssigned(assigned.add),
		kgo.FetchIsolationLevel(isolation(m.isolation)),
		kgo.SessionTimeout(10*time.Second),
		kgo.RebalanceTimeout(10*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.ConsiderMissingTopicDeletedAfter(time.Hour), // the topic may come later, or its broker
	)...)
	if err != nil {
		return fmt.Errorf("make consumer: %w", err)
	}
	defer leave(ctx, cl)
	var ops []ledger.Op
	for ctx.Err() == nil {
		invoke := Now()
		fetches := cl.PollRecords(ctx, 1000)
		complete := Now()
		if ctx.Err() != nil {
			break
		}
		fetches.EachError(func(t string, p int32, err error) { m.note(fmt.Errorf("poll %s[%d]: %w", t, p, err)) })
		// Partitions are assigned while a poll waits, never between what it found and AllowRebalance, and what was fetched before
		// is thrown away: so the records of this poll are those of the assignment, whose operation precedes them.
		ops = m.operations(ops[:0], assigned.take(), fetches, invoke, complete)
		if len(ops) > 0 {
			if err := m.handle(ops); err != nil {
				return err
			}
		}
		if fetches.NumRecords() > 0 {
			m.commit(ctx, cl)
		}
		cl.AllowRebalance()
	}
	return context.Cause(ctx)
}

// operations appends what was assigned and what was handed in one poll.
func (m member) operations(ops []ledger.Op, assigned []int32, fetches kgo.Fetches, invoke, complete int64) []ledger.Op {
	one := ledger.Op{
		Workload: m.workload, Process: m.process, Func: ledger.FuncAssign, Offset: -1,
		Planned: invoke, Invoke: invoke, Complete: complete, Outcome: ledger.OK,
	}
	for _, one.Partition = range assigned {
		ops = append(ops, one)
	}
	fetches.EachRecord(func(r *kgo.Record) {
		one.Func, one.Key, one.Partition, one.Offset = ledger.FuncPoll, string(r.Key), r.Partition, r.Offset
		one.Value, one.Sum = m.check(r.Value)
		ops = append(ops, one)
	})
	return ops
}

// isolation is the library's for the name of one.
func isolation(name string) kgo.IsolationLevel {
	if name == readUncommitted {
		return kgo.ReadUncommitted()
	}
	return kgo.ReadCommitted()
}

// leave leaves the group, so that the others take over at once; a broker that does not answer is not waited for.
func leave(ctx context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	cl.AllowRebalance()
	_ = cl.LeaveGroupContext(ctx) // unreachable: the session ends by itself
	cl.Close()
}

// commit commits what was polled. A commit that fails is only noted: the next one covers it.
func (m member) commit(ctx context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.CommitUncommittedOffsets(ctx); err != nil && !errors.Is(err, context.Canceled) {
		m.note(fmt.Errorf("commit: %w", err))
	}
}
