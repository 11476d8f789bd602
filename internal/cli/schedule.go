package cli

import (
	"slices"
	"sync"

	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

// given is a scenario as it was read, and what its environment is like.
type given struct {
	*scenarios.Scenario
	environment string // scenarios of one key may use one environment; empty: it wants its own
	memory      int64  // bytes that its environment may need; 0 is not known
	digest      string // of all that it is; empty where it attaches
}

// job is one run that the command line asks for. Jobs know nothing of each other, so that they may be carried out in any
// order.
type job struct {
	given
	index int  // from 1, among the runs of the scenario
	runs  int  // of the scenario
	drawn bool // its seed is nobody's wish
}

// jobs are the runs of each scenario, with seeds that differ. base draws the first seed where the scenario fixes none.
func jobs(all []given, runs int, base func() int64) []job {
	var out []job
	for _, s := range all {
		if runs == 1 {
			out = append(out, job{s, 1, 1, s.Seed == nil})
			continue
		}
		first, drawn := s.Seed, s.Seed == nil
		if first == nil {
			seed := base()
			first = &seed
		}
		for i, seed := range runner.Seeds(*first, runs) {
			one := *s.Scenario // a run changes nothing of its scenario, so that the rest may be shared
			one.Seed = &seed
			g := s
			g.Scenario = &one
			out = append(out, job{g, i + 1, runs, drawn})
		}
	}
	return out
}

// together moves each scenario that may share an environment behind the last one before it with the same; the others, and
// the first of each environment, keep their order.
func together(all []given) []given {
	var out []given
	for _, g := range all {
		at := len(out)
		if g.environment != "" {
			for i, o := range out {
				if o.environment == g.environment {
					at = i + 1
				}
			}
		}
		out = slices.Insert(out, at, g)
	}
	return out
}

// schedule hands out jobs, each once, in their order. It is safe for concurrent use.
type schedule struct {
	mu   sync.Mutex
	jobs []job
	left []int // indices, in order
	free bool  // the order is nobody's wish
}

// newSchedule hands out the jobs that have not ended.
func newSchedule(all []job, done []ending, free bool) *schedule {
	s := &schedule{jobs: all, free: free}
	for i := range all {
		if !done[i].begun {
			s.left = append(s.left, i)
		}
	}
	return s
}

// next takes the first job that is left.
func (s *schedule) next() (i int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) == 0 {
		return 0, false
	}
	i, s.left = s.left[0], s.left[1:]
	return i, true
}

// claim takes the next job that may use an environment, for whoever has it: only the first that is left, where the order is
// the user's.
func (s *schedule) claim(environment string) (i int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if environment == "" {
		return 0, false
	}
	for n, i := range s.left {
		if s.jobs[i].environment == environment {
			s.left = slices.Delete(s.left, n, n+1)
			return i, true
		}
		if !s.free {
			break
		}
	}
	return 0, false
}
