package workload

import "sync/atomic"

// Raise sets at to a value, unless it is higher already.
func Raise(at *atomic.Int64, to int64) {
	for {
		was := at.Load()
		if to <= was || at.CompareAndSwap(was, to) {
			return
		}
	}
}
