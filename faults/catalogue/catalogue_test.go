package catalogue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/faults/faulttest"
)

func TestEveryKindConforms(t *testing.T) {
	specs := catalogue.All()
	if len(specs) == 0 {
		t.Fatal("the catalogue is empty")
	}
	for _, s := range specs {
		t.Run(string(s.Kind), func(t *testing.T) { faulttest.Run(t, s, nil) })
	}
}

func TestEveryTwoKindsOverlap(t *testing.T) { faulttest.Overlap(t, catalogue.All()) }

func TestRandomSequencesEndAtTheBase(t *testing.T) { faulttest.Sequences(t, catalogue.All()) }

func TestAllIsSorted(t *testing.T) {
	families := []faults.Family{faults.Process, faults.Link, faults.Network, faults.Resource, faults.Disk, faults.Clock, faults.App}
	less := func(a, b faults.Spec) int {
		if d := slices.Index(families, a.Family) - slices.Index(families, b.Family); d != 0 {
			return d
		}
		return strings.Compare(string(a.Kind), string(b.Kind))
	}
	specs := catalogue.All()
	if !slices.IsSortedFunc(specs, less) {
		t.Error("the catalogue is not sorted by family and name")
	}
	for i, s := range specs {
		if i > 0 && specs[i-1].Kind == s.Kind {
			t.Errorf("kind %s is listed twice", s.Kind)
		}
		if got, ok := catalogue.Lookup(s.Kind); !ok || got.Summary != s.Summary {
			t.Errorf("lookup of %s finds %t %q", s.Kind, ok, got.Summary)
		}
	}
	if _, ok := catalogue.Lookup("nothing"); ok {
		t.Error("lookup finds a kind that is not there")
	}
}
