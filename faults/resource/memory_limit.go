package resource

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// MemoryLimit lets a container use no more than an amount of memory, page cache included. Exactly one of the two
// parameters is set.
type MemoryLimit struct {
	Limit    *units.Size `toml:"limit" doc:"memory that the container may use; instead of headroom"`
	Headroom *units.Size `toml:"headroom" doc:"memory above what it needs at that instant (in use, without inactive page cache); instead of limit"`
}

func memory() limit {
	return limit{
		kind: "memory_limit", controller: "memory", capability: faults.CapCgroupMemory,
		files:  [3]string{"", "memory.limit_in_bytes", "memory.max"},
		render: func(value, _ int64, _ int) string { return strconv.FormatInt(value, 10) },
		parse: func(text string) (int64, int64, error) {
			v, err := number(text)
			if v > 1<<62 { // version 1 writes "no limit" as the largest number of whole pages
				v = unlimited
			}
			return v, 0, err
		},
		engine: func(_ faults.Limits, value int64) faults.Limits { return faults.Limits{MemoryBytes: value} },
		set:    func(l faults.Limits) (int64, int64) { return l.MemoryBytes, 0 },
	}
}

// MemoryLimitSpec describes the kind.
func MemoryLimitSpec() faults.Spec {
	return faults.Spec{
		Kind: "memory_limit", Family: faults.Resource,
		Summary: "let a container use no more than an amount of memory",
		Doc: "Sets the memory limit of the container's cgroup; where several limits overlap, the smallest counts. The kernel takes page cache away first; " +
			"what cannot be had in any other way is an out-of-memory kill. Where the host has swap, memory may go there. " +
			"With cgroup version 1 a limit below what the container cannot give back is refused; with version 2 it ends in an out-of-memory kill. " +
			"Witness: the kernel counts that the limit was hit, or it has taken memory away from the container until it fitted. Undo: the limit that it had before.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: memory().mechanisms(updateNote),
		New:        func() faults.Fault { return &MemoryLimit{} },
		Effect:     memoryLimit{memory()},
	}
}

// Validate wants exactly one parameter.
func (f *MemoryLimit) Validate() error {
	switch {
	case (f.Limit == nil) == (f.Headroom == nil):
		return &faults.ParamError{Key: "limit", Err: errors.New("give exactly one of limit and headroom"), Hint: `limit = "256MiB"`}
	case f.Limit != nil && *f.Limit < page:
		return &faults.ParamError{Key: "limit", Err: fmt.Errorf("%s is less than one page of memory", *f.Limit), Hint: `limit = "256MiB"`}
	}
	return nil
}

// Prepare journals the limit that the container has, and refuses one that is not below it.
func (f *MemoryLimit) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	l := memoryLimit{memory()}
	b, err := l.base(ctx, env, on)
	if err != nil {
		return faults.Record{}, err
	}
	u, err := l.use(ctx, env, on, b)
	if err != nil {
		return faults.Record{}, err
	}
	w, key := want{Usage: u.bytes, PID: u.pid}, "limit"
	if f.Headroom != nil {
		w.Value, key = u.needed+f.Headroom.Bytes(), "headroom"
	} else {
		w.Value = f.Limit.Bytes()
	}
	w.Value -= w.Value % 4096
	if b.Value == unlimited && !l.others(env, on, "") {
		w.Events = &u.events
	}
	return l.record(b, on, w, key)
}

type memoryLimit struct{ limit }

// use is one reading of a container's memory.
type use struct {
	bytes  int64 // in use, page cache included
	needed int64 // without inactive page cache
	events int64 // how often the limit was hit
	pid    int   // of its first process
}

func (l memoryLimit) use(ctx context.Context, env faults.Env, on faults.Target, b base) (use, error) {
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return use{}, fmt.Errorf("inspect %s: %w", on, err)
	}
	if !c.Running || c.Restarting {
		return use{}, fmt.Errorf("memory_limit on %s: %w: it is not running", on, faults.ErrUnsupported)
	}
	u := use{pid: c.PID}
	if b.By == byEngine {
		s, err := stats(ctx, env, on)
		u.bytes, u.needed, u.events = s.MemoryBytes, max(0, s.MemoryBytes-s.InactiveFileBytes), s.MemoryFails
		return u, err
	}
	usage, inactive := "memory.usage_in_bytes", "total_inactive_file"
	if b.Version == 2 {
		usage, inactive = "memory.current", "inactive_file"
	}
	text, err := cgroup(ctx, env, on, l.controller, usage)
	if err != nil {
		return use{}, err
	}
	if u.bytes, err = number(text); err != nil {
		return use{}, fmt.Errorf("read %s of %s: %w", usage, on, err)
	}
	if text, err = cgroup(ctx, env, on, l.controller, "memory.stat"); err != nil {
		return use{}, err
	}
	cache, err := field(text, inactive)
	if err != nil {
		return use{}, fmt.Errorf("read memory.stat of %s: %w", on, err)
	}
	u.needed = max(0, u.bytes-cache)
	u.events, err = l.hits(ctx, env, on, b)
	return u, err
}

// hits is how often the kernel refused memory because of the limit.
func (l memoryLimit) hits(ctx context.Context, env faults.Env, on faults.Target, b base) (int64, error) {
	file := "memory.failcnt"
	if b.Version == 2 {
		file = "memory.events"
	}
	text, err := cgroup(ctx, env, on, l.controller, file)
	if err != nil {
		return 0, err
	}
	if b.Version != 2 {
		n, err := number(text)
		if err != nil {
			return 0, fmt.Errorf("read %s of %s: %w", file, on, err)
		}
		return n, nil
	}
	hit, err1 := field(text, "max")
	killed, err2 := field(text, "oom_kill")
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", file, on, err)
	}
	return hit + killed, nil
}

// Apply puts the smallest active limit in force. The kernel may find nothing more to take away.
func (l memoryLimit) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	err := l.limit.Apply(ctx, env, r)
	if err == nil || (!errors.Is(err, syscall.EBUSY) && !strings.Contains(err.Error(), "resource busy")) {
		return err
	}
	return fmt.Errorf("%s needs more memory than the limit leaves, and the kernel cannot take it away (raise limit, or use headroom instead): %w", r.On, err)
}

// Confirm measures that the limit was hit or made the container give memory back, or that the limit is what it was.
func (l memoryLimit) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return l.back(ctx, env, r, func(b base, value int64) (faults.Witness, error) {
			return faults.Witness{What: "memory limit", Value: float64(value), Unit: "bytes", Note: fmt.Sprintf("the memory limit of %s is %s", r.On, l.text(value, b))}, nil
		})
	}
	w, err := decode(r)
	if err != nil {
		return faults.Witness{}, err
	}
	before := w.Events
	return l.await(ctx, env, r, func(b base, value int64) (faults.Witness, error) {
		u, err := l.use(ctx, env, r.On, b)
		if err != nil {
			return faults.Witness{}, err
		}
		if before == nil || u.events < *before { // a restart begins the counter anew
			before = &u.events
		}
		if n := u.events - *before; n > 0 {
			return faults.Witness{
				What: "memory requests that hit the limit", Value: float64(n), Unit: "hits",
				Note: fmt.Sprintf("%s is limited to %s and hit that limit %d times", r.On, l.text(value, b), n),
			}, nil
		}
		if u.pid == w.PID && w.Usage > value && u.bytes <= value {
			return faults.Witness{
				What: "memory taken away", Value: float64(w.Usage - u.bytes), Unit: "bytes",
				Note: fmt.Sprintf("%s is limited to %s: it used %s before and %s now", r.On, l.text(value, b), units.Size(w.Usage), units.Size(u.bytes)),
			}, nil
		}
		return faults.Witness{}, noWitness("%s uses %s and did not hit its limit of %s", r.On, units.Size(u.bytes), l.text(value, b))
	})
}
