//go:build unix

package httpdriver

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gone reports whether the peer of an idle connection has closed it, or has said something that nobody asked for.
func gone(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = err == unix.EAGAIN || err == unix.EINTR
		return true
	})
	return err != nil || !quiet
}
