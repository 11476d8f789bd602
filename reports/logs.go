package reports

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// LogLine is one line of a service's log.
type LogLine struct {
	At      time.Time // the engine host's wall clock
	Service string
	Stderr  bool   // it was written to standard error
	Text    string // as the service wrote it, at most maxLogBytes
}

const (
	// maxLogBytes bounds the text of one log line.
	maxLogBytes = 4096
	// logSlack is how far the lines of a log may be out of order: stdout and stderr are merged by the engine.
	logSlack = 2 * time.Second
)

func (r *Record) openLogs() {
	names, err := filepath.Glob(filepath.Join(r.path(dirLogs), "*.log"))
	if err != nil || len(names) == 0 {
		return
	}
	for _, name := range names {
		r.LogServices = append(r.LogServices, strings.TrimSuffix(filepath.Base(name), ".log"))
	}
	slices.Sort(r.LogServices)
	dir := r.path(dirLogs)
	r.Logs = func(service string, from, to time.Time) []LogLine {
		if !slices.Contains(r.LogServices, service) {
			return nil
		}
		f, err := os.Open(filepath.Join(dir, service+".log"))
		if err != nil {
			return nil
		}
		defer f.Close() //nolint:errcheck // opened for reading
		return readLog(f, service, from, to)
	}
}

// readLog returns the lines of a log between two instants, in the order of time. A line starts with the instant at
// which the engine got it (RFC 3339 with nanoseconds), perhaps after the name of its container and "| ", then "! " for
// standard error or two spaces for standard output where the environment marked it; one without an instant belongs to
// the line before.
func readLog(in io.Reader, service string, from, to time.Time) []LogLine {
	var out []LogLine
	var last time.Time
	br := bufio.NewReader(in)
	for {
		line, err := readLine(br)
		if line != "" {
			at, text, ok := splitLog(line)
			if !ok {
				at, text = last, line
			}
			last = at
			if at.After(to.Add(logSlack)) {
				break
			}
			if !at.Before(from) && !at.After(to) {
				out = append(out, logLine(at, service, text))
			}
		}
		if err != nil {
			break
		}
	}
	slices.SortStableFunc(out, func(a, b LogLine) int { return a.At.Compare(b.At) })
	return out
}

func logLine(at time.Time, service, text string) LogLine {
	if rest, ok := strings.CutPrefix(text, "! "); ok {
		return LogLine{At: at, Service: service, Stderr: true, Text: rest}
	}
	return LogLine{At: at, Service: service, Text: strings.TrimPrefix(text, "  ")}
}

// readLine reads one line of any length and keeps its first bytes.
func readLine(br *bufio.Reader) (string, error) {
	var kept []byte
	for {
		part, err := br.ReadSlice('\n')
		if room := maxLogBytes - len(kept); room > 0 {
			kept = append(kept, part[:min(len(part), room)]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return strings.TrimRight(string(kept), "\r\n"), err
	}
}

func splitLog(line string) (time.Time, string, bool) {
	stamp, text, _ := strings.Cut(line, " ")
	if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
		return at, text, true
	}
	if _, rest, ok := strings.Cut(line, "| "); ok {
		stamp, text, _ = strings.Cut(rest, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			return at, text, true
		}
	}
	return time.Time{}, "", false
}

// logsAround picks the most telling lines of all services around an instant of the engine host's wall clock: those that
// speak of a problem first, then the nearest; the result is in the order of time.
func (r *Record) logsAround(at time.Time, within time.Duration, most int) []LogLine {
	if r.Logs == nil || at.IsZero() {
		return nil
	}
	var all []LogLine
	for _, s := range r.LogServices {
		all = append(all, r.Logs(s, at.Add(-within), at.Add(within))...)
	}
	slices.SortStableFunc(all, func(a, b LogLine) int {
		return cmp.Or(
			-cmp.Compare(problemRank(a.Text), problemRank(b.Text)),
			cmp.Compare(a.At.Sub(at).Abs(), b.At.Sub(at).Abs()),
		)
	})
	all = all[:min(len(all), most)]
	slices.SortStableFunc(all, func(a, b LogLine) int { return a.At.Compare(b.At) })
	return all
}

func problemRank(text string) int {
	upper := strings.ToUpper(text)
	for _, word := range []string{"ERROR", "FATAL", "PANIC", "WARN", "EXCEPTION"} {
		if strings.Contains(upper, word) {
			return 1
		}
	}
	return 0
}
