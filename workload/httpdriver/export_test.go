package httpdriver

import (
	"bufio"
	"context"
	"net"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Outcome opens the table of outcomes to tests.
func Outcome(o Add, sent bool, status int) ledger.Outcome { return outcome(o.OK, o.Fail, sent, status) }

// Seed is that of the bodies.
const Seed = 5

// NewSession makes the session of one process of a valid driver.
func NewSession(ctx context.Context, addr string, o Options) (workload.Session, error) {
	return newSystem(addr, o.WithDefaults(), Seed).Connect(ctx, 0)
}

// NewSystem makes the system of valid options.
func NewSystem(addr string, o Options) workload.System {
	return newSystem(addr, o.WithDefaults(), Seed)
}

// NewSessionOver makes a session that has its connection already.
func NewSessionOver(conn net.Conn) workload.Session {
	s := newSystem("web:80", Options{}.WithDefaults(), Seed).open("web:80", 0)
	s.c.conn, s.c.in = conn, bufio.NewReader(conn)
	return s
}
