package resource_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/resource"
	"github.com/discompose/discompose/internal/units"
)

var on = faults.Target{Service: "web", Number: 1, Container: "c1", Name: "web-1"}

func ptr[T any](v T) *T { return &v }

func TestValidateNamesTheKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   faults.Fault
		key  string // "" is valid
	}{
		{"cpus", &resource.CPULimit{CPUs: 0.01}, ""},
		{"too few cpus", &resource.CPULimit{CPUs: 0.009}, "cpus"},
		{"cpus that are no number", &resource.CPULimit{CPUs: math.NaN()}, "cpus"},
		{"memory limit", &resource.MemoryLimit{Limit: ptr(units.Size(1 << 20))}, ""},
		{"memory headroom of nothing", &resource.MemoryLimit{Headroom: ptr(units.Size(0))}, ""},
		{"no memory parameter", &resource.MemoryLimit{}, "limit"},
		{"both memory parameters", &resource.MemoryLimit{Limit: ptr(units.Size(1 << 20)), Headroom: ptr(units.Size(1))}, "limit"},
		{"memory limit below a page", &resource.MemoryLimit{Limit: ptr(units.Size(1))}, "limit"},
		{"pids headroom of nothing", &resource.PIDsLimit{Headroom: ptr(int64(0))}, ""},
		{"no pids parameter", &resource.PIDsLimit{}, "max"},
		{"no process at all", &resource.PIDsLimit{Max: ptr(int64(0))}, "max"},
		{"negative headroom", &resource.PIDsLimit{Headroom: ptr(int64(-1))}, "headroom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pe *faults.ParamError
			err := tt.in.Validate()
			if errors.As(err, &pe) != (tt.key != "") || (pe != nil && (pe.Key != tt.key || pe.Hint == "")) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestPrepareRefusesWhatWouldChangeNothing(t *testing.T) {
	box := faulttest.Box{ID: "c1", Resident: 4 << 20, Processes: 3, Limits: faults.Limits{NanoCPUs: 5e8, MemoryBytes: 64 << 20, PIDs: 10}}
	for _, tt := range []struct {
		name  string
		agent bool
		f     faults.Fault
	}{
		{"cpus at the base", true, &resource.CPULimit{CPUs: 0.5}},
		{"memory at the base", true, &resource.MemoryLimit{Limit: ptr(units.Size(64 << 20))}},
		{"memory headroom above the base", true, &resource.MemoryLimit{Headroom: ptr(units.Size(1 << 30))}},
		{"pids above the base", true, &resource.PIDsLimit{Max: ptr(int64(11))}},
		{"cpus at the base through the engine", false, &resource.CPULimit{CPUs: 0.5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := faulttest.NewWorld(1, box)
			env := w.Env(&faults.State{})
			if !tt.agent {
				env = w.APIOnly(&faults.State{})
			}
			if _, err := tt.f.Prepare(t.Context(), env, on); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "already") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestWithoutAgentOnlyASetLimitCanBeLowered(t *testing.T) {
	env := faulttest.NewWorld(1, faulttest.Box{ID: "c1"}).APIOnly(&faults.State{})
	for _, f := range []faults.Fault{&resource.CPULimit{CPUs: 0.5}, &resource.MemoryLimit{Limit: ptr(units.Size(1 << 20))}, &resource.PIDsLimit{Max: ptr(int64(5))}} {
		if _, err := f.Prepare(t.Context(), env, on); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "agent") {
			t.Errorf("prepare %T: %v", f, err)
		}
	}
}

func TestTheSmallestActiveLimitIsInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := faulttest.NewWorld(1, faulttest.Box{ID: "c1", CPUs: 2})
		env, e := w.Env(&faults.State{}), resource.CPULimitSpec().Effect
		var open []faults.Record
		for i, tt := range []struct {
			cpus float64
			want int64
		}{{1, 100_000}, {0.25, 25_000}, {0.5, 25_000}} {
			r, err := (&resource.CPULimit{CPUs: tt.cpus}).Prepare(t.Context(), env, on)
			if err != nil {
				t.Fatal(err)
			}
			r.ID = string(rune('a' + i))
			open = append(open, r)
			if err := errors.Join(env.Journal.Intend(r), e.Apply(t.Context(), env, r)); err != nil {
				t.Fatal(err)
			}
			if got := w.State("c1").CPUQuota; got != tt.want {
				t.Errorf("after %v cpus the quota is %d, want %d", tt.cpus, got, tt.want)
			}
		}
		for i, want := range map[int]int64{1: 50_000} {
			if _, err := faults.Undo(t.Context(), env, e, open[i]); err != nil {
				t.Fatal(err)
			}
			if got := w.State("c1").CPUQuota; got != want {
				t.Errorf("after the smallest ended the quota is %d, want %d", got, want)
			}
		}
	})
}

func TestMemoryThatCannotBeTakenAwaySaysWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := faulttest.NewWorld(1, faulttest.Box{ID: "c1", Resident: 32 << 20})
		env := w.Env(&faults.State{})
		r, err := (&resource.MemoryLimit{Limit: ptr(units.Size(16 << 20))}).Prepare(t.Context(), env, on)
		if err != nil {
			t.Fatal(err)
		}
		r.ID = "m"
		e := resource.MemoryLimitSpec().Effect
		err = errors.Join(env.Journal.Intend(r), e.Apply(t.Context(), env, r))
		if err == nil || !strings.Contains(err.Error(), "headroom") {
			t.Errorf("error is %v", err)
		}
		if _, err := faults.Undo(t.Context(), env, e, r); err != nil {
			t.Error(err)
		}
	})
}

func TestAnIdleContainerHasNoWitness(t *testing.T) {
	for name, f := range map[string]faults.Fault{
		"cpu_limit":    &resource.CPULimit{CPUs: 0.5},
		"memory_limit": &resource.MemoryLimit{Limit: ptr(units.Size(64 << 20))},
		"pids_limit":   &resource.PIDsLimit{Max: ptr(int64(10_000))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := faulttest.NewWorld(2, faulttest.Box{ID: "c1", CPUs: 0.1, Resident: 1 << 20, Processes: 1})
				env := w.Env(&faults.State{})
				r, err := f.Prepare(t.Context(), env, on)
				if err != nil {
					t.Fatal(err)
				}
				r.ID = "idle"
				for _, s := range []faults.Spec{resource.CPULimitSpec(), resource.MemoryLimitSpec(), resource.PIDsLimitSpec()} {
					if s.Kind != r.Kind {
						continue
					}
					err := faults.Hold(t.Context(), env, s.Effect, r, faults.Budgets{Confirm: 5e9, Heal: 5e9}, faults.Observer{}, nil)
					var dirty *faults.HealError
					if !errors.Is(err, faults.ErrNoWitness) || errors.As(err, &dirty) {
						t.Errorf("error is %v", err)
					}
				}
			})
		})
	}
}

func TestARefusedForkIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := faulttest.NewWorld(1, faulttest.Box{ID: "c1", Processes: 1, Refuses: true})
		env, e := w.Env(&faults.State{}), resource.PIDsLimitSpec().Effect
		r, err := (&resource.PIDsLimit{Max: ptr(int64(5))}).Prepare(t.Context(), env, on)
		if err != nil {
			t.Fatal(err)
		}
		r.ID = "p"
		if err := errors.Join(env.Journal.Intend(r), e.Apply(t.Context(), env, r), env.Journal.Release(r), e.Revert(t.Context(), env, r)); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Confirm(t.Context(), env, r, false); !errors.Is(err, faults.ErrNoWitness) {
			t.Errorf("witness %+v, error %v", got, err)
		}
	})
}
