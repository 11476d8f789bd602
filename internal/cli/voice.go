package cli

import (
	"bytes"
	"io"
	"os"
	"sync"

	"github.com/discompose/discompose/internal/ui"
)

// voice is where one run speaks.
type voice struct {
	out   io.Writer // its report
	err   io.Writer // its timeline and its log
	color bool      // of the report
	ui    ui.Options
	close func() // says what is left of an unfinished line
}

// alone is the voice of a run that nobody talks over.
func (a *app) alone() voice {
	return voice{out: a.Out, err: a.Err, color: a.color(), close: func() {}, ui: a.shownOn(a.Err)}
}

// shownOn is how a run is shown on a stream.
func (a *app) shownOn(w io.Writer) ui.Options {
	tty := terminal(w)
	return ui.Options{
		Out: w, TTY: tty, Color: ui.WantColor(tty, a.noColor, os.Getenv), ASCII: ui.ASCIIOnly(os.Getenv), Width: func() int { return width(w) },
	}
}

// choir is the voices of runs that go on at the same time: every line of standard error has the run's name before it, and
// what one write brings to standard output, a whole report, is not interrupted.
type choir struct {
	mu sync.Mutex
	a  *app
}

// voice is that of the run of a name.
func (c *choir) voice(name string) voice {
	v := c.a.alone()
	lines := &prefixed{mu: &c.mu, to: c.a.Err, prefix: name + " | "}
	v.out, v.err, v.close = &whole{mu: &c.mu, to: c.a.Out}, lines, lines.flush
	v.ui.Out, v.ui.TTY, v.ui.Width = lines, false, nil
	return v
}

// whole writes each piece in one go.
type whole struct {
	mu *sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (w *whole) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// prefixed writes whole lines, each behind a prefix. It is safe for concurrent use.
type prefixed struct {
	mu     *sync.Mutex // of all that write to the same place
	to     io.Writer
	prefix string
	rest   []byte // of a line that has not ended
}

// Write implements io.Writer.
func (w *prefixed) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	var out []byte
	for {
		line, after, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			break
		}
		out = append(append(append(out, w.prefix...), line...), '\n')
		w.rest = after
	}
	if len(out) == 0 {
		return len(p), nil
	}
	_, err := w.to.Write(out)
	return len(p), err
}

func (w *prefixed) flush() {
	w.mu.Lock()
	rest := len(w.rest) > 0
	w.mu.Unlock()
	if rest {
		_, _ = w.Write([]byte("\n")) // standard error is gone: there is nobody to tell
	}
}
