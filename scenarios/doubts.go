package scenarios

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/discompose/discompose/faults"
)

// Doubts are about what CheckServices accepts, for it may be right, and what most likely is a mistake: a port that no file
// mentions, a fault on a service that has ended by then, a window that is too short for the operations that it needs. They
// are sorted by position; it is empty where there are none.
func (s *Scenario) Doubts(services []Service) Errors {
	c := s.checkServices(services)
	for i, f := range s.Fault {
		key := indexKey("fault", i)
		c.ended(key, f)
		c.few(key, f)
	}
	_ = c.doubts.err() // sorts them
	return c.doubts
}

func (c *serviceCheck) doubt(key, problem, hint string) {
	at := c.place(key)
	c.doubts = append(c.doubts, &Error{File: at.File, Row: at.Row, Col: at.Col, Key: key, Problem: problem, Hint: hint})
}

// ended doubts a fault whose target has done its work before the timeline starts.
func (c *serviceCheck) ended(key string, f Fault) {
	for _, r := range f.Select(c.services) {
		if s, ok := find(c.services, r.Service); ok && s.OneShot && r.Link == "" {
			c.doubt(joinKey(key, "target"), fmt.Sprintf("service %q is a one-shot, which has ended before the first fault", s.Name), "name a service that runs on")
		}
	}
}

// few doubts a window for which the guard cannot have what it needs: the run would be inconclusive (too-few-operations).
func (c *serviceCheck) few(key string, f Fault) {
	window, own := 0.0, "for" // seconds
	if f.For != nil && !f.Spec.Instant {
		window = f.For.Std().Seconds()
	} else if d, ok := f.Params.(faults.Downtimer); ok {
		window, own = d.Down().Seconds(), "down"
	}
	if window <= 0 {
		return // it is as long as the target takes
	}
	key = joinKey(key, own)
	observes := func(name string) bool { return len(f.ObservedBy) == 0 || slices.Contains(f.ObservedBy, name) }
	workloads := 0
	for _, name := range slices.Sorted(maps.Keys(c.s.Workload)) {
		if !observes(name) {
			continue
		}
		workloads++
		who, rate := c.slowest(name, f, window)
		if rate > 0 && int(rate*window) < c.s.Guard.Operations {
			c.doubt(key, tooFew(who, "operations", int(rate*window), c.s.Guard.Operations, window), "raise its rate, or lengthen the fault")
		}
	}
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(c.s.Probe)) {
		every := c.s.Probe[name].Every.Std().Seconds()
		if !observes(name) || every <= 0 {
			continue
		}
		n := int(window / every)
		sum += n
		if workloads > 0 && n < c.s.Guard.Probes {
			c.doubt(key, tooFew("probe "+name, "evaluations", n, c.s.Guard.Probes, window), "set its every lower, or lengthen the fault")
		}
	}
	if workloads == 0 && sum < c.s.Guard.Operations {
		c.doubt(key, tooFew("probes", "evaluations", sum, c.s.Guard.Operations, window), `set every lower, as in every = "100ms"`)
	}
}

// slowest is the lowest rate that a workload may have in the window of a fault, and how to name the workload.
func (c *serviceCheck) slowest(name string, f Fault, window float64) (who string, rate float64) {
	w := c.s.Workload[name]
	rate = w.least(c.between(f, window))
	if len(w.Phase) == 0 {
		return "workload " + name, rate
	}
	return fmt.Sprintf("workload %s at %g/s", name, rate), rate
}

// between is when the window of a fault may be at the earliest, and end at the latest, since the workloads began to send. The
// timeline starts with the steady state; a fault that follows another or is repeated may be at any time from its own on.
func (c *serviceCheck) between(f Fault, window float64) (from, to time.Duration) {
	at := time.Duration(0)
	if f.At != nil {
		at = f.At.Std()
	}
	from, to = at+c.s.Steady.For.Std(), time.Duration(math.MaxInt64)
	if f.After == "" && f.Times <= 1 {
		to = at + c.s.Steady.Within.Std() + time.Duration(window*float64(time.Second))
	}
	return from, to
}

func tooFew(who, what string, have, need int, window float64) string {
	return fmt.Sprintf("%s: %d of the %d %s that the guard needs fit in %gs, so the run would be inconclusive", who, have, need, what, window)
}
