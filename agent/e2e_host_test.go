//go:build e2e

package agent_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/discompose/discompose/agent"
)

// quota is the cgroup file of the tests with a value as version 1 writes it, by cgroup version.
func quota(v2 bool, id, value string) agent.CgroupFile {
	f := agent.CgroupFile{Container: id, Controller: "cpu", File: "cpu.cfs_quota_us", Value: value}
	if v2 {
		f.File, f.Value = "cpu.max", strings.Replace(value, "-1", "max", 1)+" 100000"
	}
	return f
}

func TestHoldSurvivesRestart(t *testing.T) {
	// Where the container has a limit of its own, the runtime writes that after it has made the cgroup.
	for name, c := range map[string]struct {
		base   string
		limits container.Resources
	}{
		"base-unset": {"-1", container.Resources{}},
		"base-set":   {"80000", container.Resources{CPUPeriod: 100000, CPUQuota: 80000}},
	} {
		t.Run(name, func(t *testing.T) { holdSurvivesRestart(t, c.base, c.limits) })
	}
}

func holdSurvivesRestart(t *testing.T, baseValue string, limits container.Resources) {
	t.Helper()
	r := newRig(t)
	var facts agent.HelloResult
	o := r.options()
	var rewritten atomic.Int64
	o.OnEvent = func(e agent.Event) {
		if e.Name == agent.EventRewritten {
			rewritten.Add(1)
		}
	}
	conn, _ := r.agent(o)
	r.call(conn, agent.OpHello, agent.Hello{Run: o.Run}, &facts)
	v2 := facts.CgroupVersion == 2
	// The program prints the value that it sees in its own cgroup, first of all.
	script := `read -r v < /cg/cpu$(sed -n 's/^[0-9]*:[a-z,]*cpu[a-z,]*://p' /proc/self/cgroup | tail -n 1)/cpu.cfs_quota_us; echo "$v"; exec sleep 1000`
	if v2 {
		script = `read -r v < /cg$(sed -n 's/^0:://p' /proc/self/cgroup)/cpu.max; echo "$v"; exec sleep 1000`
	}
	id := r.limited("no", limits, "sh", "-c", script)
	var got agent.CgroupValue
	base, held := quota(v2, id, baseValue), quota(v2, id, "50000")
	r.call(conn, agent.OpCgroupRead, base, &got)
	if got.Value != base.Value {
		t.Fatalf("base is %q, want %q", got.Value, base.Value)
	}
	r.call(conn, agent.OpCgroupHold, held, nil)
	zero := 0
	const restarts = 5
	var seen []string
	printed := func(n int) {
		t.Helper()
		r.eventually("every start has printed", func() bool {
			seen = strings.Fields(strings.ReplaceAll(r.logs(id), " ", "_"))
			return len(seen) == n
		})
	}
	printed(1)
	for n := range restarts {
		if err := r.docker.ContainerRestart(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
			t.Fatal(err)
		}
		r.call(conn, agent.OpCgroupRead, held, &got)
		if got.Value != held.Value {
			t.Errorf("after a restart the value is %q, want %q", got.Value, held.Value)
		}
		printed(n + 2)
	}
	for i, v := range seen[1:] {
		if v != strings.ReplaceAll(held.Value, " ", "_") {
			t.Errorf("program of restart %d saw %q, want %q", i+1, v, held.Value)
		}
	}
	if n := rewritten.Load(); n < restarts {
		t.Errorf("%d rewrites were told, want at least %d", n, restarts)
	}

	r.call(conn, agent.OpCgroupRelease, base, nil)
	r.call(conn, agent.OpCgroupRead, base, &got)
	if got.Value != base.Value {
		t.Errorf("after the release the value is %q, want %q", got.Value, base.Value)
	}
	if err := r.docker.ContainerRestart(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	r.call(conn, agent.OpCgroupRead, base, &got)
	if got.Value != base.Value {
		t.Errorf("a restart after the release brought %q back", got.Value)
	}
}

func TestHoldOfAStoppedContainerTakesEffectWhenItStarts(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	id := r.target("no", "sleep", "1000")
	v2 := strings.HasPrefix(r.version(conn), "2")
	zero := 0
	if err := r.docker.ContainerStop(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	err := conn.Call(t.Context(), agent.OpCgroupRead, quota(v2, id, ""), nil)
	if !errors.Is(err, agent.ErrNotRunning) {
		t.Errorf("read of a stopped container: %v, want ErrNotRunning", err)
	}
	held := quota(v2, id, "50000")
	r.call(conn, agent.OpCgroupHold, held, nil)
	if err := r.docker.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	var got agent.CgroupValue
	r.call(conn, agent.OpCgroupRead, held, &got)
	if got.Value != held.Value {
		t.Errorf("value is %q, want %q", got.Value, held.Value)
	}
	if err := r.docker.ContainerStop(t.Context(), id, container.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	r.call(conn, agent.OpCgroupRelease, quota(v2, id, "-1"), nil)
}

func (r *rig) version(conn *agent.Conn) string {
	r.Helper()
	var facts agent.HelloResult
	r.call(conn, agent.OpHello, agent.Hello{Run: "0a0b0c0d"}, &facts)
	return fmt.Sprint(facts.CgroupVersion)
}

func TestRefusedWriteTellsWhatIsInUse(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	if r.version(conn) != "1" {
		t.Skip("cgroup v2 takes a limit below the usage and reclaims")
	}
	// Memory of a tmpfs cannot be reclaimed.
	id := r.target("no", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; echo full; exec sleep 1000")
	r.eventually("memory is in use", func() bool { return strings.Contains(r.logs(id), "full") })
	err := conn.Call(t.Context(), agent.OpCgroupHold,
		agent.CgroupFile{Container: id, Controller: "memory", File: "memory.limit_in_bytes", Value: "8388608"}, nil)
	t.Log(err)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "memory.usage_in_bytes is 2") {
		t.Errorf("got %v, want EBUSY with the usage", err)
	}
}

func TestForkProbe(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	id := r.target("no", "sleep", "1000")
	file := agent.CgroupFile{Container: id, Controller: "pids", File: "pids.max"}
	current := agent.CgroupFile{Container: id, Controller: "pids", File: "pids.current"}
	probe := func(limit string, most int, want agent.ForkResult) {
		t.Helper()
		file.Value = limit
		r.call(conn, agent.OpCgroupHold, file, nil)
		var got agent.ForkResult
		start := time.Now()
		r.call(conn, agent.OpForkProbe, agent.ForkProbe{Container: id, Most: most}, &got)
		t.Logf("pids.max=%s most=%d: %+v in %v", limit, most, got, time.Since(start))
		if got != want {
			t.Errorf("pids.max=%s most=%d: %+v, want %+v", limit, most, got, want)
		}
		var left agent.CgroupValue
		r.call(conn, agent.OpCgroupRead, current, &left)
		if left.Value != "1" {
			t.Errorf("%s processes are in the container, want its own only", left.Value)
		}
	}
	probe("max", 5, agent.ForkResult{Forked: 5})
	probe("4", 5, agent.ForkResult{Refused: true, Forked: 2}) // sleep, the prober, two children
	probe("1", 5, agent.ForkResult{Refused: true})
	probe("max", 300, agent.ForkResult{Forked: 300})
}

func TestSignalKillsLikeACrash(t *testing.T) {
	r := newRig(t)
	conn, _ := r.agent(r.options())
	id, other := r.target("always", "sleep", "1000"), r.target("no", "sleep", "1000")
	before := r.inspect(id)
	err := conn.Call(t.Context(), agent.OpSignal, agent.Signal{Container: other, PID: before.State.Pid, Signal: "SIGKILL"}, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing was touched") {
		t.Errorf("signal to a process of another container: %v, want a refusal", err)
	}
	var alive agent.AliveResult
	r.call(conn, agent.OpAlive, agent.Alive{PID: before.State.Pid}, &alive)
	if !alive.Alive {
		t.Fatal("PID 1 is not alive before the signal")
	}
	r.call(conn, agent.OpSignal, agent.Signal{Container: id, PID: before.State.Pid, Signal: "SIGKILL"}, nil)
	gone := r.eventually("the process is gone", func() bool {
		r.call(conn, agent.OpAlive, agent.Alive{PID: before.State.Pid}, &alive)
		return !alive.Alive
	})
	t.Logf("gone after %v", gone)
	r.eventually("the restart policy acts", func() bool {
		s := r.inspect(id)
		return s.RestartCount == 1 && s.State.Running && s.State.Pid != before.State.Pid
	})
	err = conn.Call(t.Context(), agent.OpSignal, agent.Signal{Container: id, PID: before.State.Pid, Signal: "SIGKILL"}, nil)
	if err == nil {
		t.Error("a signal to the old pid was accepted")
	}
}
