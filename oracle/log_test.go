package oracle_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// op finds the only operation of a function at an offset of partition 0, or of a value where offset is negative.
func (s *logSim) op(fn string, offset, value int64) *ledger.Op {
	for i := range s.ops {
		if o := &s.ops[i]; o.Func == fn && ((offset >= 0 && o.Offset == offset) || (offset < 0 && o.Value == value)) {
			return o
		}
	}
	panic("no such operation")
}

func (s *logSim) drop(fn string, offset int64) {
	s.ops = slices.DeleteFunc(s.ops, func(o ledger.Op) bool { return o.Func == fn && o.Offset == offset })
}

// Four acknowledged records of producer 0, a failed and an unknown one that landed, and a group that was handed the first
// five offsets.
func tableSim() *logSim {
	s := newLogSim(1, 1)
	for range 4 {
		s.produce(0, 0, ledger.OK, true)
	}
	s.produce(0, 0, ledger.Failed, false)
	s.produce(0, 0, ledger.Unknown, true)
	for offset := range int64(5) {
		s.found(ledger.FuncPoll, 0, offset)
	}
	s.finalRead()
	return s
}

func TestLogNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(s *logSim)
		class   oracle.Class
		promise string
		note    string
		ops     []int64 // of the violation with this promise
		total   int
	}{
		{"a lost record with a hole in its place", func(s *logSim) { s.drop(ledger.FuncRead, 1) }, oracle.DataLoss, "an acknowledged record is in the log", "record 2 of producer 0 was acknowledged at partition 0 offset 1; the final read did not find it", []int64{2, 12, 14}, 1},
		{"a lost record whose place another one took", func(s *logSim) {
			s.op(ledger.FuncRead, 4, 0).Func = "moved"
			s.op(ledger.FuncRead, 3, 0).Value = 6
			s.op(ledger.FuncEnd, 5, 0).Offset = 4
			s.drop(ledger.FuncPoll, 4)
			s.drop(ledger.FuncPoll, 3)
		}, oracle.DataLoss, "an acknowledged record is in the log", "found record 6 of producer 0 there", []int64{4, 15}, 1},
		{"a log that ends before an acknowledged record", func(s *logSim) {
			s.drop(ledger.FuncRead, 3)
			s.drop(ledger.FuncRead, 4)
			s.drop(ledger.FuncPoll, 3)
			s.drop(ledger.FuncPoll, 4)
			s.op(ledger.FuncEnd, 5, 0).Offset = 3
		}, oracle.DataLoss, "an acknowledged record is in the log", "ended at offset 3 without it", []int64{4, 14, 17}, 1},
		{"a hole that no acknowledged record explains", func(s *logSim) { s.drop(ledger.FuncRead, 4); s.drop(ledger.FuncPoll, 4) }, oracle.DataLoss, "offsets have no gaps", "partition 0 has no record at offset 4", []int64{15, 17}, 1},
		{"a hole at the start", func(s *logSim) {
			s.drop(ledger.FuncRead, 0)
			s.ops[0].Outcome = ledger.Unknown
			s.drop(ledger.FuncPoll, 0)
		}, oracle.DataLoss, "offsets have no gaps", "no record at offset 0", []int64{13, 17}, 1},
		{"a log that got shorter between two final reads", func(s *logSim) {
			s.drop(ledger.FuncRead, 3)
			s.drop(ledger.FuncRead, 4)
			s.record(ledger.Op{Func: ledger.FuncEnd, Offset: 3})
		}, oracle.DataLoss, "an acknowledged record is in the log", "ended at offset 5 without it", []int64{4, 14, 17}, 2},
		{"a record that was never delivered", func(s *logSim) { s.drop(ledger.FuncPoll, 2) }, oracle.DataLoss, "every acknowledged record before a consumer's position was delivered", "offsets 1 and 3 were", []int64{3, 8, 10, 14}, 1},
		{"a delivered record of unknown fate that vanished", func(s *logSim) { s.drop(ledger.FuncRead, 4) }, oracle.DataLoss, "a record that a consumer was handed stays in the log", "was delivered from partition 0 offset 4", []int64{6, 11, 17}, 2},
		{"a corrupt body in the final read", func(s *logSim) { s.op(ledger.FuncRead, 2, 0).Sum = 0xbeef }, oracle.Corruption, "a body comes back as it was sent", "CRC-32C 0000beef", []int64{3, 14}, 1},
		{"a corrupt body that lost its value", func(s *logSim) { o := s.op(ledger.FuncRead, 2, 0); o.Sum, o.Value = 1, 0 }, oracle.Corruption, "a body comes back as it was sent", "", []int64{14}, 1},
		{"a corrupt body at a delivery", func(s *logSim) { s.op(ledger.FuncPoll, 2, 0).Sum = 1 }, oracle.Corruption, "a body comes back as it was sent", "", []int64{3, 9}, 1},
		{"an offset that is read as two records", func(s *logSim) { o := *s.op(ledger.FuncRead, 0, 0); o.Value = 2; s.record(o) }, oracle.Corruption, "an offset holds one record", "was read as record 1 of producer 0, then as record 2", []int64{12, 18}, 1},
		{"a record at two offsets", func(s *logSim) {
			s.op(ledger.FuncEnd, 5, 0).Offset = 6
			s.record(ledger.Op{Func: ledger.FuncRead, Value: 2, Offset: 5})
		}, oracle.Duplicate, "a record is in the log at most once", "sent once (ok), is at partition 0 offset 1 and at partition 0 offset 5", []int64{2, 13, 18}, 1},
		{"an unknown record at two offsets", func(s *logSim) {
			s.op(ledger.FuncEnd, 5, 0).Offset = 6
			s.record(ledger.Op{Func: ledger.FuncRead, Value: 6, Offset: 5})
		}, oracle.Duplicate, "a record is in the log at most once", "sent once (unknown)", []int64{6, 16, 18}, 1},
		{"records out of the order of their producer", func(s *logSim) {
			for _, fn := range []string{ledger.FuncProduce, ledger.FuncRead, ledger.FuncPoll} {
				a, b := s.op(fn, -1, 2), s.op(fn, -1, 3)
				a.Offset, b.Offset = b.Offset, a.Offset
			}
		}, oracle.Order, "the records of a producer stand in the order in which it sent them", "record 2 of producer 0 at partition 0 offset 2 stands behind record 3 of producer 0", []int64{2, 3, 13, 14}, 1},
		{"a record at another offset than acknowledged", func(s *logSim) { s.op(ledger.FuncProduce, -1, 4).Offset = 9 }, oracle.Order, "a record stands at the offset that its acknowledgement named", "was acknowledged at partition 0 offset 9 and found at partition 0 offset 3", []int64{4, 15}, 1},
		{"a delivery from another offset", func(s *logSim) { s.op(ledger.FuncPoll, 3, 0).Value = 1 }, oracle.Order, "a record stays at the offset at which a consumer was handed it", "was delivered from partition 0 offset 3 and found at partition 0 offset 0", []int64{1, 10, 12}, 1},
		{"a record that was never sent", func(s *logSim) { s.op(ledger.FuncRead, 4, 0).Value = 77 << 32; s.drop(ledger.FuncPoll, 4) }, oracle.Phantom, "nothing is in the log that was never sent", "record 0 of producer 77", []int64{16}, 1},
		{"a delivery of what was never sent", func(s *logSim) { s.op(ledger.FuncPoll, 4, 0).Value = 77 << 32 }, oracle.Phantom, "nothing is in the log that was never sent", "", []int64{11}, 1},
		{"a failed record in the log", func(s *logSim) { s.op(ledger.FuncRead, 4, 0).Value = 5; s.drop(ledger.FuncPoll, 4) }, oracle.Phantom, "a record whose sending failed is not in the log", "sending failed (refused)", []int64{5, 16}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tableSim()
			tt.change(s)
			r := oracle.Log{}.Check(t.Context(), s.history(), "orders")
			if r.Verdict != oracle.Fail || len(r.Violations) == 0 || r.Total != tt.total {
				t.Fatalf("verdict %s, %d violations: %+v", r.Verdict, r.Total, r.Violations)
			}
			i := slices.IndexFunc(r.Violations, func(v oracle.Violation) bool { return v.Promise == tt.promise })
			if i < 0 {
				t.Fatalf("%+v", r.Violations)
			}
			v := r.Violations[i]
			if v.Class != tt.class || v.Promise != tt.promise || !strings.Contains(v.Note, tt.note) || !slices.Equal(v.Ops, tt.ops) || v.At < simStart {
				t.Errorf("%+v", v)
			}
			if len(r.Findings) == 0 || r.Findings[0].Class != tt.class {
				t.Errorf("findings %+v", r.Findings)
			}
		})
	}
}

func TestLogProvesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(s *logSim)
		class  oracle.Class
		reason string
	}{
		{"without a final read", func(s *logSim) { s.ops = s.ops[:11] }, oracle.CheckerUnknown, "final read of partition 0 of orders has no end"},
		{"with a final read that broke off", func(s *logSim) { s.ops = s.ops[:16] }, oracle.CheckerUnknown, "4 acknowledged records are unproven"},
		{"with an end that was not reached", func(s *logSim) { s.op(ledger.FuncEnd, 5, 0).Outcome = ledger.Unknown }, oracle.CheckerUnknown, "has no end"},
		{"without an acknowledgement", func(s *logSim) { s.ops = s.ops[4:6] }, oracle.TooFewOps, "no record was acknowledged"},
		{"with operations of another workload alone", func(s *logSim) {
			for i := range s.ops {
				s.ops[i].Workload = "other"
			}
		}, oracle.TooFewOps, "no record was acknowledged"},
		{"with a value that was sent twice", func(s *logSim) { s.produce(0, 0, ledger.Unknown, false).Value = 3 }, oracle.CheckerUnknown, "operations 3 and 18 sent the same value"},
		{"with an acknowledgement without a partition and an unread one", func(s *logSim) {
			o := s.op(ledger.FuncProduce, 3, 0)
			o.Partition, o.Offset = -1, -1
			s.drop(ledger.FuncRead, 3)
			s.drop(ledger.FuncEnd, 5)
		}, oracle.CheckerUnknown, "1 acknowledged records of orders name no partition"},
		{"with a read without an offset", func(s *logSim) { s.op(ledger.FuncRead, 4, 0).Offset = -1; s.op(ledger.FuncEnd, 5, 0).Offset = 4 }, oracle.CheckerUnknown, "operation 16 (read) has no partition or offset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tableSim()
			tt.change(s)
			r := oracle.Log{}.Check(t.Context(), s.history(), "orders")
			if r.Verdict != oracle.Inconclusive {
				t.Fatalf("%s: %+v", r.Verdict, r.Violations)
			}
			if !slices.ContainsFunc(r.Findings, func(f oracle.Finding) bool { return f.Class == tt.class && strings.Contains(f.Reason, tt.reason) }) {
				t.Fatalf("findings %+v", r.Findings)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := (oracle.Log{}).Check(ctx, tableSim().history(), "orders"); r.Verdict != oracle.Inconclusive || r.Findings[0].Class != oracle.CheckerUnknown {
		t.Fatalf("after its time was over: %+v", r)
	}
}

func TestLogCounts(t *testing.T) {
	t.Parallel()
	s := tableSim()
	s.found(ledger.FuncPoll, 0, 2)
	r := oracle.Log{}.Check(t.Context(), s.history(), "orders")
	want := map[string]int64{"acknowledged": 4, "failed": 1, "unknown": 1, "unknown_found": 1, "delivered": 5, "polled": 5, "redelivered": 1, "partitions": 1}
	for k, v := range want {
		if r.Counts[k] != v {
			t.Errorf("%s: %d, want %d", k, r.Counts[k], v)
		}
	}
	if len(r.Counts) != len(want) || r.Verdict != oracle.Pass {
		t.Errorf("%s %v", r.Verdict, r.Counts)
	}
}

// Where acknowledgements name no offset, or not even a partition, only a moved record cannot be told.
func TestLogTriesMutantsWithoutOffsets(t *testing.T) {
	t.Parallel()
	for name, partition := range map[string]int32{"no offset": 0, "no partition": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tableSim()
			for i := range s.ops {
				if o := &s.ops[i]; o.Func == ledger.FuncProduce && o.Outcome == ledger.OK {
					o.Partition, o.Offset = partition, -1
				}
			}
			// Of the rest, assignments are not recorded, and there are no transactions.
			untried := map[string]string{
				"moved record":                     "no producer has two records in one partition whose acknowledgements name an offset",
				"consumer goes back":               "it is not recorded what consumers are assigned",
				"record of an aborted transaction": "no record of a transaction was found by a complete final read",
				"half of a transaction":            "no transaction has two records in the log",
			}
			for _, m := range oracle.SelfTest(t.Context(), oracle.Log{}, s.history(), "orders", 1) {
				want := oracle.Convicted
				note, not := untried[m.Name]
				if not {
					want = oracle.NotTried
				}
				if m.Fate != want || not && m.Note != note {
					t.Errorf("%s: %s (%s), want it %s", m.Name, m.Fate, m.Note, want)
				}
			}
			// One partition that was not read to its end may hold what names none.
			s.record(ledger.Op{Func: ledger.FuncRead, Value: 99, Partition: 7})
			for _, m := range oracle.SelfTest(t.Context(), oracle.Log{}, s.history(), "orders", 1) {
				if lost := m.Name == "lost acknowledged record"; lost && (m.Fate == oracle.Convicted) != (partition == 0) || m.Fate == oracle.Survived {
					t.Errorf("with another partition: %s: %s (%s)", m.Name, m.Fate, m.Note)
				}
			}
		})
	}
}

// A flood of one class must not hide another, and a result stays small.
func TestLogKeepsAFairShareOfViolations(t *testing.T) {
	t.Parallel()
	s := newLogSim(1, 1)
	for range 1000 {
		s.produce(0, 0, ledger.OK, true)
	}
	for range 1000 {
		s.parts[0] = append(s.parts[0], s.parts[0][len(s.parts[0])-1000]) // the log repeats itself
	}
	s.produce(0, 0, ledger.OK, true)
	s.finalRead()
	s.drop(ledger.FuncRead, 2000)
	r := oracle.Log{}.Check(t.Context(), s.history(), "orders")
	if r.Total != 1001 || len(r.Violations) != oracle.MaxViolations {
		t.Fatalf("%d violations, %d kept", r.Total, len(r.Violations))
	}
	if !slices.ContainsFunc(r.Violations, func(v oracle.Violation) bool { return v.Class == oracle.DataLoss }) || r.Findings[0].Class != oracle.DataLoss {
		t.Fatalf("the loss is hidden: %+v", r.Findings)
	}
	if !slices.IsSortedFunc(r.Violations, func(a, b oracle.Violation) int { return int(a.At - b.At) }) {
		t.Fatal("violations are not in the order of time")
	}
}
