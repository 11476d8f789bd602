//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

func TestWebPartition(t *testing.T) {
	needImage(t, "nginx:1.22")
	needImage(t, "postgres:15")
	r := discompose(t, "run", "web_partition", "--no-fallback")
	j := r.passes(t)
	if len(j.Results) != 1 || j.Results[0].Check != "set" || j.Results[0].Counts["acknowledged"] < 200 || j.Convicted != j.Tried || j.Tried < 5 {
		t.Errorf("%d of %d mutants convicted, results %+v", j.Convicted, j.Tried, j.Results)
	}
	report, err := os.ReadFile(filepath.Join(r.dir, "report.md"))
	if err != nil || !strings.Contains(string(report), "no connection to the database") {
		t.Errorf("report.md does not show the application's own words: %v", err)
	}
}

// TestAPlantedLossIsConvicted runs an application that acknowledges before it writes, and its twin that does not.
func TestAPlantedLossIsConvicted(t *testing.T) {
	needImage(t, "nginx:1.22")
	needImage(t, "postgres:15")
	t.Run("one that acknowledges before it writes loses orders", func(t *testing.T) {
		r := discompose(t, "run", "web_planted.toml")
		if r.code != 1 || r.verdict(t) != "FAIL data-loss" {
			t.Fatalf("exit %d, verdict %q", r.code, r.verdict(t))
		}
		for _, v := range r.judgement(t).Results[0].Violations {
			if v.Class != oracle.DataLoss || len(v.Ops) == 0 {
				t.Errorf("violation %+v", v)
			}
			if op := operation(t, r.dir, v.Ops[0]); op.Func != ledger.FuncAdd || op.Outcome != ledger.OK {
				t.Errorf("the violation's first operation is %+v", op)
			}
		}
	})
	t.Run("one that writes before it acknowledges loses none", func(t *testing.T) {
		discompose(t, "run", "web_planted.toml", "--set", "environment.env.ORDERS_ACKNOWLEDGE=commit").passes(t)
	})
}

// operation reads one operation of a stored run.
func operation(t *testing.T, dir string, id int64) ledger.Op {
	t.Helper()
	info, err := ledger.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h, err := store.Load(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range h.Ops {
		if o.ID == id {
			return o
		}
	}
	t.Fatalf("there is no operation %d", id)
	return ledger.Op{}
}
