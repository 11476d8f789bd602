package runner

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/discompose/discompose/scenarios"
)

const drawing = `
[environment]
files = ["compose.yaml"]
[probe.page]
kind   = "http"
target = "http://web/"
[nemesis]
count    = 2000
interval = ["1s", "3s"]
[[nemesis.fault]]
weight = 3
kind   = "restart"
target = "web"
pick   = "one"
[[nemesis.fault]]
kind   = "pause"
target = "web"
for    = "1s"
`

func plan(t *testing.T, text string, seed int64) *Plan {
	t.Helper()
	p, err := NewPlan(scenario(t, text), []scenarios.Service{{Name: "web", Replicas: 4}}, nil, nil, seed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestTheDrawsFollowTheWeightsAndTheInterval counts over 2000 draws of each of several seeds. The bounds are more than five
// standard deviations away, and the seeds are fixed.
func TestTheDrawsFollowTheWeightsAndTheInterval(t *testing.T) {
	t.Parallel()
	for seed := range int64(5) {
		p := plan(t, drawing, seed)
		restarts, sum := 0, time.Duration(0)
		var picked [5]int
		for _, in := range p.Injections {
			if in.At < time.Second || in.At > 3*time.Second {
				t.Errorf("seed %d, %s: a gap of %s", seed, in.ID, in.At)
			}
			sum += in.At
			if in.Fault.Kind == "restart" {
				restarts++
				picked[in.Targets[0].Number]++
			}
		}
		if len(p.Injections) != 2000 || restarts < 1400 || restarts > 1600 {
			t.Errorf("seed %d: %d of %d are drawn with weight 3 of 4", seed, restarts, len(p.Injections))
		}
		if mean := sum / 2000; mean < 1930*time.Millisecond || mean > 2070*time.Millisecond {
			t.Errorf("seed %d: the mean of the gaps is %s, want 2s", seed, mean)
		}
		least, most := slices.Min(picked[1:]), slices.Max(picked[1:])
		if least < restarts/4-100 || most > restarts/4+100 {
			t.Errorf("seed %d: of %d, the containers are picked %v times", seed, restarts, picked[1:])
		}
	}
}

func TestALongerNemesisBeginsAsAShorterOne(t *testing.T) {
	t.Parallel()
	long := plan(t, drawing, 7)
	short := plan(t, strings.Replace(drawing, "2000", "20", 1), 7)
	for i, in := range short.Injections {
		if got := fmt.Sprint(in.when(), in.what(short.Services)); got != fmt.Sprint(long.Injections[i].when(), long.Injections[i].what(long.Services)) {
			t.Errorf("%s differs: %s", in.ID, got)
		}
	}
	if len(short.Injections) != 20 {
		t.Errorf("%d injections", len(short.Injections))
	}
}

func TestAFixedFaultDoesNotReshuffleTheNemesis(t *testing.T) {
	t.Parallel()
	text := strings.Replace(drawing, "2000", "20", 1)
	before := plan(t, text, 7).lanes()
	after := plan(t, text+"[[fault]]\nkind = \"pause\"\ntarget = \"web\"\nfor = \"1s\"\nat = \"1s\"\npick = \"one\"\n", 7)
	for i, in := range after.lanes()[0] {
		if diff := cmp.Diff(before[0][i].Targets, in.Targets); diff != "" || in.At != before[0][i].At || in.Fault.Kind != before[0][i].Fault.Kind {
			t.Errorf("%s: -before +after:\n%s", in.ID, diff)
		}
	}
	if fixed := after.fixed(); len(fixed) != 1 || fixed[0].ID != "pause" {
		t.Errorf("fixed: %+v", fixed)
	}
}

func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	p := plan(t, strings.Replace(drawing, "count    = 2000", "count = 5\nat_once = 2", 1), 7)
	var got [][]string
	for _, lane := range p.lanes() {
		var ids []string
		for _, in := range lane {
			ids = append(ids, in.After+">"+in.ID)
		}
		got = append(got, ids)
	}
	want := [][]string{{">nemesis-1", "nemesis-1>nemesis-3", "nemesis-3>nemesis-5"}, {">nemesis-2", "nemesis-2>nemesis-4"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTheGoldenSchedulesDifferInTheirSeedAlone: else they would not show that another seed gives another schedule.
func TestTheGoldenSchedulesDifferInTheirSeedAlone(t *testing.T) {
	t.Parallel()
	var scenario, timeline [2]string
	for i, name := range []string{"nemesis", "nemesis_other_seed"} {
		raw, err := os.ReadFile("testdata/plan/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(raw).Files {
			switch f.Name {
			case "scenario":
				_, scenario[i], _ = strings.Cut(string(f.Data), "\n")
			case "plan":
				_, timeline[i], _ = strings.Cut(string(f.Data), "timeline\n")
			}
		}
	}
	if scenario[0] != scenario[1] || scenario[0] == "" {
		t.Errorf("the scenarios: %s", cmp.Diff(scenario[0], scenario[1]))
	}
	if timeline[0] == timeline[1] || timeline[1] == "" {
		t.Error("another seed gives the same schedule")
	}
}

// TestLanesThatOverlapDrawDifferentTargets compares all pairs of faults that are expected at the same time, with those that
// hold for a minute beside others that go on and on, over several seeds.
func TestLanesThatOverlapDrawDifferentTargets(t *testing.T) {
	t.Parallel()
	head := drawing[:strings.Index(drawing, "[[nemesis.fault]]")]
	text := strings.Replace(head, "count    = 2000", "count = 300\nat_once = 3", 1) +
		"[[nemesis.fault]]\nkind = \"pause\"\ntarget = \"web\"\npick = \"one\"\nfor = \"60s\"\n" +
		"[[nemesis.fault]]\nweight = 5\nkind = \"stop\"\ntarget = \"web\"\npick = \"one\"\ndown = \"3s\"\n"
	for seed := range int64(5) {
		p := plan(t, text, seed)
		picked, met := map[int]int{}, 0
		all := expected(p)
		for i, a := range all {
			picked[a.targets[0].Number]++
			for _, b := range all[:i] {
				if a.lane == b.lane || a.to < b.from || b.to < a.from {
					continue
				}
				if met++; a.targets[0] == b.targets[0] {
					t.Errorf("seed %d: %v at %s is taken by another lane at %s", seed, a.targets, a.from, b.from)
				}
			}
		}
		if met < 200 || len(picked) != 4 {
			t.Errorf("seed %d: %d pairs overlap; the four containers are picked so often: %v", seed, met, picked)
		}
	}
}

type inLane struct {
	booking
	lane int
}

// expected is when each fault of a nemesis would be active where nothing takes longer than planned.
func expected(p *Plan) []inLane {
	var out []inLane
	for i, lane := range p.lanes() {
		at := time.Duration(0)
		for _, in := range lane {
			at += in.At
			out = append(out, inLane{booking{at, at + holdTime(in), in.Targets}, i})
			at += holdTime(in)
		}
	}
	return out
}

// TestLanesShareATargetWhereThereIsNoOther: with two containers of which a majority is both, and with a single service.
func TestLanesShareATargetWhereThereIsNoOther(t *testing.T) {
	t.Parallel()
	p, err := NewPlan(scenario(t, strings.Replace(drawing, "count    = 2000", "count = 20\nat_once = 2", 1)), []scenarios.Service{{Name: "web", Replicas: 1}}, nil, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, in := range p.Injections {
		kinds[string(in.Fault.Kind)] = true
		if len(in.Targets) != 1 {
			t.Errorf("%s is on %v", in.ID, in.Targets)
		}
	}
	if len(kinds) != 2 {
		t.Errorf("drawn: %v", kinds)
	}
}
