package reports

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// none stands for a value that is not there.
const none = "–"

// ansi matches the escape sequences of terminals: CSI, OSC and two-byte ones.
var ansi = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]")

// clean makes foreign text fit for one line of a report: no escape sequence, no control or direction character, valid
// UTF-8, white space folded, at most `most` runes.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(ansi.ReplaceAllString(s, ""), "\uFFFD")
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c):
			return -1
		}
		return c
	}, s)
	return cut(strings.Join(strings.Fields(s), " "), most)
}

// cut shortens s to at most n runes, the last of them an ellipsis where something was left out.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(n-1, 0)]) + "…"
}

// code is foreign text as Markdown code, which renders nothing of it; pipes are escaped for tables by the table itself.
func code(s string, most int) string {
	// A backslash before a pipe would undo the pipe's escape in a table.
	s = strings.ReplaceAll(clean(s, most), `\|`, `\¦`)
	if s == "" {
		return none
	}
	longest, n := 0, 0
	for _, c := range s {
		n++
		if c != '`' {
			n = 0
		}
		longest = max(longest, n)
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// prose is a sentence from elsewhere as Markdown text that is shown as it is written: no markup, link, HTML or mention
// comes out of it. An underscore inside a word stays, for it marks nothing there.
func prose(s string) string {
	runes := []rune(clean(s, maxProse))
	word := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	var b strings.Builder
	for i, c := range runes {
		switch {
		case c == '<':
			b.WriteString("&lt;")
			continue
		case c == '&':
			b.WriteString("&amp;")
			continue
		case c == '@' && !word(i-1):
			b.WriteString("@\u200b") // no mention
			continue
		case strings.ContainsRune("\\`*[]~", c), c == '_' && (!word(i-1) || !word(i+1)), c == '#' && i == 0:
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// maxProse bounds a sentence from elsewhere, in runes.
const maxProse = 600

// count writes n with a comma between groups of three digits.
func count[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// countOf is "1 record", "2 records".
func countOf[T int | int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// percent is a share in [0,1]; it is rounded down, so that only the whole is "100 %".
func percent(share float64) string {
	if share >= 1 {
		return "100 %"
	}
	return strconv.FormatFloat(math.Floor(share*1e4)/1e2, 'f', 2, 64) + " %"
}

// length writes a length of time in ns for people.
func length(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d < 0:
		return "-" + length(-ns)
	case d == 0:
		return "0 ms"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// latency is length for a quantile, which is 0 where there was no operation.
func latency(ns int64) string {
	if ns == 0 {
		return none
	}
	return length(ns)
}

func rate(perSecond float64) string {
	if perSecond != 0 && perSecond < 10 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return count(int64(math.Round(perSecond)))
}

// number writes a measured value without needless digits.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return count(int64(v))
	}
	if math.Abs(v) >= 1e3 && math.Abs(v) < 1e15 {
		return count(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// bytesText writes a number of bytes in binary units.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return count(n) + " B"
}

// shellQuote writes one argument so that a POSIX shell reads it back.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("_-./:=@%+,", c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
