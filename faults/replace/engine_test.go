package replace_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/replace"
)

// forgetful is an engine that gives a container that it makes another environment than it was asked for.
type forgetful struct {
	faults.Engine
	faults.Networker
	faults.Replacer
}

// wrapped takes the scene's engine apart, for a part to be replaced.
func (s scene) wrapped() forgetful {
	s.t.Helper()
	n, ok1 := s.env.Engine.(faults.Networker)
	r, ok2 := s.env.Engine.(faults.Replacer)
	if !ok1 || !ok2 {
		s.t.Fatalf("%T lacks a part", s.env.Engine)
	}
	return forgetful{s.env.Engine, n, r}
}

func (f forgetful) Create(ctx context.Context, b faults.Blueprint, c faults.Changes) (string, error) {
	c.Env = map[string]string{"LEVEL": "forgotten"}
	return f.Replacer.Create(ctx, b, c)
}

func TestAContainerThatComesBackOtherwiseIsNotBack(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec := replace.RemoveSpec()
		r := s.begin("r", spec, &replace.Remove{}, s.target(1))
		env := s.env
		env.Engine = s.wrapped()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		w, err := faults.Undo(ctx, env, spec.Effect, r)
		if err == nil || !strings.Contains(err.Error(), "another environment than it had") {
			t.Errorf("undone: %+v, %v", w, err)
		}
	})
}

// slow is an engine whose containers do not end when they are asked to.
type slow struct{ forgetful }

func (f slow) Create(ctx context.Context, b faults.Blueprint, c faults.Changes) (string, error) {
	return f.Replacer.Create(ctx, b, c)
}

func (f slow) Do(ctx context.Context, id string, a faults.Action) error {
	if a.Verb == faults.DoStop {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return f.Engine.Do(ctx, id, a)
}

func TestAnUndoDoesNotWaitForeverForAContainerThatDoesNotEnd(t *testing.T) {
	for _, k := range kinds()[1:3] {
		t.Run(string(k.spec.Kind), func(t *testing.T) {
			play(t, 1, nil, func(t *testing.T, s scene) {
				r := s.begin("r", k.spec, k.f, s.of(k.spec))
				s.env.Engine = slow{s.wrapped()}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := faults.Undo(ctx, s.env, k.spec.Effect, r); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %s: more than one attempt", took)
				}
				s.atBase()
			})
		})
	}
}
