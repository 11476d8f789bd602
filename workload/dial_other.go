//go:build !linux

package workload

import (
	"syscall"
	"time"
)

// closeUnacknowledged does nothing: clients run on Linux only.
func closeUnacknowledged(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
