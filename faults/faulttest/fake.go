package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/discompose/discompose/faults"
)

// engine is the world's Docker API.
type engine struct{ w *World }

func (e engine) Inspect(ctx context.Context, id string) (faults.Container, error) {
	if err := context.Cause(ctx); err != nil {
		return faults.Container{}, err
	}
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	b, err := e.w.find(id)
	if err != nil {
		return faults.Container{}, err
	}
	c := faults.Container{
		ID: b.ID, Name: b.title(), Image: b.image(), ImageID: e.w.images[b.image()], Env: slices.Clone(b.Environ),
		Entrypoint: slices.Clone(b.Entrypoint), Command: slices.Clone(b.Command), Record: b.record, Running: b.running, Paused: b.paused, Restarting: b.restarting, PID: b.pid,
		StartedAt: b.started, FinishedAt: b.finished, RestartCount: b.restarts, RestartPolicy: b.Policy, Limits: b.Limits,
	}
	if !b.running {
		c.ExitCode = b.exit
	}
	if c.RestartPolicy == "" {
		c.RestartPolicy = "no"
	}
	if b.Name != "" {
		c.Number = b.replica()
	}
	return c, nil
}

// errNotRunning is the engine's answer to a pause, unpause or kill of a container that is down.
var errNotRunning = errors.New("container is not running")

func (e engine) Do(ctx context.Context, id string, a faults.Action) error {
	w := e.w
	switch a.Verb {
	case faults.DoPause, faults.DoUnpause:
		return w.change(ctx, id, func(b *box) error {
			if !b.running {
				return errNotRunning
			}
			if a.Verb == faults.DoPause {
				b.paused = true
			} else {
				w.thaw(b)
			}
			return nil
		})
	case faults.DoStart:
		return w.change(ctx, id, func(b *box) error { return w.boot(b) })
	case faults.DoStop:
		return w.stop(ctx, id)
	case faults.DoRestart:
		if err := w.stop(ctx, id); err != nil {
			return err
		}
		return w.change(ctx, id, func(b *box) error { return w.boot(b) })
	case faults.DoKill:
		return w.change(ctx, id, func(b *box) error {
			if !b.running {
				return errNotRunning
			}
			b.manual = true
			w.signal(b, a.Signal)
			if b.paused {
				w.thaw(b)
			}
			return nil
		})
	}
	return fmt.Errorf("unknown verb %q", a.Verb)
}

func (w *World) boot(b *box) error {
	switch {
	case b.paused:
		return errors.New("cannot start a paused container, try unpause instead")
	case b.running || b.restarting:
		return nil
	}
	b.restarts, b.wait = 0, 0
	w.start(b, b.cg.at)
	return nil
}

// stop is docker stop: it returns when PID 1 has ended.
func (w *World) stop(ctx context.Context, id string) error {
	if err := w.change(ctx, id, w.halt); err != nil {
		return err
	}
	return w.gone(ctx, id)
}

// halt thaws, ends PID 1, and keeps the restart policy from acting.
func (w *World) halt(b *box) error {
	b.manual, b.restarting = true, false
	if b.running {
		b.paused, b.pending = false, ""
		w.die(b, 0)
	}
	return nil
}

func (e engine) Update(ctx context.Context, id string, l faults.Limits) error {
	return e.w.change(ctx, id, func(b *box) error {
		if l.MemoryBytes != 0 && l.MemoryBytes < b.Resident {
			return fmt.Errorf("update memory: %w", syscall.EBUSY)
		}
		set := func(to *int64, v int64) {
			if v != 0 {
				*to = v
			}
		}
		set(&b.Limits.CPUPeriod, l.CPUPeriod)
		set(&b.Limits.CPUQuota, l.CPUQuota)
		set(&b.Limits.NanoCPUs, l.NanoCPUs)
		set(&b.Limits.MemoryBytes, l.MemoryBytes)
		set(&b.Limits.SwapBytes, l.SwapBytes)
		set(&b.Limits.PIDs, l.PIDs)
		if b.running {
			b.limit()
		}
		return nil
	})
}

func (e engine) Stats(_ context.Context, id string) (faults.Stats, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	b, err := e.w.find(id)
	if err != nil {
		return faults.Stats{}, err
	}
	return faults.Stats{
		Periods: int64(b.cg.periods), Throttled: int64(b.cg.throttled), MemoryBytes: b.usage(),
		InactiveFileBytes: b.usage() - min(b.Resident, b.usage()), MemoryFails: int64(b.cg.hits), PIDs: b.Processes,
	}, nil
}

// host is the world's agent.
type host struct{ w *World }

func (h host) Facts() faults.Facts {
	return faults.Facts{CgroupVersion: h.w.version, Kernel: "fake", Arch: "amd64", Has: []faults.Capability{
		faults.CapAgent, faults.CapCgroupCPU, faults.CapCgroupMemory, faults.CapCgroupPIDs, faults.CapCgroupFreezer, faults.CapSignal,
		faults.CapPackets, faults.CapLinks,
	}}
}

// Call sends arguments and answer through JSON, as the agent's stream does.
func (h host) Call(ctx context.Context, op string, args, out any) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	answer, err := h.call(ctx, op, raw)
	if err != nil || out == nil {
		return err
	}
	back, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(back, out)
}

func (h host) call(ctx context.Context, op string, raw json.RawMessage) (any, error) {
	switch op {
	case faults.OpCgroupRead:
		var f faults.CgroupFile
		if err := json.Unmarshal(raw, &f); err != nil {
			return nil, err
		}
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		v, err := h.w.read(f)
		return faults.CgroupValue{Value: v}, err
	case faults.OpCgroupHold, faults.OpCgroupRelease:
		var f faults.CgroupFile
		if err := json.Unmarshal(raw, &f); err != nil {
			return nil, err
		}
		return nil, h.hold(ctx, f, op == faults.OpCgroupHold)
	case faults.OpSignal:
		var s faults.Signal
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		return nil, h.signal(ctx, s)
	case faults.OpForkProbe:
		var p faults.ForkProbe
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
		return h.w.fork(p)
	case faults.OpAlive:
		var a faults.Alive
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, err
		}
		return h.w.alive(a.PID), nil
	}
	if answer, ok, err := h.crash(ctx, op, raw); ok {
		return answer, err
	}
	if answer, ok, err := h.net(ctx, op, raw); ok {
		return answer, err
	}
	return nil, fmt.Errorf("unknown operation %q", op)
}

// hold writes a value, and from now on keeps it, or no longer.
func (h host) hold(ctx context.Context, f faults.CgroupFile, keep bool) error {
	return h.w.change(ctx, f.Container, func(b *box) error {
		key := f.Controller + "/" + f.File
		if delete(b.holds, key); keep {
			b.holds[key] = f.Value
		}
		if !b.running {
			return nil
		}
		return h.w.write(b, key, f.Value)
	})
}

func (h host) signal(ctx context.Context, s faults.Signal) error {
	return h.w.change(ctx, s.Container, func(b *box) error {
		for _, c := range h.w.commands {
			if c.running && c.pid == s.PID && c.box == b.ID {
				close(c.killed)
				c.running = false
				return nil
			}
		}
		if s.PID == 0 || s.PID != b.pid || !b.dead.IsZero() {
			return fmt.Errorf("process %d is not in the container's cgroup: %w", s.PID, errNotRunning)
		}
		h.w.signal(b, s.Signal)
		return nil
	})
}

func (w *World) alive(pid int) faults.AliveResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.boxes {
		if b, err := w.find(id); err == nil && b.pid == pid && b.dead.IsZero() {
			return faults.AliveResult{Alive: true}
		}
	}
	return faults.AliveResult{}
}

func (w *World) fork(p faults.ForkProbe) (faults.ForkResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.find(p.Container)
	if err != nil {
		return faults.ForkResult{}, err
	}
	if !b.running {
		return faults.ForkResult{}, errNoCgroup
	}
	if b.paused {
		return faults.ForkResult{}, errors.New("the container is paused: nothing can fork in it")
	}
	room := max(0, b.cg.pids-b.Processes)
	switch {
	case b.Unbound:
		room = math.MaxInt64
	case b.Refuses:
		room = 0
	}
	if int64(p.Most) <= room {
		return faults.ForkResult{Forked: p.Most}, nil
	}
	b.cg.refused++
	return faults.ForkResult{Refused: true, Forked: int(room)}, nil
}

var errNoCgroup = errors.New("open cgroup: no such file or directory")

func (w *World) read(f faults.CgroupFile) (string, error) {
	b, err := w.find(f.Container)
	if err != nil {
		return "", err
	}
	if !b.running {
		return "", errNoCgroup
	}
	g := b.cg
	stat := fmt.Sprintf("nr_periods %d\nnr_throttled %d", int64(g.periods), int64(g.throttled))
	cache := b.usage() - min(b.Resident, b.usage())
	files := map[string]string{
		"pids/pids.max": limited(g.pids, "max"), "pids/pids.current": strconv.FormatInt(b.Processes, 10), "pids/pids.events": fmt.Sprintf("max %d", g.refused),
	}
	if w.version == 2 {
		files["cpu/cpu.max"] = limited(g.quota, "max") + " " + strconv.FormatInt(g.period, 10)
		files["cpu/cpu.stat"] = fmt.Sprintf("usage_usec %d\n%s", g.cpu.Microseconds(), stat)
		files["memory/memory.max"] = limited(g.memory, "max")
		files["memory/memory.current"] = strconv.FormatInt(b.usage(), 10)
		files["memory/memory.stat"] = fmt.Sprintf("anon %d\ninactive_file %d", b.Resident, cache)
		files["memory/memory.events"] = fmt.Sprintf("low 0\nmax %d\noom 0\noom_kill 0", int64(g.hits))
		files["freezer/cgroup.events"] = fmt.Sprintf("populated 1\nfrozen %d", truth(b.paused))
	} else {
		files["cpu/cpu.cfs_quota_us"] = limited(g.quota, "-1")
		files["cpu/cpu.cfs_period_us"] = strconv.FormatInt(g.period, 10)
		files["cpu/cpu.stat"] = stat
		files["cpuacct/cpuacct.usage"] = strconv.FormatInt(g.cpu.Nanoseconds(), 10)
		files["memory/memory.limit_in_bytes"] = limited(g.memory, "9223372036854771712")
		files["memory/memory.usage_in_bytes"] = strconv.FormatInt(b.usage(), 10)
		files["memory/memory.stat"] = fmt.Sprintf("inactive_file 0\ntotal_inactive_file %d", cache)
		files["memory/memory.failcnt"] = strconv.FormatInt(int64(g.hits), 10)
		files["freezer/freezer.state"] = map[bool]string{true: "FROZEN", false: "THAWED"}[b.paused]
	}
	v, ok := files[f.Controller+"/"+f.File]
	if !ok {
		return "", fmt.Errorf("open %s/%s: no such file or directory", f.Controller, f.File)
	}
	return v, nil
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func limited(v int64, none string) string {
	if v < 0 || v == math.MaxInt64 {
		return none
	}
	return strconv.FormatInt(v, 10)
}

// write changes a limit as the kernel does.
func (w *World) write(b *box, file, text string) error {
	value, period, two := strings.Cut(text, " ")
	if two != (file == "cpu/cpu.max") {
		return fmt.Errorf("write %q to %s: %w", text, file, syscall.EINVAL)
	}
	v := int64(math.MaxInt64)
	if value != "max" && value != "-1" {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("write %q to %s: %w", text, file, syscall.EINVAL)
		}
		v = n
	}
	switch known := map[int]string{1: "cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes pids/pids.max", 2: "cpu/cpu.max memory/memory.max pids/pids.max"}[w.version]; {
	case !strings.Contains(known, file):
		return fmt.Errorf("open %s: no such file or directory", file)
	case strings.HasPrefix(file, "cpu/"):
		if b.cg.quota = v; v == math.MaxInt64 {
			b.cg.quota = -1
		} else if v < 1000 {
			return fmt.Errorf("write %q to %s: %w", text, file, syscall.EINVAL)
		}
		if two && period != strconv.FormatInt(b.cg.period, 10) {
			return fmt.Errorf("write %q to %s: the period would change", text, file)
		}
	case strings.HasPrefix(file, "memory/"):
		if v < b.Resident && w.version == 1 {
			return fmt.Errorf("write %q to %s: %w", text, file, syscall.EBUSY)
		}
		if b.cg.memory = v; v > 1<<62 {
			b.cg.memory = math.MaxInt64
		}
	default:
		b.cg.pids = v
	}
	return nil
}
