package process

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// Pause freezes every process of a container: connections stay open, nothing answers, no time passes for it on the CPU.
// It has no parameters.
type Pause struct{}

// PauseSpec describes the kind.
func PauseSpec() faults.Spec {
	return faults.Spec{
		Kind: kindPause, Family: faults.Process,
		Summary: "freeze every process of a container",
		Doc: "The freezer of the kernel stops every process of the container at whatever instruction it is: connections stay open and nothing answers. " +
			"Clocks go on, so that timeouts expire at once when it thaws. " +
			"Witness: the engine says paused and, through the agent, the kernel says frozen and the container's CPU time stands still. " +
			"Undo: unpause, unless another pause is active. A container that is restarted meanwhile is paused again only after that fault has ended.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "Docker API"}},
		New:        func() faults.Fault { return &Pause{} },
		Effect:     pause{},
	}
}

// Validate has nothing to check.
func (*Pause) Validate() error { return nil }

// Prepare refuses a target that is not running or is paused by somebody else.
func (*Pause) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return prepare(ctx, env, kindPause, on, want{})
}

type pause struct{ effect }

// Apply pauses the container if it runs.
func (pause) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	return reach(ctx, env, r.On, desire(env.Journal, r.On.Container, ""))
}

// Confirm measures that nothing of the container runs, or that it is thawed again.
func (pause) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return gone(ctx, env, r)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) { return standsStill(ctx, env, r) })
}

// still is how long the CPU time of a paused container must not move.
const still = 60 * time.Millisecond

func standsStill(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	c, err := env.Engine.Inspect(ctx, r.On.Container)
	if err != nil {
		return faults.Witness{}, fmt.Errorf("inspect %s: %w", r.On, err)
	}
	if by := desire(env.Journal, r.On.Container, "").down(); by != nil && !c.Running && !c.Restarting {
		return faults.Witness{What: "state", Note: fmt.Sprintf("%s is down, by %s %q: none of its processes runs, and it will be paused when it is started", r.On, by.Kind, by.ID)}, nil
	}
	if !c.Paused {
		return faults.Witness{}, noWitness("the engine says that %s is not paused", r.On)
	}
	frozen, known, err := freezer(ctx, env, r.On.Container)
	if err != nil {
		return faults.Witness{}, err
	}
	if !known {
		return faults.Witness{What: "state", Value: 1, Note: fmt.Sprintf("the engine says that %s is paused (its CPU time cannot be read without the agent)", r.On)}, nil
	}
	if !frozen {
		return faults.Witness{}, noWitness("the engine says that %s is paused, the kernel that it is not frozen", r.On)
	}
	before, err := cpuTime(ctx, env, r.On.Container)
	if err != nil {
		return faults.Witness{}, err
	}
	if err := faults.Pause(ctx, still); err != nil {
		return faults.Witness{}, err
	}
	after, err := cpuTime(ctx, env, r.On.Container)
	if err != nil {
		return faults.Witness{}, err
	}
	if after != before {
		return faults.Witness{}, noWitness("%s used %s of CPU time while paused", r.On, after-before)
	}
	return faults.Witness{
		What: "CPU time of the container", Value: 0, Unit: "ns",
		Note: fmt.Sprintf("%s is frozen: its CPU time stood still at %s for %s", r.On, after, still),
	}, nil
}

// cpuTime is the CPU time that the container has used since it started.
func cpuTime(ctx context.Context, env faults.Env, container string) (time.Duration, error) {
	f := faults.CgroupFile{Container: container, Controller: "cpuacct", File: "cpuacct.usage"}
	v2 := env.Facts().CgroupVersion == 2
	if v2 {
		f.Controller, f.File = "cpu", "cpu.stat"
	}
	var v faults.CgroupValue
	if err := env.Host.Call(ctx, faults.OpCgroupRead, f, &v); err != nil {
		return 0, fmt.Errorf("read %s: %w", f.File, err)
	}
	text, unit := strings.TrimSpace(v.Value), time.Nanosecond
	if v2 {
		unit = time.Microsecond
		_, rest, _ := strings.Cut("\n"+v.Value, "\nusage_usec ")
		text, _, _ = strings.Cut(rest, "\n")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", f.File, err)
	}
	return time.Duration(n) * unit, nil
}
