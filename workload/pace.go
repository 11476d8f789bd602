package workload

import (
	"context"
	"math"
	"time"
)

// Due is how many operations of an open loop are due once elapsed ns have passed since its start, at rate operations per
// second: the first at 0, operation k at Instant(k, rate). It is 0 for a negative time or a rate that is not positive.
func Due(elapsed int64, rate float64) int64 {
	if elapsed < 0 || rate <= 0 {
		return 0
	}
	n := int64(float64(elapsed) * rate / 1e9) // the estimate is off by rounding only
	for n > 0 && Instant(n-1, rate) > elapsed {
		n--
	}
	for Instant(n, rate) <= elapsed {
		n++
	}
	return n
}

// Instant is when operation k (from 0) of an open loop is planned, in ns since its start.
func Instant(k int64, rate float64) int64 {
	at := float64(k) * 1e9 / rate
	if at >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(at)
}

// pace calls fire once for every operation of an open loop, in order, at its instant or as soon after it as the process
// runs; planned is that instant on now's clock. It returns when ctx ends or fire returns false.
func pace(ctx context.Context, now func() int64, start int64, rate float64, fire func(planned int64) bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for done := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for due := Due(now()-start, rate); done < due; done++ {
			if ctx.Err() != nil || !fire(start+Instant(done, rate)) {
				return
			}
		}
		wait := Instant(done, rate) - (now() - start)
		timer.Reset(time.Duration(max(wait, 0)))
	}
}
