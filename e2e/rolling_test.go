//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
)

// history reads the ledger of a run.
func (r result) history(t *testing.T) *ledger.History {
	t.Helper()
	info, err := ledger.ReadRun(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := ledger.Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h, err := store.Load(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(h.Faults, func(a, b ledger.Fault) int { return strings.Compare(a.Record, b.Record) })
	return h
}

// before lists the gates that were evaluated before a step, and whether they held.
func before(h *ledger.History, step string) []ledger.Gate {
	return slices.DeleteFunc(slices.Clone(h.Gates), func(g ledger.Gate) bool { return !strings.HasPrefix(g.Note, "before "+step) })
}

func TestARollingRestartKeepsItsOrderAndItsGates(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "rolling.toml")
	if j := r.passes(t); len(j.Windows) != 2 {
		t.Fatalf("%d windows, want one for each server", len(j.Windows))
	}
	h := r.history(t)
	first, second := h.Faults[0], h.Faults[1]
	if first.Record != "sweep/web-1" || second.Record != "sweep/web-2" || first.Container == second.Container {
		t.Errorf("faults: %+v", h.Faults)
	}
	if first.Settled == 0 || second.Called < first.Settled {
		t.Errorf("the second was called at %d, the first was ready again at %d", second.Called, first.Settled)
	}
	var last []string
	for _, g := range before(h, "sweep on web[2]") {
		if g.At < first.Settled || g.At > second.Called {
			t.Errorf("gate %+v is not between the two", g)
		}
		if g.Held {
			last = append(last, strings.Fields(g.Name)[0])
		}
	}
	if diff := cmp.Diff([]string{"probe.page", "query"}, last); diff != "" {
		t.Errorf("gates that held (-want +got):\n%s", diff)
	}
}

func TestAGateThatDoesNotHoldEndsARollingRestart(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "rolling_shut.toml")
	if r.code != 1 || r.verdict(t) != "FAIL hang" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
	h := r.history(t)
	if len(h.Faults) != 1 || h.Faults[0].Record != "sweep/web-1" || h.Faults[0].Error != "" {
		t.Errorf("faults: %+v", h.Faults)
	}
	told := slices.ContainsFunc(h.Events, func(e ledger.Event) bool {
		return e.Type == "hang" && strings.Contains(e.Detail, "sweep ended before sweep on web[2]: within 3s of web, gate query in web")
	})
	if !told {
		t.Error("the ledger does not tell which gate ended it")
	}
}
