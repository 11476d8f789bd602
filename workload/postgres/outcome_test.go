package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/postgres"
)

// unsent is an error of the client library that says that nothing was sent.
type unsent struct{}

func (unsent) Error() string     { return "conn busy" }
func (unsent) SafeToRetry() bool { return true }

func TestWhatACommitsErrorProves(t *testing.T) {
	t.Parallel()
	answer := func(severity, code string) error {
		return fmt.Errorf("insert: %w", &pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: severity, Code: code})
	}
	for _, c := range []struct {
		name string
		err  error
		want ledger.Outcome
	}{
		{"none", nil, ledger.OK},
		{"serialization failure", answer("ERROR", "40001"), ledger.Failed},
		{"deadlock", answer("ERROR", "40P01"), ledger.Failed},
		{"unique violation", answer("ERROR", "23505"), ledger.Failed},
		{"disk full", answer("ERROR", "53100"), ledger.Failed},
		{"read-only", answer("ERROR", "25006"), ledger.Failed},
		{"cancelled", answer("ERROR", "57014"), ledger.Failed},
		{"an old server", &pgconn.PgError{Severity: "ERROR", Code: "23505"}, ledger.Failed},
		{"commit of an aborted transaction", pgx.ErrTxCommitRollback, ledger.Failed},
		{"nothing was sent", fmt.Errorf("exec: %w", unsent{}), ledger.Failed},
		{"closed", fmt.Errorf("commit: %w", pgconn.ErrConnClosed), ledger.Unknown},
		{"completion unknown", answer("ERROR", "40003"), ledger.Unknown},
		{"a proxy lost its server", answer("ERROR", "08006"), ledger.Unknown},
		{"input or output", answer("ERROR", "58030"), ledger.Unknown},
		{"internal", answer("ERROR", "XX000"), ledger.Unknown},
		{"shut down", answer("FATAL", "57P01"), ledger.Unknown},
		{"crashed", answer("PANIC", "57P02"), ledger.Unknown},
		{"no SQLSTATE", answer("ERROR", "?"), ledger.Unknown},
		{"deadline", context.DeadlineExceeded, ledger.Unknown},
		{"end of stream", io.ErrUnexpectedEOF, ledger.Unknown},
		{"something else", errors.New("?"), ledger.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := postgres.Committed(c.err)
			if got != c.want || (err == nil) != (c.err == nil) {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
			if declined := strings.HasPrefix(c.name, "seri") || c.name == "deadlock"; errors.Is(err, workload.ErrDeclined) != declined {
				t.Errorf("declined: %t, want %t", !declined, declined)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, options, want string }{
		{"defaults", `{}`, ""},
		{"bank", `{"model": "bank", "isolation": "repeatable read"}`, ""},
		{"model", `{"model": "bnak"}`, `model: "bnak" is not one of register, set, bank, append, counter`},
		{"isolation", `{"isolation": "chaos"}`, "isolation: "},
		{"prefix", `{"prefix": "a; drop"}`, "prefix: "},
		{"servers", `{"servers": ["pg1"]}`, `servers[0]: "pg1" is not service:port`},
		{"url", `{"url": "postgres://u@h:x/"}`, "url: "},
		{"weights", `{"writes": 0, "reads": 0, "swaps": 0, "deletes": 0}`, "no operation has a weight"},
		{"steps", `{"steps": 9}`, "steps: 9 is not between 1 and 8"},
		{"unknown", `{"x": 1}`, `unknown field "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := postgres.Spec().New(workload.Config{Name: "w", Target: "db:5432", Clients: 1, Options: json.RawMessage(c.options)})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestAppendsAreUnique finds two steps that append the same value, and keys that never change.
func TestAppendsAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	keys := map[string]bool{}
	for k := range int64(1000) {
		turn := workload.Turn{K: k, Fresh: workload.Value(int(k%7), k+1)}
		op := postgres.Next(postgres.Options{Model: "append", Turnover: 100}, rand.New(rand.NewPCG(1, uint64(k))), turn)
		again := postgres.Next(postgres.Options{Model: "append", Turnover: 100}, rand.New(rand.NewPCG(1, uint64(k))), turn)
		if diff := cmp.Diff(op, again); diff != "" {
			t.Fatalf("the same turn differs: %s", diff)
		}
		var steps []ledger.Mop
		if err := ledger.DecodeData(&op, &steps); err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			keys[s.Key] = true
			at := fmt.Sprint(s.Key, " ", s.Value)
			if s.Append && (s.Value <= 0 || seen[at]) {
				t.Fatalf("%s is appended twice, or is not above 0", at)
			}
			seen[at] = s.Append
		}
	}
	if len(keys) != 100 {
		t.Errorf("%d keys, want 10 of each 100 transactions", len(keys))
	}
}

// TestNoTransferBeforeASnapshot: what transfers did is told from the balances before them.
func TestNoTransferBeforeASnapshot(t *testing.T) {
	t.Parallel()
	transfers := 0
	for k := range int64(100) {
		turn, o := workload.Turn{K: k, Fresh: k + 1}, postgres.Options{Model: "bank"}
		if op := postgres.NextOfBank(o, rand.New(rand.NewPCG(1, uint64(k))), turn, false); op.Func != ledger.FuncBalances || op.Data != "" {
			t.Errorf("operation %d is %+v though no balance is known", k, op)
		}
		if op := postgres.NextOfBank(o, rand.New(rand.NewPCG(1, uint64(k))), turn, true); op.Func == ledger.FuncTransfer {
			transfers++
		}
	}
	if transfers < 50 {
		t.Errorf("%d transfers among 100 operations", transfers)
	}
}

// TestAPhaseOfABankKnowsTheSnapshot: sessions tell only the first system that one has returned.
func TestAPhaseOfABankKnowsTheSnapshot(t *testing.T) {
	t.Parallel()
	own, o, none := postgres.Options{Model: "bank"}, postgres.Options{Model: "bank", Reads: new(int)}, postgres.Options{Model: "set"}
	next := func(known bool) string {
		return postgres.NextInPhase(own, o, rand.New(rand.NewPCG(1, 2)), workload.Turn{K: 50, Fresh: 51}, known).Func
	}
	if before, then := next(false), next(true); before != ledger.FuncBalances || then != ledger.FuncTransfer {
		t.Errorf("%s before a snapshot has returned, and %s then", before, then)
	}
	if got := postgres.NextInPhase(none, none, rand.New(rand.NewPCG(1, 2)), workload.Turn{Fresh: 1}, true).Func; got != ledger.FuncAdd {
		t.Errorf("a set does %s", got)
	}
}
