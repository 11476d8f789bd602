package workload

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// closeUnacknowledged is a dialer's control that has the kernel close a connection whose sent data the peer's kernel has
// not acknowledged for d (TCP_USER_TIMEOUT). A kernel without it goes on as it is.
func closeUnacknowledged(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
	}
}
