package faulttest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
)

func TestFakeEngineKeepsTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := faulttest.NewWorld(1, faulttest.Box{
			ID: "c1", Name: "web", Policy: "always", Limits: faults.Limits{NanoCPUs: 1e9, MemoryBytes: 64 << 20, PIDs: 50},
			Environ: []string{"LEVEL=info"}, Entrypoint: []string{"sh"}, Command: []string{"-c", "serve"},
		})
		e := w.APIOnly(&faults.State{}).Engine
		contract(t, e, "c1")
		replaces(t, e, "c1")
	})
}

// contract is what faults rely on in an engine. The container has the restart policy "always" and limits of one CPU,
// 64 MiB and 50 processes. Each step begins where the last one ended.
func contract(t *testing.T, e faults.Engine, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := party{t: t, e: e, id: id}
	c.stopsAndStarts(ctx, c.pauses(ctx))
	c.killed(ctx)
	c.limits(ctx)
	c.runs(ctx)
	c.hangs(ctx)
	c.crashes(ctx)
	c.absent(ctx)
}

// replaces is what faults rely on in an engine that makes containers. The container is the first of a Compose service, and
// has one variable LEVEL=info, an entrypoint and a command.
func replaces(t *testing.T, e faults.Engine, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := party{t: t, e: e, id: id}
	rep, ok := e.(faults.Replacer)
	if !ok {
		t.Fatalf("%T makes no containers", e)
	}
	b, err := rep.Blueprint(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if b.Was.ID != id || b.Service == "" || b.Was.Number != 1 || len(b.Was.Command) == 0 || !slices.Contains(b.Was.Env, "LEVEL=info") {
		t.Fatalf("blueprint: %+v", b)
	}
	for range 2 {
		if err := rep.Remove(ctx, c.id, false); err != nil {
			t.Fatalf("remove: %v", err)
		}
		c.none(ctx, rep, b.Was.Name)
	}
	c.made(ctx, rep, b)
	c.changed(ctx, rep, b)
	c.further(ctx, rep, b)
	if _, err := rep.Image(ctx, "nobody/has-this:image"); !errors.Is(err, faults.ErrNoImage) {
		t.Errorf("an image that is not there: %v", err)
	}
	if _, err := rep.Blueprint(ctx, "0123456789ab"); !errors.Is(err, faults.ErrGone) {
		t.Errorf("blueprint of nothing: %v", err)
	}
}

func (p party) none(ctx context.Context, rep faults.Replacer, name string) {
	p.t.Helper()
	if _, err := p.e.Inspect(ctx, p.id); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("inspect of a removed container: %v", err)
	}
	if c, err := rep.Named(ctx, name); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("the name of a removed container: %+v, %v", c, err)
	}
}

// make makes a container and starts it.
func (p party) make(ctx context.Context, rep faults.Replacer, b faults.Blueprint, ch faults.Changes) faults.Container {
	p.t.Helper()
	id, err := rep.Create(ctx, b, ch)
	if err != nil {
		p.t.Fatal(err)
	}
	p.id = id
	if c := p.see(ctx); c.Running || !c.StartedAt.IsZero() || c.PID != 0 {
		p.t.Errorf("made and not started: %+v", c)
	}
	if _, err := rep.Create(ctx, b, ch); err == nil {
		p.t.Error("two containers of one name")
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
	c := p.see(ctx)
	if !c.Ready() || c.PID == 0 || c.StartedAt.IsZero() {
		p.t.Errorf("started: %+v", c)
	}
	return c
}

// made makes the container as it was.
func (p party) made(ctx context.Context, rep faults.Replacer, b faults.Blueprint) {
	c := p.make(ctx, rep, b, faults.Changes{})
	same := cmpopts.IgnoreFields(faults.Container{}, "ID", "PID", "StartedAt", "FinishedAt", "ExitCode", "RestartCount")
	if diff := cmp.Diff(b.Was, c, same); diff != "" || c.ID == b.Was.ID {
		p.t.Errorf("made again (-was +is):\n%s", diff)
	}
	n, ok := p.e.(faults.Networker)
	if !ok {
		p.t.Fatalf("%T knows no networks", p.e)
	}
	now, err := n.Endpoints(ctx, c.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	if diff := cmp.Diff(b.Networks, now, cmpopts.IgnoreFields(faults.Endpoint{}, "Addresses", "Raw")); diff != "" || len(now) == 0 {
		p.t.Errorf("networks of the container that was made again (-was +is):\n%s", diff)
	}
	if again, err := rep.Named(ctx, b.Was.Name); err != nil || again.ID != c.ID {
		p.t.Errorf("by its name: %+v, %v", again, err)
	}
	if err := rep.Remove(ctx, c.ID, false); err != nil {
		p.t.Fatal(err)
	}
}

func (p party) changed(ctx context.Context, rep faults.Replacer, b faults.Blueprint) {
	c := p.make(ctx, rep, b, faults.Changes{
		Env: map[string]string{"LEVEL": "debug", "MORE": "1"}, Command: append(slices.Clone(b.Was.Command), "more"),
		NanoCPUs: 25e7, MemoryBytes: 16 << 20, Record: "r/web-1",
	})
	if slices.Contains(c.Env, "LEVEL=info") || !slices.Contains(c.Env, "LEVEL=debug") || !slices.Contains(c.Env, "MORE=1") {
		p.t.Errorf("environment: %v", c.Env)
	}
	if !slices.Equal(c.Command, append(slices.Clone(b.Was.Command), "more")) || !slices.Equal(c.Entrypoint, b.Was.Entrypoint) {
		p.t.Errorf("command: %v %v", c.Entrypoint, c.Command)
	}
	if c.Limits.NanoCPUs != 25e7 || c.Limits.MemoryBytes != 16<<20 || c.Limits.PIDs != b.Was.Limits.PIDs {
		p.t.Errorf("limits: %+v", c.Limits)
	}
	if c.Record != "r/web-1" || c.Name != b.Was.Name || c.Number != 1 || c.RestartPolicy != b.Was.RestartPolicy || c.ImageID != b.Was.ImageID {
		p.t.Errorf("changed: %+v", c)
	}
	if err := rep.Remove(ctx, c.ID, false); err != nil {
		p.t.Fatal(err)
	}
}

// further makes two containers of the service.
func (p party) further(ctx context.Context, rep faults.Replacer, b faults.Blueprint) {
	p.make(ctx, rep, b, faults.Changes{})
	name := strings.TrimSuffix(b.Was.Name, "1") + "2"
	c := p.make(ctx, rep, b, faults.Changes{Record: "r/web", Replica: &faults.Replica{Name: name, Number: 2}})
	if c.Name != name || c.Number != 2 || c.Record != "r/web" {
		p.t.Errorf("a further container: %+v", c)
	}
	all, err := rep.Replicas(ctx, b.Project, b.Service)
	if err != nil || len(all) != 2 || all[0].Number != 1 || all[0].Name != b.Was.Name || all[1].ID != c.ID {
		p.t.Errorf("replicas: %+v, %v", all, err)
	}
	if none, err := rep.Replicas(ctx, b.Project, "nothing"); err != nil || len(none) != 0 {
		p.t.Errorf("replicas of nothing: %+v, %v", none, err)
	}
	for _, c := range all {
		if err := rep.Remove(ctx, c.ID, c.Number == 2); err != nil {
			p.t.Error(err)
		}
	}
}

// party is the container that the contract is about.
type party struct {
	t  *testing.T
	e  faults.Engine
	id string
}

func (p party) see(ctx context.Context) faults.Container {
	p.t.Helper()
	c, err := p.e.Inspect(ctx, p.id)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p party) do(ctx context.Context, a faults.Action) {
	p.t.Helper()
	a.Grace = time.Second
	if err := p.e.Do(ctx, p.id, a); err != nil {
		p.t.Fatalf("%s: %v", a.Verb, err)
	}
}

// pauses returns the container as it was at the start.
func (p party) pauses(ctx context.Context) faults.Container {
	first := p.see(ctx)
	if !first.Ready() || first.PID == 0 || first.StartedAt.IsZero() || first.RestartPolicy != "always" || first.ID != p.id {
		p.t.Fatalf("at the start: %+v", first)
	}
	for range 2 {
		p.do(ctx, faults.Action{Verb: faults.DoStart})
		p.do(ctx, faults.Action{Verb: faults.DoPause})
		p.do(ctx, faults.Action{Verb: faults.DoPause})
		if c := p.see(ctx); !c.Running || !c.Paused || c.Ready() || c.PID != first.PID {
			p.t.Errorf("paused: %+v", c)
		}
		p.do(ctx, faults.Action{Verb: faults.DoUnpause})
		p.do(ctx, faults.Action{Verb: faults.DoUnpause})
		if c := p.see(ctx); !c.Ready() || c.PID != first.PID {
			p.t.Errorf("unpaused: %+v", c)
		}
	}
	return first
}

func (p party) stopsAndStarts(ctx context.Context, first faults.Container) {
	p.do(ctx, faults.Action{Verb: faults.DoPause})
	p.do(ctx, faults.Action{Verb: faults.DoStop})
	p.do(ctx, faults.Action{Verb: faults.DoStop})
	if c := p.see(ctx); c.Running || c.Paused || c.Restarting || c.PID != 0 || c.FinishedAt.Before(first.StartedAt) {
		p.t.Errorf("a paused container that was stopped: %+v", c)
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
	second := p.see(ctx)
	if !second.Ready() || second.PID == first.PID || !second.StartedAt.After(first.StartedAt) {
		p.t.Errorf("started: %+v", second)
	}
	p.do(ctx, faults.Action{Verb: faults.DoRestart})
	third := p.see(ctx)
	if !third.Ready() || third.PID == second.PID || !third.StartedAt.After(second.StartedAt) {
		p.t.Errorf("restarted: %+v", third)
	}
}

func (p party) killed(ctx context.Context) {
	p.do(ctx, faults.Action{Verb: faults.DoKill, Signal: "SIGKILL"})
	if err := faults.Pause(ctx, 500*time.Millisecond); err != nil { // five times the first back-off of the restart policy
		p.t.Fatal(err)
	}
	if c := p.see(ctx); c.Running || c.Restarting || c.ExitCode != 137 {
		p.t.Errorf("the restart policy acts after a kill through the engine: %+v", c)
	}
	if err := p.e.Do(ctx, p.id, faults.Action{Verb: faults.DoPause}); err == nil {
		p.t.Error("a container that is down was paused")
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
}

func (p party) limits(ctx context.Context) {
	if err := p.e.Update(ctx, p.id, faults.Limits{NanoCPUs: 5e8, MemoryBytes: 32 << 20, PIDs: 20}); err != nil {
		p.t.Fatal(err)
	}
	if l := p.see(ctx).Limits; l.NanoCPUs != 5e8 || l.MemoryBytes != 32<<20 || l.PIDs != 20 {
		p.t.Errorf("limits are %+v", l)
	}
	if err := p.e.Update(ctx, p.id, faults.Limits{PIDs: 50}); err != nil {
		p.t.Fatal(err)
	}
	if l := p.see(ctx).Limits; l.NanoCPUs != 5e8 || l.PIDs != 50 {
		p.t.Errorf("an update of one limit changed others: %+v", l)
	}
	s, ok := p.e.(faults.StatsReader)
	if !ok {
		p.t.Fatalf("%T reads no stats", p.e)
	}
	if _, err := s.Stats(ctx, p.id); err != nil {
		p.t.Errorf("stats: %v", err)
	}
}

// run runs a command in the container.
func (p party) run(ctx context.Context, argv ...string) (string, faults.Output, error) {
	p.t.Helper()
	x, ok := p.e.(faults.Execer)
	if !ok {
		p.t.Fatalf("%T runs no commands", p.e)
	}
	id, err := x.CreateExec(ctx, p.id, argv)
	if err != nil {
		return "", faults.Output{}, err
	}
	out, err := x.RunExec(ctx, id)
	return id, out, err
}

func (p party) executing(ctx context.Context, id string) int {
	p.t.Helper()
	x, ok := p.e.(faults.Execer)
	if !ok {
		p.t.Fatalf("%T runs no commands", p.e)
	}
	pid, err := x.Executing(ctx, id)
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func (p party) runs(ctx context.Context) {
	for _, tt := range []struct {
		argv []string
		code int
		text string
	}{
		{[]string{"echo", "one", "two"}, 0, "one two\n"},
		{[]string{"cat", "/none"}, 1, "No such file or directory"}, // to standard error
		{[]string{"test", "-e", "/none"}, 1, ""},
		{[]string{"sh", "-c", "touch /made && echo a && test -e /made && false && echo b"}, 1, "a\n"},
		{[]string{"rm", "/made"}, 0, ""},
		{[]string{"no-such-program"}, 127, "not found"},
	} {
		id, out, err := p.run(ctx, tt.argv...)
		unexecutable := tt.code == 127 && out.Code == 126 // engines differ in what they call it
		if err != nil || (out.Code != tt.code && !unexecutable) || !strings.Contains(out.Text, tt.text) || (tt.text == "" && out.Text != "") {
			p.t.Errorf("%v: %+v, %v", tt.argv, out, err)
		}
		if pid := p.executing(ctx, id); pid != 0 {
			p.t.Errorf("%v has ended and is process %d", tt.argv, pid)
		}
	}
	p.do(ctx, faults.Action{Verb: faults.DoPause})
	if _, _, err := p.run(ctx, "true"); err == nil {
		p.t.Error("a command ran in a paused container")
	}
	p.do(ctx, faults.Action{Verb: faults.DoStop})
	if _, _, err := p.run(ctx, "true"); err == nil || errors.Is(err, faults.ErrGone) {
		p.t.Errorf("a command in a container that is down: %v", err)
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
	if pid := p.executing(ctx, "0123456789ab"); pid != 0 {
		p.t.Errorf("a command that never was is process %d", pid)
	}
}

// hangs gives up a command before its end: it goes on.
func (p party) hangs(ctx context.Context) {
	x, ok := p.e.(faults.Execer)
	if !ok {
		p.t.Fatalf("%T runs no commands", p.e)
	}
	id, err := x.CreateExec(ctx, p.id, []string{"sh", "-c", "sleep 2 && touch /late"})
	if err != nil || p.executing(ctx, id) != 0 {
		p.t.Fatalf("created: process %d, %v", p.executing(ctx, id), err)
	}
	why := errors.New("no more patience")
	short, cancel := context.WithTimeoutCause(ctx, 500*time.Millisecond, why)
	defer cancel()
	if _, err := x.RunExec(short, id); !errors.Is(err, why) || p.executing(ctx, id) == 0 {
		p.t.Errorf("given up: process %d, %v", p.executing(ctx, id), err)
	}
	for p.executing(ctx, id) != 0 {
		if err := faults.Pause(ctx, 20*time.Millisecond); err != nil {
			p.t.Fatal(err)
		}
	}
	if _, out, err := p.run(ctx, "test", "-e", "/late"); out.Code != 0 || err != nil {
		p.t.Errorf("it did not go on: %+v, %v", out, err)
	}
}

// crashes lets PID 1 end until its restart policy keeps it waiting for a while.
func (p party) crashes(ctx context.Context) {
	p.do(ctx, faults.Action{Verb: faults.DoRestart}) // the back-off begins anew
	var c faults.Container
	for last := 0; c.RestartCount < 3 || !c.Restarting; c = p.see(ctx) {
		if c.Running && c.PID != last && c.RestartCount <= 3 {
			last = c.PID
			_, _, _ = p.run(ctx, "kill", "1") // the command dies with its container
		}
		if err := faults.Pause(ctx, 5*time.Millisecond); err != nil {
			p.t.Fatalf("%v: %+v", err, c)
		}
	}
	p.do(ctx, faults.Action{Verb: faults.DoStart})
	if c := p.see(ctx); c.Running || !c.Restarting || c.PID != 0 {
		p.t.Errorf("a start of what waits for its restart: %+v", c)
	}
	if _, _, err := p.run(ctx, "true"); err == nil || errors.Is(err, faults.ErrGone) {
		p.t.Errorf("a command in what waits for its restart: %v", err)
	}
	p.do(ctx, faults.Action{Verb: faults.DoRestart})
	if now := p.see(ctx); !now.Ready() || now.RestartCount != 0 || !now.StartedAt.After(c.StartedAt) {
		p.t.Errorf("a restart of what waits for its restart: %+v", now)
	}
}

// absent asks for a container that does not exist.
func (p party) absent(ctx context.Context) {
	if _, err := p.e.Inspect(ctx, "0123456789ab"); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("inspect of nothing: %v", err)
	}
	if _, _, err := (party{p.t, p.e, "0123456789ab"}).run(ctx, "true"); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("a command in nothing: %v", err)
	}
	for _, v := range []faults.Verb{faults.DoPause, faults.DoStart, faults.DoStop, faults.DoKill} {
		if err := p.e.Do(ctx, "0123456789ab", faults.Action{Verb: v}); !errors.Is(err, faults.ErrGone) {
			p.t.Errorf("%s of nothing: %v", v, err)
		}
	}
}
