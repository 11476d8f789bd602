package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	me  = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// engine is a fake: container → pid of PID 1, 0 while stopped.
type engine map[string]int

func (e engine) ContainerInspect(_ context.Context, id string) (container.InspectResponse, error) {
	pid, ok := e[id]
	if !ok {
		return container.InspectResponse{}, fmt.Errorf("no container: %w", errdefs.ErrNotFound)
	}
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: &container.State{Pid: pid}}}, nil
}

// tree is a fake host: files under one folder.
type tree struct {
	*testing.T
	h *Host
}

func newTree(t *testing.T, e engine, v2 bool) tree {
	t.Helper()
	h := NewHost(e, func(s string) { t.Log(s) })
	dir := t.TempDir()
	h.root, h.proc, h.v2 = filepath.Join(dir, "cg"), filepath.Join(dir, "proc"), v2
	t.Cleanup(h.Close)
	return tree{t, h}
}

func (t tree) write(path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (t tree) read(path string) string {
	t.Helper()
	v, err := readValue(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// process puts a process into a cgroup of every version 1 controller, or of version 2.
func (t tree) process(pid, path string) {
	t.write(filepath.Join(t.h.proc, pid, "cgroup"),
		"12:cpu,cpuacct:"+path+"\n3:pids:"+path+"\n1:name=systemd:"+path+"\n0::"+path+"\n")
}

// cgroup makes the cgroup of a container with the file pids.max. As a kernel does, it lets nobody see an empty file.
func (t tree) cgroup(dir, value string) string {
	t.Helper()
	made := filepath.Join(t.TempDir(), "made")
	t.write(filepath.Join(made, "cgroup.procs"), "")
	t.write(filepath.Join(made, "pids.max"), value)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "pids.max")
}

func TestCgroupIsFoundByVersion(t *testing.T) {
	for _, c := range []struct {
		v2         bool
		path, want string
	}{
		{false, "/docker/" + idA, "cg/pids/docker/" + idA},
		{false, "/system.slice/docker-" + idA + ".scope", "cg/pids/system.slice/docker-" + idA + ".scope"},
		{true, "/system.slice/docker-" + idA + ".scope", "cg/system.slice/docker-" + idA + ".scope"},
		{true, "/docker/" + idA + "/init.scope", "cg/docker/" + idA}, // a systemd inside moved itself down
	} {
		x := newTree(t, engine{idA: 7}, c.v2)
		x.process("7", c.path)
		got, err := x.h.dir(t.Context(), idA, "pids")
		if err != nil || !strings.HasSuffix(got, c.want) {
			t.Errorf("v2 %v, %s: %s, %v; want …%s", c.v2, c.path, got, err, c.want)
		}
	}
}

func TestTargetIsValidatedBeforeAnythingIsTouched(t *testing.T) {
	x := newTree(t, engine{idA: 7, idB: 0}, false)
	x.process("7", "/docker/"+idB) // the pid is another container's by now
	untouched := x.cgroup(filepath.Join(x.h.root, "pids/docker", idB), "base")
	for name, c := range map[string]struct {
		id, controller, file string
		is                   error
		text                 string
	}{
		"another container's process": {idA, "pids", "pids.max", nil, "nothing was touched"},
		"stopped":                     {idB, "pids", "pids.max", ErrNotRunning, "bbbbbbbbbbbb"},
		"gone":                        {me, "pids", "pids.max", ErrGone, "cccccccccccc"},
		"a short id":                  {"bbbbbbbbbbbb", "pids", "pids.max", nil, "not a full container id"},
		"no id":                       {"", "pids", "pids.max", nil, "not a full container id"},
		"a path as file":              {idA, "pids", "../../pids.max", nil, "not a cgroup file"},
		"a path as controller":        {idA, "pids/..", "pids.max", nil, "not a controller"},
	} {
		f := CgroupFile{Container: c.id, Controller: c.controller, File: c.file, Value: "evil"}
		for _, op := range []string{OpCgroupRead, OpCgroupHold} {
			err := x.h.Call(t.Context(), op, f, nil)
			if err == nil || !strings.Contains(err.Error(), c.text) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s, %s: got %v, want %q", name, op, err, c.text)
			}
		}
	}
	if got := x.read(untouched); got != "base" {
		t.Errorf("a bystander's file is %q", got)
	}
}

func TestAPidIsAskedForAgainAfterARestart(t *testing.T) {
	e := engine{idA: 7}
	x := newTree(t, e, false)
	dir := filepath.Join(x.h.root, "pids/docker", idA)
	x.process("7", "/docker/"+idA)
	x.cgroup(dir, "42\n")
	for _, pid := range []string{"7", "8", "9"} {
		var got CgroupValue
		err := x.h.Call(t.Context(), OpCgroupRead, CgroupFile{Container: idA, Controller: "pids", File: "pids.max"}, &got)
		if err != nil || got.Value != "42" {
			t.Errorf("pid %s: %q, %v", pid, got.Value, err)
		}
		next, _ := strconv.Atoi(pid)
		x.process(pid, "/docker/"+idB) // reused by somebody else
		e[idA] = next + 1
		x.process(strconv.Itoa(next+1), "/docker/"+idA)
	}
}

func TestReadTellsAMissingFileFromAStoppedContainer(t *testing.T) {
	x := newTree(t, engine{idA: 7}, false)
	x.process("7", "/docker/"+idA)
	f := CgroupFile{Container: idA, Controller: "pids", File: "pids.peak"}
	if err := x.h.Call(t.Context(), OpCgroupRead, f, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a cgroup: %v, want ErrNotRunning", err)
	}
	x.cgroup(filepath.Join(x.h.root, "pids/docker", idA), "max")
	err := x.h.Call(t.Context(), OpCgroupRead, f, nil)
	if errors.Is(err, ErrNotRunning) || err == nil || !strings.Contains(err.Error(), "does not have it") {
		t.Errorf("without the file: %v", err)
	}
}

// held is a container whose file is held, and what the host told of it.
type held struct {
	tree
	f         CgroupFile
	dir, path string
	told      chan Rewritten
}

func (x *held) hold(value string) {
	x.Helper()
	x.f.Value = value
	if err := x.h.Call(x.Context(), OpCgroupHold, x.f, nil); err != nil {
		x.Fatal(err)
	}
	if got := x.read(x.path); got != value {
		x.Errorf("right after the hold the file is %q, want %q", got, value)
	}
}

func (x *held) release() {
	x.Helper()
	x.f.Value = "base"
	if err := x.h.Call(x.Context(), OpCgroupRelease, x.f, nil); err != nil {
		x.Fatal(err)
	}
}

// restart gives the container a new cgroup, in which the file must become want.
func (x *held) restart(want string) {
	x.Helper()
	if err := os.RemoveAll(x.dir); err != nil {
		x.Fatal(err)
	}
	x.cgroup(x.dir, "base")
	for r := range x.told {
		if r.Was == "base" && r.Value == want && r.At > 0 {
			break
		}
		x.Errorf("told %+v", r)
	}
	if got := x.read(x.path); got != want {
		x.Errorf("after a restart the file is %q, want %q", got, want)
	}
}

func TestHoldComesBackInANewCgroupUntilItIsReleased(t *testing.T) {
	e := engine{idA: 7}
	x := &held{tree: newTree(t, e, false), told: make(chan Rewritten, 100)}
	x.process("7", "/docker/"+idA)
	x.dir = filepath.Join(x.h.root, "pids/docker", idA)
	x.path = x.cgroup(x.dir, "base")
	x.h.OnRewrite(func(r Rewritten) { x.told <- r })
	x.f = CgroupFile{Container: idA, Controller: "pids", File: "pids.max"}
	x.hold("one1")
	x.restart("one1")
	x.hold("two2") // replaces the first
	x.restart("two2")
	if err := writeValue(x.path, "user"); err != nil { // somebody else changes it
		t.Fatal(err)
	}
	if r := <-x.told; r.Was != "user" {
		t.Errorf("told %+v", r)
	}
	x.release()
	if got := x.read(x.path); got != "base" {
		t.Errorf("after the release the file is %q", got)
	}
	x.release() // twice is fine

	// With the last hold the watch ended; the next one starts it anew.
	x.hold("one1")
	x.restart("one1")
	e[idA] = 0
	if err := os.RemoveAll(filepath.Join(x.h.proc, "7")); err != nil {
		t.Fatal(err)
	}
	x.release() // of a stopped container: only ends the hold
	if got := x.read(x.path); got != "one1" {
		t.Errorf("the release of a stopped container wrote %q", got)
	}
	x.h.keep.mu.Lock()
	defer x.h.keep.mu.Unlock()
	if n := len(x.h.keep.holds); n != 0 {
		t.Errorf("%d holds are left", n)
	}
}

func TestANewCgroupIsNoticed(t *testing.T) {
	parent := t.TempDir()
	k := keeper{log: func(s string) { t.Error(s) }}
	k.watch(parent)
	defer syscall.Close(k.inotify)
	if poll(k.inotify, 0) {
		t.Error("something was noticed before anything happened")
	}
	for _, name := range []string{idA, idB} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if !poll(k.inotify, 0) {
			t.Errorf("%s was not noticed", name)
		}
	}
	if poll(k.inotify, 0) {
		t.Error("the same cgroup was noticed twice")
	}
}

func TestHoldOfAContainerThatHasNotRunYet(t *testing.T) {
	e := engine{idA: 0}
	x := newTree(t, e, false)
	f := CgroupFile{Container: idA, Controller: "pids", File: "pids.max", Value: "held"}
	if err := x.h.Call(t.Context(), OpCgroupHold, f, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("where the agent is in no container: %v, want ErrNotRunning", err)
	}
	x.process("self", "/docker/"+me)
	if err := os.MkdirAll(filepath.Join(x.h.root, "pids/docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	told := make(chan Rewritten, 1)
	x.h.OnRewrite(func(r Rewritten) { told <- r })
	if err := x.h.Call(t.Context(), OpCgroupHold, f, nil); err != nil {
		t.Fatal(err)
	}
	path := x.cgroup(filepath.Join(x.h.root, "pids/docker", idA), "base")
	<-told
	if got := x.read(path); got != "held" {
		t.Errorf("the file is %q", got)
	}
}

func TestSignalNames(t *testing.T) {
	for name, want := range map[string]syscall.Signal{
		"SIGKILL": 9, "KILL": 9, "kill": 9, "9": 9, "SIGUSR1": 10, "64": 64, "": 0, "0": 0, "65": 0, "-9": 0, "SIGNO": 0,
	} {
		got, err := signalNumber(name)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v; want %d", name, got, err, want)
		}
	}
}

func TestSignalIsRefusedToForeignProcesses(t *testing.T) {
	x := newTree(t, engine{}, false)
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it is killed
	x.h.proc = "/proc"
	for _, pid := range []int{-1, 0, 1, cmd.Process.Pid} {
		err := x.h.Call(t.Context(), OpSignal, Signal{Container: idA, PID: pid, Signal: "SIGKILL"}, nil)
		if err == nil || !strings.Contains(err.Error(), "nothing was touched") {
			t.Errorf("pid %d: %v, want a refusal", pid, err)
		}
	}
	var alive AliveResult
	ask := func() bool {
		if err := x.h.Call(t.Context(), OpAlive, Alive{PID: cmd.Process.Pid}, &alive); err != nil {
			t.Fatal(err)
		}
		return alive.Alive
	}
	if !ask() {
		t.Error("a foreign process was killed")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for ask() { // nobody has waited for it: it becomes a zombie, and only then is it gone
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", cmd.Process.Pid)); err != nil {
		t.Errorf("the test saw no zombie: %v", err)
	}
}

func TestForkProbeRefusesBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"/etc/passwd", "1"}, {"/x/cgroup.procs", "0"}, {"/x/cgroup.procs", "10001"}, {"/x/cgroup.procs", "1"}} {
		if _, err := forkProbeMain(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	x := newTree(t, engine{}, false)
	for _, most := range []int{-1, 0, maxForks + 1} {
		if err := x.h.Call(t.Context(), OpForkProbe, ForkProbe{Container: idA, Most: most}, nil); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("most %d: %v, want a refusal of the number", most, err)
		}
	}
}

func TestProbeNamesWhatIsMissingAndWhy(t *testing.T) {
	x := newTree(t, engine{}, false)
	x.process("self", "/docker/"+me)
	x.cgroup(filepath.Join(x.h.root, "pids/docker", me), "max")
	f := x.h.facts(t.Context())
	if strings.Join(f.Has, " ") != "agent cgroup-pids signal" && strings.Join(f.Has, " ") != "agent cgroup-pids" {
		t.Errorf("has %v", f.Has)
	}
	for _, c := range []string{"cgroup-memory", "cgroup-freezer", "cgroup-cpu"} {
		if !strings.Contains(f.Missing[c], ";") { // "what is wrong; what to do"
			t.Errorf("%s: %q", c, f.Missing[c])
		}
	}
	if f.CgroupVersion != 1 || f.Kernel == "" || f.Arch == "" {
		t.Errorf("facts are %+v", f)
	}
	if got := x.read(filepath.Join(x.h.root, "pids/docker", me, "pids.max")); got != "max" {
		t.Errorf("the probe changed a value to %q", got)
	}
}
