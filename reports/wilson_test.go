package reports_test

import (
	"math"
	"testing"

	"github.com/discompose/discompose/reports"
)

// TestWilsonGivesPublishedIntervals compares with table I of Newcombe 1998, method 3, which has four decimals.
func TestWilsonGivesPublishedIntervals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		failed, n int
		low, high float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
	} {
		low, high := reports.Wilson(c.failed, c.n)
		if math.Abs(low-c.low) > 0.00005 || math.Abs(high-c.high) > 0.00005 {
			t.Errorf("%d of %d: %.5f to %.5f, want %.4f to %.4f", c.failed, c.n, low, high, c.low, c.high)
		}
		// Counting what passed instead mirrors the interval.
		if l, h := reports.Wilson(c.n-c.failed, c.n); math.Abs(1-h-low) > 1e-12 || math.Abs(1-l-high) > 1e-12 {
			t.Errorf("%d of %d is not the mirror of %d: %g to %g", c.n-c.failed, c.n, c.failed, l, h)
		}
	}
}

func TestWilsonStaysWithinTheWhole(t *testing.T) {
	t.Parallel()
	if low, high := reports.Wilson(0, 0); low != 0 || high != 1 {
		t.Errorf("of no trial: %g to %g", low, high)
	}
	for n := 1; n <= 200; n++ {
		for failed := range n + 1 {
			low, high := reports.Wilson(failed, n)
			if p := float64(failed) / float64(n); low < 0 || high > 1 || low > p || high < p || low >= high {
				t.Fatalf("%d of %d: %g to %g", failed, n, low, high)
			}
		}
		if low, _ := reports.Wilson(0, n); low != 0 {
			t.Errorf("none of %d: the lower bound is %g", n, low)
		}
		if _, high := reports.Wilson(n, n); high != 1 {
			t.Errorf("all of %d: the upper bound is %g", n, high)
		}
	}
}
