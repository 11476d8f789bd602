package compose

import (
	"bufio"
	"bytes"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
)

// AsShipped makes a project of a test pass for a shipped one.
func (p *Project) AsShipped(name string) { p.shipped = name }

// Convert makes an Event of the engine's.
func Convert(m events.Message) (Event, bool) { return convert(m) }

// SplitLog splits a framed log into "timestamp text" lines, "!" before those of standard error.
func SplitLog(stream []byte) ([]string, error) {
	var out []string
	err := splitLines(bufio.NewReader(bytes.NewReader(stream)), readFrame, func(l logLine) {
		mark := ""
		if l.stderr {
			mark = "!"
		}
		out = append(out, mark+l.at.Format(time.RFC3339Nano)+" "+l.text)
	})
	return out, err
}

// Available reads /proc/meminfo.
func Available(meminfo []byte) (int64, bool) { return available(meminfo) }

// Follow is what a follower gives of the lines "<stamp> <text>" of one stream.
func Follow(lines []string) []string {
	fw := follower{seen: map[logLine]int{}, most: 1024}
	var out []string
	for _, line := range lines {
		stamp, text, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			panic(err)
		}
		l := logLine{at: at, text: text}
		if !fw.replayed(l) {
			fw.took(l)
			out = append(out, text)
		}
	}
	return out
}
