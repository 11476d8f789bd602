// Package drivertest runs a workload driver against a real system in a test, and judges what it recorded.
//
// A Run belongs to one test; its History may grow while the driver runs.
package drivertest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/workload"
)

// patience bounds every wait: generous, for systems that share two busy cores with others.
const patience = time.Minute

// Run is one driver and what it recorded.
type Run struct {
	tb     testing.TB
	driver workload.Driver
	name   string

	mu  sync.Mutex
	ops []ledger.Op
}

// Start makes the driver, sets it up and starts it. Zero fields of c get values for a short test; options are the driver's.
func Start(tb testing.TB, spec workload.Spec, c workload.Config, options any) *Run {
	tb.Helper()
	r := New(tb, spec, c, options)
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err := r.driver.Setup(ctx); err != nil {
		tb.Fatal(err)
	}
	if err := r.driver.Start(tb.Context(), r.emit); err != nil {
		tb.Fatal(err)
	}
	return r
}

// New makes the driver alone.
func New(tb testing.TB, spec workload.Spec, c workload.Config, options any) *Run {
	tb.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		tb.Fatal(err)
	}
	c.Driver, c.Options = spec.Name, raw
	if c.Name == "" {
		c.Name = "test"
	}
	if c.Clients == 0 {
		c.Clients = 4
	}
	if c.Seed == 0 {
		c.Seed = 7
	}
	d, err := workload.New(c, []workload.Spec{spec})
	if err != nil {
		tb.Fatal(err)
	}
	return &Run{tb: tb, driver: d, name: c.Name}
}

// Driver is the driver.
func (r *Run) Driver() workload.Driver { return r.driver }

func (r *Run) emit(ops []ledger.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, ops...)
}

// Count is how many operations with the given function and outcome there are so far; empty texts stand for any.
func (r *Run) Count(function string, outcome ledger.Outcome) int {
	return len(r.Ops(function, outcome))
}

// Ops are these operations.
func (r *Run) Ops(function string, outcome ledger.Outcome) []ledger.Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []ledger.Op
	for _, o := range r.ops {
		if (function == "" || o.Func == function) && (outcome == "" || o.Outcome == outcome) {
			out = append(out, o)
		}
	}
	return out
}

// Errors are the texts of the operations that ended so, each with its number.
func (r *Run) Errors(outcome ledger.Outcome) map[string]int {
	out := map[string]int{}
	for _, o := range r.Ops("", outcome) {
		out[o.Error]++
	}
	return out
}

// Wait waits until so many more operations have ended so.
func (r *Run) Wait(more int, outcome ledger.Outcome) {
	r.tb.Helper()
	want := r.Count("", outcome) + more
	Eventually(r.tb, string(outcome)+" operations", func() bool { return r.Count("", outcome) >= want })
}

// Some waits until some operations have ended so, since the start.
func (r *Run) Some(outcome ledger.Outcome) {
	r.tb.Helper()
	Eventually(r.tb, string(outcome)+" operations", func() bool { return r.Count("", outcome) > 0 })
}

// Finish stops the driver and makes its final read.
func (r *Run) Finish() {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(r.tb.Context(), patience)
	defer cancel()
	if err := r.driver.Stop(ctx); err != nil {
		r.tb.Fatal(err)
	}
	if err := r.driver.Final(ctx, r.emit); err != nil {
		r.tb.Fatal(err)
	}
	for _, outcome := range []ledger.Outcome{ledger.Failed, ledger.Unknown} {
		r.tb.Logf("%s: %v", outcome, r.Errors(outcome))
	}
	r.tb.Logf("%+v", r.driver.Stats())
}

// History is what was recorded, as a checker wants it.
func (r *Run) History() *ledger.History {
	ops := r.Ops("", "")
	slices.SortStableFunc(ops, func(a, b ledger.Op) int { return int(a.Invoke - b.Invoke) })
	for i := range ops {
		ops[i].ID = int64(i + 1)
	}
	return &ledger.History{Ops: ops}
}

// Judge gives the history to a check and wants it passed, with every mutant that was tried convicted. A check that this
// build does not have is logged.
func (r *Run) Judge(kind string, options any) {
	r.tb.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		r.tb.Fatal(err)
	}
	if oracle.Checkers()[kind] == nil {
		r.tb.Logf("this build has no check %s: %d operations are not judged", kind, r.Count("", ""))
		return
	}
	c, err := oracle.NewChecker(oracle.CheckRule{Kind: kind, Workload: r.name, Options: raw}, oracle.Rules{})
	if err != nil {
		r.tb.Fatal(err)
	}
	h := r.History()
	got := c.Check(r.tb.Context(), h, r.name)
	r.tb.Logf("%s check: %s %v", kind, got.Verdict, got.Counts)
	if got.Verdict != oracle.Pass {
		r.tb.Errorf("%v %v", got.Findings, got.Violations)
	}
	convicted := 0
	for _, m := range oracle.SelfTest(r.tb.Context(), c, h, r.name, 7) {
		if m.Fate == oracle.Survived {
			r.tb.Errorf("mutant %s survived: %s", m.Name, m.Note)
		}
		if m.Fate == oracle.Convicted {
			convicted++
		}
	}
	if convicted == 0 {
		r.tb.Error("no mutant was convicted: the check sees nothing")
	}
}

// Eventually polls until hold is true.
func Eventually(tb testing.TB, what string, hold func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !hold() {
		select {
		case <-deadline:
			tb.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}
