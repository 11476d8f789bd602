package app_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/app"
	"github.com/discompose/discompose/faults/faulttest"
)

func TestExecConforms(t *testing.T) { faulttest.Run(t, app.ExecSpec(), nil) }

func TestValidateNamesTheKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*app.Exec)
		keys   []string
	}{
		{"three commands", func(*app.Exec) {}, nil},
		{"no commands", func(e *app.Exec) { *e = app.Exec{} }, []string{"apply", "undo", "witness"}},
		{"a command without a program", func(e *app.Exec) { e.Undo = []string{""} }, []string{"undo"}},
		{"what is no expression", func(e *app.Exec) { e.Matches = "(" }, []string{"matches"}},
		{"a time that is negative", func(e *app.Exec) { e.Timeout = -1 }, []string{"timeout"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := marks("/x")
			tt.change(e)
			keys := badKeys(t, e)
			if !slices.Equal(keys, tt.keys) {
				t.Errorf("keys %v, want %v", keys, tt.keys)
			}
		})
	}
}

// badKeys are the keys that validation names.
func badKeys(t *testing.T, e *app.Exec) (keys []string) {
	t.Helper()
	err := e.Validate()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v is no list", err)
	}
	for _, err := range joined.Unwrap() {
		var pe *faults.ParamError
		if !errors.As(err, &pe) || pe.Hint == "" {
			t.Fatalf("%v is no ParamError with a hint", err)
		}
		keys = append(keys, pe.Key)
	}
	return keys
}
