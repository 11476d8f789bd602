package resource

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/discompose/discompose/faults"
)

// PIDsLimit lets a container have no more than a number of processes and threads. Exactly one of the two parameters is
// set.
type PIDsLimit struct {
	Max      *int64 `toml:"max" doc:"processes and threads that the container may have; instead of headroom"`
	Headroom *int64 `toml:"headroom" doc:"how many more it may have than at that instant; 0 refuses every new one; instead of max"`
}

func pids() limit {
	return limit{
		kind: "pids_limit", controller: "pids", capability: faults.CapCgroupPIDs,
		files:  [3]string{"", "pids.max", "pids.max"},
		render: func(value, _ int64, _ int) string { return strconv.FormatInt(value, 10) },
		parse: func(text string) (int64, int64, error) {
			v, err := number(text)
			return v, 0, err
		},
		engine: func(_ faults.Limits, value int64) faults.Limits { return faults.Limits{PIDs: value} },
		set:    func(l faults.Limits) (int64, int64) { return max(l.PIDs, 0), 0 },
	}
}

// PIDsLimitSpec describes the kind.
func PIDsLimitSpec() faults.Spec {
	return faults.Spec{
		Kind: "pids_limit", Family: faults.Resource,
		Summary: "let a container have no more than a number of processes and threads",
		Doc: "Sets pids.max of the container's cgroup; where several limits overlap, the smallest counts. Processes that are there stay, new ones are refused with EAGAIN. " +
			"Witness: a fork inside the container's cgroup is refused, or the kernel counts one that was. " +
			"Undo: the limit that it had before; a fork is let in again.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: pids().mechanisms(updateNote + "; the witness is that every allowed process exists"),
		New:        func() faults.Fault { return &PIDsLimit{} },
		Effect:     pidsLimit{pids()},
	}
}

// Validate wants exactly one parameter.
func (f *PIDsLimit) Validate() error {
	switch {
	case (f.Max == nil) == (f.Headroom == nil):
		return &faults.ParamError{Key: "max", Err: errors.New("give exactly one of max and headroom"), Hint: "headroom = 0"}
	case f.Max != nil && *f.Max < 1:
		return &faults.ParamError{Key: "max", Err: fmt.Errorf("%d is less than the container's one process", *f.Max), Hint: "max = 10"}
	case f.Headroom != nil && *f.Headroom < 0:
		return &faults.ParamError{Key: "headroom", Err: fmt.Errorf("%d is negative", *f.Headroom), Hint: "headroom = 0"}
	}
	return nil
}

// Prepare journals the limit that the container has, and refuses one that is not below it.
func (f *PIDsLimit) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	l := pidsLimit{pids()}
	b, err := l.base(ctx, env, on)
	if err != nil {
		return faults.Record{}, err
	}
	if f.Max != nil {
		return l.record(b, on, want{Value: *f.Max}, "max")
	}
	n, err := l.current(ctx, env, on, b)
	if err != nil {
		return faults.Record{}, err
	}
	return l.record(b, on, want{Value: n + *f.Headroom, Usage: n}, "headroom")
}

type pidsLimit struct{ limit }

func (l pidsLimit) current(ctx context.Context, env faults.Env, on faults.Target, b base) (int64, error) {
	if b.By == byEngine {
		s, err := stats(ctx, env, on)
		return s.PIDs, err
	}
	text, err := cgroup(ctx, env, on, l.controller, "pids.current")
	if err != nil {
		return 0, err
	}
	n, err := number(text)
	if err != nil {
		return 0, fmt.Errorf("read pids.current of %s: %w", on, err)
	}
	return n, nil
}

// mostForks bounds the fork probe: with more room than this only the kernel's counter is a witness.
const mostForks = 512

// Confirm measures that the kernel refuses new processes, or that it lets them in.
func (l pidsLimit) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return l.back(ctx, env, r, func(b base, value int64) (faults.Witness, error) { return l.free(ctx, env, r, b, value) })
	}
	var before *int64
	return l.await(ctx, env, r, func(b base, value int64) (faults.Witness, error) {
		n, err := l.current(ctx, env, r.On, b)
		if err != nil {
			return faults.Witness{}, err
		}
		if b.By == byEngine {
			return l.full(r, b, n, value)
		}
		refused, err := l.refused(ctx, env, r.On)
		if err != nil {
			return faults.Witness{}, err
		}
		if before == nil || refused < *before { // a restart begins the counter anew
			before = &refused
		}
		if more := refused - *before; more > 0 {
			return faults.Witness{
				What: "refused forks", Value: float64(more), Unit: "forks",
				Note: fmt.Sprintf("%s is limited to %s; the kernel refused %d forks", r.On, l.text(value, b), more),
			}, nil
		}
		return l.probe(ctx, env, r, b, n, value)
	})
}

// refused is how many forks the kernel has refused because of the limit.
func (l pidsLimit) refused(ctx context.Context, env faults.Env, on faults.Target) (int64, error) {
	text, err := cgroup(ctx, env, on, l.controller, "pids.events")
	if err != nil {
		return 0, err
	}
	n, err := field(text, "max")
	if err != nil {
		return 0, fmt.Errorf("read pids.events of %s: %w", on, err)
	}
	return n, nil
}

func (l pidsLimit) probe(ctx context.Context, env faults.Env, r faults.Record, b base, n, value int64) (faults.Witness, error) {
	frozen, err := paused(ctx, env, r.On)
	if err != nil {
		return faults.Witness{}, err
	}
	if frozen {
		return faults.Witness{}, noWitness("%s is paused: nothing can fork in it", r.On)
	}
	most := max(0, value-n) + 8
	if most > mostForks {
		return faults.Witness{}, noWitness("%s has %d processes and room for %d more", r.On, n, value-n)
	}
	var got faults.ForkResult
	if err := env.Host.Call(ctx, faults.OpForkProbe, faults.ForkProbe{Container: r.On.Container, Most: int(most)}, &got); err != nil {
		return faults.Witness{}, fmt.Errorf("probe forks in %s: %w", r.On, err)
	}
	if !got.Refused {
		return faults.Witness{}, noWitness("%s is limited to %s, has %d, and %d more were let in", r.On, l.text(value, b), n, got.Forked)
	}
	return faults.Witness{
		What: "fork refused", Value: float64(got.Forked), Unit: "forks before it",
		Note: fmt.Sprintf("%s is limited to %s: a fork was refused after %d were let in", r.On, l.text(value, b), got.Forked),
	}, nil
}

// full is the witness without the agent: every allowed process exists, so the kernel refuses the next.
func (l pidsLimit) full(r faults.Record, b base, n, value int64) (faults.Witness, error) {
	if n < value {
		return faults.Witness{}, noWitness("%s is limited to %s and has %d", r.On, l.text(value, b), n)
	}
	return faults.Witness{
		What: "processes", Value: float64(n), Unit: "processes",
		Note: fmt.Sprintf("%s is limited to %s and has %d: there is no room for another", r.On, l.text(value, b), n),
	}, nil
}

// free measures that new processes are let in, as far as the limit that is in force now has room for them.
func (l pidsLimit) free(ctx context.Context, env faults.Env, r faults.Record, b base, value int64) (faults.Witness, error) {
	w := faults.Witness{What: "pids limit", Note: fmt.Sprintf("the limit of %s is %s", r.On, l.text(value, b))}
	if b.By == byEngine {
		return w, nil
	}
	frozen, err := paused(ctx, env, r.On)
	if err != nil {
		return faults.Witness{}, err
	}
	if frozen {
		w.Note += "; it is paused, so a fork cannot be tried"
		return w, nil
	}
	n, err := l.current(ctx, env, r.On, b)
	if err != nil {
		return faults.Witness{}, err
	}
	most := min(3, value-n)
	if most < 1 {
		w.Note += fmt.Sprintf("; it has %d, so there is no room to try a fork", n)
		return w, nil
	}
	var got faults.ForkResult
	if err := env.Host.Call(ctx, faults.OpForkProbe, faults.ForkProbe{Container: r.On.Container, Most: int(most)}, &got); err != nil {
		return faults.Witness{}, fmt.Errorf("probe forks in %s: %w", r.On, err)
	}
	if got.Refused {
		return faults.Witness{}, noWitness("a fork in %s is still refused", r.On)
	}
	w.What, w.Value, w.Unit = "forks let in", float64(got.Forked), "forks"
	w.Note += fmt.Sprintf("; %d forks were let in", got.Forked)
	return w, nil
}

func paused(ctx context.Context, env faults.Env, on faults.Target) (bool, error) {
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return false, fmt.Errorf("inspect %s: %w", on, err)
	}
	return c.Paused, nil
}
