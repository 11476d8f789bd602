package drivertest

import (
	"net"
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// UnknownWithoutAnAnswer runs a driver, without its set-up, against a server that serves each connection until it has read a request
// whole, and then hangs up: it may have carried the request out, so no operation may count as failed.
func UnknownWithoutAnAnswer(tb testing.TB, spec workload.Spec, options any, serve func(net.Conn)) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				serve(c)
				_ = c.Close()
			}()
		}
	}()
	r := New(tb, spec, workload.Config{Target: l.Addr().String(), Clients: 1}, options)
	if err := r.driver.Start(tb.Context(), r.emit); err != nil {
		tb.Fatal(err)
	}
	Eventually(tb, "an operation", func() bool { return r.Count("", "") > 0 })
	if failed := r.Errors(ledger.Failed); len(failed) > 0 || r.Count("", ledger.Unknown) == 0 {
		tb.Errorf("failed: %v, unknown: %v; want the second alone", failed, r.Errors(ledger.Unknown))
	}
}
