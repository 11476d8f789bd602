package oracle

import (
	"slices"
	"sort"
)

// ladder sums up values by the instants from which they count.
type ladder struct {
	steps []step
}

type step struct{ at, sum int64 }

func (l *ladder) add(at, value int64) { l.steps = append(l.steps, step{at, value}) }

// arrange ends the adding.
func (l *ladder) arrange() {
	byTime := func(a, b step) int { return compareInt(a.at, b.at) }
	if !slices.IsSortedFunc(l.steps, byTime) {
		slices.SortFunc(l.steps, byTime)
	}
	for i := 1; i < len(l.steps); i++ {
		l.steps[i].sum += l.steps[i-1].sum
	}
}

// before is the sum of what counts from before an instant.
func (l *ladder) before(at int64) int64 {
	return l.first(sort.Search(len(l.steps), func(i int) bool { return l.steps[i].at >= at }))
}

// upTo is before, with what counts from that instant.
func (l *ladder) upTo(at int64) int64 { return l.before(at + 1) }

func (l *ladder) first(n int) int64 {
	if n == 0 {
		return 0
	}
	return l.steps[n-1].sum
}
