package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

const (
	million   = 1_000_000
	batchOps  = 500 // as a client's outbox sends them
	rowsBar   = 200_000
	rowsRuns  = 3
	benchName = "orders"
)

// history is a legal history of n operations, as four producers, a consumer group and the final read of three
// partitions record it: a third each are sends, deliveries and reads. It is in the order of Invoke.
func history(n int) []ledger.Op {
	const producers, partitions, step = 4, 3, int64(5_000_000)
	ops := make([]ledger.Op, 0, n)
	type record struct {
		value, offset int64
		partition     int32
		key           string
	}
	var offsets [partitions]int64
	records := make([]record, 0, n/3)
	at := int64(1_000_000_000_000)
	op := func(fn string, process int, r record) {
		at += step
		ops = append(ops, ledger.Op{
			Workload: benchName, Process: process, Func: fn, Key: r.key, Value: r.value, Partition: r.partition, Offset: r.offset,
			Planned: at, Invoke: at + 40_000, Complete: at + 3_040_000, Outcome: ledger.OK,
		})
	}
	sends := (n - partitions) / 3
	for i := range sends {
		p, part := i%producers, (i/producers)%partitions
		r := record{workload.Value(p, int64(i/producers)+1), offsets[part], int32(part), fmt.Sprintf("%d-%d", p, part)} //nolint:gosec // small
		offsets[part]++
		records = append(records, r)
		op(ledger.FuncProduce, p, r)
		op(ledger.FuncPoll, 0, r)
	}
	for _, r := range records {
		op(ledger.FuncRead, 0, r)
	}
	for part, end := range offsets {
		op(ledger.FuncEnd, 0, record{partition: int32(part), offset: end}) //nolint:gosec // small
	}
	return ops
}

// rows measures how fast operations become durable rows.
func (b *bench) rows(ctx context.Context, s *section) error {
	s.title = "Operations into the ledger"
	s.text = fmt.Sprintf("A legal history of a million operations, in batches of %d as clients send them, on two cores. *Rows* is `ledger.Store` alone: "+
		"Append of every batch, then Flush, which returns when all is fsynced. *End to end* is the whole way in one process: encode in the client, the stream with its events "+
		"(an `agent.Server` and an `agent.Conn` over pipes), decode, Append, Flush.", batchOps)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(2, runtime.NumCPU())))
	ops := history(million)
	t := table{head: []string{"what", "n", "median, per second", "slowest, per second"}}
	var end series
	for _, way := range []struct {
		name string
		do   func(context.Context, *ledger.Store, []ledger.Op) error
	}{{"rows", appendAll}, {"end to end", endToEnd}} {
		var rates series
		for i := range rowsRuns {
			rate, err := b.rate(ctx, fmt.Sprintf("%s-%d", way.name, i), ops, way.do)
			if err != nil {
				return err
			}
			rates = append(rates, rate)
			b.say("%s: %s operations per second", way.name, count(rate))
		}
		t.add(way.name, fmt.Sprint(len(rates)), count(rates.median()), count(rates.quantile(0)))
		end = rates
	}
	s.tables = append(s.tables, t)
	b.report.bar("operations, from a client's encoder to a durable row", "≥ "+count(rowsBar)+" per second on two cores",
		count(end.median())+" per second", yes(end.median() >= rowsBar))
	if err := b.calls(ctx, s); err != nil {
		return err
	}
	return codec(s, ops)
}

// rate is how many operations per second a way makes durable in a fresh ledger.
func (b *bench) rate(ctx context.Context, name string, ops []ledger.Op, way func(context.Context, *ledger.Store, []ledger.Op) error) (float64, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	store, err := ledger.Create(dir)
	if err != nil {
		return 0, err
	}
	runtime.GC()
	began := time.Now()
	err = way(ctx, store, ops)
	took := time.Since(began)
	err = errors.Join(err, store.Close(), os.RemoveAll(dir))
	return float64(len(ops)) / took.Seconds(), err
}

func appendAll(ctx context.Context, store *ledger.Store, ops []ledger.Op) error {
	batch := make([]ledger.Op, batchOps)
	for len(ops) > 0 {
		n := copy(batch, ops) // Append sets ids
		if err := store.Append(batch[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return store.Flush(ctx)
}

// endToEnd sends ops as a client does and takes them as the runner does.
func endToEnd(ctx context.Context, store *ledger.Store, ops []ledger.Op) error {
	arrived := make(chan error, 1)
	tell := func(err error) {
		select {
		case arrived <- err:
		default:
		}
	}
	got := 0
	w, err := openWire(ctx, func(e agent.Event) {
		batch, err := ledger.DecodeOps(e.Data)
		if err == nil {
			err = store.Append(batch)
		}
		if got += len(batch); err != nil || got == len(ops) {
			tell(err)
		}
	})
	if err != nil {
		return err
	}
	for rest := ops; len(rest) > 0; {
		n := min(len(rest), batchOps)
		line := json.RawMessage(workload.AppendOps(make([]byte, 0, n*160), rest[:n]))
		if err := w.Emit(workload.EventOps, line); err != nil {
			tell(err)
			break
		}
		rest = rest[n:]
	}
	err = <-arrived
	if err == nil {
		err = store.Flush(ctx)
	}
	return errors.Join(err, w.close())
}

// wire is the stream between a client and the runner, both in this process.
type wire struct {
	*agent.Server
	close func() error
}

// openWire hands the runner's side every event that the client's side emits.
func openWire(ctx context.Context, take func(agent.Event)) (*wire, error) {
	toRunner, fromClient, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	toClient, fromRunner := io.Pipe()
	conn := agent.NewConn(toRunner, fromRunner, take)
	w := &wire{Server: agent.NewServer(fromClient)}
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, toClient, agent.Handler{}) }()
	w.close = func() error {
		err := errors.Join(conn.Close(), <-served, fromClient.Close())
		<-conn.Done()
		return errors.Join(err, toRunner.Close())
	}
	return w, nil
}

// codec measures the two ends of the stream alone, on one core.
func codec(s *section, ops []ledger.Op) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ops = ops[:200_000]
	var encoding, decoding time.Duration
	size := 0
	for rest := ops; len(rest) > 0; rest = rest[min(len(rest), batchOps):] {
		n := min(len(rest), batchOps)
		began := time.Now()
		line := workload.AppendOps(make([]byte, 0, n*160), rest[:n])
		encoding += time.Since(began)
		size += len(line)
		began = time.Now()
		got, err := ledger.DecodeOps(line)
		decoding += time.Since(began)
		if err != nil || len(got) != n {
			return fmt.Errorf("decode %d operations: got %d: %w", n, len(got), err)
		}
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(len(ops)) }
	s.note("On one core a client encodes an operation in %.0f ns (%d bytes) and the runner decodes it in %.0f ns.",
		each(encoding), size/len(ops), each(decoding))
	return nil
}
