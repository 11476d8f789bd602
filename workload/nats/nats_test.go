package nats_test

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// A server that led the stream until it was cut off tells of what it had then; the publishers know better.
func TestAFinalReadGoesToTheMessageThatWasAcknowledgedLast(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		reads []int // how far each read comes; the last one goes on
		err   error // of the second read
		want  int
		took  time.Duration
	}{
		"at once":                         {reads: []int{9}, want: 9},
		"further than any answer said":    {reads: []int{11}, want: 11},
		"stale at first":                  {reads: []int{5, 5, 9}, want: 9, took: time.Second},
		"what is lost is looked for 15 s": {reads: []int{5}, want: 5, took: 15*time.Second + 500*time.Millisecond},
		"an error is the loop's":          {reads: []int{5}, err: broken, took: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, n := time.Now(), -1
				found, err := nats.Settled(t.Context(), 9, func() ([]string, uint64, error) {
					if n++; n == 1 && c.err != nil {
						return nil, 0, c.err
					}
					last := c.reads[min(n, len(c.reads)-1)]
					return make([]string, last), uint64(last), nil //nolint:gosec // small
				})
				if len(found) != c.want || !errors.Is(err, c.err) || time.Since(began) != c.took {
					t.Errorf("%d found, %v, after %s", len(found), err, time.Since(began))
				}
			})
		})
	}
}
