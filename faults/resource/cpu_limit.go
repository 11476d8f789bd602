package resource

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// CPULimit lets a container use no more than a number of CPUs.
//
// CPUs is a share of time: 0.5 is half of one CPU, in slices of the container's CFS period (100 ms unless set).
type CPULimit struct {
	CPUs float64 `toml:"cpus" doc:"required: CPUs that the container may use, at least 0.01; 0.5 is half of one"`
}

const (
	defaultPeriod = 100_000 // µs; the kernel's and the engine's
	leastQuota    = 1_000   // µs; kernel/sched/core.c min_cfs_quota_period
)

func cpu() limit {
	return limit{
		kind: "cpu_limit", controller: "cpu", capability: faults.CapCgroupCPU,
		files: [3]string{"", "cpu.cfs_quota_us", "cpu.max"},
		render: func(value, period int64, version int) string {
			if version == 2 {
				return fmt.Sprintf("%d %d", value, period)
			}
			return strconv.FormatInt(value, 10)
		},
		parse: func(text string) (int64, int64, error) {
			quota, period, two := strings.Cut(text, " ")
			v, err := number(quota)
			if err != nil || !two {
				return v, 0, err
			}
			p, err := number(period)
			return v, p, err
		},
		engine: func(base faults.Limits, value int64) faults.Limits {
			if base.NanoCPUs > 0 {
				return faults.Limits{NanoCPUs: value * 1e9 / defaultPeriod}
			}
			return faults.Limits{CPUPeriod: base.CPUPeriod, CPUQuota: value}
		},
		set: func(l faults.Limits) (int64, int64) {
			switch {
			case l.NanoCPUs > 0:
				return l.NanoCPUs * defaultPeriod / 1e9, defaultPeriod
			case l.CPUPeriod > 0:
				return max(l.CPUQuota, 0), l.CPUPeriod
			}
			return max(l.CPUQuota, 0), defaultPeriod
		},
	}
}

// CPULimitSpec describes the kind.
func CPULimitSpec() faults.Spec {
	return faults.Spec{
		Kind: "cpu_limit", Family: faults.Resource,
		Summary: "let a container use no more than a number of CPUs",
		Doc: "Sets the CFS quota of the container's cgroup; where several limits overlap, the smallest counts. " +
			"Witness: the kernel counts periods in which the container ran out of its quota, while the limit is in force: a container that uses less than the limit has no witness. " +
			"Undo: the quota that the container had before; where that was none, the counter stands still.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: cpu().mechanisms(updateNote),
		New:        func() faults.Fault { return &CPULimit{} },
		Effect:     cpuLimit{cpu()},
	}
}

// Validate wants at least a hundredth of a CPU, the least that fits the kernel's shortest slice.
func (f *CPULimit) Validate() error {
	if !(f.CPUs >= 0.01 && f.CPUs <= 4096) {
		return &faults.ParamError{Key: "cpus", Err: fmt.Errorf("is required and must be between 0.01 and 4096, not %v", f.CPUs), Hint: "cpus = 0.5"}
	}
	return nil
}

// Prepare journals the quota that the container has, and refuses a limit that is not below it.
func (f *CPULimit) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	l := cpu()
	b, err := l.base(ctx, env, on)
	if err != nil {
		return faults.Record{}, err
	}
	quota := int64(f.CPUs * float64(b.Period))
	if quota < leastQuota {
		return faults.Record{}, fmt.Errorf("cpu_limit on %s: %w: %v cpus of the container's period of %d µs is a slice below 1 ms, which the kernel refuses", on, faults.ErrUnsupported, f.CPUs, b.Period)
	}
	return l.record(b, on, want{Value: quota}, "cpus")
}

type cpuLimit struct{ limit }

// tellApart is the largest share of a container's own limit that the kind can be witnessed with: closer to it, throttling
// proves nothing.
const tellApart = 0.8

// throttling is one reading of the CFS counters.
type throttling struct{ periods, throttled int64 }

func (l cpuLimit) throttling(ctx context.Context, env faults.Env, on faults.Target, b base) (throttling, error) {
	if b.By == byEngine {
		s, err := stats(ctx, env, on)
		return throttling{s.Periods, s.Throttled}, err
	}
	text, err := cgroup(ctx, env, on, l.controller, "cpu.stat")
	if err != nil {
		return throttling{}, err
	}
	periods, err1 := field(text, "nr_periods")
	throttled, err2 := field(text, "nr_throttled")
	if err := errors.Join(err1, err2); err != nil {
		return throttling{}, fmt.Errorf("read cpu.stat of %s: %w", on, err)
	}
	return throttling{periods, throttled}, nil
}

// Confirm measures that the container runs out of its quota, or that it no longer does.
func (l cpuLimit) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return l.back(ctx, env, r, func(b base, value int64) (faults.Witness, error) { return l.free(ctx, env, r, b, value) })
	}
	var first *throttling
	return l.await(ctx, env, r, func(b base, value int64) (faults.Witness, error) {
		now, err := l.throttling(ctx, env, r.On, b)
		if err != nil {
			return faults.Witness{}, err
		}
		if first == nil || now.periods < first.periods { // a restart begins the counters anew
			first = &now
		}
		n, of := now.throttled-first.throttled, now.periods-first.periods
		if n <= 0 {
			return faults.Witness{}, noWitness("%s was not throttled in %d periods: it uses less than %s", r.On, of, l.text(value, b))
		}
		if b.Value != unlimited && float64(value) > tellApart*float64(b.Value) {
			return faults.Witness{}, noWitness("%s was limited to %s before, which throttles it too: a limit of %s cannot be told from that", r.On, l.text(b.Value, b), l.text(value, b))
		}
		return faults.Witness{
			What: "CPU periods in which the quota ran out", Value: float64(n), Unit: "throttled periods",
			Note: fmt.Sprintf("%s is limited to %s and was throttled in %d of %d periods while the witness looked", r.On, l.text(value, b), n, max(n, of)),
		}, nil
	})
}

// free measures that an unlimited container is throttled no longer.
func (l cpuLimit) free(ctx context.Context, env faults.Env, r faults.Record, b base, value int64) (faults.Witness, error) {
	w := faults.Witness{What: "CPU limit", Note: fmt.Sprintf("the CPU limit of %s is %s", r.On, l.text(value, b))}
	if value != unlimited {
		w.Value, w.Unit = float64(value)/float64(b.Period), "cpus"
		return w, nil
	}
	before, err := l.throttling(ctx, env, r.On, b)
	if err != nil {
		return faults.Witness{}, err
	}
	if err := faults.Pause(ctx, 3*time.Duration(b.Period)*time.Microsecond); err != nil {
		return faults.Witness{}, err
	}
	after, err := l.throttling(ctx, env, r.On, b)
	if err != nil {
		return faults.Witness{}, err
	}
	if after.throttled > before.throttled {
		return faults.Witness{}, noWitness("%s is still throttled", r.On)
	}
	w.What, w.Unit = "CPU periods in which the quota ran out", "throttled periods"
	w.Note += "; it was not throttled in three periods"
	return w, nil
}

// stats reads the engine's counters.
func stats(ctx context.Context, env faults.Env, on faults.Target) (faults.Stats, error) {
	s, ok := env.Engine.(faults.StatsReader)
	if !ok {
		return faults.Stats{}, noWitness("without the agent no counter of %s can be read", on)
	}
	v, err := s.Stats(ctx, on.Container)
	if err != nil {
		return faults.Stats{}, fmt.Errorf("read stats of %s: %w", on, err)
	}
	return v, nil
}
