package runner_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/runner"
)

func TestSeedsAreAFunctionOfTheFirst(t *testing.T) {
	t.Parallel()
	// Written down: a series that is named in a bug report must be the same in a later version.
	if diff := cmp.Diff([]int64{7, 1786427188, 453632859, 1878402507}, runner.Seeds(7, 4)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	const many = 200_000 // of 2^31 numbers: some are drawn twice
	long := runner.Seeds(7, many)
	if diff := cmp.Diff(long[:20], runner.Seeds(7, 20)); diff != "" {
		t.Errorf("a longer series does not begin with the shorter one:\n%s", diff)
	}
	slices.Sort(long)
	if n := len(slices.Compact(long)); n != many {
		t.Errorf("%d different seeds of %d", n, many)
	}
	if a, b := runner.Seeds(7, 2), runner.Seeds(8, 2); a[1] == b[1] {
		t.Errorf("seeds 7 and 8 go on with the same one, %d", a[1])
	}
	if one := runner.Seeds(-3, 1); len(one) != 1 || one[0] != -3 {
		t.Errorf("one run has seeds %d", one)
	}
}
