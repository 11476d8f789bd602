package oracle_test

import (
	"syscall"
	"testing"
)

// perSecond reports how many operations a benchmark judged in a second, and in a second of CPU time, garbage collection
// included: on a busy machine only the latter says something.
func perSecond(b *testing.B, ops int, judge func()) {
	b.Helper()
	before := cpuSeconds(b)
	for b.Loop() {
		judge()
	}
	used := cpuSeconds(b) - before
	b.ReportMetric(float64(b.N*ops)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.N*ops)/used, "ops/cpu-s")
}

func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(u.Utime) + seconds(u.Stime)
}
