//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/app"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/internal/units"
)

// marks is a fault whose state is a file.
func marks(file string) *app.Exec {
	return &app.Exec{Apply: []string{"touch", file}, Undo: []string{"rm", file}, Witness: []string{"ls", file}, Matches: "^" + file}
}

// has reports whether the container has a file.
func (w *ward) has(file string) bool {
	w.Helper()
	x := engine.New(w.docker)
	id, err := x.CreateExec(w.Context(), w.on.Container, []string{"test", "-e", file})
	if err != nil {
		w.Fatal(err)
	}
	out, err := x.RunExec(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return out.Code == 0
}

func TestExecEndsAtTheBase(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "no"}), app.ExecSpec()
	r := w.begin(spec, marks("/marked"))
	if !w.has("/marked") {
		t.Error("it has a witness and no file")
	}
	if _, err := marks("/marked").Prepare(t.Context(), w.env, w.on); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "already so before") {
		t.Errorf("a second one of the same: %v", err)
	}
	got, err := faults.Undo(t.Context(), w.env, spec.Effect, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(got.Note)
	if w.has("/marked") {
		t.Error("it is gone and the file is there")
	}
}

func TestExecSaysWhatItsCommandsSay(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "no"}), app.ExecSpec()
	_, err := (&app.Exec{Apply: []string{"true"}, Undo: []string{"true"}, Witness: []string{"no-such-program"}}).Prepare(t.Context(), w.env, w.on)
	if !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "the witness cannot run") {
		t.Errorf("prepare: %v", err)
	}
	f := marks("/marked")
	f.Apply = []string{"sh", "-c", "touch /marked; echo out; echo sorry >&2; exit 3"}
	r, err := f.Prepare(t.Context(), w.env, w.on)
	if err != nil {
		t.Fatal(err)
	}
	r.ID = "a"
	if err := w.env.Journal.Intend(r); err != nil {
		t.Fatal(err)
	}
	err = spec.Effect.Apply(t.Context(), w.env, r)
	if err == nil || !strings.Contains(err.Error(), "exits with 3: ") || !strings.Contains(err.Error(), "sorry") || !strings.Contains(err.Error(), "out") {
		t.Errorf("apply: %v", err)
	}
	w.undo(w.env.Host, only(spec))
	if w.has("/marked") {
		t.Error("a failed apply was not undone")
	}
}

func TestExecGoesWithItsProcess(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "no"}), app.ExecSpec()
	w.begin(spec, marks("/dev/shm/marked")) // a tmpfs: empty after a restart
	if err := w.env.Engine.Do(t.Context(), w.on.Container, faults.Action{Verb: faults.DoStop, Grace: 0}); err != nil {
		t.Fatal(err)
	}
	w.undo(w.env.Host, only(spec)) // starts what is down by itself
	if c := w.see(); !c.Running || w.has("/dev/shm/marked") {
		t.Errorf("after the undo it is %+v", c)
	}
}

func TestExecThatTakesTooLongIsKilled(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "no"}), app.ExecSpec()
	f := marks("/marked")
	f.Apply, f.Timeout = []string{"sh", "-c", "sleep 6; touch /marked"}, units.Duration(time.Second)
	r, err := f.Prepare(t.Context(), w.env, w.on)
	if err != nil {
		t.Fatal(err)
	}
	r.ID = "a"
	if err := w.env.Journal.Intend(r); err != nil {
		t.Fatal(err)
	}
	if err := spec.Effect.Apply(t.Context(), w.env, r); err == nil || !strings.Contains(err.Error(), "it has not ended after 1s") {
		t.Errorf("apply: %v", err)
	}
	w.undo(w.env.Host, only(spec))
	time.Sleep(6 * time.Second) // that nothing happens has no event
	if w.has("/marked") {
		t.Error("the command went on after its time")
	}
}

// applierEnv names the container of the process that applies and is killed.
const applierEnv = "DISCOMPOSE_E2E_APPLIER"

// TestMain also plays the process that TestExecOfAKilledProcessIsUndoneFromItsJournal kills.
func TestMain(m *testing.M) {
	if id := os.Getenv(applierEnv); id != "" {
		fmt.Println(applyUntilKilled(context.Background(), id))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// applyUntilKilled applies a fault, without an agent, and writes its journal to standard output.
func applyUntilKilled(ctx context.Context, id string) error {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	state := &faults.State{Commit: func(e faults.Entry) error {
		line, err := json.Marshal(e)
		fmt.Printf("journal %s\n", line)
		return err
	}}
	env := faults.Env{Engine: engine.New(docker), Journal: state}
	f := marks("/marked")
	f.Apply = []string{"sh", "-c", "touch /begun; sleep 3; touch /marked"}
	r, err := f.Prepare(ctx, env, faults.Target{Service: "web", Number: 1, Container: id, Name: "web-1"})
	if err != nil {
		return err
	}
	r.ID = "a"
	if err := state.Intend(r); err != nil {
		return err
	}
	return errors.Join(errors.New("it was not killed"), app.ExecSpec().Effect.Apply(ctx, env, r))
}

func TestExecOfAKilledProcessIsUndoneFromItsJournal(t *testing.T) {
	w, spec := newWard(t, container.RestartPolicy{Name: "no"}), app.ExecSpec()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), applierEnv+"="+w.on.Container)
	var out text
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for !w.has("/begun") { // in the middle of its command
		if out.contains("it was not killed") || t.Context().Err() != nil {
			t.Fatal(out.String())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if w.has("/marked") {
		t.Fatal("the command had ended by then")
	}
	for line := range strings.Lines(out.String()) {
		if entry, ok := strings.CutPrefix(line, "journal "); ok {
			w.journal = append(w.journal, []byte(entry))
		}
	}
	w.undo(nil, only(spec))
	if !w.has("/begun") || w.has("/marked") {
		t.Error("the command that the dead process sent landed after the undo, or never ran")
	}
	time.Sleep(4 * time.Second) // that nothing happens has no event
	if w.has("/marked") {
		t.Error("the command that the dead process sent landed after the undo")
	}
}
