package compose

import (
	"bufio"
	"bytes"
	"time"
)

// AsShipped makes a project of a test pass for a shipped one.
func (p *Project) AsShipped(name string) { p.shipped = name }

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
