//go:build !linux

package workload

import "time"

// Now is the wall clock in ns. Clients run on Linux only; elsewhere the runner maps its own clock by pings, and only
// differences of this clock count.
func Now() int64 { return time.Now().UnixNano() }
