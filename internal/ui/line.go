package ui

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/fatih/color"
)

// marks are the characters that stand before a line.
type marks struct {
	stage, step, begin, end, seen, note, warn, wait, ellipsis, dot string
}

func marksFor(ascii bool) marks {
	if ascii {
		return marks{stage: "==", step: "-", begin: ">", end: "#", seen: "ok", note: "*", warn: "!", wait: "..", ellipsis: "...", dot: "|"}
	}
	return marks{stage: "●", step: "·", begin: "▶", end: "■", seen: "✓", note: "·", warn: "!", wait: "…", ellipsis: "…", dot: "·"}
}

// painter colours text, or leaves it alone.
type painter struct {
	bold, red, green, yellow, cyan, dim func(a ...any) string
}

func newPainter(on bool) painter {
	style := func(attrs ...color.Attribute) func(a ...any) string {
		if !on {
			return fmt.Sprint
		}
		c := color.New(attrs...)
		c.EnableColor()
		return c.Sprint
	}
	return painter{
		bold: style(color.Bold), red: style(color.FgRed), green: style(color.FgGreen), yellow: style(color.FgYellow),
		cyan: style(color.FgCyan), dim: style(color.Faint),
	}
}

// line is the permanent line of an event, empty where it has none.
func (u *UI) line(e Event) string {
	text := u.safe(e.Text)
	if text == "" && e.Kind != Stage {
		text = u.safe(e.Name)
	}
	var mark string
	switch e.Kind {
	case Stage:
		mark = u.paint.bold(u.marks.stage)
		name := u.safe(e.Name)
		if text != "" {
			text = ": " + text
		}
		text = u.paint.bold(name) + text
	case Step:
		mark = u.paint.dim(u.marks.step)
	case Fault:
		mark, text = u.paint.cyan(u.marks.end), u.paint.cyan(text)
		if e.Active {
			mark, text = u.paint.red(u.marks.begin), u.paint.red(text)
		}
	case Witness:
		what := "witness gone: "
		if e.Active {
			what = "witness: "
		}
		mark, text = u.paint.green(u.marks.seen), what+text
	case Seen:
		mark = u.paint.green(u.marks.seen)
	case Note:
		mark = u.marks.note
	case Warn:
		mark, text = u.paint.yellow(u.marks.warn), u.paint.yellow(text)
	case Progress, Tick:
		return ""
	default:
		mark = u.marks.note
	}
	return u.stamp(e.At) + " " + mark + " " + text
}

// stamp is where an instant lies on the timeline ("+5.1s"), or before it, in the run ("12.3s").
func (u *UI) stamp(at time.Time) string {
	if u.zero.IsZero() {
		return fmt.Sprintf("%7.1fs", at.Sub(u.start).Seconds())
	}
	return fmt.Sprintf("%+7.1fs", at.Sub(u.zero).Seconds())
}

// escapes matches the escape sequences of terminals: CSI, OSC and two-byte ones.
var escapes = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]")

// safe makes foreign text fit for one line of a terminal: valid UTF-8, no control and no direction characters, and
// ASCII alone where the terminal has no more.
func (u *UI) safe(s string) string {
	s = strings.ToValidUTF8(escapes.ReplaceAllString(s, ""), "?")
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n' || c == '\t' || c == '\r':
			b.WriteByte(' ')
		case unicode.IsControl(c) || unicode.Is(unicode.Cf, c):
			// left out: it could move the cursor, or write backwards
		case u.o.ASCII && c > unicode.MaxASCII:
			b.WriteString(ascii(c))
		default:
			b.WriteRune(c)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// ascii stands in for the characters that our own texts use.
func ascii(c rune) string {
	switch c {
	case '–', '—', '−':
		return "-"
	case '…':
		return "..."
	case '×':
		return "x"
	case 'µ', 'μ':
		return "u"
	case '≥':
		return ">="
	case '≤':
		return "<="
	case '→':
		return "->"
	case '·':
		return "|"
	case '±':
		return "+-"
	case '“', '”':
		return `"`
	case '‘', '’':
		return "'"
	}
	return "?"
}

// columns is how many columns of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, c := range s {
		n += runeColumns(c)
	}
	return n
}

// runeColumns is 2 for the wide characters of East Asia and for emoji, 0 for combining marks, else 1.
func runeColumns(c rune) int {
	switch {
	case unicode.Is(unicode.Mn, c):
		return 0
	case c >= 0x1100 && c <= 0x115f, c >= 0x2e80 && c <= 0xa4cf, c >= 0xac00 && c <= 0xd7a3, c >= 0xf900 && c <= 0xfaff,
		c >= 0xfe30 && c <= 0xfe6f, c >= 0xff00 && c <= 0xff60, c >= 0x1f300 && c <= 0x1faff, c >= 0x20000 && c <= 0x3fffd:
		return 2
	}
	return 1
}

// fit cuts s to most columns.
func (u *UI) fit(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	end := u.marks.ellipsis
	if most < columns(end) {
		return strings.Repeat(".", max(most, 0))
	}
	room := most - columns(end)
	var b strings.Builder
	for _, c := range s {
		if room -= runeColumns(c); room < 0 {
			break
		}
		b.WriteRune(c)
	}
	return b.String() + end
}
