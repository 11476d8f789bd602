//go:build !linux

package proxy

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// pipe does not exist here: every byte goes through the chain.
type pipe struct{}

func (*pipe) fill(int) (int, bool, error)       { return 0, false, errors.ErrUnsupported }
func (*pipe) drain(int, int) (int, bool, error) { return 0, false, errors.ErrUnsupported }
func (*pipe) read([]byte) (int, error)          { return 0, errors.ErrUnsupported }
func (*pipe) close()                            {}

type pipePool struct{}

func (*pipePool) get() (*pipe, error) { return nil, errors.ErrUnsupported }
func (*pipePool) put(*pipe)           {}
func (*pipePool) close()              {}

func isClosed(syscall.RawConn) bool              { return false }
func awaitSent(context.Context, syscall.RawConn) {}
func hangUp(c *net.TCPConn)                      { _ = c.Close() }
func refuse(*net.TCPListener) error              { return errors.ErrUnsupported }
func listenAgain(*net.TCPListener) error         { return errors.ErrUnsupported }

// Listen fails: links need Linux.
func Listen(context.Context, string, string) (*net.TCPListener, error) {
	return nil, errors.ErrUnsupported
}
