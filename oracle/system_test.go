package oracle_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// system simulates a service with concurrent clients: an operation takes effect, in one instant, between its invocation and
// its return; one whose answer is lost takes effect then, later, or never, and its outcome is unknown.
type system struct {
	r       *rand.Rand
	clock   int64
	ops     []ledger.Op
	due     []event // by instant
	trouble int     // percent of operations that fail, or whose outcome is unknown
	calm    bool    // no trouble any more
	next    func(process int) (o ledger.Op, effect func(*ledger.Op))
}

// event is something that happens at an instant.
type event struct {
	at int64
	do func()
}

func newSystem(seed uint64, trouble int) *system {
	return &system{r: rand.New(rand.NewPCG(seed, 1)), clock: simStart, trouble: trouble}
}

// drawSystem draws how much goes wrong.
func drawSystem(t *rapid.T) *system {
	return newSystem(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 50).Draw(t, "percent of troubled operations"))
}

func (s *system) at(instant int64, do func()) {
	// Behind those of the same instant.
	i, _ := slices.BinarySearchFunc(s.due, instant, func(e event, at int64) int { return cmp.Or(cmp.Compare(e.at, at), -1) })
	s.due = slices.Insert(s.due, i, event{instant, do})
}

// run lets each client invoke so many operations, and waits until every effect has happened.
func (s *system) run(clients, each int, next func(process int) (ledger.Op, func(*ledger.Op))) {
	s.next = next
	for p := range clients {
		s.at(s.clock+s.r.Int64N(1000), func() { s.invoke(p, each) })
	}
	for len(s.due) > 0 {
		e := s.due[0]
		s.due = s.due[1:]
		s.clock = max(s.clock, e.at)
		e.do()
	}
	s.clock += 1000
}

// invoke starts the next operation of a client. An effect may set everything about its operation; what it sets the outcome
// to, if it does, holds.
func (s *system) invoke(process, left int) {
	if left == 0 {
		return
	}
	o, effect := s.next(process)
	o.Workload, o.Process, o.Planned, o.Invoke = "w", process, s.clock, s.clock
	o.ID = int64(len(s.ops) + 1)
	if o.Partition == 0 && o.Offset == 0 {
		o.Partition, o.Offset = -1, -1
	}
	i := len(s.ops)
	s.ops = append(s.ops, o)
	back := s.clock + 1 + s.r.Int64N(2000)
	s.at(back+1+s.r.Int64N(500), func() { s.invoke(process, left-1) })
	end := func(outcome ledger.Outcome, text string) {
		s.at(back, func() {
			got := &s.ops[i]
			got.Complete = back
			if got.Outcome == "" {
				got.Outcome, got.Error = outcome, text
			}
		})
	}
	if !s.calm && s.r.IntN(100) < s.trouble {
		if s.r.IntN(2) == 0 {
			end(ledger.Failed, "refused")
			return
		}
		end(ledger.Unknown, "timed out")
		if s.r.IntN(2) == 0 { // it happens all the same, and nobody is told
			s.at(s.clock+s.r.Int64N(6000), func() {
				hidden := s.ops[i]
				effect(&hidden)
			})
		}
		return
	}
	s.at(s.clock+s.r.Int64N(back-s.clock+1), func() { effect(&s.ops[i]) })
	end(ledger.OK, "")
}

// final adds operations that a client records one after the other once everything is calm.
func (s *system) final(ops ...ledger.Op) {
	for _, o := range ops {
		s.clock += 10
		o.Workload, o.Planned, o.Invoke, o.Complete, o.ID = "w", s.clock, s.clock, s.clock+5, int64(len(s.ops)+1)
		if o.Partition == 0 && o.Offset == 0 && o.Func != ledger.FuncEnd {
			o.Partition, o.Offset = -1, -1
		}
		if o.Outcome == "" {
			o.Outcome = ledger.OK
		}
		s.ops = append(s.ops, o)
	}
}

func (s *system) history() *ledger.History {
	ops := slices.Clone(s.ops)
	ledger.SortOps(ops)
	return &ledger.History{Ops: ops}
}

// acceptsLegal fails if a checker finds anything in a legal history.
func acceptsLegal(t *testing.T, c oracle.Checker, legal func(*rapid.T) *ledger.History) {
	t.Helper()
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		h := legal(t)
		r := c.Check(context.Background(), h, "w")
		if r.Total != 0 || r.Verdict == oracle.Fail {
			t.Fatalf("a legal history is %s: %+v", r.Verdict, r.Findings)
		}
		if r.Verdict == oracle.Pass {
			passed++
		} else if !slices.ContainsFunc(r.Findings, func(f oracle.Finding) bool { return f.Class == oracle.TooFewOps }) {
			t.Fatalf("it proves nothing: %+v", r.Findings)
		}
	})
	if passed == 0 {
		t.Error("no history passed")
	}
}

// convictsMutants fails if a mutant of a legal history survives, if a mutation is never tried, or if the self-test changes
// the history or is not a function of its arguments.
func convictsMutants(t *testing.T, c oracle.Checker, legal func(*rapid.T) *ledger.History) {
	t.Helper()
	tried := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		h := legal(t)
		before := slices.Clone(h.Ops)
		seed := rapid.Int64().Draw(t, "mutation seed")
		mutants := oracle.SelfTest(context.Background(), c, h, "w", seed)
		for _, m := range mutants {
			switch m.Fate {
			case oracle.Convicted:
				tried[m.Name]++
			case oracle.NotTried:
				if m.Note == "" {
					t.Fatalf("%s was not tried, without a reason", m.Name)
				}
			case oracle.Survived, oracle.TimedOut:
				t.Fatalf("%s: %s (%s)", m.Name, m.Fate, m.Note)
			}
		}
		if !slices.Equal(before, h.Ops) {
			t.Fatal("the self-test changed the history")
		}
		if again := oracle.SelfTest(context.Background(), c, h, "w", seed); !slices.Equal(mutants, again) {
			t.Fatalf("another self-test of the same history:\n%v\n%v", mutants, again)
		}
	})
	for _, m := range c.Mutations() {
		if tried[m.Name] == 0 {
			t.Errorf("%s was never tried", m.Name)
		}
	}
}

// conviction is a table test's expectation of one violation.
type conviction struct {
	name    string
	change  func(ops *[]ledger.Op)
	class   oracle.Class
	promise string
	note    string  // part of it
	ops     []int64 // of the violation
	total   int
}

// convicts checks each change of the operations that a function makes.
func convicts(t *testing.T, c oracle.Checker, ops func() []ledger.Op, tests []conviction) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			changed := ops()
			tt.change(&changed)
			ledger.SortOps(changed)
			r := c.Check(t.Context(), &ledger.History{Ops: changed}, "w")
			if r.Verdict != oracle.Fail || r.Total != tt.total {
				t.Fatalf("verdict %s, %d violations: %+v %+v", r.Verdict, r.Total, r.Violations, r.Findings)
			}
			i := slices.IndexFunc(r.Violations, func(v oracle.Violation) bool { return v.Promise == tt.promise })
			if i < 0 {
				t.Fatalf("%+v", r.Violations)
			}
			v := r.Violations[i]
			if v.Class != tt.class || !contains(v.Note, tt.note) || !slices.Equal(v.Ops, tt.ops) || v.At < simStart {
				t.Errorf("%+v", v)
			}
			if len(r.Findings) == 0 || r.Findings[0].Class.Verdict() != oracle.Fail {
				t.Errorf("findings %+v", r.Findings)
			}
		})
	}
}

// script numbers operations and gives each an interval of its own, one after the other, unless it has one.
func script(ops ...ledger.Op) []ledger.Op {
	for i := range ops {
		o := &ops[i]
		o.ID, o.Workload = int64(i+1), "w"
		if o.Invoke == 0 {
			o.Invoke = simStart + int64(i)*1_000_000
		} else {
			o.Invoke += simStart
		}
		o.Planned = o.Invoke
		switch {
		case o.Complete > 0:
			o.Complete += simStart
		case o.Outcome != ledger.Unknown:
			o.Complete = o.Invoke + 500_000
		}
		if o.Partition == 0 && o.Offset == 0 && o.Func != ledger.FuncEnd {
			o.Partition, o.Offset = -1, -1
		}
		if o.Outcome == "" {
			o.Outcome = ledger.OK
		}
	}
	return ops
}

// proofless checks that each change of the operations leaves an inconclusive result with a finding.
func proofless(t *testing.T, c oracle.Checker, ops func() []ledger.Op, tests []doubtful) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			changed := ops()
			tt.change(&changed)
			r := c.Check(t.Context(), &ledger.History{Ops: changed}, "w")
			if r.Verdict != oracle.Inconclusive {
				t.Fatalf("%s: %+v", r.Verdict, r.Violations)
			}
			if !slices.ContainsFunc(r.Findings, func(f oracle.Finding) bool { return f.Class == tt.class && contains(f.Reason, tt.reason) }) {
				t.Fatalf("findings %+v", r.Findings)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := c.Check(ctx, &ledger.History{Ops: ops()}, "w"); r.Verdict != oracle.Inconclusive || len(r.Findings) == 0 || r.Findings[0].Class != oracle.CheckerUnknown {
		t.Errorf("after its time was over: %+v", r)
	}
	if r := c.Check(t.Context(), &ledger.History{}, "w"); r.Verdict != oracle.Inconclusive || len(r.Findings) == 0 || r.Findings[0].Class != oracle.TooFewOps {
		t.Errorf("of nothing: %+v", r)
	}
}

type doubtful struct {
	name   string
	change func(ops *[]ledger.Op)
	class  oracle.Class
	reason string
}
