package reports

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// JUnit writes junit.xml of one run: a suite with one case.
func JUnit(w io.Writer, r *Record) error {
	return JUnitSuite(w, []Entry{{Scenario: r.Run.Scenario, Record: r}})
}

// JUnitSuite writes the runs of one call as JUnit XML: one suite, one case per run. It is the common part of what readers
// for GitHub (EnricoMi/publish-unit-test-result-action, dorny/test-reporter, mikepenz/action-junit-report) and GitLab
// accept. A run that fails is a failure whose type is its class. One that proves nothing is an error, and so is one whose
// environment could not be had: every reader counts what is skipped as fine, and untested is not fine. Only a run that
// never began is skipped. GitLab shows neither message nor output of a case, but the text inside failure and error: so
// that text stands by itself. It also keeps one of several cases with one name: so a name has the seed where runs differ
// in it, and a number where even that is the same.
func JUnitSuite(w io.Writer, entries []Entry) error {
	suite := junitSuite{Name: "discompose", Tests: len(entries)}
	names := map[string]int{}
	seconds := 0.0
	for i := range entries {
		e := &entries[i]
		c := e.junitCase()
		if names[c.Name]++; names[c.Name] > 1 {
			c.Name += fmt.Sprintf(" (%d)", names[c.Name])
		}
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Error != nil:
			suite.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
		if r := e.Record; r != nil {
			seconds += r.spent().wall.Seconds()
			if suite.Timestamp == "" || r.Run.Started != "" && r.Run.Started < suite.Timestamp {
				suite.Timestamp = r.Run.Started
			}
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = seconds3(seconds)
	if text := spentText(entries); text != "" && len(entries) > 1 {
		suite.Properties = &junitProperties{[]junitProperty{{"time", text}}}
	}
	all := junitSuites{Name: suite.Name, Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Skipped: suite.Skipped, Time: suite.Time, Suites: []junitSuite{suite}}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("encode junit report: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, text); err != nil {
		return fmt.Errorf("write junit report: %w", err)
	}
	return nil
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"` // seconds
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string `xml:"name,attr"`
	Tests     int    `xml:"tests,attr"`
	Failures  int    `xml:"failures,attr"`
	Errors    int    `xml:"errors,attr"`
	Skipped   int    `xml:"skipped,attr"`
	Time      string `xml:"time,attr"`
	Timestamp string `xml:"timestamp,attr,omitempty"` // RFC 3339

	Properties *junitProperties `xml:"properties"`
	Cases      []junitCase      `xml:"testcase"`
}

type junitCase struct {
	Class      string          `xml:"classname,attr"`
	Name       string          `xml:"name,attr"`
	File       string          `xml:"file,attr,omitempty"` // for GitLab's link, and annotations of GitHub's readers
	Line       int             `xml:"line,attr,omitempty"`
	Time       string          `xml:"time,attr"`
	Properties []junitProperty `xml:"properties>property,omitempty"`
	Failure    *junitProblem   `xml:"failure"`
	Error      *junitProblem   `xml:"error"`
	Skipped    *junitProblem   `xml:"skipped"`
	Out        *junitText      `xml:"system-out"`
}

type junitProperties struct {
	Properties []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitProblem struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",cdata"`
}

type junitText struct {
	Text string `xml:",cdata"`
}

func (e *Entry) junitCase() junitCase {
	c := junitCase{Class: "discompose." + clean(e.Scenario, 200), Name: clean(e.Scenario, 200), File: clean(e.file(), 1000), Line: e.Line, Time: seconds3(0)}
	if e.seeded() {
		c.Name += " seed " + e.seedCell()
	}
	if _, ok := e.seed(); ok {
		c.Properties = append(c.Properties, junitProperty{"seed", e.seedCell()})
	}
	if r, ok := e.dir(); ok {
		c.Properties = append(c.Properties, junitProperty{"run", clean(r.shortDir(), 1000)})
	}
	if r := e.Record; r != nil {
		c.Time = seconds3(r.spent().wall.Seconds())
		c.Properties = append(c.Properties, junitProperty{"waiting", seconds3(r.spent().waiting.Seconds())})
		for _, f := range r.Run.Fallbacks {
			c.Properties = append(c.Properties, junitProperty{"fallback", clean(f, 200)})
		}
		for _, s := range r.Run.Services {
			c.Properties = append(c.Properties, junitProperty{"image " + clean(s.Name, 100), clean(cmp.Or(s.Digest, s.Image), 300)})
		}
		c.Out = r.junitOut()
	}
	problem := e.junitProblem()
	switch e.status() {
	case passed:
		if e.Dirty != "" {
			problem.Type = "dirty"
			c.Error = problem
		}
	case failed:
		c.Failure = problem
	case inconclusive, noVerdict:
		c.Error = problem
	case skipped:
		c.Skipped = &junitProblem{Message: e.outcome()}
	}
	return c
}

// junitProblem is what a reader sees of a run that did not pass.
func (e *Entry) junitProblem() *junitProblem {
	lines := append([]string{e.title(), e.outcome()}, e.reasons()...)
	lines = append(lines, "again: "+e.command())
	if r, ok := e.dir(); ok {
		lines = append(lines, "run directory: "+clean(r.shortDir(), 300))
	}
	return &junitProblem{Type: e.class(), Message: e.title(), Text: plain(strings.Join(lines, "\n"))}
}

// junitOut is the text report, without the path above the run directory: the file is made to be uploaded.
func (r *Record) junitOut() *junitText {
	short := *r
	short.Dir = r.shortDir()
	var b strings.Builder
	if err := Text(&b, &short); err != nil {
		return nil // a builder takes everything
	}
	return &junitText{plain(b.String())}
}

// plain keeps the characters that XML 1.0 has and that a terminal does not act on; lines stay.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == 0xFFFE || c == 0xFFFF) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(ansi.ReplaceAllString(s, ""), "\uFFFD"))
}

func seconds3(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }
