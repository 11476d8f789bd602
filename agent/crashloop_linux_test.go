package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// patient is a fake engine with one container, whose PID 1 is a real process of this test.
type patient struct {
	tree

	mu    sync.Mutex
	state container.State
	gone  bool
	cmd   *exec.Cmd
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{}
	p.tree = newTree(t, nil, false)
	p.h.docker = p
	return p
}

func (p *patient) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return container.InspectResponse{}, fmt.Errorf("no container: %w", errdefs.ErrNotFound)
	}
	state := p.state
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: &state}}, nil
}

// change changes what the engine says.
func (p *patient) change(f func(*container.State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.state)
}

// start makes a new PID 1, in a cgroup, that ignores the named signals.
func (p *patient) start(cgroup, ignores string) int {
	p.Helper()
	cmd := exec.CommandContext(p.Context(), "sh", "-c", "trap '' "+ignores+"; echo ready; read forever")
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		p.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		p.Fatal(err)
	}
	pid := cmd.Process.Pid
	p.process(strconv.Itoa(pid), "/docker/"+cgroup)
	p.write(filepath.Join(p.h.root, "pids/docker", cgroup, "cgroup.procs"), strconv.Itoa(pid))
	p.cmd = cmd
	p.change(func(s *container.State) {
		*s = container.State{Running: true, Pid: pid, StartedAt: time.Now().UTC().Format(time.RFC3339Nano)}
	})
	p.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it may have ended
	return pid
}

func (p *patient) call(op string, args, out any) {
	p.Helper()
	if err := p.h.Call(p.Context(), op, args, out); err != nil {
		p.Fatal(err)
	}
}

// see waits for a state of the loop.
func (p *patient) see(want CrashLoopState) {
	p.Helper()
	var got CrashLoopState
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = CrashLoopState{}
		if p.call(OpCrashLoopState, CrashLoopID{"l"}, &got); got == want {
			return
		}
	}
	p.Fatalf("the loop is %+v, want %+v", got, want)
}

func TestCrashLoopKillsEachProcessThatRuns(t *testing.T) {
	p := newPatient(t)
	p.start(idA, "HUP")
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGTERM", Count: 3}, nil)
	for n := 1; n <= 3; n++ {
		_ = p.cmd.Wait() // by the signal
		p.see(CrashLoopState{Active: true, Kills: n, Starts: n - 1})
		p.change(func(s *container.State) { s.Restarting, s.Pid = true, 0 })
		p.start(idA, "HUP")
	}
	p.see(CrashLoopState{Kills: 3, Starts: 3})
	if !p.alive() {
		t.Error("the process after the last kill does not live")
	}
}

func (p *patient) alive() bool {
	p.h.proc = "/proc"
	var a AliveResult
	p.call(OpAlive, Alive{PID: p.cmd.Process.Pid}, &a)
	return a.Alive
}

func TestCrashLoopKillsNothingBeforeItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		loop  CrashLoop
		state func(*container.State)
	}{
		"a container that does not run yet": {CrashLoop{}, func(s *container.State) { s.Running = false }},
		"one that the policy keeps waiting": {CrashLoop{}, func(s *container.State) { s.Restarting = true }},
		"a paused one":                      {CrashLoop{}, func(s *container.State) { s.Paused = true }},
		"a young one":                       {CrashLoop{Uptime: time.Hour}, func(*container.State) {}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t)
			p.start(idA, "HUP")
			p.change(c.state)
			c.loop.ID, c.loop.Container, c.loop.Signal = "l", idA, "SIGKILL"
			p.call(OpCrashLoop, c.loop, nil)
			p.see(CrashLoopState{Active: true})
			time.Sleep(3 * slice) // that nothing happens has no event
			p.see(CrashLoopState{Active: true})
			p.call(OpCrashLoopEnd, CrashLoopID{"l"}, nil)
			p.see(CrashLoopState{})
			if !p.alive() {
				t.Error("it was killed")
			}
		})
	}
}

func TestCrashLoopGoesByTheStartThatTheEngineNotes(t *testing.T) {
	p := newPatient(t)
	p.start(idA, "HUP")
	p.change(func(s *container.State) { s.StartedAt = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano) })
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL", Uptime: time.Hour, Count: 1}, nil)
	_ = p.cmd.Wait() // by the signal
	p.see(CrashLoopState{Active: true, Kills: 1})
}

func TestAPausedContainerIsKilledWhenItIsThawed(t *testing.T) {
	p := newPatient(t)
	p.start(idA, "HUP")
	p.change(func(s *container.State) { s.Paused = true })
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL"}, nil)
	p.see(CrashLoopState{Active: true})
	p.change(func(s *container.State) { s.Paused = false })
	_ = p.cmd.Wait() // by the signal
	p.see(CrashLoopState{Active: true, Kills: 1})
}

func TestCrashLoopTellsOfAProcessThatTakesItsTime(t *testing.T) {
	p := newPatient(t)
	pid := p.start(idA, "TERM")
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "TERM"}, nil)
	p.see(CrashLoopState{Active: true, Ending: pid})
	p.call(OpCrashLoopEnd, CrashLoopID{"l"}, nil)
	p.h.proc = "/proc"
	p.see(CrashLoopState{Ending: pid})
	_ = p.cmd.Process.Kill()
	p.see(CrashLoopState{Kills: 1})
}

func TestCrashLoopRefusesForeignProcesses(t *testing.T) {
	p := newPatient(t)
	p.start(idB, "HUP")
	err := p.h.Call(t.Context(), OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL"}, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing was touched") {
		t.Errorf("the loop began: %v", err)
	}
	p.start(idA, "HUP")
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL"}, nil)
	_ = p.cmd.Wait() // by the signal
	pid := p.start(idB, "HUP")
	p.write(filepath.Join(p.h.root, "pids/docker", idA, "cgroup.procs"), "1")
	p.see(CrashLoopState{Kills: 1, Starts: 1, Error: fmt.Sprintf("process %d is not in the cgroup of container aaaaaaaaaaaa; nothing was touched", pid)})
	if !p.alive() {
		t.Error("a process of another container was killed")
	}
}

func TestCrashLoopEndsWithItsContainer(t *testing.T) {
	p := newPatient(t)
	p.change(func(s *container.State) { s.Restarting = true })
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL"}, nil)
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.see(CrashLoopState{Error: "no such container aaaaaaaaaaaa"})
	err := p.h.Call(t.Context(), OpCrashLoop, CrashLoop{ID: "m", Container: idA, Signal: "SIGKILL"}, nil)
	if !errors.Is(err, ErrGone) {
		t.Errorf("a loop of a container that is gone: %v", err)
	}
}

func TestASecondCrashLoopReplacesTheFirst(t *testing.T) {
	p := newPatient(t)
	p.start(idA, "HUP")
	p.change(func(s *container.State) { s.Paused = true })
	for _, uptime := range []time.Duration{0, 0, time.Hour} {
		p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL", Uptime: uptime}, nil)
	}
	p.change(func(s *container.State) { s.Paused = false })
	time.Sleep(3 * slice) // that nothing happens has no event
	p.see(CrashLoopState{Active: true})
	p.call(OpCrashLoop, CrashLoop{ID: "l", Container: idA, Signal: "SIGKILL"}, nil)
	_ = p.cmd.Wait() // by the signal
	p.see(CrashLoopState{Active: true, Kills: 1})
	p.call(OpCrashLoopEnd, CrashLoopID{"other"}, nil) // one that is not there is fine
	for name, bad := range map[string]CrashLoop{
		"no id":           {Container: idA, Signal: "SIGKILL"},
		"no signal":       {ID: "l", Container: idA},
		"negative count":  {ID: "l", Container: idA, Signal: "SIGKILL", Count: -1},
		"negative uptime": {ID: "l", Container: idA, Signal: "SIGKILL", Uptime: -1},
		"a short id":      {ID: "l", Container: "aaaa", Signal: "SIGKILL"},
	} {
		if err := p.h.Call(t.Context(), OpCrashLoop, bad, nil); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
