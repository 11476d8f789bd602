package runner

import "slices"

// Seeds are the seeds of n runs of one scenario, no two the same: the given one, then numbers in [1, 2^31) drawn from it. A
// longer series begins with the shorter one, so that run k is the same run in both, and the same as a single one with its seed.
func Seeds(seed int64, n int) []int64 {
	random := Rand(seed, "runs")
	var seeds []int64
	for next := seed; len(seeds) < n; next = 1 + random.Int64N(1<<31-1) {
		if !slices.Contains(seeds, next) {
			seeds = append(seeds, next)
		}
	}
	return seeds
}
