package oracle_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// registers simulates a store of registers that keeps its promises.
type registers struct {
	*system

	keys  int
	state map[string]int64
	seen  []map[string]int64 // by process: what it saw last
	seq   []int64
}

func newRegisters(s *system, keys, clients int) *registers {
	r := &registers{system: s, keys: keys, state: map[string]int64{}, seq: make([]int64, clients), seen: make([]map[string]int64, clients)}
	for i := range r.seen {
		r.seen[i] = map[string]int64{}
	}
	return r
}

// fresh is a value that nobody wrote.
func (s *registers) fresh(p int) int64 {
	s.seq[p]++
	return int64(p)<<32 | s.seq[p]
}

func (s *registers) next(p int) (ledger.Op, func(*ledger.Op)) {
	key := fmt.Sprint("k", s.r.IntN(s.keys))
	switch n := s.r.IntN(11); {
	case n < 4:
		return ledger.Op{Func: ledger.FuncWrite, Key: key, Value: s.fresh(p)}, func(o *ledger.Op) { s.state[key], s.seen[p][key] = o.Value, o.Value }
	case n < 8:
		return ledger.Op{Func: ledger.FuncGet, Key: key}, func(o *ledger.Op) { o.Value, s.seen[p][key] = s.state[key], s.state[key] }
	case n < 10:
		from := s.seen[p][key]
		return ledger.Op{Func: ledger.FuncCAS, Key: key, Value: s.fresh(p), Data: ledger.EncodeData(ledger.CAS{From: from})}, func(o *ledger.Op) {
			if s.state[key] == from {
				s.state[key], s.seen[p][key] = o.Value, o.Value
				return
			}
			s.seen[p][key] = s.state[key]
			o.Outcome, o.Error, o.Data = ledger.Failed, ledger.Declined, ledger.EncodeData(ledger.CAS{From: from, Mismatch: true})
		}
	}
	return ledger.Op{Func: ledger.FuncDelete, Key: key}, func(*ledger.Op) { s.state[key], s.seen[p][key] = 0, 0 }
}

// read adds the final reads.
func (s *registers) read() {
	for i := range s.keys {
		key := fmt.Sprint("k", i)
		s.final(ledger.Op{Func: ledger.FuncGet, Key: key, Value: s.state[key]})
	}
	s.final(ledger.Op{Func: ledger.FuncEnd, Offset: int64(s.keys)})
}

func registerHistory(t *rapid.T) *ledger.History {
	clients := rapid.IntRange(1, 6).Draw(t, "clients")
	s := newRegisters(drawSystem(t), rapid.IntRange(1, 4).Draw(t, "keys"), clients)
	s.run(clients, rapid.IntRange(1, 40).Draw(t, "operations of a client"), s.next)
	s.read()
	return s.history()
}

func TestRegisterAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.Register{}, registerHistory)
}

func TestRegisterConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.Register{}, registerHistory)
}

// The search finds an order where porcupine finds one, and none where it finds none: also where values are written more
// than once, where many operations overlap, and where a history was changed at random.
func TestRegisterAgreesWithPorcupine(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 7))
		n, values := rapid.IntRange(1, 14).Draw(t, "operations"), rapid.Int64Range(1, 8).Draw(t, "values")
		length := rapid.Int64Range(1, 12).Draw(t, "length")
		fresh := rapid.Bool().Draw(t, "unique values")
		var ops []ledger.Op
		for i := range n {
			o := ledger.Op{Key: "k", Process: i, Workload: "w", Partition: -1, Offset: -1, Outcome: ledger.OK, ID: int64(i + 1)}
			o.Invoke = r.Int64N(20)
			o.Complete = o.Invoke + r.Int64N(length)
			o.Value = r.Int64N(values) + 1
			if fresh {
				o.Value = int64(i + 1)
			}
			seen := r.Int64N(max(values, 2))
			switch r.IntN(7) {
			case 0, 1:
				o.Func = ledger.FuncWrite
			case 2, 3, 4:
				o.Func, o.Value = ledger.FuncGet, seen
			case 5:
				o.Func, o.Data = ledger.FuncCAS, ledger.EncodeData(ledger.CAS{From: seen})
				if r.IntN(3) == 0 {
					o.Outcome, o.Data = ledger.Failed, ledger.EncodeData(ledger.CAS{From: seen, Mismatch: true})
				}
			case 6:
				o.Func, o.Value = ledger.FuncDelete, 0
			}
			if r.IntN(5) == 0 && o.Func != ledger.FuncGet && o.Outcome == ledger.OK {
				o.Outcome, o.Complete = ledger.Unknown, 0
			}
			ops = append(ops, o)
		}
		ledger.SortOps(ops)
		ours, theirs := oracle.RegisterOrder(context.Background(), ops)
		if ours != theirs {
			t.Fatalf("we say %s, porcupine %s: %+v", ours, theirs, ops)
		}
		found[ours]++
	})
	if found["Ok"] == 0 || found["Illegal"] == 0 {
		t.Errorf("it needs histories of both kinds: %v", found)
	}
}

// registerOps is a key that is written, read, swapped and deleted, with a write of unknown fate that landed and one that failed.
func registerOps() []ledger.Op {
	cas := func(from int64, mismatch bool) string {
		return ledger.EncodeData(ledger.CAS{From: from, Mismatch: mismatch})
	}
	ops := script(
		ledger.Op{Func: ledger.FuncWrite, Value: 11},
		ledger.Op{Func: ledger.FuncGet, Value: 11},
		ledger.Op{Func: ledger.FuncWrite, Value: 12},
		ledger.Op{Func: ledger.FuncGet, Value: 12},
		ledger.Op{Func: ledger.FuncCAS, Value: 13, Data: cas(12, false)},
		ledger.Op{Func: ledger.FuncGet, Value: 13},
		ledger.Op{Func: ledger.FuncCAS, Value: 14, Data: cas(12, true), Outcome: ledger.Failed, Error: ledger.Declined},
		ledger.Op{Func: ledger.FuncDelete},
		ledger.Op{Func: ledger.FuncGet},
		ledger.Op{Func: ledger.FuncWrite, Value: 15, Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncWrite, Value: 16, Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncGet, Value: 15},
		ledger.Op{Func: ledger.FuncWrite, Value: 17},
		ledger.Op{Func: ledger.FuncGet, Value: 17},
	)
	for i := range ops {
		ops[i].Key = "a"
	}
	return ops
}

func TestRegisterNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	finds := func(id int, value int64) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) { (*ops)[id-1].Value = value }
	}
	expects := func(id int, from int64, mismatch bool) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) {
			(*ops)[id-1].Data = ledger.EncodeData(ledger.CAS{From: from, Mismatch: mismatch})
		}
	}
	convicts(t, &oracle.Register{}, registerOps, []conviction{
		{"a lost write", finds(14, 15), oracle.DataLoss, "an acknowledged write is not lost", "operation 14 found value 15 in key a, though operation 13 (write) had set it to value 17 before, and nobody saw that again", []int64{10, 12, 13, 14}, 1},
		{"a lost write of a key that is absent", finds(14, 0), oracle.DataLoss, "an acknowledged write is not lost", "operation 14 found key a absent, though operation 13 (write)", []int64{13, 14}, 1},
		{"a stale read", finds(4, 11), oracle.Stale, "a read is not older than what was acknowledged before it", "operation 4 found value 11 in key a, though operation 3 (write) had set it to value 12 before", []int64{1, 3, 4}, 1},
		{"an old absence", finds(4, 0), oracle.Stale, "a read is not older than what was acknowledged before it", "operation 4 found key a absent, though operation 3 (write) had set it to value 12 before", []int64{3, 4}, 1},
		{"a deleted value", finds(9, 13), oracle.Resurrected, "a deleted value does not come back", "operation 9 found value 13 in key a, though operation 8 (delete) had deleted it before", []int64{5, 8, 9}, 1},
		{"a value that nobody wrote", finds(4, 99), oracle.Phantom, "what is read was written", "operation 4 found value 99 in key a, which was never written", []int64{4}, 1},
		{"a value before it was written", finds(4, 17), oracle.Phantom, "what is read was written", "which operation 13 wrote only later", []int64{4, 13}, 1},
		{"a value whose write failed", finds(12, 16), oracle.Phantom, "a write that failed has no effect", "operation 12 found value 16 in key a, though operation 11, which wrote it, failed (refused)", []int64{11, 12}, 1},
		{"a wrong body", func(ops *[]ledger.Op) { (*ops)[3].Sum = 7 }, oracle.Corruption, "a value comes back as it was written", "operation 4 read value 12 of key a, whose body is wrong", []int64{4}, 1},
		{"a swap from an old value", expects(5, 11, false), oracle.NotLinearizable, "a compare-and-swap swaps where the value matches, and only there", "operation 5 swapped key a from value 11, though operation 3 (write) had set it to value 12 before", []int64{1, 3, 5}, 1},
		{"a swap from a value that nobody wrote", expects(5, 98, false), oracle.NotLinearizable, "a compare-and-swap swaps where the value matches, and only there", "operation 5 swapped key a from value 98, which was never written", []int64{5}, 1},
		{"two swaps from one value", func(ops *[]ledger.Op) {
			(*ops)[6].Outcome, (*ops)[6].Invoke, (*ops)[6].Data = ledger.OK, (*ops)[4].Invoke, `{"from":12}`
			(*ops)[5].Func = ledger.FuncProbe
		}, oracle.NotLinearizable, "a compare-and-swap swaps where the value matches, and only there", "operations 5 and 7 both swapped from value 12 of key a, which was written once", []int64{3, 5, 7}, 1},
		{"a mismatch of what was there", func(ops *[]ledger.Op) {
			expects(7, 13, true)(ops)
			*ops = append(*ops, (*ops)[5])
			last := &(*ops)[len(*ops)-1]
			last.ID, last.Invoke, last.Complete = 15, (*ops)[6].Complete+1, (*ops)[6].Complete+2
		}, oracle.NotLinearizable, "a compare-and-swap swaps where the value matches, and only there", "operation 7 expected value 13 of key a and did not match, though the key had it before and after that", []int64{5, 7, 15}, 1},
		{"a mismatch before anything was written", func(ops *[]ledger.Op) {
			expects(7, 0, true)(ops)
			(*ops)[0].Invoke, (*ops)[6].Invoke, (*ops)[6].Complete = simStart+10, simStart, simStart+5
		}, oracle.NotLinearizable, "a compare-and-swap swaps where the value matches, and only there", "operation 7 expected key a to be absent and did not match, though nothing was written until then", []int64{7}, 1},
		{"two orders of two writes", func(ops *[]ledger.Op) {
			for _, i := range []int{2, 12} { // both are under way all the time
				(*ops)[i].Invoke, (*ops)[i].Complete = simStart+700_000, simStart+20_000_000
			}
			for i, value := range map[int]int64{3: 12, 5: 17, 8: 12, 11: 17, 13: 17} {
				(*ops)[i].Value = value
			}
			for _, i := range []int{4, 6, 7, 9} {
				(*ops)[i].Func = ledger.FuncProbe
			}
		}, oracle.NotLinearizable, "the operations on a key are linearizable", "5 operations on key a have no order in which each finds what it found; the last observation is that of operation 9", []int64{3, 13, 4, 6, 9}, 1},
	})
}

func TestRegisterProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Register{}, registerOps, []doubtful{
		{"without a read after the last write", func(ops *[]ledger.Op) { *ops = (*ops)[:13] }, oracle.CheckerUnknown, `1 key was not read after the last acknowledged write, which is unproven: "a"`},
		{"without any read", func(ops *[]ledger.Op) {
			*ops = slices.DeleteFunc(*ops, func(o ledger.Op) bool { return o.Func == ledger.FuncGet })
		}, oracle.TooFewOps, "nothing was read"},
		{"without an acknowledgement", func(ops *[]ledger.Op) { *ops = (*ops)[9:12] }, oracle.TooFewOps, "no write was acknowledged"},
		{"with a swap that cannot be read", func(ops *[]ledger.Op) { (*ops)[6].Data = "13" }, oracle.CheckerUnknown, "operation 7 (cas) cannot be read"},
	})
}

// A key that the search cannot decide is named and proves nothing; one that is plainly wrong fails the check all the same.
func TestRegisterNamesWhatItCannotDecide(t *testing.T) {
	t.Parallel()
	ops := registerOps()
	for i := range ops {
		ops[i].Key = "b"
	}
	ops = append(registerOps(), ops...)
	for i := range ops {
		ops[i].ID = int64(i + 1)
	}
	hurried := &oracle.Register{Timeout: 1}
	r := hurried.Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Verdict != oracle.Inconclusive || r.Counts["undecided"] != 2 || !contains(r.Findings[0].Reason, `2 keys could not be decided within 1ns and the memory that it may take: "a", "b"`) {
		t.Fatalf("%s %v %+v", r.Verdict, r.Counts, r.Findings)
	}
	ops[3].Value = 99
	r = hurried.Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Verdict != oracle.Fail || r.Counts["undecided"] != 2 || len(r.Findings) != 2 || r.Findings[0].Class != oracle.Phantom || r.Findings[1].Class != oracle.CheckerUnknown {
		t.Fatalf("%s %v %+v", r.Verdict, r.Counts, r.Findings)
	}
}

// A swap that was never sent, or never came back, carries no data: it is a write that failed, or one that may happen.
func TestRegisterTakesASwapWithoutDataForAWrite(t *testing.T) {
	t.Parallel()
	h := &ledger.History{Ops: registerOps()}
	last := h.Ops[len(h.Ops)-1]
	lost := ledger.Op{ID: last.ID + 1, Workload: "w", Process: 98, Func: ledger.FuncCAS, Key: "a", Value: 77, Outcome: ledger.Failed, Invoke: last.Invoke + 100, Complete: last.Invoke + 110, Partition: -1, Offset: -1}
	open := lost
	open.ID, open.Process, open.Value, open.Outcome = last.ID+2, 99, 78, ledger.Unknown
	read := open
	read.ID, read.Process, read.Func, read.Outcome, read.Invoke, read.Complete = last.ID+3, 97, ledger.FuncGet, ledger.OK, open.Complete+10, open.Complete+20
	h.Ops = append(h.Ops, lost, open, read)
	if r := (oracle.Register{}).Check(t.Context(), h, "w"); r.Verdict != oracle.Pass {
		t.Errorf("%s %+v, want PASS: the open swap took effect", r.Verdict, r.Findings)
	}
	h.Ops[len(h.Ops)-1].Value = lost.Value
	if r := (oracle.Register{}).Check(t.Context(), h, "w"); r.Verdict != oracle.Fail || r.Findings[0].Class != oracle.Phantom {
		t.Errorf("%s %+v, want FAIL phantom: a failed swap was read", r.Verdict, r.Findings)
	}
}

func TestRegisterCounts(t *testing.T) {
	t.Parallel()
	r := oracle.Register{}.Check(t.Context(), &ledger.History{Ops: registerOps()}, "w")
	want := map[string]int64{"acknowledged": 5, "failed": 1, "unknown": 1, "mismatches": 1, "reads": 6, "keys": 1, "never_read": 0, "undecided": 0}
	if diff := cmp.Diff(want, r.Counts); diff != "" || r.Verdict != oracle.Pass {
		t.Errorf("%s %+v\n%s", r.Verdict, r.Findings, diff)
	}
}

// registerBench is a history of many operations of eight clients on some keys.
func registerBench(keys, each int) *ledger.History {
	const clients = 8
	s := newRegisters(newSystem(1, 0), keys, clients)
	s.run(clients, each, s.next)
	s.read()
	return s.history()
}

// BenchmarkRegister measures the register check, the self-test apart; BenchmarkBarePorcupine the same history without us.
func BenchmarkRegister(b *testing.B) {
	h := registerBench(20, 5000)
	perSecond(b, len(h.Ops), func() {
		if r := (oracle.Register{}).Check(b.Context(), h, "w"); r.Verdict != oracle.Pass {
			b.Fatal(r.Findings)
		}
	})
}

func BenchmarkBarePorcupine(b *testing.B) {
	h := registerBench(20, 5000)
	model, ops := oracle.PorcupineHistory(h.Ops)
	perSecond(b, len(h.Ops), func() {
		if porcupine.CheckOperations(model, ops) != true {
			b.Fatal("porcupine convicts it")
		}
	})
}

// Orders that a search which decides late is prone to miss.
func TestRegisterFindsTheOnlyOrder(t *testing.T) {
	t.Parallel()
	from := func(v int64) string { return ledger.EncodeData(ledger.CAS{From: v}) }
	for name, ops := range map[string][]ledger.Op{
		"a write that only a delete of unknown fate can cover": {
			{Func: ledger.FuncDelete, Invoke: 1, Outcome: ledger.Unknown},
			{Func: ledger.FuncCAS, Value: 1, Data: from(0), Invoke: 10, Complete: 20},
			{Func: ledger.FuncWrite, Value: 2, Invoke: 12, Complete: 22},
			{Func: ledger.FuncGet, Value: 1, Invoke: 30, Complete: 40},
		},
		"a mismatch that only an unread write of unknown fate explains": {
			{Func: ledger.FuncWrite, Value: 1, Invoke: 1, Complete: 2},
			{Func: ledger.FuncWrite, Value: 2, Invoke: 3, Outcome: ledger.Unknown},
			{Func: ledger.FuncCAS, Value: 3, Data: `{"from":1,"mismatch":true}`, Invoke: 5, Complete: 6, Outcome: ledger.Failed},
		},
		"a swap that never returned, of which nobody knows what it expected": {
			{Func: ledger.FuncWrite, Value: 1, Invoke: 1, Complete: 2},
			{Func: ledger.FuncCAS, Value: 3, Invoke: 3, Outcome: ledger.Unknown},
			{Func: ledger.FuncGet, Value: 1, Invoke: 5, Complete: 6},
			{Func: ledger.FuncGet, Value: 3, Invoke: 7, Complete: 8},
		},
		"swaps of unknown fate in a row": {
			{Func: ledger.FuncCAS, Value: 2, Data: from(1), Invoke: 1, Outcome: ledger.Unknown},
			{Func: ledger.FuncCAS, Value: 1, Data: from(0), Invoke: 2, Outcome: ledger.Unknown},
			{Func: ledger.FuncCAS, Value: 3, Data: from(2), Invoke: 3, Outcome: ledger.Unknown},
			{Func: ledger.FuncGet, Value: 3, Invoke: 30, Complete: 40},
		},
		"instants that touch overlap": {
			{Func: ledger.FuncWrite, Value: 1, Invoke: 1, Complete: 5},
			{Func: ledger.FuncGet, Value: 0, Invoke: 5, Complete: 6},
			{Func: ledger.FuncGet, Value: 1, Invoke: 7, Complete: 8},
		},
	} {
		if ours, theirs := oracle.RegisterOrder(t.Context(), script(ops...)); ours != "Ok" || theirs != "Ok" {
			t.Errorf("%s: we say %s, porcupine %s", name, ours, theirs)
		}
	}
}

// Judge draws a picture of the key that was convicted, and only of that one.
func TestRegisterDrawsAViolation(t *testing.T) {
	t.Parallel()
	ops := registerOps()
	for i := range ops {
		ops[i].Key = "b/1"
	}
	ops[3].Value = 11
	ops = append(registerOps(), ops...)
	for i := range ops {
		ops[i].ID = int64(i + 1)
	}
	ledger.SortOps(ops)
	rules := oracle.Rules{Checks: []oracle.CheckRule{{Kind: "register", Workload: "w"}}}
	j := oracle.Judge(t.Context(), &ledger.History{Ops: ops}, rules)
	if len(j.Results[0].Attachments) != 1 {
		t.Fatalf("%+v", j.Results[0])
	}
	a := j.Results[0].Attachments[0]
	if a.Name != "register-w-b_1.html" || !contains(a.What, "operations [15 17 18] prove a violation on key b/1") {
		t.Errorf("%s: %s", a.Name, a.What)
	}
	if body := string(a.Body); !contains(body, "<html") || !contains(body, "get: value 11") || contains(body, "operation 3: ") {
		t.Errorf("%d bytes: %.300s", len(a.Body), a.Body)
	}
}
