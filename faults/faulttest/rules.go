package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
)

func prepares(p play, s faults.Spec, f faults.Fault) {
	t := p.t
	p.prepare(f, "a")
	r := p.prepare(f, "a")
	if n := p.world.Changes(); n != 0 {
		t.Errorf("prepare made %d changing calls", n)
	}
	if r.V != faults.RecordVersion || r.Kind != s.Kind || r.On != p.on {
		t.Errorf("record is %+v", r)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back faults.Record
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("record after JSON (-before +after):\n%s", diff)
	}
	p.atBase("after prepare")
}

func held(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	var confirmed, gone faults.Witness
	o := faults.Observer{Confirmed: func(_ faults.Record, w faults.Witness) { confirmed = w }, Gone: func(_ faults.Record, w faults.Witness) { gone = w }}
	b := faults.Budgets{Confirm: 5 * time.Second, Heal: 10 * time.Second}
	err := faults.Hold(p.t.Context(), p.env, s.Effect, r, b, o, func(ctx context.Context, _ faults.Witness) error {
		return faults.Pause(ctx, 3*time.Second)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if confirmed.Note == "" || confirmed.What == "" || confirmed.At == 0 || gone.Note == "" || gone.At <= confirmed.At {
		p.t.Errorf("witnesses: %+v and %+v", confirmed, gone)
	}
	p.t.Logf("%s | %s", confirmed.Note, gone.Note)
	p.atBase("after the hold")
	if len(p.state.Owed()) != 0 {
		p.t.Errorf("still owed: %v", p.state.Owed())
	}
	if settler, ok := s.Effect.(faults.Settler); ok {
		if done, err := settler.Settled(p.t.Context(), p.env, r); err != nil || !done {
			p.t.Errorf("settled after the undo: %t, %v", done, err)
		}
	}
}

func twice(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if _, err := p.confirm(p.env, s.Effect, r); err != nil {
		p.t.Fatalf("confirm: %v", err)
	}
	p.undo(p.env, s.Effect, r)
	p.undo(p.env, s.Effect, r)
	p.atBase("after two reverts")
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("a reverted fault has a witness: %v, %v", w, err)
	}
}

// unreleased reverts while the journal still lists the record, as where the release could not be written.
func unreleased(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	_, err := faults.Await(ctx, 50*time.Millisecond, func() (faults.Witness, error) {
		defer p.env.Journal.Lock(r.On.Key())()
		if err := s.Effect.Revert(ctx, p.env, r); err != nil {
			return faults.Witness{}, err
		}
		return s.Effect.Confirm(ctx, p.env, r, false)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.atBase("after the revert")
}

// unbound applies a fault whose mechanism takes every call and holds nothing back: a kernel that does not keep its limits,
// rules that stop no packet, a proxy that the traffic does not cross.
func unbound(p play, s faults.Spec, f faults.Fault) {
	switch {
	case s.Family == faults.Resource && p.stage.agent:
		p.stage.box.Unbound = true
	case s.Family == faults.Link:
		p.stage.wire.Bypassed, p.stage.wire.Uncounted, p.stage.wire.Idle = true, true, 0
	case s.Family == faults.Network:
	default:
		p.t.Skip("only what the kernel or the proxy measures can tell")
	}
	p = p.again()
	p.world.Deafen()
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if s.Family == faults.Network && p.now().Box.Cuts == p.base.Box.Cuts {
		p.undo(p.env, s.Effect, r)
		p.t.Skip("it works without rules")
	}
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("nothing is held back and the witness is %+v, %v", w, err)
	}
	p.undo(p.env, s.Effect, r)
	p.atBase("after the undo")
}

// idle applies a fault to a link that carries nothing.
func idle(p play, s faults.Spec, f faults.Fault) {
	if p.on.Link == "" {
		p.t.Skip("only a link needs traffic")
	}
	p.stage.wire = Wire{Name: link}
	p = p.again()
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), link) {
		p.t.Errorf("nothing crossed the link and the witness is %+v, %v", w, err)
	}
	p.undo(p.env, s.Effect, r)
	p.atBase("after the undo")
}

// unhosted prepares a fault in a world without its mechanism.
func unhosted(p play, _ faults.Spec, f faults.Fault) {
	if r, err := f.Prepare(p.t.Context(), p.env, p.on); !errors.Is(err, faults.ErrUnsupported) {
		p.t.Errorf("prepared without a mechanism: %+v, %v", r, err)
	}
	if n := p.world.Changes(); n != 0 {
		p.t.Errorf("prepare made %d changing calls", n)
	}
	p.atBase("after prepare")
}

func another(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	env, state := p.elsewhere()
	owed := state.Owed()
	if len(owed) != 1 || owed[0].ID != r.ID {
		p.t.Fatalf("the journal owes %v", owed)
	}
	p.undo(env, s.Effect, owed[0])
	p.atBase("after the other process's undo")
	if len(state.Owed()) != 0 {
		p.t.Error("the undo is still owed")
	}
}

// halfFailed breaks each changing call of an apply in turn, before or after it took effect, and undoes what there is, here
// and elsewhere.
func halfFailed(p play, s faults.Spec, f faults.Fault) {
	broken := errors.New("connection lost")
	for n, more := 1, true; more; n++ {
		for _, effect := range []bool{true, false} {
			for _, there := range []bool{true, false} {
				p = p.again()
				r := p.prepare(f, "a")
				p.world.FailNext(n, effect, broken)
				err := p.apply(s.Effect, r)
				if more = p.world.Failed(); more && n == 1 && !errors.Is(err, broken) {
					p.t.Fatalf("apply over a broken call: %v", err)
				}
				env := p.env
				if !there {
					env, _ = p.elsewhere()
				}
				p.undo(env, s.Effect, r)
				p.atBase(fmt.Sprintf("after an apply whose call %d failed", n))
			}
		}
	}
}

// halfReverted breaks each changing call of a revert in turn; another process does it again.
func halfReverted(p play, s faults.Spec, f faults.Fault) {
	for n, more := 1, true; more; n++ {
		for _, effect := range []bool{true, false} {
			p = p.again()
			r := p.prepare(f, "a")
			p.mustApply(s.Effect, r)
			p.world.FailNext(n, effect, errors.New("connection lost"))
			func() {
				defer p.env.Journal.Lock(r.On.Key())()
				_ = s.Effect.Revert(p.t.Context(), p.env, r) // some kinds see that they are where they want to be
			}()
			more = p.world.Failed()
			env, _ := p.elsewhere()
			p.undo(env, s.Effect, r)
			p.atBase(fmt.Sprintf("after a revert whose call %d failed", n))
		}
	}
}

func lied(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.world.Lie(true)
	p.mustApply(s.Effect, r)
	if w, err := p.confirm(p.env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("nothing happened and the witness is %+v, %v", w, err)
	}
	p.world.Lie(false)
	p.undo(p.env, s.Effect, r)
	p.atBase("after the undo of nothing")
}

func stuck(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if s.Instant && p.world.settledAlone(p.world.Current("web")) {
		return // it comes back without us
	}
	p.world.Lie(true)
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	_, err := faults.Undo(ctx, p.env, s.Effect, r)
	var dirty *faults.HealError
	if !errors.As(err, &dirty) || len(p.state.Owed()) != 1 {
		p.t.Errorf("nothing was undone and the error is %v, owed %v", err, p.state.Owed())
	}
	p.world.Lie(false)
	p.undo(p.env, s.Effect, r)
	p.atBase("after the second undo")
}

// settledAlone reports whether a container runs, or is about to by its restart policy.
func (w *World) settledAlone(id string) bool {
	time.Sleep(2 * backOff) //nolint:forbidigo // in a bubble of synctest
	s := w.State(id)
	return s.Running && !s.Paused
}

func removed(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if p.on.Link != "" {
		p.world.Unwire(link)
		p.undo(p.env, s.Effect, r)
		return
	}
	p.world.Remove(p.world.Current("web"))
	p.undo(p.env, s.Effect, r)
	if s.Replaces {
		p.atBase("after an undo that found nothing")
	}
	if s.Whole {
		return
	}
	if _, err := f.Prepare(p.t.Context(), p.env, faults.Target{Service: "web", Number: 1, Container: "none"}); !errors.Is(err, faults.ErrGone) {
		p.t.Errorf("prepare on a container that does not exist: %v", err)
	}
}

// takenDown undoes a fault after somebody else has healed and removed everything, as an agent does that outlives its runner.
func takenDown(p play, s faults.Spec, f faults.Fault) {
	if p.on.Link != "" {
		p.t.Skip("a link is gone with its agent")
	}
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	p.world.TakeDown()
	env, _ := p.elsewhere()
	p.undo(env, s.Effect, r)
	if made := p.world.Service("web"); made != "" {
		p.t.Errorf("the undo has made %s", made)
	}
}

// orphaned undoes a fault whose agent has ended: what it did by rules, proxies and loops has ended with it.
func orphaned(p play, s faults.Spec, f faults.Fault) {
	r := p.prepare(f, "a")
	p.mustApply(s.Effect, r)
	if p.on.Link == "" && p.now().Box.Loops == 0 {
		p.undo(p.env, s.Effect, r)
		p.t.Skip("what it does to a container is there without the agent")
	}
	time.Sleep(time.Second) //nolint:forbidigo // in a bubble of synctest
	p.world.EndAgent()
	env := p.world.APIOnly(p.env.Journal)
	if w, err := p.confirm(env, s.Effect, r); !errors.Is(err, faults.ErrNoWitness) {
		p.t.Errorf("the agent is gone and the witness is %+v, %v", w, err)
	}
	p.undo(env, s.Effect, r)
	if p.on.Link == "" {
		p.atBase("after the undo without the agent")
	}
}

func refused(p play, _ faults.Spec, f faults.Fault) {
	if p.on.Link != "" {
		p.world.Unwire(link)
		if _, err := f.Prepare(p.t.Context(), p.env, p.on); !errors.Is(err, faults.ErrUnsupported) || !errors.Is(err, faults.ErrNoLink) {
			p.t.Errorf("prepare on a link that is not routed: %v", err)
		}
		return
	}
	if p.stage.box.Policy != "" {
		p.t.Skip("its restart policy does not leave it down")
	}
	p.world.Exit(id, 1)
	time.Sleep(2 * notices) //nolint:forbidigo // in a bubble of synctest
	if _, err := f.Prepare(p.t.Context(), p.env, p.on); !errors.Is(err, faults.ErrUnsupported) {
		p.t.Errorf("prepare on a container that is down: %v", err)
	}
}

func itself(p play, s faults.Spec, f faults.Fault) { pair(p, s, f, s, f) }
