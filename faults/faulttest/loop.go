package faulttest

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/discompose/discompose/faults"
)

const (
	notices   = 5 * time.Millisecond   // from the end of a process until the engine knows
	backOff   = 100 * time.Millisecond // of the restart policy, the first time; it doubles
	longest   = time.Minute            // back-off
	recovered = 10 * time.Second       // of running, after which the back-off begins anew
)

// advance lets time pass for one container: what its death, its policy and its crash loops do, each at its instant.
func (w *World) advance(b *box, now time.Time) {
	for {
		at, happen := w.next(b)
		if happen == nil || at.After(now) {
			b.count(now)
			return
		}
		b.count(at)
		happen(at)
	}
}

// next is what happens to a container first, and when; nil if nothing does by itself.
func (w *World) next(b *box) (at time.Time, happen func(at time.Time)) {
	if !b.dead.IsZero() {
		return b.dead, func(at time.Time) { b.ended(at) }
	}
	if b.restarting {
		return b.wake, func(at time.Time) {
			w.start(b, at)
			b.restarts++
		}
	}
	if !b.dying.IsZero() && !b.paused {
		at, happen = b.dying, func(time.Time) { w.die(b, b.exit) }
	}
	for _, id := range sorted(w.loops) {
		l := w.loops[id]
		if l.Container != b.ID || !l.due(b) {
			continue
		}
		due := b.started.Add(l.Uptime)
		if due.Before(b.cg.at) {
			due = b.cg.at
		}
		if happen == nil || due.Before(at) {
			at, happen = due, func(time.Time) { l.kill(w, b) }
		}
	}
	return at, happen
}

// ended is what the engine does when it knows that PID 1 has ended.
func (b *box) ended(at time.Time) {
	ran := b.dead.Sub(b.started)
	b.running, b.paused, b.pid, b.finished, b.dead = false, false, 0, at, time.Time{}
	b.cg = cgroups{at: at, quota: -1, memory: math.MaxInt64, pids: math.MaxInt64}
	acts := b.Policy == "always" || b.Policy == "unless-stopped" || (b.Policy == "on-failure" && b.exit != 0)
	if b.restarting = acts && !b.manual; !b.restarting {
		return
	}
	if b.wait = min(2*b.wait, longest); b.wait == 0 || ran >= recovered {
		b.wait = backOff
	}
	b.wake = at.Add(b.wait)
}

// loop is a crash loop that the agent keeps.
type loop struct {
	faults.CrashLoop
	faults.CrashLoopState
}

// due reports whether the loop will kill what runs now.
func (l *loop) due(b *box) bool {
	return l.Active && b.running && !b.paused && b.dead.IsZero() && l.Ending != b.pid && (l.Count == 0 || l.Kills < l.Count)
}

func (l *loop) kill(w *World, b *box) {
	l.Ending, b.by = b.pid, l
	w.signal(b, l.Signal)
}

// killed notes the end of a process, which counts if it has got the loop's signal.
func (l *loop) killed(pid int) {
	if l.Ending == pid {
		l.Ending = 0
		l.Kills++
	}
}

// started notes that the container was started after a kill of the loop.
func (l *loop) started() {
	l.Starts++
	if l.Count > 0 && l.Starts >= l.Count {
		l.Active = false
	}
}

// crash answers the agent's operations on crash loops; ok is false for any other.
func (h host) crash(ctx context.Context, op string, raw json.RawMessage) (answer any, ok bool, err error) {
	if !slices.Contains([]string{faults.OpCrashLoop, faults.OpCrashLoopEnd, faults.OpCrashLoopState}, op) {
		return nil, false, nil
	}
	var c faults.CrashLoop
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, true, err
	}
	switch op {
	case faults.OpCrashLoop:
		err = h.w.change(ctx, c.Container, func(*box) error {
			h.w.loops[c.ID] = &loop{CrashLoop: c, CrashLoopState: faults.CrashLoopState{Active: true}}
			return nil
		})
	case faults.OpCrashLoopEnd:
		err = h.w.act(ctx, func() (func() error, error) {
			l := h.w.known(c.ID)
			return func() error { l.Active = false; return nil }, nil
		})
	case faults.OpCrashLoopState:
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		return h.w.known(c.ID).CrashLoopState, true, nil
	}
	return nil, true, err
}

// EndAgent ends what lives no longer than the agent: its crash loops.
func (w *World) EndAgent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.loops {
		w.known(id).Active = false
	}
}

// known is a loop as it is now; one that never was has done nothing.
func (w *World) known(id string) *loop {
	l := w.loops[id]
	if l == nil {
		return &loop{}
	}
	if _, err := w.find(l.Container); err != nil {
		l.Active, l.Error = false, err.Error()
	}
	return l
}
