package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/faults/process"
	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/workload"
)

const faultsBar = 1.3

// lab is a target, and what faults.Hold needs to act on it as a run does.
type lab struct {
	b           *bench
	target      *target
	env         faults.Env
	conn        *agent.Conn
	fsync, acks series // of the journal
}

// host is the agent's door.
type host struct {
	conn  *agent.Conn
	facts faults.Facts
}

// Call runs one operation of the agent.
func (h host) Call(ctx context.Context, op string, args, out any) error {
	return h.conn.Call(ctx, op, args, out)
}

// Facts is what the agent's probe found.
func (h host) Facts() faults.Facts { return h.facts }

func (b *bench) lab(ctx context.Context) (*lab, error) {
	l := &lab{b: b}
	var err error
	if l.target, err = b.newTarget(ctx); err != nil {
		return nil, err
	}
	l.conn, _, err = agent.StartAgent(ctx, b.docker, agent.AgentOptions{
		Image: b.image, Name: runner.AgentName("bench" + b.id), Run: b.id, Project: "bench" + b.id, Dir: b.dir,
	})
	if err != nil {
		return nil, err
	}
	h := host{conn: l.conn}
	lease := time.Hour // nobody renews it; the end of the stream still ends the agent
	if err := l.conn.Call(ctx, agent.OpHello, agent.Hello{Run: b.id, Project: "bench" + b.id, LeaseMs: lease.Milliseconds()}, &h.facts); err != nil {
		return nil, fmt.Errorf("greet the agent: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(b.dir, "journal.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	state := &faults.State{Commit: func(e faults.Entry) error { return l.commit(ctx, file, e) }}
	l.env = faults.Env{Engine: engine.New(b.docker), Host: h, Journal: state, Now: workload.Now}
	return l, state.Identify(faults.RunNote{Run: b.id, Project: "bench" + b.id, Host: b.engine.Endpoint()})
}

// commit makes an entry durable as the runner does: on disk, then at the agent.
func (l *lab) commit(ctx context.Context, file *os.File, e faults.Entry) error {
	e.At = workload.Now()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode journal entry: %w", err)
	}
	began := time.Now()
	if _, err := file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	l.fsync.add(time.Since(began))
	began = time.Now()
	if err := l.conn.Call(ctx, agent.OpJournal, agent.Journal{Entry: line}, nil); err != nil {
		return fmt.Errorf("send journal entry to the agent: %w", err)
	}
	l.acks.add(time.Since(began))
	return nil
}

func (l *lab) close(ctx context.Context) error {
	err := l.conn.Call(ctx, agent.OpBye, nil, nil)
	err = errors.Join(err, l.conn.Close())
	<-l.conn.Done()
	return errors.Join(err, l.target.remove(ctx))
}

// timed measures the two calls of an effect from outside: what it does before and after the engine's answer counts.
type timed struct {
	faults.Effect
	apply, revert time.Duration
}

// Apply measures Apply.
func (t *timed) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	began := time.Now()
	defer func() { t.apply = time.Since(began) }()
	return t.Effect.Apply(ctx, env, r)
}

// Revert measures Revert.
func (t *timed) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	began := time.Now()
	defer func() { t.revert = time.Since(began) }()
	return t.Effect.Revert(ctx, env, r)
}

// duel is one kind against the bare calls that do the same.
type duel struct {
	kind     string // for people
	fault    faults.Fault
	effect   faults.Effect
	rounds   int
	restarts bool                            // the container's process is new after a round
	apiOnly  bool                            // without the agent
	apply    func(ctx context.Context) error // bare
	revert   func(ctx context.Context) error // bare; nil where the kind's revert makes no call
	verbs    [2]string                       // names of apply and revert
}

func (l *lab) duels() []duel {
	d, id := l.b.docker, l.target.id
	start := func(ctx context.Context) error { return d.ContainerStart(ctx, id, container.StartOptions{}) }
	kill := func(ctx context.Context) error { return d.ContainerKill(ctx, id, "SIGKILL") }
	return []duel{
		{
			kind: "pause", fault: &process.Pause{}, effect: process.PauseSpec().Effect, rounds: 100, verbs: [2]string{"pause", "unpause"},
			apply:  func(ctx context.Context) error { return d.ContainerPause(ctx, id) },
			revert: func(ctx context.Context) error { return d.ContainerUnpause(ctx, id) },
		},
		{
			kind: "stop", fault: &process.Stop{DownFor: units.Duration(time.Second)}, effect: process.StopSpec().Effect, rounds: 20, restarts: true, verbs: [2]string{"stop", "start"},
			apply:  func(ctx context.Context) error { return d.ContainerStop(ctx, id, container.StopOptions{}) },
			revert: start,
		},
		{
			kind: "restart", fault: &process.Restart{}, effect: process.RestartSpec().Effect, rounds: 20, restarts: true, verbs: [2]string{"restart", ""},
			apply: func(ctx context.Context) error { return d.ContainerRestart(ctx, id, container.StopOptions{}) },
		},
		{
			kind: "kill", fault: &process.Kill{}, effect: process.KillSpec().Effect, rounds: 20, restarts: true, verbs: [2]string{"kill, by the agent", "start"},
			apply: kill, revert: start,
		},
		{
			kind: "kill without agent", fault: &process.Kill{}, effect: process.KillSpec().Effect, rounds: 20, restarts: true, apiOnly: true, verbs: [2]string{"kill, by the API", "start"},
			apply: kill, revert: start,
		},
	}
}

// pair are the two series of one call.
type pair struct{ ours, bare series }

func (p pair) ratio() float64 { return p.ours.median() / p.bare.median() }

// faults measures process faults against the bare calls.
func (b *bench) faults(ctx context.Context, s *section) error {
	s.title = "Process faults against the bare Docker API"
	s.text = "From our call to the API's answer, through `faults.Hold` with the real engine, agent and journal, against the same calls of the Docker client; one of ours, one bare, in turn, on one idle " +
		"container that ends on SIGTERM. The journal's work is before the planned instant of a call and is given apart. *Ours* includes the look at the container before the call. " +
		"(The agent's kill answers when the signal is sent; the API's when the engine has seen the process end. Either way the witness comes after.)"
	l, err := b.lab(ctx)
	if err != nil {
		return err
	}
	t := table{head: []string{"call", "n", "ours: median", "p99", "max", "bare: median", "p99", "max", "ratio"}}
	worst, name := 0.0, ""
	for _, d := range l.duels() {
		apply, revert, err := l.fight(ctx, d)
		if err != nil {
			return fmt.Errorf("%s: %w", d.kind, err)
		}
		for i, p := range []pair{apply, revert} {
			if d.verbs[i] == "" {
				continue
			}
			b.say("%s: ours %s, bare %s, ratio %.2f", d.verbs[i], millis(p.ours.median()), millis(p.bare.median()), p.ratio())
			t.add(append(append([]string{d.verbs[i]}, p.ours.cells()...), append(p.bare.cells()[1:], fmt.Sprintf("%.2f", p.ratio()))...)...)
			if p.ratio() > worst {
				worst, name = p.ratio(), d.verbs[i]
			}
		}
	}
	j := table{head: []string{"journal, for each entry", "n", "median", "p99", "max"}}
	j.add(append([]string{"write and fsync"}, l.fsync.cells()...)...)
	j.add(append([]string{"acknowledged by the agent"}, l.acks.cells()...)...)
	s.tables = append(s.tables, t, j)
	b.report.bar("process faults, from our call to the API's answer", fmt.Sprintf("≤ %.1f × the bare Docker API call", faultsBar),
		fmt.Sprintf("at most %.2f × (%s)", worst, name), yes(worst <= faultsBar))
	b.report.bar("journal, apart: fsync, and the agent's copy", "—", fmt.Sprintf("%s and %s for each entry", millis(l.fsync.median()), millis(l.acks.median())), "—")
	return l.close(ctx)
}

// fight runs the rounds of a duel.
func (l *lab) fight(ctx context.Context, d duel) (apply, revert pair, err error) {
	for i := range d.rounds {
		ours := func() error { return l.ours(ctx, d, i, &apply.ours, &revert.ours) }
		bare := func() error { return l.bare(ctx, d, &apply.bare, &revert.bare) }
		for _, round := range []func() error{ours, bare} {
			before, err := l.target.greetings(ctx)
			if err != nil {
				return apply, revert, err
			}
			if err := round(); err != nil {
				return apply, revert, err
			}
			if !d.restarts {
				continue
			}
			if err := l.target.greets(ctx, before+1); err != nil {
				return apply, revert, err
			}
		}
	}
	return apply, revert, nil
}

func (l *lab) ours(ctx context.Context, d duel, n int, apply, revert *series) error {
	env := l.env
	if d.apiOnly {
		env.Host = nil
	}
	r, err := d.fault.Prepare(ctx, env, l.target.faults())
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	r.ID = fmt.Sprintf("%s#%d", d.kind, n+1)
	e := &timed{Effect: d.effect}
	budgets := faults.Budgets{Confirm: 15 * time.Second, Heal: time.Minute}
	if err := faults.Hold(ctx, env, e, r, budgets, faults.Observer{}, func(context.Context, faults.Witness) error { return nil }); err != nil {
		return err
	}
	apply.add(e.apply)
	revert.add(e.revert)
	return nil
}

func (l *lab) bare(ctx context.Context, d duel, apply, revert *series) error {
	began := time.Now()
	if err := d.apply(ctx); err != nil {
		return fmt.Errorf("bare call: %w", err)
	}
	apply.add(time.Since(began))
	if d.revert == nil {
		return nil
	}
	began = time.Now()
	if err := d.revert(ctx); err != nil {
		return fmt.Errorf("bare call: %w", err)
	}
	revert.add(time.Since(began))
	return nil
}
