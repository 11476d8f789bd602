package faulttest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/faults"
)

// pair applies two faults and ends them in both orders, by undo and by heal in another process; each time the base must
// come back.
func pair(p play, s1 faults.Spec, f1 faults.Fault, s2 faults.Spec, f2 faults.Fault) {
	lookup := func(k faults.Kind) (faults.Effect, faults.Family, bool) {
		for _, s := range []faults.Spec{s1, s2} {
			if s.Kind == k {
				return s.Effect, s.Family, true
			}
		}
		return nil, "", false
	}
	for _, first := range []bool{true, false} {
		p = p.again()
		r1, r2, both := p.two(s1, f1, s2, f2)
		when := fmt.Sprintf("after %s then %s, first ended first: %t,", s1.Kind, s2.Kind, first)
		if !both {
			p.undo(p.env, s1.Effect, r1)
			p.atBase(when)
			continue
		}
		if first {
			p.undoBoth(s1, r1, s2, r2)
		} else {
			p.undoBoth(s2, r2, s1, r1)
		}
		p.atBase(when)
	}
	p = p.again()
	p.two(s1, f1, s2, f2)
	env, state := p.elsewhere()
	owed := len(state.Owed())
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	healed, err := faults.Heal(ctx, env, state.Owed(), lookup)
	if err != nil || len(healed) != owed || owed == 0 {
		p.t.Errorf("healed %d of %d: %v", len(healed), owed, err)
	}
	p.atBase("after the heal")
}

// undoBoth undoes one fault and then another. A kind that needs the target's help to be undone may wait for it while the
// other keeps it down or paused, so the other's undo does not wait for its end.
func (p play) undoBoth(s1 faults.Spec, r1 faults.Record, s2 faults.Spec, r2 faults.Record) {
	p.t.Helper()
	if s1.Family != faults.App {
		p.undo(p.env, s1.Effect, r1)
		p.undo(p.env, s2.Effect, r2)
		return
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := faults.Undo(ctx, p.env, s1.Effect, r1)
		done <- err
	}()
	time.Sleep(time.Second) //nolint:forbidigo // in a bubble of synctest
	p.undo(p.env, s2.Effect, r2)
	if err := <-done; err != nil {
		p.t.Fatalf("undo %s: %v", r1.ID, err)
	}
}

// two applies both faults. both is false where the first made the second impossible: a container that is down has no cgroup
// and no network namespace; one that is to be replaced would take another fault along; and one that is removed is no target.
func (p play) two(s1 faults.Spec, f1 faults.Fault, s2 faults.Spec, f2 faults.Fault) (r1, r2 faults.Record, both bool) {
	p.t.Helper()
	r1 = p.prepare(f1, "first")
	p.mustApply(s1.Effect, r1)
	if _, err := p.confirm(p.env, s1.Effect, r1); err != nil {
		p.t.Fatalf("confirm %s: %v", s1.Kind, err)
	}
	on, there := p.target()
	if !there {
		return r1, r2, false
	}
	r2, err := f2.Prepare(p.t.Context(), p.env, on)
	if err != nil {
		can := s2.Family == faults.Process && s1.Replaces == s2.Replaces
		if can || !errors.Is(err, faults.ErrUnsupported) {
			p.t.Errorf("prepare %s during %s: %v", s2.Kind, s1.Kind, err)
		}
		return r1, r2, false
	}
	r2.ID = "second"
	p.mustApply(s2.Effect, r2)
	return r1, r2, true
}

// Overlap lets every two different kinds that take the same kind of target overlap, in every order of beginning and end.
func Overlap(t *testing.T, specs []faults.Spec) {
	t.Helper()
	for _, s1 := range specs {
		for _, s2 := range specs {
			if s1.Kind == s2.Kind || target(s1) != target(s2) {
				continue
			}
			f1, f2 := Example(t, s1), Example(t, s2)
			for _, s := range stages(s1) {
				if !s.hosts(s1, f1) || !s.hosts(s2, f2) {
					continue // Run sees to it that it is refused
				}
				t.Run(fmt.Sprintf("%s and %s on %s", s1.Kind, s2.Kind, s.name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { pair(open(t, s, target(s1)), s1, f1, s2, f2) })
				})
			}
		}
	}
}

// move is one step of a random sequence; Pick chooses among the kinds or the open faults.
type move struct {
	What string
	Pick int
	Wait time.Duration
}

// Sequences draws random sequences of prepare, apply, time, crash of the runner and undo over all kinds on one container,
// and over all kinds on one link; when every fault has ended, the base is back.
func Sequences(t *testing.T, specs []faults.Spec) {
	t.Helper()
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // the seed that it prints is enough, and the tree stays clean
		t.Fatal(err)
	}
	of := map[faults.Target][]faults.Spec{}
	for _, s := range specs {
		of[target(s)] = append(of[target(s)], s)
	}
	for on, specs := range of {
		for _, s := range stages(specs[0]) {
			t.Run(on.String()+" "+s.name, func(t *testing.T) { sequences(t, s, on, specs) })
		}
	}
}

func sequences(t *testing.T, s stage, on faults.Target, specs []faults.Spec) {
	t.Helper()
	examples := make([]faults.Fault, len(specs))
	for i, s := range specs {
		examples[i] = Example(t, s)
	}
	moves := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) move {
		return move{
			What: rapid.SampledFrom([]string{"prepare", "prepare", "apply", "apply", "apply", "undo", "wait", "crash"}).Draw(rt, "what"),
			Pick: rapid.IntRange(0, 1<<10).Draw(rt, "pick"),
			Wait: time.Duration(rapid.IntRange(1, 300).Draw(rt, "ms")) * time.Millisecond,
		}
	}), 1, 20)
	rapid.Check(t, func(rt *rapid.T) {
		drawn := moves.Draw(rt, "moves")
		var err error
		synctest.Test(t, func(t *testing.T) {
			q := sequence{play: open(t, s, on), specs: specs, examples: examples}
			err = q.run(drawn)
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

type sequence struct {
	play
	specs    []faults.Spec
	examples []faults.Fault
	open     []running
}

// running is one prepared fault of a sequence.
type running struct {
	spec    faults.Spec
	record  faults.Record
	applied bool
}

func (q *sequence) run(moves []move) error {
	for n, m := range moves {
		var err error
		switch {
		case m.What == "prepare":
			err = q.prepare(m.Pick%len(q.specs), n)
		case m.What == "wait":
			time.Sleep(m.Wait) //nolint:forbidigo // in a bubble of synctest
		case m.What == "crash":
			q.env, q.state = q.elsewhere()
			q.state.Commit = q.commit()
		case len(q.open) == 0:
		case m.What == "apply":
			err = q.apply(&q.open[m.Pick%len(q.open)])
		case m.What == "undo":
			err = q.end(m.Pick % len(q.open))
		}
		if err != nil {
			return fmt.Errorf("move %d, %+v: %w", n, m, err)
		}
	}
	for len(q.open) > 0 {
		i := moves[0].Pick % len(q.open)
		if j := slices.IndexFunc(q.open, func(r running) bool { return r.spec.Family != faults.App }); q.open[i].spec.Family == faults.App && j >= 0 {
			i = j // what may need the target's help comes last
		}
		if err := q.end(i); err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	if got := q.now(); got != q.base {
		return fmt.Errorf("the target is %+v and was %+v", got, q.base)
	}
	return nil
}

func (q *sequence) prepare(kind, n int) error {
	on, there := q.target()
	if !there {
		return nil
	}
	r, err := q.examples[kind].Prepare(q.t.Context(), q.env, on)
	if errors.Is(err, faults.ErrUnsupported) {
		return nil
	}
	r.ID = fmt.Sprintf("%s-%d", q.specs[kind].Kind, n)
	q.open = append(q.open, running{spec: q.specs[kind], record: r})
	return err
}

func (q *sequence) apply(r *running) error {
	if r.applied {
		return nil
	}
	r.applied = true
	err := q.play.apply(r.spec.Effect, r.record)
	for _, quicker := range []error{faults.ErrNoWitness, errNotRunning, errPaused, faults.ErrGone, faults.ErrUnsupported} {
		if errors.Is(err, quicker) {
			return nil // another fault of the sequence was first, and that is what it says
		}
	}
	if r.spec.Family == faults.App && len(q.open) > 1 {
		return nil // and so may a command of the target
	}
	return err
}

func (q *sequence) end(i int) error {
	r := q.open[i]
	q.open = append(q.open[:i:i], q.open[i+1:]...)
	if !r.applied {
		return nil
	}
	ctx, cancel := context.WithTimeout(q.t.Context(), 10*time.Second)
	defer cancel()
	_, err := faults.Undo(ctx, q.env, r.spec.Effect, r.record)
	if err != nil && r.spec.Family == faults.App && len(q.open) > 0 {
		q.open = append(q.open, r) // another fault keeps the target from undoing it
		return nil
	}
	return err
}
