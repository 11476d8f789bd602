package workload_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

const ms = int64(time.Millisecond)

func TestAScheduleFollowsItsStretches(t *testing.T) {
	t.Parallel()
	s := workload.Config{Rate: 10, Phases: []workload.Phase{{At: 1000 * ms, Rate: 100}, {At: 1200 * ms}, {At: 1500 * ms, Rate: 2}}}.Schedule()
	for _, c := range []struct {
		name          string
		elapsed, want int64
	}{
		{"before the start", -1, 0},
		{"the first at the start", 0, 1},
		{"the first stretch up to its end", 1000*ms - 1, 10},
		{"the second begins with an operation", 1000 * ms, 11},
		{"a phase without a rate changes none", 1200 * ms, 31},
		{"the second stretch up to its end", 1500*ms - 1, 60},
		{"the last", 1500 * ms, 61},
		{"the last goes on", 3500 * ms, 65},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := s.Due(c.elapsed); got != c.want {
				t.Errorf("Due(%d) = %d, want %d", c.elapsed, got, c.want)
			}
		})
	}
	if s := (workload.Config{Phases: []workload.Phase{{At: 1}}}).Schedule(); s != nil || s.Due(1) != 0 {
		t.Errorf("a closed loop has the schedule %v", s)
	}
}

func TestASchedulesDueAndInstantAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.SliceOfN(rapid.Float64Range(0.05, 1e5), 1, 5).Draw(t, "rates")
		s := workload.Schedule{{Rate: rates[0]}}
		for _, r := range rates[1:] {
			s = append(s, workload.Stretch{At: s[len(s)-1].At + rapid.Int64Range(1, int64(time.Minute)).Draw(t, "length"), Rate: r})
		}
		elapsed := rapid.Int64Range(0, 10*int64(time.Minute)).Draw(t, "elapsed")
		sum := int64(0)
		for i, one := range s {
			until := elapsed
			if i+1 < len(s) {
				until = min(until, s[i+1].At-1)
			}
			sum += workload.Due(until-one.At, one.Rate)
		}
		n := s.Due(elapsed)
		if n != sum || n < s.Due(elapsed-1) {
			t.Fatalf("Due(%d) of %v = %d, the stretches have %d, and a ns before %d are due", elapsed, s, n, sum, s.Due(elapsed-1))
		}
		if s.Instant(n-1) > elapsed || s.Instant(n) <= elapsed {
			t.Fatalf("Due(%d) of %v = %d, but operation %d is planned at %d and the next at %d", elapsed, s, n, n-1, s.Instant(n-1), s.Instant(n))
		}
	})
}

// inPhase is the system of a phase: nothing but its Next may be used.
type inPhase struct {
	workload.System // nil
	name            string
}

func (p inPhase) Next(_ *rand.Rand, t workload.Turn) ledger.Op {
	return ledger.Op{Func: p.name, Value: t.Fresh, Sum: uint32(t.K)}
}

func TestALoopSendsWhatItsPhaseSays(t *testing.T) {
	t.Parallel()
	phases := []workload.Phase{{At: 1000 * ms, Rate: 20}, {At: 2000 * ms}, {At: 3000 * ms, Rate: 5}}
	o := workload.LoopOptions{Phases: []workload.System{inPhase{name: "second"}, nil}} // the third and the fourth are the loop's own
	t.Run("in an open loop", func(t *testing.T) {
		m := &memory{}
		play(t, workload.Config{Clients: 2, Rate: 10, Phases: phases}, m, o, 3995*time.Millisecond, func(t *testing.T, ops []ledger.Op, _ workload.Stats) {
			want := slices.Concat(slices.Repeat([]string{"add"}, 10), slices.Repeat([]string{"second"}, 20), slices.Repeat([]string{"add"}, 20+5))
			if diff := cmp.Diff(want, funcs(ops)); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			for k, o := range ops {
				if o.Func == "second" && (o.Sum != uint32(k) || o.Planned-1 != 1000*ms+workload.Instant(int64(k-10), 20)) {
					t.Errorf("operation %d is number %d, planned at %d", k, o.Sum, o.Planned)
				}
			}
			if len(m.connected) != 2 {
				t.Errorf("sessions of %v: a phase made new ones", m.connected)
			}
		})
	})
	t.Run("in a closed loop", func(t *testing.T) {
		for i := range phases {
			phases[i].Rate = 0
		}
		m := &memory{do: answerAfter(100 * time.Millisecond)}
		play(t, workload.Config{Clients: 1, Phases: phases}, m, o, 3995*time.Millisecond, func(t *testing.T, ops []ledger.Op, _ workload.Stats) {
			want := slices.Concat(slices.Repeat([]string{"add"}, 10), slices.Repeat([]string{"second"}, 10), slices.Repeat([]string{"add"}, 20))
			if diff := cmp.Diff(want, funcs(ops)); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
		})
	})
}

func funcs(ops []ledger.Op) (out []string) {
	for _, o := range ops {
		out = append(out, o.Func)
	}
	return out
}

// knowing is a System whose phases ask it.
type knowing struct {
	memory
	weight int
	filled int
	heir   *knowing
}

func (k *knowing) Inherit(first workload.System) workload.System {
	k.heir, _ = first.(*knowing)
	return k
}

type weighing struct {
	Weight int `json:"weight"`
}

func (weighing) Validate() error { return nil }

func TestTheSystemsOfPhasesAreBuiltFromTheirOptions(t *testing.T) {
	t.Parallel()
	build := func(c *workload.Config, o weighing) (workload.System, error) {
		c.MaxInFlight += o.Weight
		return &knowing{weight: o.Weight, filled: c.MaxInFlight}, nil
	}
	first := &knowing{}
	c := workload.Config{Phases: []workload.Phase{{At: 1, Options: json.RawMessage(`{"weight":2}`)}, {At: 2}, {At: 3, Options: json.RawMessage(`{"weight":3}`)}}}
	got, err := workload.PhaseSystems(c, first, build)
	if err != nil || len(got) != 3 || got[1] != nil {
		t.Fatalf("%v, %v", got, err)
	}
	for i, weight := range map[int]int{0: 2, 2: 3} {
		if k, ok := got[i].(*knowing); !ok || k.weight != weight || k.filled != weight || k.heir != first {
			t.Errorf("phase %d has %+v", i, got[i])
		}
	}
	c.Phases[2].Options = json.RawMessage(`{"wieght":3}`)
	if _, err := workload.PhaseSystems(c, first, build); err == nil || !strings.Contains(err.Error(), `phases[2]: read options: json: unknown field "wieght"`) {
		t.Errorf("%v", err)
	}
}

func TestPhasesThatContradictAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rate   float64
		phases []workload.Phase
		want   string
	}{
		{"one at the start", 1, []workload.Phase{{At: 0, Rate: 2}}, "phases[0]: at = 0s is not after 0s"},
		{"two at a time", 1, []workload.Phase{{At: ms, Rate: 2}, {At: ms, Rate: 3}}, "phases[1]: at = 1ms is not after 1ms"},
		{"a negative rate", 1, []workload.Phase{{At: ms, Rate: -2}}, "phases[0]: rate = -2 is negative"},
		{"a rate of a closed loop", 0, []workload.Phase{{At: ms, Rate: 2}}, "phases[0]: rate = 2 in a closed loop"},
		{"options of the kafka driver", 1, []workload.Phase{{At: ms, Options: json.RawMessage(`{}`)}}, "phases[0]: options: the kafka driver's do not change"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := workload.New(workload.Config{Name: "w", Driver: "kafka", Target: "k:9092", Rate: c.rate, Phases: c.phases}, []workload.Spec{workload.Kafka()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestKafkasProducersShareTheScheduleOfAllPhases(t *testing.T) {
	t.Parallel()
	h := &history{}
	c := workload.Config{Target: fake(t).ListenAddrs()[0], Clients: 3, Rate: 50, Phases: []workload.Phase{{At: 100 * ms, Rate: 700}}}
	d := newDriver(t, c, workload.KafkaOptions{})
	setUp(t, d, h)
	eventually(t, "300 acknowledged", func() bool { return len(h.of(ledger.FuncProduce, ledger.OK)) >= 300 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := d.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	by := map[int][]int64{}
	start := int64(0)
	for _, o := range h.of(ledger.FuncProduce, ledger.OK) {
		by[o.Process] = append(by[o.Process], o.Planned)
		if start == 0 || o.Planned < start {
			start = o.Planned
		}
	}
	for p, planned := range by {
		slices.Sort(planned)
		for j, at := range planned {
			if want := start + c.Schedule().Instant(int64(p+3*j)); at != want {
				t.Fatalf("operation %d of producer %d is planned at %d, want %d", j, p, at-start, want-start)
			}
		}
	}
}
