package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// The messages of include/uapi/linux/inet_diag.h that ask for one socket.
const (
	diagByFamily   = 20 // SOCK_DIAG_BY_FAMILY
	diagRequest    = unix.NLMSG_HDRLEN + 56
	diagAnswer     = unix.NLMSG_HDRLEN + 72
	diagInode      = unix.NLMSG_HDRLEN + 68 // of the answer
	siocGetSocketN = 0x894C                 // SIOCGSKNS
)

// diag asks the kernel about sockets of one network namespace.
type diag struct{ fd int }

// openDiag opens a diag of the socket's namespace. Where that cannot be entered it is one of the process's own.
func (s *sock) openDiag() (*diag, error) {
	if !s.hold() {
		return nil, net.ErrClosed
	}
	ns, err := unix.IoctlRetInt(s.fd, siocGetSocketN)
	s.release()
	if err != nil {
		ns = -1
	} else {
		defer unix.Close(ns) //nolint:errcheck // opened to enter it
	}
	type opened struct {
		fd  int
		err error
	}
	out := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, wherever it is
		if ns >= 0 {
			_ = unix.Setns(ns, unix.CLONE_NEWNET)
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_INET_DIAG)
		out <- opened{fd, err}
	}()
	o := <-out
	if o.err != nil {
		return nil, fmt.Errorf("open socket diagnosis: %w", o.err)
	}
	return &diag{o.fd}, nil
}

func (d *diag) close() { _ = unix.Close(d.fd) }

// orphan reports whether there is a TCP socket with these ends that no process has any more. One that is not found is not
// known to be one.
func (d *diag) orphan(local, remote netip.AddrPort) bool {
	if err := unix.Sendto(d.fd, diagQuery(local, remote), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false
	}
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(d.fd, b, 0) // the kernel has answered while the query was sent
	if err != nil || n < diagAnswer || binary.NativeEndian.Uint16(b[4:]) != diagByFamily {
		return false
	}
	return binary.NativeEndian.Uint32(b[diagInode:]) == 0
}

// diagQuery is a nlmsghdr and an inet_diag_req_v2.
func diagQuery(local, remote netip.AddrPort) []byte {
	b := make([]byte, diagRequest)
	binary.NativeEndian.PutUint32(b[0:], diagRequest)
	binary.NativeEndian.PutUint16(b[4:], diagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	q := b[unix.NLMSG_HDRLEN:]
	q[0], q[1] = unix.AF_INET, unix.IPPROTO_TCP
	from, to := local.Addr().Unmap(), remote.Addr().Unmap()
	if from.Is6() {
		q[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(q[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(q[8:], local.Port())
	binary.BigEndian.PutUint16(q[10:], remote.Port())
	copy(q[12:28], from.AsSlice())
	copy(q[28:44], to.AsSlice())
	binary.NativeEndian.PutUint64(q[48:], ^uint64(0)) // any cookie
	return b
}
