// Package faulttest provides the conformance suite that every fault kind passes, and the fake world that it runs in.
//
// World behaves like Docker 20.10 on cgroup version 1 or 2 as far as faults can tell: restart policies, cgroups that are
// made anew with each start, limits that hold back a load, signals that wait while a process is frozen, networks with cuts
// in them, and links with traffic that toxics act on. Time passes as time.Now says, so inside testing/synctest nothing
// waits. A World is safe for concurrent use. The package is for tests
// only and imports only faults of this module.
package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/faults"
)

// Box is what a fake container is like. The zero value uses nothing and is never restarted.
type Box struct {
	ID        string
	Name      string        // what cuts know it by: "db", "web[2]", "workload.orders", "probes"; without one nothing does
	Policy    string        // restart policy; "" is "no"
	Limits    faults.Limits // as the Compose file sets them
	CPUs      float64       // what its processes would use
	Resident  int64         // bytes that the kernel cannot take away
	Cache     int64         // bytes of page cache that it would use
	Processes int64
	Survives  []string      // signals that its PID 1 handles and lives on
	Exits     []string      // signals on which it exits with 0
	Takes     time.Duration // from a signal that it handles by ending, so not SIGKILL, to its end
	Unnoticed time.Duration // from its end until the engine knows, beside the usual
	Leaks     bool          // it uses CPU time though it is frozen
	Unbound   bool          // its limits read as written and hold nothing back
	Refuses   bool          // forks are refused whatever its limit

	Image      string // what it was made of; "" is "fake"
	Environ    []string
	Entrypoint []string
	Command    []string
	Single     []string // what a further container of its service could not have
}

// World is a fake engine with a fake agent.
type World struct {
	mu       sync.Mutex
	version  int
	boxes    map[string]*box
	wires    map[string]*wire
	cuts     map[string]*cut // by id
	loops    map[string]*loop
	commands map[string]*command
	deaf     bool              // cuts are kept and stop nothing
	images   map[string]string // id by name
	made     int               // containers that were made after the world
	down     bool              // there are no networks any more
	lastPID  int
	changes  int
	lie      bool
	failIn   int // changing calls until one fails; 0 is never
	failAt   failure
	failWith error
}

type failure uint8

const (
	never failure = iota
	before
	after
)

// NewWorld makes a world of one cgroup version (1 or 2) with running containers.
func NewWorld(version int, boxes ...Box) *World {
	w := &World{version: version, boxes: map[string]*box{}, wires: map[string]*wire{}, cuts: map[string]*cut{}, loops: map[string]*loop{}, commands: map[string]*command{}, images: map[string]string{"fake": "sha256:fake"}, lastPID: 1000}
	for i, b := range boxes {
		w.boxes[b.ID] = &box{Box: b, holds: map[string]string{}, out: map[string]bool{}, files: map[string]bool{page: true}, number: i + 2}
		w.start(w.boxes[b.ID], time.Now())
	}
	return w
}

// Env is the world with its agent.
func (w *World) Env(j faults.Journal) faults.Env {
	env := w.APIOnly(j)
	env.Host, env.Links = host{w}, links{w}
	return env
}

// APIOnly is the world without an agent.
func (w *World) APIOnly(j faults.Journal) faults.Env {
	return faults.Env{Engine: engine{w}, Journal: j, Now: func() int64 { return time.Now().UnixNano() }}
}

// Lie makes every changing call succeed and do nothing.
func (w *World) Lie(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lie = on
}

// Deafen makes cuts stop nothing, though the agent keeps them.
func (w *World) Deafen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = true
}

// FailNext makes the nth changing call from now, from 1, return err; the call takes effect first where effect is set.
func (w *World) FailNext(n int, effect bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failIn, w.failAt, w.failWith = n, before, err
	if effect {
		w.failAt = after
	}
}

// Changes counts the changing calls so far.
func (w *World) Changes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changes
}

// Remove takes a container out of the world.
func (w *World) Remove(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.boxes, id)
}

// State is what a fault may change of a container and must give back.
type State struct {
	Running, Paused bool
	CPUQuota        int64 // µs per period in force; -1 is none
	MemoryBytes     int64 // in force; math.MaxInt64 is none
	PIDs            int64 // in force; math.MaxInt64 is none
	Limits          faults.Limits
	Holds           int // cgroup files that the agent writes again with each start
	Cuts            int // that the agent keeps for it
	Loops           int // crash loops that go on
	Networks        string
	Files           string
	Made            string // its name and what it is made of
}

// State observes a container.
func (w *World) State(id string) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.find(id)
	if err != nil {
		return State{}
	}
	s := State{
		Running: b.running, Paused: b.paused, CPUQuota: b.cg.quota, MemoryBytes: b.cg.memory, PIDs: b.cg.pids, Limits: b.Limits,
		Holds: len(b.holds), Files: strings.Join(sorted(b.files), " "),
		Made: fmt.Sprintf("%s %s %v %v %v %q", b.title(), b.image(), b.Environ, b.Entrypoint, b.Command, b.record),
	}
	for _, c := range w.cuts {
		if c.Container == id {
			s.Cuts++
		}
	}
	for _, l := range w.loops {
		if l.Container == id && l.Active {
			s.Loops++
		}
	}
	for _, e := range b.endpoints() {
		s.Networks += fmt.Sprintf("%s %v %v;", e.Network, e.Aliases, e.Addresses)
	}
	return s
}

// Exit ends PID 1 of a container with an exit code, as if it had crashed.
func (w *World) Exit(id string, code int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, err := w.find(id); err == nil {
		w.die(b, code)
	}
}

type box struct {
	Box
	running, paused, restarting bool
	pid, exit, restarts         int
	started, finished           time.Time
	manual                      bool          // stopped through the engine: the policy does not act
	dying                       time.Time     // PID 1 ends at this instant, by a signal that it handles
	dead                        time.Time     // PID 1 has ended and the engine notices at this instant; zero while it lives
	wake                        time.Time     // the policy starts it at this instant
	wait                        time.Duration // of the policy, before its last start
	by                          *loop         // that ended its last process
	pending                     string        // a signal that waits for the thaw
	holds                       map[string]string
	out                         map[string]bool // networks that it was taken out of, by key
	files                       map[string]bool // by path; they outlive its processes, but for those in volatile
	number                      int             // last of its addresses
	record                      string          // whose changes it was made with
	cg                          cgroups
}

// cgroups are the limits in force and the kernel's counters; they live as long as one run of the container.
type cgroups struct {
	at                 time.Time
	quota, period      int64
	memory, pids       int64
	cpu                time.Duration
	periods, throttled float64
	hits               float64
	refused            int64
}

func (w *World) find(id string) (*box, error) {
	b := w.boxes[id]
	if b == nil {
		return nil, fmt.Errorf("%w: %s", faults.ErrGone, id)
	}
	w.advance(b, time.Now())
	return b, nil
}

// count moves the counters on by the load since the last look.
func (b *box) count(now time.Time) {
	since := now.Sub(b.cg.at)
	b.cg.at = now
	if !b.running || (b.paused && !b.Leaks) || !b.dead.IsZero() || since <= 0 {
		return
	}
	used := b.CPUs
	if b.cg.quota > 0 {
		periods := float64(since) / float64(time.Duration(b.cg.period)*time.Microsecond)
		b.cg.periods += periods
		if share := float64(b.cg.quota) / float64(b.cg.period); share < used && !b.Unbound {
			used = share
			b.cg.throttled += periods
		}
	}
	b.cg.cpu += time.Duration(used * float64(since))
	if b.Resident+b.Cache > b.cg.memory && !b.Unbound {
		b.cg.hits += float64(since) / float64(10*time.Millisecond)
	}
}

func (b *box) usage() int64 {
	if !b.running {
		return 0
	}
	if b.Unbound {
		return b.Resident + b.Cache
	}
	return min(b.Resident+b.Cache, b.cg.memory)
}

// start makes a new process in a new cgroup, whose limits are the engine's until the agent's holds are written again.
func (w *World) start(b *box, now time.Time) {
	w.lastPID++
	if b.by != nil {
		b.by.started()
	}
	b.running, b.paused, b.restarting, b.manual = true, false, false, false
	b.pid, b.exit, b.started, b.dying, b.dead, b.pending, b.by = w.lastPID, 0, now, time.Time{}, time.Time{}, "", nil
	b.cg = cgroups{at: now}
	b.shed()
	b.limit()
	for _, file := range sorted(b.holds) {
		if err := w.write(b, file, b.holds[file]); err != nil {
			panic(err)
		}
	}
}

// limit puts the engine's limits into the cgroup.
func (b *box) limit() {
	b.cg.quota, b.cg.period, b.cg.memory, b.cg.pids = -1, 100_000, math.MaxInt64, math.MaxInt64
	l := b.Limits
	switch {
	case l.NanoCPUs > 0:
		b.cg.quota = l.NanoCPUs / 10_000
	case l.CPUQuota > 0:
		b.cg.quota = l.CPUQuota
	}
	if l.CPUPeriod > 0 {
		b.cg.period = l.CPUPeriod
	}
	if l.MemoryBytes > 0 {
		b.cg.memory = l.MemoryBytes
	}
	if l.PIDs > 0 {
		b.cg.pids = l.PIDs
	}
}

// signal delivers a signal to PID 1; a frozen process takes it when it thaws.
func (w *World) signal(b *box, name string) {
	if b.paused && w.version == 1 {
		b.pending = name
		return
	}
	codes := map[string]int{"SIGKILL": 137, "SIGTERM": 143, "SIGSEGV": 139}
	if name != "SIGKILL" && slices.Contains(b.Survives, name) {
		return
	}
	code, ok := codes[name]
	switch {
	case slices.Contains(b.Exits, name):
		code = 0
	case !ok:
		code = 129
	}
	if b.Takes > 0 && name != "SIGKILL" {
		if b.dying.IsZero() {
			b.exit, b.dying = code, b.cg.at.Add(b.Takes)
		}
		return
	}
	w.die(b, code)
}

func (w *World) die(b *box, code int) {
	if !b.running || !b.dead.IsZero() {
		return
	}
	b.exit, b.dying, b.dead = code, time.Time{}, b.cg.at.Add(notices+b.Unnoticed)
	if b.by != nil {
		b.by.killed(b.pid)
	}
}

func (w *World) thaw(b *box) {
	b.paused = false
	if name := b.pending; name != "" {
		b.pending = ""
		w.signal(b, name)
	}
}

// change runs one changing call that is about a container.
func (w *World) change(ctx context.Context, id string, f func(*box) error) error {
	return w.act(ctx, func() (func() error, error) {
		b, err := w.find(id)
		return func() error { return f(b) }, err
	})
}

// act runs one changing call: it honours Lie and FailNext, and takes a moment. find returns the change.
func (w *World) act(ctx context.Context, find func() (func() error, error)) error {
	if err := faults.Pause(ctx, time.Millisecond); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f, err := find()
	if err != nil && w.lie && errors.Is(err, faults.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	w.changes++
	at, with := never, error(nil)
	if w.failIn > 0 {
		if w.failIn--; w.failIn == 0 {
			at, with = w.failAt, w.failWith
		}
	}
	if at == before {
		return with
	}
	if !w.lie {
		if err := f(); err != nil {
			return err
		}
	}
	return with
}

// gone lets the world go on until the engine knows that PID 1 has ended.
func (w *World) gone(ctx context.Context, id string) error {
	for {
		w.mu.Lock()
		b, err := w.find(id)
		up := err == nil && b.running && !w.lie
		w.mu.Unlock()
		if err != nil || !up {
			return err
		}
		if err := faults.Pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
