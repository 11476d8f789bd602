package oracle_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// bankHistory draws a history of a bank that kept its promises; a lagging one shows old balances during the run.
func bankHistory(lagging, overdraft bool) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		s := drawSystem(t)
		names := []string{"a", "b", "c", "d"}[:rapid.IntRange(2, 4).Draw(t, "accounts")]
		reads := rapid.IntRange(0, 60).Draw(t, "percent of snapshots")
		balances := map[string]int64{}
		for _, n := range names {
			balances[n] = 10
		}
		states := []string{ledger.EncodeData(balances)}
		s.final(ledger.Op{Func: ledger.FuncBalances, Data: states[0]})
		s.clock += 100
		s.run(rapid.IntRange(1, 5).Draw(t, "clients"), rapid.IntRange(1, 40).Draw(t, "operations of a client"), func(int) (ledger.Op, func(*ledger.Op)) {
			if s.r.IntN(100) < reads {
				return ledger.Op{Func: ledger.FuncBalances}, func(o *ledger.Op) {
					n := len(states) - 1
					if lagging {
						n -= s.r.IntN(n + 1)
					}
					o.Data = states[n]
				}
			}
			move := ledger.Transfer{From: names[s.r.IntN(len(names))], To: names[s.r.IntN(len(names))], Amount: 1 + s.r.Int64N(8)}
			return ledger.Op{Func: ledger.FuncTransfer, Data: ledger.EncodeData(move)}, func(o *ledger.Op) {
				if balances[move.From] < move.Amount && !overdraft {
					o.Outcome, o.Error = ledger.Failed, ledger.Declined
					return
				}
				balances[move.From] -= move.Amount
				balances[move.To] += move.Amount
				states = append(states, ledger.EncodeData(balances))
			}
		})
		s.final(ledger.Op{Func: ledger.FuncBalances, Data: ledger.EncodeData(balances)})
		return s.history()
	}
}

func TestBankAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.Bank{}, bankHistory(false, false))
	acceptsLegal(t, &oracle.Bank{Overdraft: "allow"}, bankHistory(false, true))
	acceptsLegal(t, &oracle.Bank{Stale: "allow"}, bankHistory(true, false))
}

func TestBankConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.Bank{}, bankHistory(false, false))
	convictsMutants(t, &oracle.Bank{Overdraft: "allow"}, bankHistory(false, true))
	convictsMutants(t, &oracle.Bank{Stale: "allow"}, bankHistory(true, false))
}

func balances(a, b, c int64) string {
	return ledger.EncodeData(map[string]int64{"a": a, "b": b, "c": c})
}

func transfer(from, to string, amount int64) string {
	return ledger.EncodeData(ledger.Transfer{From: from, To: to, Amount: amount})
}

// Three acknowledged transfers, one that failed, one of unknown fate that counts; snapshots before, between and after.
func bankOps() []ledger.Op {
	return script(
		ledger.Op{Func: ledger.FuncBalances, Data: balances(100, 100, 100)},
		ledger.Op{Func: ledger.FuncTransfer, Data: transfer("a", "b", 10)},
		ledger.Op{Func: ledger.FuncTransfer, Data: transfer("b", "c", 20)},
		ledger.Op{Func: ledger.FuncBalances, Data: balances(90, 90, 120)},
		ledger.Op{Func: ledger.FuncTransfer, Data: transfer("c", "a", 5), Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncTransfer, Data: transfer("a", "c", 30), Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncTransfer, Data: transfer("a", "b", 1)},
		ledger.Op{Func: ledger.FuncBalances, Data: balances(59, 91, 150)},
		ledger.Op{Func: ledger.FuncBalances, Data: balances(59, 91, 150)},
	)
}

func bankData(data string, ids ...int) func(*[]ledger.Op) {
	return func(ops *[]ledger.Op) {
		for _, id := range ids {
			(*ops)[id-1].Data = data
		}
	}
}

func TestBankNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	const kept = "a transfer that was acknowledged, or seen, counts"
	convicts(t, &oracle.Bank{}, bankOps, []conviction{
		{"a changed total", bankData(balances(90, 91, 120), 4), oracle.Invariant, "the total of all balances stays what it was", "the snapshot of operation 4 has a total of 301, operation 1 had 300; the last to have that was operation 1", []int64{1, 2, 3, 4}, 1},
		{"a missing account", bankData(`{"a":59,"b":91}`, 8, 9), oracle.Invariant, "the total of all balances stays what it was", "the snapshot of operation 8 has a total of 150", []int64{1, 4, 6, 7, 8}, 2},
		{"a negative balance", func(ops *[]ledger.Op) {
			bankData(balances(-1, 191, 110), 4)(ops)
			bankData(transfer("a", "b", 101), 2)(ops)
			bankData(transfer("b", "c", 10), 3)(ops)
			bankData(balances(1, 189, 110), 8, 9)(ops)
			bankData(transfer("b", "a", 3), 6)(ops)
			bankData(transfer("a", "b", 1), 7)(ops)
		}, oracle.Invariant, "no balance is below 0", "in the snapshot of operation 4, account a has -1", []int64{4}, 1},
		{"a lost transfer", bankData(balances(60, 90, 150), 8, 9), oracle.DataLoss, kept, "account b has 90, too low by 1 (bound 91): as if operation 7 (1 from a to b, ok) were missing", []int64{1, 7, 8}, 2},
		{"a transfer that is taken back", bankData(balances(89, 91, 120), 9), oracle.DataLoss, kept, "in the final snapshot, account a has 89, too high by 30 (bound 59), account c has 120, too low by 30 (bound 150) (after what operation 8 found)", []int64{1, 6, 8, 9}, 1},
		{"several lost transfers", bankData(balances(100, 100, 100), 8, 9), oracle.DataLoss, kept, "as if the last 3 acknowledged transfers were missing", []int64{1, 2, 3, 7, 8}, 2},
		{"a stale snapshot", bankData(balances(90, 110, 100), 4), oracle.Stale, "a snapshot has every transfer that was acknowledged, or seen, before it", "as if operation 3 (20 from b to c, ok) were missing", []int64{1, 3, 4}, 1},
		{"a failed transfer", bankData(balances(64, 91, 145), 9), oracle.Phantom, "a transfer that failed does not count", "as if operation 5 (5 from c to a, fail) counted", []int64{1, 5, 8, 9}, 1},
		{"a transfer twice", bankData(balances(29, 91, 180), 9), oracle.Duplicate, "a transfer counts once", "as if operation 6 (30 from a to c, unknown) counted twice", []int64{1, 6, 9}, 1},
		{"balances out of nowhere", bankData(balances(0, 300, 0), 9), oracle.Invariant, "balances are what transfers made of them", "no transfer explains it", []int64{1, 8, 9}, 1},
	})
}

func TestBankAllowsWhatItsOptionsSay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bank   oracle.Bank
		change func(*[]ledger.Op)
	}{
		"a replica that lags":                {oracle.Bank{Stale: "allow"}, bankData(balances(100, 100, 100), 4)},
		"a transfer that nobody knows of":    {oracle.Bank{}, bankData(balances(89, 91, 120), 8, 9)},
		"an account without money":           {oracle.Bank{}, bankData(`{"a":100,"b":100,"c":100,"d":0}`, 1)},
		"an overdraft":                       {oracle.Bank{Overdraft: "allow"}, both(bankData(balances(10, 100, 190), 1), bankData(balances(0, 90, 210), 4), bankData(balances(-31, 91, 240), 8, 9))},
		"transfers while a snapshot is read": {oracle.Bank{}, both(bankData(balances(90, 110, 100), 4), func(ops *[]ledger.Op) { (*ops)[2].Complete = (*ops)[3].Invoke })},
	} {
		ops := bankOps()
		tt.change(&ops)
		if r := tt.bank.Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Pass {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
		}
	}
	for name, bank := range map[string]oracle.Bank{"a stale final snapshot": {Stale: "allow"}, "overdraft": {Overdraft: "forbid"}} {
		ops := bankOps()
		bankData(balances(60, 90, 150), 9)(&ops)
		if r := bank.Check(t.Context(), &ledger.History{Ops: ops}, "w"); r.Verdict != oracle.Fail {
			t.Errorf("%s: %s", name, r.Verdict)
		}
	}
}

// TestBankBeginsWithTheSnapshotThatReturnedFirst: one that was invoked before it may return in the middle of the transfers.
func TestBankBeginsWithTheSnapshotThatReturnedFirst(t *testing.T) {
	t.Parallel()
	ops := bankOps()
	late := ops[0]
	late.ID, late.Process = 77, 77
	late.Invoke, late.Complete = late.Invoke-1, ops[3].Complete+1
	late.Data = ops[3].Data
	h := &ledger.History{Ops: append([]ledger.Op{late}, ops...)}
	if r := (oracle.Bank{}).Check(t.Context(), h, "w"); r.Verdict != oracle.Pass {
		t.Errorf("%+v", r)
	}
	h.Ops[0].Data = balances(100, 100, 101)
	if r := (oracle.Bank{}).Check(t.Context(), h, "w"); r.Verdict != oracle.Fail || len(r.Violations) != 1 {
		t.Errorf("with a wrong total: %+v", r)
	}
}

func TestBankProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Bank{}, bankOps, []doubtful{
		{"without a snapshot", func(ops *[]ledger.Op) {
			*ops = slices.DeleteFunc(*ops, func(o ledger.Op) bool { return o.Func == ledger.FuncBalances })
		}, oracle.CheckerUnknown, "there is no snapshot of balances, so 3 acknowledged transfers are unproven"},
		{"without a snapshot before the transfers", func(ops *[]ledger.Op) { *ops = (*ops)[1:] }, oracle.CheckerUnknown, "no snapshot had returned before the first transfer"},
		{"without a snapshot after them", func(ops *[]ledger.Op) { (*ops)[6].Complete = (*ops)[8].Invoke }, oracle.CheckerUnknown, "no snapshot was invoked after every transfer had returned"},
		{"with a snapshot that cannot be read", bankData("[1]", 4), oracle.CheckerUnknown, "decode data of operation 4 (balances)"},
		{"with a transfer that cannot be read", bankData("", 5), oracle.CheckerUnknown, "decode data of operation 5 (transfer)"},
		{"without an acknowledgement", func(ops *[]ledger.Op) {
			*ops = slices.Delete(slices.Delete(*ops, 6, 8), 1, 4)
			(*ops)[3].Data = balances(70, 100, 130)
		}, oracle.TooFewOps, "no transfer was acknowledged"},
	})
}

func TestBankCounts(t *testing.T) {
	t.Parallel()
	r := oracle.Bank{}.Check(t.Context(), &ledger.History{Ops: bankOps()}, "w")
	want := map[string]int64{"acknowledged": 3, "failed": 1, "unknown": 1, "snapshots": 4, "accounts": 3, "total": 300, "stale": 0, "unexplained": 0}
	if !maps.Equal(r.Counts, want) || r.Verdict != oracle.Pass {
		t.Error(fmt.Sprint(r.Verdict, r.Counts))
	}
}
