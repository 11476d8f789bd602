package ui

import (
	"fmt"
	"strings"
	"time"
)

// traffic derives a rate from counts that only grow.
type traffic struct {
	samples []sample // of the last rateOver, oldest first
}

type sample struct {
	at         time.Time
	ok, failed int64
}

// rateOver is the time that the rate is an average of.
const rateOver = 2 * time.Second

func (t *traffic) add(at time.Time, ok, failed int64) {
	t.samples = append(t.samples, sample{at, ok, failed})
	for len(t.samples) > 2 && at.Sub(t.samples[1].at) >= rateOver {
		t.samples = t.samples[1:]
	}
}

// text is the rate and the errors; empty before the first operation.
func (t *traffic) text() []string {
	if len(t.samples) == 0 {
		return nil
	}
	first, last := t.samples[0], t.samples[len(t.samples)-1]
	if last.ok == 0 && last.failed == 0 {
		return nil
	}
	var out []string
	if d := last.at.Sub(first.at).Seconds(); d > 0 {
		out = append(out, fmt.Sprintf("%.0f ok/s", float64(last.ok-first.ok)/d))
	}
	return append(out, plural(last.failed, "error"))
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// status is the status line without colours, cut to the terminal's width in plain and in live output. Where it is too
// long, what matters less is left out first.
func (u *UI) status(now time.Time) string {
	stage := u.stage
	if stage == "" {
		stage = "starting"
	}
	head := u.safe(stage) + " " + seconds(now.Sub(u.stageSince))
	if u.progress.Total > 0 {
		head += fmt.Sprintf(" %d/%d", u.progress.Count, u.progress.Total)
	} else if u.progress.Count > 0 {
		head += fmt.Sprintf(" %d", u.progress.Count)
	}
	// The first parts are kept longest.
	var parts []string
	if len(u.active) > 0 {
		parts = append(parts, u.marks.begin+" "+u.safe(strings.Join(u.active, ", ")))
	}
	if left := u.until.Sub(now); left > 0 {
		next := u.safe(u.next)
		if next == "" {
			next = "next"
		}
		parts = append(parts, next+" in "+seconds(left))
	}
	parts = append(parts, u.traffic.text()...)
	if text := u.safe(u.progress.Text); text != "" {
		parts = append(parts, text)
	}
	most := u.width() - 1 // a full line would wrap on some terminals
	if !u.o.TTY {
		most = plainWidth
	}
	sep := " " + u.marks.dot + " "
	line := head
	for _, p := range parts {
		if columns(line+sep+p) > most {
			if room := most - columns(line+sep); room >= leastPart && line == head {
				line += sep + u.fit(p, room)
			}
			break
		}
		line += sep + p
	}
	return u.fit(line, most)
}

const (
	plainWidth = 160
	leastPart  = 8 // columns below which a part is left out rather than cut
)

// seconds writes a length of time for the status line.
func seconds(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1fs", max(d, 0).Seconds())
}
