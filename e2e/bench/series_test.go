package main

import (
	"math"
	"testing"
	"time"
)

func TestQuantilesAreNearestRank(t *testing.T) {
	t.Parallel()
	var s series
	for i := range 100 {
		s.add(time.Duration(100-i) * time.Millisecond) // 100 … 1
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile(%g) = %g, want %g", q, got, want)
		}
	}
	if s[0] != 100 {
		t.Error("quantile has sorted the series itself")
	}
	if got := (series{7}).quantile(0.99); got != 7 {
		t.Errorf("quantile of one value = %g, want 7", got)
	}
	if !math.IsNaN((series{}).median()) {
		t.Error("the median of nothing is not NaN")
	}
	if got := (series{1, 2}).p99(); got != "–" {
		t.Errorf("p99 of two values = %q, want none", got)
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]string{
		0.0421: "42 µs", 0.9996: "1.00 ms", 9.994: "9.99 ms", 9.996: "10.0 ms", 99.96: "100 ms", 999.6: "1.00 s", 12345: "12.3 s", -250: "-250 ms",
	} {
		if got := millis(in); got != want {
			t.Errorf("millis(%g) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[float64]string{999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(in); got != want {
			t.Errorf("count(%g) = %q, want %q", in, got, want)
		}
	}
}
