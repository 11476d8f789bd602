package httpdriver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/workload/httpdriver"
)

// TestAChangeWithoutAnAnswerIsUnknown has a server that reads a request whole and hangs up: it may have carried it out.
func TestAChangeWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	never := 0
	for _, o := range []httpdriver.Options{{Model: "set"}, {Model: "counter", Reads: &never}, {Model: "queue"}, {Model: "objects", Reads: &never}} {
		t.Run(o.Model, func(t *testing.T) {
			t.Parallel()
			drivertest.UnknownWithoutAnAnswer(t, httpdriver.Spec(), o, func(c net.Conn) {
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body) // it ends with the connection at the latest
				}
			})
		})
	}
}
