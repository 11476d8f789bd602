package runner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent"
)

func TestSamplesKeepEveryConnectionAndTheMostOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := agent.Connection{From: "web", To: "db", Port: 5432}
		counts := []int{1, 3, 2}
		calls := 0
		got, err := sample(t.Context(), 1050*time.Millisecond, func() ([]agent.Connection, error) {
			calls++
			if calls > len(counts) {
				return []agent.Connection{{From: "api", To: "db", Port: 5432, Count: 1}}, nil
			}
			c := db
			c.Count = counts[calls-1]
			return []agent.Connection{c}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []agent.Connection{{From: "api", To: "db", Port: 5432, Count: 1}, {From: "web", To: "db", Port: 5432, Count: 3}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("connections (-want +got):\n%s", diff)
		}
		if calls != 11 {
			t.Errorf("%d samples in 1.05 s, want one at the start and one every 100 ms", calls)
		}
	})
}

func TestSamplesEndWithTheirContext(t *testing.T) {
	why := errors.New("the user has left")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	for name, asked := range map[string]error{"between two samples": nil, "in the middle of a call": context.Canceled} {
		_, err := sample(ctx, time.Hour, func() ([]agent.Connection, error) {
			cancel(why)
			return []agent.Connection{{From: "web", To: "db", Port: 1, Count: 1}}, asked
		})
		if !errors.Is(err, why) {
			t.Errorf("%s: error is %v, want the cause", name, err)
		}
	}
	broken := errors.New("no such op")
	if _, err := sample(t.Context(), time.Hour, func() ([]agent.Connection, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error is %v, want that of the call", err)
	}
}
