package drivers_test

import (
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
