package ledger_test

import (
	"testing"

	"github.com/discompose/discompose/ledger"
)

func TestServedIsWhatTheSystemAnswered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		op   ledger.Op
		want bool
	}{
		{"it took effect", ledger.Op{Func: ledger.FuncWrite, Outcome: ledger.OK}, true},
		{"a regular no", ledger.Op{Func: ledger.FuncCAS, Outcome: ledger.Failed, Error: ledger.Declined}, true},
		{"a failure has an error", ledger.Op{Func: ledger.FuncCAS, Outcome: ledger.Failed, Error: "refused"}, false},
		{"a failure that does not say why", ledger.Op{Func: ledger.FuncCAS, Outcome: ledger.Failed}, false},
		{"nobody knows, not even why", ledger.Op{Func: ledger.FuncWrite, Outcome: ledger.Unknown}, false},
		{"a probe that does not hold", ledger.Op{Func: ledger.FuncProbe, Outcome: ledger.Failed}, false},
		{"no outcome", ledger.Op{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.op.Served(); got != tt.want {
				t.Errorf("served is %t", got)
			}
		})
	}
}
