package runner

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/discompose/discompose/workload"
)

// hostClock maps the runner's monotonic clock to the engine host's boot-time clock, on which clients and the agent stamp.
// It is safe for concurrent use once synchronised.
type hostClock struct {
	start  time.Time    // of the runner, with its monotonic reading
	offset atomic.Int64 // host clock at start, ns
	errNs  atomic.Int64 // half the least round trip
}

// newHostClock starts from this machine's boot-time clock, which is the host's own where the engine is local.
func newHostClock() *hostClock {
	c := &hostClock{start: time.Now()}
	c.offset.Store(workload.Now())
	return c
}

// clockPings is how many round trips one synchronisation makes; the shortest counts.
const clockPings = 15

// sync measures the mapping anew; ping answers with the host's boot-time clock in ns.
func (c *hostClock) sync(ctx context.Context, ping func(context.Context) (int64, error)) error {
	least := int64(math.MaxInt64)
	for range clockPings {
		before := time.Since(c.start)
		host, err := ping(ctx)
		if err != nil {
			return fmt.Errorf("read the host's clock: %w", err)
		}
		after := time.Since(c.start)
		if trip := int64(after - before); trip < least {
			least = trip
			c.offset.Store(host - int64(before) - trip/2)
			c.errNs.Store(trip / 2)
		}
	}
	return nil
}

// now is the host's boot-time clock, ns; before the first sync it is this machine's own.
func (c *hostClock) now() int64 { return int64(time.Since(c.start)) + c.offset.Load() }

// until is how long it is to an instant of the host's clock.
func (c *hostClock) until(at int64) time.Duration { return time.Duration(at - c.now()) }

// wait blocks until an instant of the host's clock or until ctx ends, and returns the cause of the latter.
func (c *hostClock) wait(ctx context.Context, at int64) error {
	return sleep(ctx, c.until(at))
}

// sleep waits for d or until ctx ends, and returns the cause of the latter.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
