package s3_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/workload/s3"
)

// TestAWriteWithoutAnAnswerIsUnknown has a server that reads a request whole and hangs up: it may have carried it out.
func TestAWriteWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	never := 0
	drivertest.UnknownWithoutAnAnswer(t, s3.Spec(), s3.Options{Gets: &never, Ranges: &never, Heads: &never, Lists: &never}, func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body) // it ends with the connection at the latest
		}
	})
}
