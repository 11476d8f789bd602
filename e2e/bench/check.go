package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

const (
	checkBar  = 1_000_000
	checkRuns = 5
)

// logCheck measures the log check on one core.
func (b *bench) logCheck(ctx context.Context, s *section) error {
	s.title = "The log check"
	s.text = "`oracle.Log` over the same legal history of a million operations, in memory, with GOMAXPROCS=1 (the garbage collector shares that core). " +
		"The self-test gives the checker a mutated copy of the history for each promise."
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	h := &ledger.History{Ops: history(million)}
	for i := range h.Ops {
		h.Ops[i].ID = int64(i) + 1
	}
	var rates series
	for range checkRuns {
		runtime.GC()
		began := time.Now()
		r := oracle.Log{}.Check(ctx, h, benchName)
		took := time.Since(began)
		if r.Verdict != oracle.Pass {
			return fmt.Errorf("a legal history is %s: %v", r.Verdict, r.Findings)
		}
		rates = append(rates, float64(len(h.Ops))/took.Seconds())
	}
	b.say("log check: %s operations per second", count(rates.median()))
	began := time.Now()
	mutants := oracle.SelfTest(ctx, oracle.Log{}, h, benchName, 1)
	took := time.Since(began)
	convicted := 0
	for _, m := range mutants {
		if m.Fate == oracle.Convicted {
			convicted++
		}
	}
	t := table{head: []string{"what", "n", "median, per second", "slowest, per second"}}
	t.add("check", fmt.Sprint(len(rates)), count(rates.median()), count(rates.quantile(0)))
	s.tables = append(s.tables, t)
	s.note("The self-test of the check on this history takes %.1f s: %d of %d mutants convicted.", took.Seconds(), convicted, len(mutants))
	b.report.bar("log check", "≥ "+count(checkBar)+" operations per second on one core", count(rates.median())+" per second", yes(rates.median() >= checkBar))
	return nil
}
