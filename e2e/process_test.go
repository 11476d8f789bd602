//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/faults/process"
	"github.com/discompose/discompose/internal/units"
)

// ward is a real engine with one busybox container, and an agent that has a copy of the journal.
type ward struct {
	*testing.T
	docker *client.Client
	on     faults.Target
	env    faults.Env
	conn   *agent.Conn
	agent  string // container

	mu      sync.Mutex
	journal [][]byte
}

// lease is longer than a test: nobody renews it.
const lease = 10 * time.Minute

// door is the agent, as faults see it.
type door struct {
	*agent.Conn
	facts faults.Facts
}

func (d door) Facts() faults.Facts { return d.facts }

// newWard starts a container with a restart policy and an agent beside it.
func newWard(t *testing.T, policy container.RestartPolicy) *ward {
	t.Helper()
	needImage(t, "busybox:latest")
	w := &ward{T: t, docker: docker(t)}
	c, err := w.docker.ContainerCreate(t.Context(),
		&container.Config{Image: "busybox", Cmd: []string{"sh", "-c", "while :; do sleep 0.1; done"}, Labels: map[string]string{"io.discompose.test": "e2e"}},
		&container.HostConfig{NetworkMode: "none", RestartPolicy: policy}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	w.removeLater(c.ID)
	if err := w.docker.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	w.on = faults.Target{Service: "web", Number: 1, Container: c.ID, Name: "web-1"}
	img, err := agent.EnsureImage(t.Context(), w.docker, binary(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("%08x", os.Getpid())
	w.conn, w.agent, err = agent.StartAgent(t.Context(), w.docker, agent.AgentOptions{
		Image: img.Ref, Name: fmt.Sprintf("discompose-e2e-%d-%d", os.Getpid(), time.Now().UnixNano()), Run: run, Project: "none", Dir: t.TempDir(),
		Labels: map[string]string{"io.discompose.test": "e2e"}, Lease: lease,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.removeLater(w.agent)
	d := door{Conn: w.conn}
	if err := w.conn.Call(t.Context(), agent.OpHello, agent.Hello{Run: run, Project: "none", Attached: true, Keep: true, LeaseMs: lease.Milliseconds()}, &d.facts); err != nil {
		t.Fatal(err)
	}
	w.env = faults.Env{Engine: engine.New(w.docker), Host: d, Journal: &faults.State{Commit: w.commit}, Now: func() int64 { return time.Now().UnixNano() }}
	return w
}

// commit keeps an entry, and hands the agent its copy.
func (w *ward) commit(e faults.Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, line)
	if w.conn.Err() != nil {
		return nil
	}
	return w.conn.Call(context.WithoutCancel(w.Context()), agent.OpJournal, agent.Journal{Entry: line}, nil)
}

func (w *ward) removeLater(id string) {
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), 30*time.Second)
		defer cancel()
		if err := w.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			w.Error(err)
		}
	})
}

func (w *ward) see() faults.Container {
	w.Helper()
	c, err := w.env.Engine.Inspect(w.Context(), w.on.Container)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// until waits for a state of the container, which has no event that could be waited for.
func (w *ward) until(what string, ok func(faults.Container) bool) faults.Container {
	w.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if c := w.see(); ok(c) {
			return c
		}
	}
	w.Fatalf("not within a minute: %s; it is %+v", what, w.see())
	return faults.Container{}
}

// begin prepares, journals and applies a fault, and confirms that it is active.
func (w *ward) begin(spec faults.Spec, f faults.Fault) faults.Record {
	w.Helper()
	r, err := f.Prepare(w.Context(), w.env, w.on)
	if err != nil {
		w.Fatal(err)
	}
	r.ID = string(spec.Kind)
	if err := w.env.Journal.Intend(r); err != nil {
		w.Fatal(err)
	}
	if err := spec.Effect.Apply(w.Context(), w.env, r); err != nil {
		w.Fatal(err)
	}
	got, err := spec.Effect.Confirm(w.Context(), w.env, r, true)
	if err != nil {
		w.Fatal(err)
	}
	w.Log(got.Note)
	return r
}

// undo undoes what the journal owes, as a process does that has nothing but the journal's lines.
func (w *ward) undo(host faults.Host, effect func(faults.Kind) (faults.Effect, faults.Family, bool)) {
	w.Helper()
	state := &faults.State{}
	for _, line := range w.journal {
		var e faults.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			w.Fatal(err)
		}
		if err := state.Replay(e); err != nil {
			w.Fatal(err)
		}
	}
	env := w.env
	env.Journal, env.Host = state, host
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	healed, err := faults.Heal(ctx, env, state.Owed(), effect)
	if err != nil || len(healed) == 0 {
		w.Fatalf("healed %d: %v", len(healed), err)
	}
}

func only(s faults.Spec) func(faults.Kind) (faults.Effect, faults.Family, bool) {
	return func(k faults.Kind) (faults.Effect, faults.Family, bool) { return s.Effect, s.Family, s.Kind == k }
}

func TestACrashLoopEndsAfterItsCount(t *testing.T) {
	for name, policy := range map[string]container.RestartPolicy{
		"always":         {Name: "always"},
		"unless-stopped": {Name: "unless-stopped"},
		"on-failure":     {Name: "on-failure"},
	} {
		t.Run(name, func(t *testing.T) {
			w, spec := newWard(t, policy), process.CrashLoopSpec()
			r, err := (&process.CrashLoop{Count: 4}).Prepare(t.Context(), w.env, w.on)
			if err != nil {
				t.Fatal(err)
			}
			r.ID = "crash_loop"
			var notes []string
			o := faults.Observer{
				Confirmed: func(_ faults.Record, w faults.Witness) { notes = append(notes, w.Note) },
				Gone:      func(_ faults.Record, w faults.Witness) { notes = append(notes, w.Note) },
			}
			b := faults.Budgets{Confirm: 15 * time.Second, Heal: 30 * time.Second}
			err = faults.Hold(t.Context(), w.env, spec.Effect, r, b, o, func(ctx context.Context, _ faults.Witness) error {
				for {
					if done, err := spec.Effect.(faults.Finisher).Finished(ctx, w.env, r); done || err != nil {
						return err
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(strings.Join(notes, " | "))
			if c := w.see(); !c.Running || c.Restarting || c.RestartCount != 4 {
				t.Errorf("at the end it is %+v", c)
			}
			if want := "killed 4 times, restarted 4 times by policy " + name; len(notes) != 2 || !strings.Contains(notes[1], want) {
				t.Errorf("the notes are %q, want %q", notes, want)
			}
		})
	}
}

func TestUndoInTheMiddleOfTheBackOffLeavesItRunning(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "always"}), process.CrashLoopSpec()
	w.begin(spec, &process.CrashLoop{})
	w.until("a back-off of 3.2 s", func(c faults.Container) bool { return c.Restarting && c.RestartCount >= 5 })
	w.undo(w.env.Host, only(spec))
	c := w.see()
	if !c.Running || c.Restarting || c.RestartCount != 0 { // the engine counts anew where somebody else than its policy starts it
		t.Errorf("after the undo it is %+v", c)
	}
	stays(w, c)
}

// stays fails if the container's process is not the same after the longest back-off that there was.
func stays(w *ward, before faults.Container) {
	w.Helper()
	time.Sleep(2 * time.Second) // that nothing happens has no event
	if c := w.see(); !c.Running || c.PID != before.PID {
		w.Errorf("it was killed once more: %+v", c)
	}
}

func TestACrashLoopEndsWithItsAgent(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "always"}), process.CrashLoopSpec()
	w.begin(spec, &process.CrashLoop{})
	if err := w.docker.ContainerKill(t.Context(), w.agent, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	<-w.conn.Done()
	w.undo(nil, only(spec)) // through the Docker API alone
	stays(w, w.see())
}

func TestTheAgentEndsTheCrashLoopOfADeadRunner(t *testing.T) {
	w := newWard(t, container.RestartPolicy{Name: "always"})
	w.begin(process.CrashLoopSpec(), &process.CrashLoop{})
	if err := w.conn.Abort(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := w.docker.ContainerInspect(t.Context(), w.agent); errdefs.IsNotFound(err) {
			break // it has healed, and is gone
		}
		time.Sleep(20 * time.Millisecond)
	}
	stays(w, w.until("it runs", func(c faults.Container) bool { return c.Running && !c.Restarting }))
}

func TestACrashLoopFinishesWhereThePolicyGivesUp(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}), process.CrashLoopSpec()
	r := w.begin(spec, &process.CrashLoop{Count: 9})
	w.until("the policy has given up", func(c faults.Container) bool { return !c.Running && !c.Restarting })
	if done, err := spec.Effect.(faults.Finisher).Finished(t.Context(), w.env, r); !done || err != nil {
		t.Errorf("finished %t, %v", done, err)
	}
	w.undo(w.env.Host, only(spec))
	if c := w.see(); !c.Running {
		t.Errorf("after the undo it is %+v", c)
	}
}

func TestACrashLoopOverlapsWithStopAndPause(t *testing.T) {
	loop, stop, pause := process.CrashLoopSpec(), process.StopSpec(), process.PauseSpec()
	w := newWard(t, container.RestartPolicy{Name: "always"})
	undo := func(spec faults.Spec, r faults.Record) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		got, err := faults.Undo(ctx, w.env, spec.Effect, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(got.Note)
	}
	l := w.begin(loop, &process.CrashLoop{Uptime: units.Duration(time.Second)})
	s := w.begin(stop, &process.Stop{DownFor: units.Duration(time.Second), Grace: new(units.Duration)})
	undo(stop, s) // the loop goes on with what the stop's end has started, whose restarts the engine counts anew
	w.until("a crash after the stop", func(c faults.Container) bool { return c.Running && !c.Restarting && c.RestartCount > 0 })
	p := w.begin(pause, &process.Pause{})
	paused := w.see()
	time.Sleep(2 * time.Second) // that nothing happens has no event
	if c := w.see(); !c.Paused || c.PID != paused.PID {
		t.Errorf("a paused process was killed: %+v", c)
	}
	undo(loop, l)
	undo(pause, p)
	if c := w.see(); !c.Running || c.Paused || c.Restarting {
		t.Errorf("at the end it is %+v", c)
	}
}
