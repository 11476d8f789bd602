package ui_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/internal/ui"
)

var update = flag.Bool("update", false, "write the golden files")

// clock is a fake clock that the test moves.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 14, 9, 26, 40, 0, time.UTC)} }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) forward(d time.Duration) { c.now = c.now.Add(d) }

// play shows a whole run: a pause of the broker with ticks every 100 ms.
func play(u *ui.UI, c *clock) {
	ticks := func(d time.Duration, ok, failed *int64, okStep, failStep int64) {
		for ; d > 0; d -= 100 * time.Millisecond {
			c.forward(100 * time.Millisecond)
			*ok, *failed = *ok+okStep, *failed+failStep
			u.Event(ui.Event{Kind: ui.Tick, OK: *ok, Errors: *failed})
		}
	}
	var ok, failed int64
	u.Event(ui.Event{Kind: ui.Stage, Name: "up", Text: "1 service", Until: c.now.Add(120 * time.Second), Next: "deadline"})
	for i := range 25 {
		c.forward(500 * time.Millisecond)
		u.Event(ui.Event{Kind: ui.Progress, Text: "pulling apache/kafka:3.9.1", Count: int64(i), Total: 25})
	}
	u.Event(ui.Event{Kind: ui.Step, Name: "ready", Text: "kafka is healthy"})
	u.Event(ui.Event{Kind: ui.Stage, Name: "steady", Text: "5s without an error"})
	ticks(5*time.Second, &ok, &failed, 20, 0)
	u.Event(ui.Event{Kind: ui.Stage, Name: "timeline", Until: c.now.Add(5 * time.Second), Next: "pause kafka"})
	ticks(5*time.Second, &ok, &failed, 20, 0)
	u.Event(ui.Event{Kind: ui.Fault, Name: "freeze", Text: "pause kafka (freeze)", Active: true, Until: c.now.Add(8 * time.Second), Next: "unpause kafka"})
	ticks(100*time.Millisecond, &ok, &failed, 3, 0)
	u.Event(ui.Event{Kind: ui.Witness, Name: "freeze", Text: "cpu time stands still (0 ns in 100 ms)", Active: true})
	ticks(8*time.Second, &ok, &failed, 0, 1)
	u.Event(ui.Event{Kind: ui.Fault, Name: "freeze", Text: "unpaused kafka"})
	u.Event(ui.Event{Kind: ui.Witness, Name: "freeze", Text: "cpu time moves again"})
	u.Event(ui.Event{Kind: ui.Warn, Text: "consumer exited with 137 – 2 × in ≤ 5 µs, “日本”"})
	u.Event(ui.Event{Kind: ui.Note, Text: "recovered after 318 ms"})
	u.Event(ui.Event{Kind: ui.Stage, Name: "recovery"})
	ticks(time.Second, &ok, &failed, 20, 0)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	// Escape sequences and carriage returns are written out, so that the files are text.
	got = strings.NewReplacer("\x1b", "<ESC>", "\r", "<CR>").Replace(got)
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs from the golden file (-want +got):\n%s", name, diff)
	}
}

func TestRunLooksAsInTheGoldenFiles(t *testing.T) {
	for name, o := range map[string]ui.Options{
		"plain":       {},
		"plain_ascii": {ASCII: true},
		"tty":         {TTY: true, Color: true},
		"tty_narrow":  {TTY: true, Width: func() int { return 24 }},
		"tty_ascii":   {TTY: true, ASCII: true, Width: func() int { return 50 }},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			c := newClock()
			o.Out, o.Now = &b, c.Now
			u := ui.New(o)
			play(u, c)
			if err := u.Close(); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.String())
			if o.ASCII && strings.ContainsFunc(b.String(), func(c rune) bool { return c > 127 }) {
				t.Error("the output is not ASCII")
			}
			if !o.TTY && strings.ContainsAny(b.String(), "\x1b\r") {
				t.Error("plain output has control codes")
			}
		})
	}
}

// screen is what a terminal shows after s: the lines, of which the last may be the status.
func screen(s string) []string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		if i := strings.LastIndex(line, "\r\x1b[2K"); i >= 0 {
			line = line[i+len("\r\x1b[2K"):]
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTerminalKeepsEveryLineOfPlainOutput(t *testing.T) {
	show := func(o ui.Options) string {
		var b strings.Builder
		c := newClock()
		o.Out, o.Now = &b, c.Now
		u := ui.New(o)
		play(u, c)
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	var plain []string
	for _, line := range screen(show(ui.Options{})) {
		if !strings.Contains(line, " … ") {
			plain = append(plain, line)
		}
	}
	if len(plain) < 10 {
		t.Fatalf("plain output has %d lines", len(plain))
	}
	if diff := cmp.Diff(plain, screen(show(ui.Options{TTY: true}))); diff != "" {
		t.Errorf("(-plain +tty):\n%s", diff)
	}
}

func TestStatusIsDrawnAtMostFiveTimesASecondAndFitsTheTerminal(t *testing.T) {
	for _, columns := range []int{1, 2, 5, 20, 40, 80, 200} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			var b strings.Builder
			c := newClock()
			u := ui.New(ui.Options{Out: &b, TTY: true, Now: c.Now, Width: func() int { return columns }})
			u.Event(ui.Event{Kind: ui.Stage, Name: "timeline", Until: c.now.Add(time.Hour), Next: "pause 漢字"})
			u.Event(ui.Event{Kind: ui.Fault, Name: "漢字漢字漢字", Active: true})
			b.Reset()
			for range 1000 {
				c.forward(10 * time.Millisecond)
				u.Event(ui.Event{Kind: ui.Tick, OK: 5, Errors: 1})
			}
			draws := strings.Split(b.String(), "\r\x1b[2K")[1:]
			if len(draws) < 40 || len(draws) > 50 {
				t.Errorf("%d draws in ten seconds", len(draws))
			}
			for _, d := range draws {
				wide := strings.Count(d, "漢") + strings.Count(d, "字")
				if n := len([]rune(d)) + wide; n > columns-1 {
					t.Fatalf("a status of %d columns on a terminal of %d: %q", n, columns, d)
				}
			}
		})
	}
}

func TestPlainProgressComesAfterTwoSecondsAndAtMostEveryTen(t *testing.T) {
	var b strings.Builder
	c := newClock()
	u := ui.New(ui.Options{Out: &b, Now: c.Now})
	u.Event(ui.Event{Kind: ui.Stage, Name: "up"})
	var at []time.Duration
	for i := range 250 {
		c.forward(100 * time.Millisecond)
		before := b.Len()
		u.Refresh()
		if b.Len() > before {
			at = append(at, time.Duration(i+1)*100*time.Millisecond)
		}
	}
	if diff := cmp.Diff([]time.Duration{2 * time.Second, 12 * time.Second, 22 * time.Second}, at); diff != "" {
		t.Errorf("progress at (-want +got):\n%s", diff)
	}
}

func TestForeignTextCannotMoveTheCursor(t *testing.T) {
	var b strings.Builder
	c := newClock()
	u := ui.New(ui.Options{Out: &b, Now: c.Now})
	u.Event(ui.Event{Kind: ui.Warn, Text: "a\x1b[2J\x1b]0;title\x07b\r\nc\xff\u202ed\x9b"})
	if got, want := b.String(), "    0.0s ! ab  c?d?\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLogLinesStandAboveTheStatus(t *testing.T) {
	var b strings.Builder
	c := newClock()
	u := ui.New(ui.Options{Out: &b, TTY: true, Now: c.Now})
	u.Event(ui.Event{Kind: ui.Stage, Name: "up"})
	logger := slog.New(slog.NewTextHandler(u, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	logger.Info("pulled", "image", "kafka")
	if _, err := u.Write([]byte("half ")); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write([]byte("a line\nunfinished")); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"    0.0s ● up", "level=INFO msg=pulled image=kafka", "half a line", "unfinished", ""}
	if diff := cmp.Diff(want, screen(b.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRunKeepsTheClockGoingWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		u := ui.New(ui.Options{Out: &b, TTY: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { u.Run(ctx); close(done) }()
		u.Event(ui.Event{Kind: ui.Stage, Name: "up", Until: time.Now().Add(10 * time.Second), Next: "deadline"})
		time.Sleep(3*time.Second + 50*time.Millisecond)
		cancel()
		<-done
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "up 3.0s · deadline in 7.0s") {
			t.Errorf("the clock stands still: %q", b.String())
		}
	})
}

var errGone = errors.New("terminal is gone")

type goneTerminal struct{ writes int }

func (g *goneTerminal) Write([]byte) (int, error) { g.writes++; return 0, errGone }

func TestABrokenTerminalEndsOutputAndNothingElse(t *testing.T) {
	out := &goneTerminal{}
	c := newClock()
	u := ui.New(ui.Options{Out: out, TTY: true, Now: c.Now})
	play(u, c)
	if err := u.Close(); !errors.Is(err, errGone) {
		t.Errorf("error %v", err)
	}
	if out.writes != 1 {
		t.Errorf("%d writes to a broken terminal", out.writes)
	}
}

func TestNothingIsPrintedAfterClose(t *testing.T) {
	var b strings.Builder
	u := ui.New(ui.Options{Out: &b, TTY: true})
	u.Event(ui.Event{Kind: ui.Note, Text: "x"})
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	n := b.Len()
	u.Event(ui.Event{Kind: ui.Note, Text: "late"})
	u.Refresh()
	if b.Len() != n {
		t.Errorf("printed %q after Close", b.String()[n:])
	}
}

func TestLocaleAndColourFollowTheEnvironment(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		name  string
		env   func(string) string
		ascii bool
	}{
		{"nothing set is POSIX", env(), true},
		{"UTF-8 in LANG", env("LANG", "en_US.UTF-8"), false},
		{"utf8 without a dash", env("LANG", "C.utf8"), false},
		{"LC_ALL outranks LANG", env("LANG", "en_US.UTF-8", "LC_ALL", "C"), true},
		{"LC_CTYPE outranks LANG", env("LANG", "C", "LC_CTYPE", "C.UTF-8"), false},
	} {
		if got := ui.ASCIIOnly(tt.env); got != tt.ascii {
			t.Errorf("%s: ASCII %t", tt.name, got)
		}
	}
	for _, tt := range []struct {
		name         string
		tty, noColor bool
		env          func(string) string
		want         bool
	}{
		{"a terminal", true, false, env("TERM", "xterm"), true},
		{"no terminal", false, false, env(), false},
		{"--no-color", true, true, env(), false},
		{"NO_COLOR", true, false, env("NO_COLOR", "1"), false},
		{"a dumb terminal", true, false, env("TERM", "dumb"), false},
	} {
		if got := ui.WantColor(tt.tty, tt.noColor, tt.env); got != tt.want {
			t.Errorf("%s: colour %t", tt.name, got)
		}
	}
}
