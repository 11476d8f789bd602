package runner

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
)

func TestWhatHasGrown(t *testing.T) {
	t.Parallel()
	list := []compose.Container{
		{Service: "web", Number: 1, ID: "w1", State: "running"},
		{Service: "web", Number: 2, ID: "w2", State: "running"},
		{Service: "db", Number: 1, ID: "d", State: "paused"},
		{Service: "job", Number: 1, ID: "j", State: "exited"},
	}
	count := func(open map[string]int) func(string) (agent.DescriptorsResult, error) {
		return func(id string) (agent.DescriptorsResult, error) {
			n, there := open[id]
			if !there {
				return agent.DescriptorsResult{}, errors.New("it is not running")
			}
			return agent.DescriptorsResult{Open: n, Sockets: n - 3}, nil
		}
	}
	before := holdingsOf(list, count(map[string]int{"w1": 10, "w2": 10, "d": 100}))
	if before.err != nil || len(before.open) != 3 {
		t.Fatalf("before: %+v", before)
	}
	list = append(list, compose.Container{Service: "new", Number: 1, ID: "n", State: "running"})
	after := holdingsOf(list, count(map[string]int{"w1": 30, "w2": 31, "d": 20, "n": 1000}))
	want := map[string]string{"web[2]": "web[2] holds 21 descriptors more than before the faults (10, then 31; sockets: 7, then 28), the scenario allows 20"}
	if diff := cmp.Diff(want, before.grown(after, 20)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if broken := holdingsOf(list, count(map[string]int{"w1": 30})); broken.err == nil || broken.open["web"].Open != 30 {
		t.Errorf("containers that cannot be measured: %+v", broken)
	}
}
