//go:build !linux

package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
)

// What follows lets the package compile: links need Linux, and Open says so.

// Movers do not exist here.
type Movers struct{}

// NewMovers fails.
func NewMovers() (*Movers, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Movers) Close() {}

func (*Movers) pick() *mover { return nil }

type mover struct {
	spinner spinner
	buf     [smallBytes]byte
}

func (*mover) post(*direction) {}

type sock struct {
	m        *mover
	fd       int
	in, out  signal
	hup      atomic.Bool
	from, to atomic.Pointer[direction]
}

func newSock(*mover, *net.TCPConn, func(*sock, bool)) (*sock, error) {
	return nil, errors.ErrUnsupported
}

func (*sock) hold() bool                       { return false }
func (*sock) release()                         {}
func (*sock) read([]byte) (int, bool, error)   { return 0, false, errors.ErrUnsupported }
func (*sock) write([]byte) (int, bool, error)  { return 0, false, errors.ErrUnsupported }
func (*sock) closeWrite()                      {}
func (*sock) isClosed() bool                   { return false }
func (*sock) awaitSent(context.Context)        {}
func (*sock) reset()                           {}
func (*sock) hangUp()                          {}
func (*sock) close()                           {}
func (*sock) openDiag() (*diag, error)         { return nil, errors.ErrUnsupported }
func readOnce(int, []byte) (int, bool, error)  { return 0, false, errors.ErrUnsupported }
func writeOnce(int, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

type diag struct{}

func (*diag) orphan(netip.AddrPort, netip.AddrPort) bool { return false }
func (*diag) close()                                     {}

type pipe struct{}

func (*pipe) fill(int) (int, bool, error)       { return 0, false, errors.ErrUnsupported }
func (*pipe) drain(int, int) (int, bool, error) { return 0, false, errors.ErrUnsupported }
func (*pipe) read([]byte) (int, error)          { return 0, errors.ErrUnsupported }
func (*pipe) close()                            {}

type pipePool struct{}

func (*pipePool) get() (*pipe, error) { return nil, errors.ErrUnsupported }
func (*pipePool) put(*pipe)           {}
func (*pipePool) close()              {}

func refuse(*net.TCPListener) error      { return errors.ErrUnsupported }
func listenAgain(*net.TCPListener) error { return errors.ErrUnsupported }

// Listen fails.
func Listen(context.Context, string, string) (*net.TCPListener, error) {
	return nil, errors.ErrUnsupported
}
