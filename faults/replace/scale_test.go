package replace_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/replace"
)

func TestScaleAndTheOthersKeepApart(t *testing.T) {
	play(t, 2, nil, func(t *testing.T, s scene) {
		scale, f := replace.ScaleSpec(), &replace.Scale{Replicas: number(3), Grace: seconds(1)}
		r := s.begin("more", scale, f, s.service())
		for _, k := range kinds()[:3] {
			if _, err := k.f.Prepare(t.Context(), s.env, s.target(2)); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), `scale "more"`) {
				t.Errorf("prepare %s during a scale: %v", k.spec.Kind, err)
			}
		}
		s.end(scale, r)
		remove := replace.RemoveSpec()
		early, err := f.Prepare(t.Context(), s.env, s.service())
		if err != nil {
			t.Fatal(err)
		}
		gone := s.begin("away", remove, &replace.Remove{}, s.target(2))
		if _, err := f.Prepare(t.Context(), s.env, s.service()); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), `remove "away"`) {
			t.Errorf("prepare scale during a remove: %v", err)
		}
		early.ID = "early"
		if err := s.apply(scale, early); !errors.Is(err, faults.ErrUnsupported) {
			t.Errorf("apply a scale that was prepared before the remove: %v", err)
		}
		s.end(scale, early)
		s.end(remove, gone)
		s.atBase()
	})
}

func TestScaleNumbersAndCounts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		had, to  int
		overtake int // another scale's number
	}{
		{"up", 1, 3, 2},
		{"down", 3, 1, 2},
		{"to nothing", 2, 0, 3},
		{"up from down", 2, 1, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.had, nil, func(t *testing.T, s scene) {
				spec := replace.ScaleSpec()
				first := s.begin("first", spec, &replace.Scale{Replicas: number(tt.to), Grace: seconds(1)}, s.service())
				s.counts(spec, first, tt.to)
				second := s.begin("second", spec, &replace.Scale{Replicas: number(tt.overtake), Grace: seconds(1)}, s.service())
				s.counts(spec, second, tt.overtake)
				if _, err := s.confirm(spec, first); !errors.Is(err, faults.ErrNoWitness) {
					t.Errorf("the first was overtaken and has a witness: %v", err)
				}
				s.end(spec, second)
				s.counts(spec, first, tt.to)
				s.end(spec, first)
				s.atBase()
			})
		})
	}
}

// counts wants a witness of so many containers, with the numbers from 1.
func (s scene) counts(spec faults.Spec, r faults.Record, n int) {
	s.t.Helper()
	if w, err := s.confirm(spec, r); err != nil || w.Value != float64(n) || !s.settled(spec, r) {
		s.t.Errorf("witness %+v, %v", w, err)
	}
	i := 0
	for line := range strings.Lines(s.w.Service("web")) {
		if i++; !strings.HasPrefix(line, fmt.Sprintf("fake-web-%d:", i)) {
			s.t.Errorf("container %d is %s", i, line)
		}
	}
	if i != n {
		s.t.Errorf("%d containers, not %d", i, n)
	}
}

func TestAContainerOfSomebodyElseIsNotCounted(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec := replace.ScaleSpec()
		r := s.begin("more", spec, &replace.Scale{Replicas: number(2), Grace: seconds(1)}, s.service())
		rep, ok := s.env.Engine.(faults.Replacer)
		if !ok {
			t.Fatal("the fake engine makes no containers")
		}
		b, err := rep.Blueprint(t.Context(), "c1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rep.Create(t.Context(), b, faults.Changes{Replica: &faults.Replica{Name: "fake-web-7", Number: 7}}); err != nil {
			t.Fatal(err)
		}
		if w, err := s.confirm(spec, r); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), "3 containers") {
			t.Errorf("witness %+v, %v", w, err)
		}
	})
}

func TestScaleIsRefused(t *testing.T) {
	alone := func(b *faulttest.Box) { b.Single = []string{"the address 10.0.0.7 in network front"} }
	for _, tt := range []struct {
		name   string
		had    int
		change func(*faulttest.Box)
		to     int
		says   string // "" is not refused
	}{
		{"to the number that there is", 2, nil, 2, "would change nothing"},
		{"a service without a container", 0, nil, 2, "it has no container"},
		{"up, beside an address of its own", 1, alone, 2, "10.0.0.7"},
		{"down, with an address of its own", 1, alone, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.had, tt.change, func(t *testing.T, s scene) {
				_, err := (&replace.Scale{Replicas: number(tt.to)}).Prepare(t.Context(), s.env, s.service())
				if tt.says == "" && err != nil || tt.says != "" && (!errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), tt.says)) {
					t.Errorf("prepare: %v", err)
				}
			})
		})
	}
}
