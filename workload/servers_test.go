package workload_test

import (
	"slices"
	"testing"

	"github.com/discompose/discompose/workload"
)

func TestServersAreSharedOutEvenly(t *testing.T) {
	t.Parallel()
	s := workload.NewServers("target:1", []string{"a:1", "b:1", "c:1"})
	var backs []func()
	had := map[string]int{}
	for process := range 6 {
		list, back := s.Take(process)
		had[list[0]]++
		backs = append(backs, back)
		if process == 1 && !slices.Equal(list, []string{"b:1", "c:1", "a:1"}) {
			t.Errorf("process 1 has %v, want its own server and then the others", list)
		}
	}
	if had["a:1"] != 2 || had["b:1"] != 2 || had["c:1"] != 2 {
		t.Errorf("six clients: %v, want two each", had)
	}
	// Retired processes have numbers that no remainder shares out: the successor takes the server that was given back.
	for i, process := range []int{9, 12, 15, 18, 21} {
		backs[1]()
		backs[1]()
		list, back := s.Take(process)
		if list[0] != "b:1" {
			t.Errorf("successor %d talks to %s, want b:1, which had the fewest", i, list[0])
		}
		backs[1] = back
	}
}

func TestServersAreTheTargetWhereNoneIsListed(t *testing.T) {
	t.Parallel()
	s := workload.NewServers("target:1", nil)
	if list, _ := s.Take(5); !slices.Equal(list, []string{"target:1"}) || !slices.Equal(s.All(), list) {
		t.Errorf("%v, want the target", list)
	}
}
