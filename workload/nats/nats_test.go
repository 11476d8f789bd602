package nats_test

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/workload/nats"
)

// TestAMessageWithoutAnAnswerIsUnknown has a server that reads a message whole and hangs up: it may have stored it.
func TestAMessageWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	drivertest.UnknownWithoutAnAnswer(t, nats.Spec(), nats.Options{}, untilMessage)
}

// untilMessage is a server that lets everybody in, and ends when it has read a message.
func untilMessage(c net.Conn) {
	say := func(line string) { _, _ = c.Write([]byte(line + "\r\n")) } // if it fails, the next read does too
	say(`INFO {"server_id":"x","version":"2.10.0","headers":true,"max_payload":1048576,"proto":1}`)
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return
		case strings.HasPrefix(line, "PING"):
			say("PONG")
		case strings.HasPrefix(line, "PUB"), strings.HasPrefix(line, "HPUB"):
			_, _ = r.ReadString('\n')
			return
		}
	}
}
