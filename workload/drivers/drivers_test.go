package drivers_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/drivers"
)

func TestEveryDriverIsWhole(t *testing.T) {
	t.Parallel()
	all := drivers.All()
	if len(all) == 0 {
		t.Fatal("there is none")
	}
	if !slices.IsSortedFunc(all, func(a, b workload.Spec) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the list is not sorted")
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			o := s.Options()
			if v := reflect.ValueOf(o); v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || !v.Elem().IsZero() {
				t.Fatalf("its options are a %T", o)
			}
			if _, ok := o.(interface{ Validate() error }); !ok {
				t.Error("its options cannot be validated")
			}
			if drivers.Options()[s.Name] == nil {
				t.Error("Options does not have it")
			}
		})
	}
}

// TestEveryDriverReadsItsPhases: one that forgets them would send the same all the time, and nobody would know.
func TestEveryDriverReadsItsPhases(t *testing.T) {
	t.Parallel()
	for _, s := range drivers.All() {
		want := "phases[0]: "
		if _, ok := s.Options().(interface{ NoPhases() string }); ok {
			want = "does not run in a client container"
		}
		_, err := workload.New(workload.Config{
			Name: "w", Driver: s.Name, Target: "x:1", Phases: []workload.Phase{{At: 1, Options: json.RawMessage(`{"no such key":1}`)}},
		}, drivers.All())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", s.Name, err, want)
		}
	}
}
