package oracle_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// logSim is a small log service that keeps its promises, and the history that its clients record.
type logSim struct {
	ops   []ledger.Op
	parts [][]int64 // values by offset
	seq   []int64   // per producer
	clock int64
}

const simStart = int64(1_000_000_000_000)

func newLogSim(producers, partitions int) *logSim {
	return &logSim{parts: make([][]int64, partitions), seq: make([]int64, producers), clock: simStart}
}

func (s *logSim) record(o ledger.Op) *ledger.Op {
	s.clock += 1_000_000
	o.Workload, o.Planned, o.Invoke = "orders", s.clock, s.clock
	if o.Complete == 0 {
		o.Complete = s.clock + 500_000
	}
	if o.Outcome == "" {
		o.Outcome = ledger.OK
	}
	o.ID = int64(len(s.ops) + 1)
	s.ops = append(s.ops, o)
	return &s.ops[len(s.ops)-1]
}

// produce sends the next value of a producer. lands says whether an unknown one is appended.
func (s *logSim) produce(producer, partition int, outcome ledger.Outcome, lands bool) *ledger.Op {
	s.seq[producer]++
	o := ledger.Op{Process: producer, Func: ledger.FuncProduce, Value: int64(producer)<<32 | s.seq[producer], Partition: -1, Offset: -1, Outcome: outcome}
	if outcome == ledger.OK || (outcome == ledger.Unknown && lands) {
		s.parts[partition] = append(s.parts[partition], o.Value)
	}
	switch outcome {
	case ledger.OK:
		o.Partition, o.Offset = int32(partition), int64(len(s.parts[partition])-1)
	case ledger.Failed:
		o.Error = "refused"
	case ledger.Unknown:
		o.Error = "timed out"
	}
	return s.record(o)
}

func (s *logSim) found(fn string, partition int, offset int64) {
	s.record(ledger.Op{Func: fn, Value: s.parts[partition][offset], Partition: int32(partition), Offset: offset})
}

// finalRead reads every partition from 0 to its end.
func (s *logSim) finalRead() {
	for p, values := range s.parts {
		for offset := range values {
			s.found(ledger.FuncRead, p, int64(offset))
		}
		s.record(ledger.Op{Func: ledger.FuncEnd, Partition: int32(p), Offset: int64(len(values))})
	}
}

func (s *logSim) history() *ledger.History {
	ops := slices.Clone(s.ops)
	slices.SortStableFunc(ops, func(a, b ledger.Op) int { return cmp.Compare(a.Invoke, b.Invoke) })
	return &ledger.History{Ops: ops}
}

// legal draws the history of a log that kept its promises, with everything that is allowed to go wrong on the way.
func legal(t *rapid.T) *ledger.History {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	producers, partitions := rapid.IntRange(1, 4).Draw(t, "producers"), rapid.IntRange(1, 3).Draw(t, "partitions")
	troubles := rapid.IntRange(0, 60).Draw(t, "percent of troubled sends")
	polls := rapid.Bool().Draw(t, "with a consumer group")
	s := newLogSim(producers, partitions)
	positions := make([]int64, partitions)
	vague := drawVague(t, r)
	assigns := rapid.Bool().Draw(t, "with assignments")
	assign := func(p int) {
		if assigns {
			s.record(ledger.Op{Func: ledger.FuncAssign, Partition: int32(p), Offset: -1})
		}
	}
	for p := range partitions {
		assign(p)
	}
	for i, sends := 0, rapid.IntRange(2, 120).Draw(t, "sends"); i < sends; i++ {
		outcome := ledger.OK
		if i > 0 && r.IntN(100) < troubles { // at least one is acknowledged
			outcome = []ledger.Outcome{ledger.Failed, ledger.Unknown}[r.IntN(2)]
		}
		vague(s.produce(r.IntN(producers), r.IntN(partitions), outcome, r.IntN(2) == 0))
		if p := r.IntN(partitions); polls && positions[p] < int64(len(s.parts[p])) {
			s.found(ledger.FuncPoll, p, positions[p])
			positions[p]++
			if r.IntN(8) == 0 { // a rebalance rewinds: what follows is delivered again
				positions[p] = max(0, positions[p]-int64(r.IntN(4)))
				assign(p)
			}
		}
	}
	if rapid.Bool().Draw(t, "first final read breaks off") {
		for offset := range s.parts[0][:len(s.parts[0])/2] {
			s.found(ledger.FuncRead, 0, int64(offset))
		}
		s.record(ledger.Op{Func: ledger.FuncRead, Partition: 0, Offset: -1, Outcome: ledger.Unknown, Error: "connection lost"})
	}
	s.finalRead()
	return s.history()
}

// drawVague draws how many acknowledgements do not name the offset of their record, or not even its partition, and returns
// what makes a produce one of them.
func drawVague(t *rapid.T, r *rand.Rand) func(*ledger.Op) {
	percent := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "percent of acknowledgements without an offset")
	return func(o *ledger.Op) {
		if r.IntN(100) >= percent {
			return
		}
		o.Offset = -1
		if r.IntN(2) == 0 {
			o.Partition = -1
		}
	}
}

func TestLogAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := legal(t)
		r := oracle.Log{}.Check(context.Background(), h, "orders")
		if r.Verdict != oracle.Pass || r.Total != 0 {
			t.Fatalf("a legal history is %s: %+v", r.Verdict, r.Findings)
		}
		if r.Counts["acknowledged"] == 0 || r.Counts["delivered"] < r.Counts["acknowledged"] {
			t.Fatalf("counts %v", r.Counts)
		}
	})
}

// Every mutation of a legal history is convicted, with its class, naming an operation of the mutation; h is unchanged.
func TestLogConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, oracle.Log{Isolation: "read-uncommitted"}, ofW(legal))
	convictsMutants(t, oracle.Log{}, func(t *rapid.T) *ledger.History {
		if rapid.Bool().Draw(t, "with transactions") {
			return transactional(true)(t)
		}
		return ofW(legal)(t)
	})
}

// ofW gives a history the workload of the others.
func ofW(legal func(*rapid.T) *ledger.History) func(*rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		h := legal(t)
		for i := range h.Ops {
			h.Ops[i].Workload = "w"
		}
		return h
	}
}

func TestEveryCheckerDeclaresMutations(t *testing.T) {
	t.Parallel()
	checkers := oracle.Checkers()
	if len(checkers) == 0 {
		t.Fatal("there is no checker")
	}
	for kind, c := range checkers {
		ms := c.Mutations()
		if len(ms) == 0 {
			t.Errorf("%s declares no mutation", kind)
		}
		for _, m := range ms {
			if m.Class.Verdict() != oracle.Fail || m.Name == "" || m.Mutate == nil {
				t.Errorf("%s: %q is no mutation that fails a run", kind, m.Name)
			}
		}
	}
}

// blind is a checker that finds nothing.
type blind struct{ oracle.Log }

func (blind) Check(_ context.Context, _ *ledger.History, workload string) oracle.Result {
	return oracle.Result{Check: "blind", Workload: workload, Verdict: oracle.Pass}
}

// stubborn is a checker that finds the same loss, of every operation, in whatever it is given.
type stubborn struct{ oracle.Log }

func (stubborn) Check(_ context.Context, _ *ledger.History, workload string) oracle.Result {
	v := oracle.Violation{Class: oracle.DataLoss, Promise: "always"}
	for id := range int64(1000) {
		v.Ops = append(v.Ops, id)
	}
	return oracle.Result{Check: "stubborn", Workload: workload, Verdict: oracle.Fail, Violations: []oracle.Violation{v}, Total: 1}
}

func TestSelfTestTakesNoOldViolationForAConviction(t *testing.T) {
	t.Parallel()
	hidden := 0
	mutants := oracle.SelfTest(t.Context(), stubborn{}, tableSim().history(), "orders", 1)
	for _, m := range mutants {
		if m.Fate != oracle.NotTried {
			t.Errorf("%s: %s", m.Name, m.Fate)
		}
		if strings.Contains(m.Note, "may hide") {
			hidden++
		}
	}
	if len(mutants) != len(oracle.Log{}.Mutations()) || hidden < 10 {
		t.Errorf("%d mutants, of which %d may be hidden", len(mutants), hidden)
	}
}

func TestSelfTestShowsABlindChecker(t *testing.T) {
	t.Parallel()
	s := newLogSim(1, 1)
	for range 5 {
		s.produce(0, 0, ledger.OK, true)
	}
	s.finalRead()
	survived := 0
	for _, m := range oracle.SelfTest(t.Context(), blind{}, s.history(), "orders", 1) {
		if m.Fate == oracle.Convicted {
			t.Errorf("%s is convicted by a checker that finds nothing", m.Name)
		}
		if m.Fate == oracle.Survived {
			survived++
		}
	}
	if survived < 5 {
		t.Fatalf("%d mutants survived", survived)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, m := range oracle.SelfTest(ctx, oracle.Log{}, s.history(), "orders", 1) {
		if m.Fate != oracle.TimedOut {
			t.Errorf("%s: %s after the time was over", m.Name, m.Fate)
		}
	}
}

// BenchmarkLog measures the log check: the bar is 1,000,000 operations per second on one core.
func BenchmarkLog(b *testing.B) {
	s := newLogSim(8, 3)
	const sends = 500_000
	for i := range sends {
		s.produce(i%8, i%3, ledger.OK, true)
	}
	s.finalRead()
	h := s.history()
	perSecond(b, len(h.Ops), func() {
		if r := (oracle.Log{}).Check(b.Context(), h, "orders"); r.Verdict != oracle.Pass {
			b.Fatal(r.Findings)
		}
	})
}
