package reports

import "math"

// z95 is the 97.5 % quantile of the standard normal distribution: 95 % lie between -z95 and +z95.
const z95 = 1.959963984540054

// Wilson is the 95 % score interval for the share of failures, of which n trials showed some: each bound in [0,1]. Without
// a trial it is the whole of [0,1]. Unlike the normal approximation it holds for few trials and for none or all failing.
//
// Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the American
// Statistical Association 22 (1927), 209–212; without continuity correction, as method 3 in R. G. Newcombe, Two-sided
// confidence intervals for the single proportion, Statistics in Medicine 17 (1998), 857–872.
func Wilson(failed, n int) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	trials := float64(n)
	p := float64(failed) / trials
	whole := 1 + z95*z95/trials
	centre := (p + z95*z95/(2*trials)) / whole
	half := z95 * math.Sqrt(p*(1-p)/trials+z95*z95/(4*trials*trials)) / whole
	low, high = max(centre-half, 0), min(centre+half, 1)
	// With none or all failing one bound is the edge itself, which rounding may miss.
	if failed == 0 {
		low = 0
	}
	if failed == n {
		high = 1
	}
	return low, high
}
