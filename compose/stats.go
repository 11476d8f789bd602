package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// Stat is a snapshot of one container's counters. Counters only grow while the container runs.
type Stat struct {
	Service          string `json:"service"`
	Number           int    `json:"number"`
	Container        string `json:"container"`
	Running          bool   `json:"running"` // the rest is zero where not
	Time             int64  `json:"time"`    // ns since the epoch, the engine's wall clock
	CPUNanos         uint64 `json:"cpu_ns"`
	ThrottledPeriods uint64 `json:"throttled_periods"`
	MemoryBytes      uint64 `json:"memory_bytes"` // without the page cache that can be dropped
	MemoryLimitBytes uint64 `json:"memory_limit_bytes"`
	PIDs             uint64 `json:"pids"`
	ReceivedBytes    uint64 `json:"received_bytes"`
	SentBytes        uint64 `json:"sent_bytes"`
	ReadBytes        uint64 `json:"read_bytes"`
	WrittenBytes     uint64 `json:"written_bytes"`
}

// Stats takes a snapshot of every container of the project, sorted by service and number, all at once.
func (e *Environment) Stats(ctx context.Context) ([]Stat, error) {
	list, err := e.Containers(ctx)
	if err != nil {
		return nil, err
	}
	out, errs := make([]Stat, len(list)), make([]error, len(list))
	var wg sync.WaitGroup
	for i, c := range list {
		wg.Go(func() { out[i], errs[i] = e.stat(ctx, c) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

func (e *Environment) stat(ctx context.Context, c Container) (Stat, error) {
	s := Stat{Service: c.Service, Number: c.Number, Container: c.ID}
	if c.State != container.StateRunning && c.State != container.StatePaused {
		return s, nil
	}
	r, err := e.engine.docker.ContainerStatsOneShot(ctx, c.ID)
	if errdefs.IsNotFound(err) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read stats of %s: %w", c, err)
	}
	var v container.StatsResponse
	err = errors.Join(json.NewDecoder(r.Body).Decode(&v), r.Body.Close())
	if err != nil {
		return s, fmt.Errorf("read stats of %s: %w", c, err)
	}
	if v.Read.IsZero() || v.Read.Year() < 2000 {
		return s, nil // it has stopped meanwhile
	}
	return s.with(v), nil
}

func (s Stat) with(v container.StatsResponse) Stat {
	s.Running, s.Time = true, v.Read.UnixNano()
	s.CPUNanos, s.ThrottledPeriods = v.CPUStats.CPUUsage.TotalUsage, v.CPUStats.ThrottlingData.ThrottledPeriods
	s.MemoryBytes, s.MemoryLimitBytes, s.PIDs = v.MemoryStats.Usage, v.MemoryStats.Limit, v.PidsStats.Current
	for _, key := range []string{"total_inactive_file", "inactive_file"} { // cgroup v1, v2
		if cache, ok := v.MemoryStats.Stats[key]; ok && cache < s.MemoryBytes {
			s.MemoryBytes -= cache
			break
		}
	}
	for _, n := range v.Networks {
		s.ReceivedBytes += n.RxBytes
		s.SentBytes += n.TxBytes
	}
	for _, b := range v.BlkioStats.IoServiceBytesRecursive {
		switch b.Op {
		case "Read", "read":
			s.ReadBytes += b.Value
		case "Write", "write":
			s.WrittenBytes += b.Value
		}
	}
	return s
}
