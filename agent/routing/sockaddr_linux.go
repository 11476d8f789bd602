package routing

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST: both are 80.
const soOriginalDst = 80

func original4(fd int) (netip.AddrPort, error) {
	var a unix.RawSockaddrInet4
	if err := getsockopt(fd, unix.SOL_IP, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil { //nolint:gosec // the kernel fills a struct of this size
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), hostPort(a.Port)), nil
}

func original6(fd int) (netip.AddrPort, error) {
	var a unix.RawSockaddrInet6
	if err := getsockopt(fd, unix.SOL_IPV6, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil { //nolint:gosec // the kernel fills a struct of this size
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), hostPort(a.Port)), nil
}

// hostPort turns a port in network order as the kernel stores it into a number.
func hostPort(raw uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, raw))
}

func getsockopt(fd, level int, into unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), soOriginalDst, uintptr(into), uintptr(unsafe.Pointer(&n)), 0) //nolint:gosec // the kernel writes the size
	if errno != 0 {
		return fmt.Errorf("ask for the original destination: %w", os.NewSyscallError("getsockopt", errno))
	}
	return nil
}
