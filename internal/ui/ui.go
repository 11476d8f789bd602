// Package ui shows a run to a person while it lasts: permanent lines of a timeline and, on a terminal, one status line
// below them.
//
// A UI is fed with events and is safe for concurrent use. It makes no choices and knows nothing of runs, so that the
// same events drive a terminal, a CI log and a test. The package imports nothing of this module.
package ui

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Kind says what an Event tells.
type Kind string

// The kinds of events.
const (
	Stage    Kind = "stage"    // a stage of the run begins; Name is the stage. "timeline" is t = 0 of later lines
	Step     Kind = "step"     // something inside the stage happened; Name and Text
	Progress Kind = "progress" // the stage's work went on: Text, Count of Total
	Fault    Kind = "fault"    // Name is the fault; Active: it begins, else it ends; Text: "pause kafka (freeze)"
	Witness  Kind = "witness"  // Name is the fault; Active: seen in the window, else gone after it; Text: the measurement
	Seen     Kind = "seen"     // Text is something that was measured
	Note     Kind = "note"
	Warn     Kind = "warn"
	Tick     Kind = "tick" // nothing happened: OK and Errors so far, Until the next thing
)

// Event is one thing to show. Only Kind is needed.
type Event struct {
	At     time.Time // zero is now
	Kind   Kind
	Name   string
	Text   string
	Stage  string    // the stage that it belongs to; empty is the current one
	Count  int64     // progress: done
	Total  int64     // progress: of how many; 0 is unknown
	OK     int64     // tick: operations that succeeded since the run's start; the UI derives the rate
	Errors int64     // tick: operations that failed since the run's start
	Active bool      // fault and witness
	Zero   bool      // stage: it is t = 0 of later lines, as the stage "timeline" is
	Until  time.Time // what the run waits for next, shown as a countdown; zero clears nothing
	Next   string    // what that is: "unpause kafka"
}

// Options describe where a UI writes. The zero value discards everything.
type Options struct {
	Out   io.Writer
	TTY   bool             // Out is a terminal: draw a status line
	Color bool             // colour permanent lines
	ASCII bool             // no characters beyond ASCII
	Width func() int       // columns of the terminal; nil or less than 1 is 80
	Now   func() time.Time // nil is time.Now
}

const (
	redrawEvery   = 200 * time.Millisecond // the status line is redrawn at most five times a second
	progressEvery = 10 * time.Second       // in plain output
	progressAfter = 2 * time.Second        // what lasts longer shows progress
	timelineStage = "timeline"
)

// UI shows events. New makes one.
type UI struct {
	o     Options
	marks marks
	paint painter

	mu         sync.Mutex
	err        error     // the first error of Out; nothing is written after it
	start      time.Time // of the run: the first event
	zero       time.Time // of the timeline
	stage      string
	stageSince time.Time
	progress   Event // the last one of this stage
	until      time.Time
	next       string
	traffic    traffic
	active     []string // faults, oldest first
	drawn      bool     // a status line is on the screen
	lastDraw   time.Time
	lastLine   time.Time // plain: when a progress line was printed last
	lastOut    time.Time // plain: when any line was printed last
	partial    []byte    // of a line that Write got
	closed     bool
}

// New makes a UI. The caller ends it with Close.
func New(o Options) *UI {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &UI{o: o, marks: marksFor(o.ASCII), paint: newPainter(o.Color)}
}

// Run redraws the status line until ctx ends, so that clocks and countdowns go on while no event comes.
func (u *UI) Run(ctx context.Context) {
	t := time.NewTicker(redrawEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			u.Refresh()
		}
	}
}

// Refresh redraws the status line if it is due, or prints progress in plain output. Run calls it.
func (u *UI) Refresh() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refresh(u.o.Now())
}

// Event shows e.
func (u *UI) Event(e Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if e.At.IsZero() {
		e.At = u.o.Now()
	}
	if u.start.IsZero() {
		u.start, u.stageSince = e.At, e.At
	}
	u.take(e)
	if line := u.line(e); line != "" {
		u.permanent(line)
	}
	u.refresh(u.o.Now())
}

// take updates what the status line shows.
func (u *UI) take(e Event) {
	if !e.Until.IsZero() {
		u.until, u.next = e.Until, e.Next
	}
	switch e.Kind {
	case Stage:
		u.stage, u.stageSince, u.progress = e.Name, e.At, Event{}
		if e.Until.IsZero() {
			u.until, u.next = time.Time{}, ""
		}
		if e.Zero || e.Name == timelineStage {
			u.zero = e.At
		}
	case Progress:
		u.progress = e
	case Fault:
		u.setActive(e.Name, e.Active)
	case Tick:
		u.traffic.add(e.At, e.OK, e.Errors)
	case Step, Witness, Seen, Note, Warn:
	}
}

func (u *UI) setActive(name string, active bool) {
	kept := u.active[:0]
	for _, n := range u.active {
		if n != name {
			kept = append(kept, n)
		}
	}
	u.active = kept
	if active {
		u.active = append(u.active, name)
	}
}

// Write prints whole lines above the status line: a logger's output goes through it.
func (u *UI) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.partial = append(u.partial, p...)
	for {
		line, rest, ok := strings.Cut(string(u.partial), "\n")
		if !ok {
			break
		}
		u.partial = []byte(rest)
		u.permanent(u.safe(line))
	}
	u.refresh(u.o.Now())
	return len(p), u.err
}

// Close removes the status line and prints what is left of an unfinished line. It returns the first error of Out.
func (u *UI) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.partial) > 0 {
		u.permanent(u.safe(string(u.partial)))
		u.partial = nil
	}
	u.erase()
	u.closed = true
	return u.err
}

func (u *UI) print(s string) {
	if u.err != nil || u.closed {
		return
	}
	if _, err := io.WriteString(u.o.Out, s); err != nil {
		u.err = fmt.Errorf("write to terminal: %w", err)
	}
}

// permanent prints a line that stays; the status line, if there is one, is drawn below it again.
func (u *UI) permanent(line string) {
	u.erase()
	u.print(line + "\n")
	u.lastDraw, u.lastOut = time.Time{}, u.o.Now()
}

// eraseLine moves to the first column and clears the line.
const eraseLine = "\r\x1b[2K"

func (u *UI) erase() {
	if u.drawn {
		u.print(eraseLine)
		u.drawn = false
	}
}

func (u *UI) refresh(now time.Time) {
	if u.start.IsZero() || u.closed {
		return
	}
	if !u.o.TTY {
		u.plainProgress(now)
		return
	}
	if !u.lastDraw.IsZero() && now.Sub(u.lastDraw) < redrawEvery {
		return
	}
	u.print(eraseLine + u.paint.dim(u.status(now)))
	u.drawn, u.lastDraw = true, now
}

// plainProgress prints the status as a line: after two seconds of silence, and at most every ten.
func (u *UI) plainProgress(now time.Time) {
	if now.Sub(u.lastOut) < progressAfter || !u.lastLine.IsZero() && now.Sub(u.lastLine) < progressEvery {
		return
	}
	u.lastLine, u.lastOut = now, now
	u.print(u.stamp(now) + " " + u.marks.wait + " " + u.status(now) + "\n")
}

func (u *UI) width() int {
	if u.o.Width != nil {
		if w := u.o.Width(); w > 0 {
			return w
		}
	}
	return 80
}
