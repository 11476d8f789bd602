package runner

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// rollingOver is an injection on the first n containers of web, one after the other, with page as its gate.
func (s *stage) rollingOver(name string, n int, instant bool, gates ...scenarios.Gate) Injection {
	in := s.noting(name).injection(name, time.Second, instant)
	in.Fault.Spec.Rolling, in.Fault.Gate = true, gates
	in.Targets = nil
	for i := range n {
		in.Targets = append(in.Targets, scenarios.Ref{Service: "web", Number: i + 1})
	}
	return in
}

// rollAll plays injections whose gates have 10 s to hold.
func (s *stage) rollAll(ctx context.Context, all ...Injection) error {
	return s.run(ctx, &Plan{Injections: all, schedule: schedule{within: 10 * time.Second}}, s.base)
}

func (s *stage) ms() int64 { return (s.r.clock.now() - s.base) / int64(time.Millisecond) }

// readyAfter makes each target ready so long after it was applied or reverted last.
func (s *stage) readyAfter(in Injection, name string, d time.Duration) {
	f := fakeOf(s.t, in)
	since := map[string]int64{}
	f.apply = func(on faults.Target) error {
		since[on.Container] = s.r.clock.now()
		s.note("apply %s on %s", name, on)
		return nil
	}
	f.revert = func(on faults.Target) error {
		since[on.Container] = s.r.clock.now()
		s.note("revert %s on %s", name, on)
		return nil
	}
	f.ready = func(on faults.Target) bool { return s.r.clock.now() >= since[on.Container]+int64(d) }
}

func TestAnInstantaneousKindRollsFromOneReadyTargetToTheNext(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		in := s.rollingOver("sweep", 3, true)
		f := fakeOf(t, in)
		down := map[string]int64{}
		f.apply = func(on faults.Target) error {
			s.note("apply on %s", on)
			down[on.Container] = s.r.clock.now() + 3*second
			return nil
		}
		f.revert = func(on faults.Target) error { s.note("revert on %s", on); return nil }
		f.ready = func(on faults.Target) bool { return s.r.clock.now() >= down[on.Container] }
		if err := s.rollAll(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		s.want("apply on web", "revert on web", "apply on web[2]", "revert on web[2]", "apply on web[3]", "revert on web[3]")
		got := s.faultsByRecord()
		for i, record := range []string{"sweep/web-1", "sweep/web-2", "sweep/web-3"} {
			at := 1000 + int64(i)*3400 // each is down for 3 s, and the next takes 400 ms to prepare
			if f := got[record]; f.Planned != at || f.Called != at || f.Released != at+3000 || f.Settled != f.Released || f.Error != "" {
				t.Errorf("%s: %+v, want it called at %d", record, f, at)
			}
		}
	})
}

func TestTheNextTargetWaitsForTheGate(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(ms int64) bool { return ms < 1000 || ms >= 5000 })
		if err := s.rollAll(ctx, s.rollingOver("sweep", 2, true, page()...)); err != nil {
			t.Fatal(err)
		}
		got := s.called()
		if got["sweep/web-1"] != 1000 || got["sweep/web-2"] < 5400 || got["sweep/web-2"] > 6200 {
			t.Errorf("called: %v", got)
		}
		want := []string{"probe.page fails before sweep on web[2]: refused", "probe.page holds before sweep on web[2]"}
		if diff := cmp.Diff(want, unique(s.gateLog())); diff != "" {
			t.Errorf("gates (-want +got):\n%s", diff)
		}
		if events := s.announced(); len(events) > 0 {
			t.Errorf("events: %v", events)
		}
	})
}

func TestAKindThatLastsIsUndoneInTheOppositeOrderWithTheSameWaits(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.probing(ctx, func(int64) bool { return true })
		in := s.rollingOver("update", 3, false, page()...)
		s.readyAfter(in, "update", 2*time.Second)
		if err := s.rollAll(ctx, in); err != nil {
			t.Fatal(err)
		}
		s.want("apply update on web", "apply update on web[2]", "apply update on web[3]", "revert update on web[3]", "revert update on web[2]", "revert update on web")
		got := s.faultsByRecord()
		one, two, three := got["update/web-1"], got["update/web-2"], got["update/web-3"]
		for what, gap := range map[string]int64{
			"from the first to the second":           two.Called - one.Called,
			"from the second to the third":           three.Called - two.Called,
			"from the undo of the third to the next": two.Released - three.Released,
			"from the undo of the second to the end": one.Released - two.Released,
		} {
			if gap < 2000 || gap > 3500 { // ready after 2 s, a probe each 510 ms, a look each 250 ms, and 400 ms to prepare
				t.Errorf("%s: %d ms", what, gap)
			}
		}
		if held := three.Released - three.Called; held != 4000 { // ready after 2 s, then for = 2s
			t.Errorf("when it has reached them all it holds until %d ms after the last call", held)
		}
		want := []string{
			"probe.page holds before update on web[2]", "probe.page holds before update on web[3]",
			"probe.page holds before the undo of update on web[2]", "probe.page holds before the undo of update on web",
		}
		if diff := cmp.Diff(want, s.gateLog()); diff != "" {
			t.Errorf("gates (-want +got):\n%s", diff)
		}
		for _, f := range got {
			if f.Settled < f.Gone+1900 || f.Error != "" {
				t.Errorf("%s: %+v", f.Record, f)
			}
		}
	})
}

// TestAnOccurrenceOfARollingFaultWaitsForTheOneBefore: else two targets would be down at the same time.
func TestAnOccurrenceOfARollingFaultWaitsForTheOneBefore(t *testing.T) {
	text := `
[environment]
files = ["compose.yaml"]
[probe.page]
kind   = "http"
target = "http://web/"
[[fault]]
id     = "sweep"
kind   = "sweep"
target = "web"
at     = "1s"
every  = "4s"
times  = 3
`
	perform(t, func(t *testing.T, s *stage) {
		p, err := NewPlan(scenario(t, text), []scenarios.Service{{Name: "web", Replicas: 2}}, nil, nil, 7)
		if err != nil {
			t.Fatal(err)
		}
		until := int64(0)
		for i, in := range p.Injections {
			f := s.noting(in.ID)
			f.apply = func(on faults.Target) error { s.note("%s on %s", in.ID, on); until = s.ms() + 2000; return nil }
			f.revert, f.settled = nil, func() bool { return s.ms() >= until }
			p.Injections[i].Fault.Params, p.Injections[i].Fault.Spec.Effect = f, f
		}
		if err := s.run(t.Context(), p, s.base); err != nil {
			t.Fatal(err)
		}
		s.want("sweep on web", "sweep on web[2]", "sweep#2 on web", "sweep#2 on web[2]", "sweep#3 on web", "sweep#3 on web[2]")
		if got := s.called(); got["sweep#2/web-1"] != 5800 || got["sweep#3/web-1"] != 10600 {
			t.Errorf("called: %v", got)
		}
	})
}

func TestRollingFaultsOverlapWithOthers(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// From 2 s on a fixed fault keeps the probe down for longer than a gate's time.
		s.probing(ctx, func(ms int64) bool { return ms < 2000 || ms >= 18000 })
		long := s.noting("long").injection("long", 2*time.Second, false)
		*long.Fault.For = units.Duration(16 * time.Second)
		in := s.rollingOver("x", 2, true, page()...)
		fakeOf(t, in).settled = func() bool { return s.ms() >= 3000 }
		after := s.noting("after").injection("after", time.Second, false)
		after.After = "x"
		if err := s.rollAll(ctx, in, long, after); err != nil {
			t.Fatal(err)
		}
		s.want("apply x on web", "apply long on web", "revert x on web", "revert long on web", "apply x on web[2]", "revert x on web[2]", "apply after on web", "revert after on web")
		if events := s.announced(); len(events) > 0 {
			t.Errorf("events: %v", events)
		}
	})
}

// TestTwoRollingFaultsDoNotWaitForEachOther: each holds on its first target while its gate is closed for good.
func TestTwoRollingFaultsDoNotWaitForEachOther(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s.probing(ctx, func(ms int64) bool { return ms < 1000 })
		x, y := s.rollingOver("x", 2, false, page()...), s.rollingOver("y", 2, false, page()...)
		y.At += time.Second
		if err := s.rollAll(ctx, x, y); err != nil {
			t.Fatal(err)
		}
		if len(s.log) == 4 {
			slices.Sort(s.log[2:]) // they end at the same instant
		}
		s.want("apply x on web", "apply y on web", "revert x on web", "revert y on web")
		for _, e := range s.announced() {
			if !strings.HasPrefix(e, string(oracle.Hang)) {
				t.Errorf("event %s", e)
			}
		}
		if s.ms() > 25000 || len(s.announced()) != 2 {
			t.Errorf("it ended after %d ms: %v", s.ms(), s.announced())
		}
	})
}

func TestARollingFaultOfTheNemesisWaitsForItsGates(t *testing.T) {
	text := strings.Replace(drawing, "count    = 2000", "count = 1\ngate = [\"probe.page\"]", 1)
	i := strings.Index(text, "[[nemesis.fault]]")
	p := plan(t, text[:i]+"[[nemesis.fault]]\nkind = \"sweep\"\ntarget = \"web\"\n", 7)
	if in := p.Injections[0]; len(in.Fault.Gate) != 1 || in.Fault.Gate[0].Probe != "probe.page" || len(in.Targets) != 4 {
		t.Errorf("%+v", in)
	}
	if p.schedule.within != 30*time.Second {
		t.Errorf("its gates have %s", p.schedule.within)
	}
}

func TestAFaultWithAnEndOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		name     string
		hold     time.Duration // 0: no `for`
		ends     int64         // ms; 0: never
		released int64
		event    string
	}{
		{"holds until it", 0, 5000, 5000, ""},
		{"holds until it, not for its time", 9 * time.Second, 5000, 5000, ""},
		{"holds for its time where that is over first", 2 * time.Second, 5000, 3000, ""},
		{"is given up where it never comes", 0, 0, 1000 + 900_000, "hang: fake of web did not come to its own end within 15m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				f := s.noting("loop")
				f.finished = func() bool { return c.ends > 0 && s.ms() >= c.ends }
				in := f.injection("loop", time.Second, false)
				hold := units.Duration(c.hold)
				if in.Fault.For = &hold; c.hold == 0 {
					in.Fault.For = nil
				}
				if err := s.play(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				s.want("apply loop on web", "revert loop on web")
				if got := s.faultsByRecord()["loop/web-1"]; got.Released != c.released || (got.Error == "") != (c.event == "") {
					t.Errorf("recorded: %+v", got)
				}
				if got := strings.Join(s.announced(), "\n"); got != c.event {
					t.Errorf("events: %s", got)
				}
			})
		})
	}
}

func TestAWholeServiceIsOneTarget(t *testing.T) {
	p, err := NewPlan(scenario(t, `
[environment]
files = ["compose.yaml"]
[probe.page]
kind   = "http"
target = "http://web/"
[[fault]]
kind   = "resize"
target = "w*"
at     = "1s"
for    = "1s"
`), []scenarios.Service{{Name: "web", Replicas: 3}, {Name: "worker", Replicas: 1}}, nil, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	in := p.Injections[0]
	if diff := cmp.Diff([]scenarios.Ref{{Service: "web"}, {Service: "worker"}}, in.Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if id := recordID(in, in.Targets[0]); id != "resize/web" {
		t.Errorf("the record is %s", id)
	}
	r := testRun(t, "")
	r.info.Project = "dc1"
	got, err := r.target(t.Context(), in.Targets[0])
	if want := (faults.Target{Service: "web", Project: "dc1", Name: "web"}); err != nil || got != want || got.Key() != "web" {
		t.Errorf("the target is %+v, %v", got, err)
	}
}
