package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/drivers"
)

const (
	recordingRounds  = 5
	recordingTime    = 4 * time.Second
	recordingClients = 24
)

// recording measures what it costs clients that what they do is recorded.
func (b *bench) recording(ctx context.Context, s *section) (err error) {
	s.title = "Clients with recording against without"
	s.text = fmt.Sprintf("The redis driver's registers, %d clients as fast as answers come, against a Redis 7 without persistence in a container of this machine, for %s a round, in turn. *With*: "+
		"through the client's outbox and the stream to a ledger on disk, as in a run, with the runner's side in the same process. *Without*: the driver alone, and what it emits is dropped.", recordingClients, recordingTime)
	addr, err := b.redis(ctx)
	if err != nil {
		return err
	}
	var with, without series
	for i := range recordingRounds {
		plain, err := b.unrecorded(ctx, addr, fmt.Sprintf("plain%d:", i))
		if err != nil {
			return err
		}
		kept, err := b.recorded(ctx, drivers.All(), registers(addr, fmt.Sprintf("kept%d:", i)))
		if err != nil {
			return err
		}
		without, with = append(without, plain), append(with, kept)
		b.say("recording: %s operations per second with it, %s without", count(kept), count(plain))
	}
	t := table{head: []string{"what", "n", "median, operations per second", "slowest"}}
	t.add("with", fmt.Sprint(len(with)), count(with.median()), count(with.quantile(0)))
	t.add("without", fmt.Sprint(len(without)), count(without.median()), count(without.quantile(0)))
	s.tables = append(s.tables, t)
	b.report.bar("clients' throughput with recording", "—", fmt.Sprintf("%.2f × of that without (%s and %s per second)", with.median()/without.median(), count(with.median()), count(without.median())), "—")
	return nil
}

// redis starts a server, and returns its address when it listens. RemoveRun takes it away in the end.
func (b *bench) redis(ctx context.Context) (string, error) {
	image, err := b.firstImage(ctx, "redis:7", "redis:latest")
	if err != nil {
		return "", err
	}
	made, err := b.docker.ContainerCreate(ctx, &container.Config{
		Image: image, Cmd: []string{"redis-server", "--save", "", "--appendonly", "no"}, Labels: map[string]string{agent.LabelRun: b.id},
	}, &container.HostConfig{}, nil, nil, "bench"+b.id+"-redis")
	if err != nil {
		return "", fmt.Errorf("create redis: %w", err)
	}
	if err := b.docker.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return "", fmt.Errorf("start redis: %w", err)
	}
	in, err := b.docker.ContainerInspect(ctx, made.ID)
	if err != nil {
		return "", fmt.Errorf("inspect redis: %w", err)
	}
	return net.JoinHostPort(in.NetworkSettings.Networks["bridge"].IPAddress, "6379"), nil // the driver's set-up waits until it answers
}

func registers(addr, prefix string) workload.Config {
	return workload.Config{
		Name: benchName, Driver: "redis", Target: addr, Clients: recordingClients, Seed: 1,
		Options: json.RawMessage(fmt.Sprintf(`{"model": "register", "prefix": %q, "keys": {"count": 1000}}`, prefix)),
	}
}

// unrecorded is the rate of the driver alone.
func (b *bench) unrecorded(ctx context.Context, addr, prefix string) (float64, error) {
	d, err := workload.New(registers(addr, prefix), drivers.All())
	if err != nil {
		return 0, err
	}
	if err := d.Setup(ctx); err != nil {
		return 0, err
	}
	var ops atomic.Int64
	began := time.Now()
	if err := d.Start(ctx, func(done []ledger.Op) { ops.Add(int64(len(done))) }); err != nil {
		return 0, err
	}
	err = pause(ctx, recordingTime)
	err = errors.Join(err, d.Stop(ctx))
	return float64(ops.Load()) / time.Since(began).Seconds(), err
}

// recorded is the rate of a workload in a client, up to the last durable row.
func (b *bench) recorded(ctx context.Context, specs []workload.Spec, c workload.Config) (rate float64, err error) {
	dir := filepath.Join(b.dir, "recorded")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	store, err := ledger.Create(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close(), os.RemoveAll(dir)) }()
	var ops atomic.Int64
	var bad atomic.Pointer[error]
	w, err := openWire(ctx, func(e agent.Event) {
		if e.Name != workload.EventOps {
			return
		}
		batch, err := ledger.DecodeOps(e.Data)
		if err == nil {
			err = store.Append(batch)
		}
		if err != nil {
			bad.Store(&err)
		}
		ops.Add(int64(len(batch)))
	})
	if err != nil {
		return 0, err
	}
	client := workload.NewClient(specs, func(event string, data json.RawMessage) {
		if err := w.Emit(event, data); err != nil {
			bad.Store(&err)
		}
	})
	do := func(op string, args any) error {
		raw, err := json.Marshal(args)
		if err == nil {
			_, err = client.Ops()[op](ctx, raw)
		}
		return err
	}
	err = errors.Join(do(workload.OpConfigure, workload.ClientConfig{Workloads: []workload.Config{c}}), do(workload.OpSetup, nil))
	began := time.Now()
	if err == nil {
		err = do(workload.OpStart, nil)
	}
	if err == nil {
		err = pause(ctx, recordingTime)
	}
	if err == nil {
		err = do(workload.OpStop, workload.Named{Within: int64(time.Minute)})
	}
	client.Close()
	for err == nil && bad.Load() == nil && ops.Load() < client.Stats()[benchName].Invoked {
		err = pause(ctx, time.Millisecond) // what is still on its way
	}
	err = errors.Join(err, store.Flush(ctx))
	took := time.Since(began)
	err = errors.Join(err, w.close())
	if p := bad.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return float64(ops.Load()) / took.Seconds(), err
}
