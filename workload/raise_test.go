package workload_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/discompose/discompose/workload"
)

func TestRaiseKeepsTheHighest(t *testing.T) {
	t.Parallel()
	var at atomic.Int64
	var all sync.WaitGroup
	for first := range int64(8) {
		all.Go(func() {
			for to := first; to < 10_000; to += 8 {
				workload.Raise(&at, to)
				if now := at.Load(); now < to {
					t.Errorf("%d after it was raised to %d", now, to)
				}
			}
		})
	}
	all.Wait()
	workload.Raise(&at, 5)
	if now := at.Load(); now != 9_999 {
		t.Errorf("%d, want the highest", now)
	}
}
