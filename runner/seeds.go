package runner

// Seeds are the seeds of n runs of one scenario, no two the same: the given one, then numbers in [1, 2^31) drawn from it. A
// longer series begins with the shorter one, so that run k is the same run in both, and the same as a single one with its seed.
func Seeds(seed int64, n int) []int64 {
	random := Rand(seed, "runs")
	var seeds []int64
	drawn := map[int64]bool{}
	for next := seed; len(seeds) < n; next = 1 + random.Int64N(1<<31-1) {
		if !drawn[next] {
			seeds = append(seeds, next)
		}
		drawn[next] = true
	}
	return seeds
}
