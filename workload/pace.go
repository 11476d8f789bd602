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

// Schedule is an open loop whose rate changes: stretches in the order of their instants.
type Schedule []Stretch

// Stretch is a part of a schedule, until the next one begins. Its first operation is due when it begins.
type Stretch struct {
	At   int64   // ns since the schedule's start: 0, and then more than the one before
	Rate float64 // operations per second, more than 0
}

// Due is how many operations of s are due once elapsed ns have passed: the sum of what each stretch has until then, or until
// its end, as Due has it.
func (s Schedule) Due(elapsed int64) (n int64) {
	for i, one := range s {
		n += Due(min(elapsed, s.last(i))-one.At, one.Rate)
	}
	return n
}

// Instant is when operation k (from 0) of s is planned, in ns since the start; math.MaxInt64 where s has none.
func (s Schedule) Instant(k int64) int64 {
	for i, one := range s {
		if i < len(s)-1 {
			if n := Due(s.last(i)-one.At, one.Rate); k >= n {
				k -= n
				continue
			}
		}
		return one.At + min(Instant(k, one.Rate), math.MaxInt64-one.At)
	}
	return math.MaxInt64
}

// last is the last instant of stretch i.
func (s Schedule) last(i int) int64 {
	if i == len(s)-1 {
		return math.MaxInt64
	}
	return s[i+1].At - 1
}

// pace calls fire for each operation first, first + step, first + 2 step … of a schedule, in order, at its instant or as soon
// after it as the process runs; planned is that instant on now's clock. It returns when ctx ends or fire returns false.
func pace(ctx context.Context, now func() int64, start int64, s Schedule, first, step int64, fire func(planned int64) bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for k := first; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for due := s.Due(now() - start); k < due; k += step {
			if ctx.Err() != nil || !fire(start+s.Instant(k)) {
				return
			}
		}
		wait := s.Instant(k) - (now() - start)
		timer.Reset(time.Duration(max(wait, 0)))
	}
}
