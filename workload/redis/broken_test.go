package redis_test

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/workload/redis"
)

// TestAWriteWithoutAnAnswerIsUnknown has a server that reads a command and hangs up: it may have carried it out.
func TestAWriteWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	never := 0
	for _, o := range []redis.Options{{Reads: &never, Swaps: &never, Deletes: &never}, {Model: "set"}, {Model: "counter", Reads: &never}, {Model: "queue", Reads: &never}, {Model: "queue", Writes: &never}} {
		t.Run(o.Model, func(t *testing.T) {
			t.Parallel()
			drivertest.UnknownWithoutAnAnswer(t, redis.Spec(), o, untilCommand)
		})
	}
}

// untilCommand is a server that answers what clients say first, and ends when it has read the name of a command that writes.
func untilCommand(c net.Conn) {
	say := func(line string) { _, _ = c.Write([]byte(line + "\r\n")) } // if it fails, the next read does too
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		switch word := strings.ToUpper(strings.TrimSpace(line)); {
		case err != nil, slices.Contains([]string{"SET", "SADD", "INCRBY", "LPUSH", "RPOP"}, word):
			return
		case word == "PING":
			say("+PONG")
		case word == "HELLO", word == "CLIENT":
			say("-ERR unknown command")
		}
	}
}
