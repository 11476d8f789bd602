package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// series is a set of measurements of one quantity, in the order in which they were made.
type series []float64

// add takes a duration, kept in milliseconds.
func (s *series) add(d time.Duration) { *s = append(*s, float64(d)/float64(time.Millisecond)) }

// quantile is the smallest value that at least the share q of all values does not exceed (nearest rank); NaN of none.
func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func (s series) median() float64 { return s.quantile(0.5) }

func (s series) max() float64 { return s.quantile(1) }

// p99 is the 99th percentile as text; below a hundred values it says nothing that the maximum does not.
func (s series) p99() string {
	if len(s) < 100 {
		return "–"
	}
	return millis(s.quantile(0.99))
}

// cells are the columns n, median, p99 and max of a series of milliseconds.
func (s series) cells() []string {
	return []string{fmt.Sprint(len(s)), millis(s.median()), s.p99(), millis(s.max())}
}

// millis writes milliseconds with three digits that count, and with a unit.
func millis(ms float64) string {
	switch a := math.Abs(ms); {
	case math.IsNaN(ms):
		return "–"
	case a >= 9995:
		return fmt.Sprintf("%.1f s", ms/1000)
	case a >= 999.5:
		return fmt.Sprintf("%.2f s", ms/1000)
	case a >= 99.95:
		return fmt.Sprintf("%.0f ms", ms)
	case a >= 9.995:
		return fmt.Sprintf("%.1f ms", ms)
	case a >= 0.9995:
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f µs", ms*1000)
}

// count writes a number with separators: 1,234,567.
func count(n float64) string {
	s := fmt.Sprintf("%.0f", n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
