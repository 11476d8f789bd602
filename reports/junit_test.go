package reports_test

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/reports"
)

// junit is what readers of JUnit XML look at, decoded on its own so that a slip of the encoder's tags shows.
type junit struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Cases    []struct {
			Class   string  `xml:"classname,attr"`
			Name    string  `xml:"name,attr"`
			File    string  `xml:"file,attr"`
			Time    float64 `xml:"time,attr"`
			Failure *part   `xml:"failure"`
			Error   *part   `xml:"error"`
			Skipped *part   `xml:"skipped"`
			Out     string  `xml:"system-out"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

type part struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

func readJUnit(t interface{ Fatalf(string, ...any) }, entries []reports.Entry) junit {
	var b bytes.Buffer
	var got junit
	if err := reports.JUnitSuite(&b, entries); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("read: %v\n%s", err, &b)
	}
	if len(got.Suites) != 1 || len(got.Suites[0].Cases) != len(entries) {
		t.Fatalf("%d suites; want one with %d cases:\n%s", len(got.Suites), len(entries), &b)
	}
	return got
}

func TestJUnitTellsHowEachRunEnded(t *testing.T) {
	suite := readJUnit(t, mixed(t)).Suites[0]
	var got []string
	for _, c := range suite.Cases {
		how := c.Name + ": "
		for kind, p := range map[string]*part{"failure": c.Failure, "error": c.Error, "skipped": c.Skipped} {
			if p != nil {
				how += kind + " " + p.Type
			}
		}
		got = append(got, how)
	}
	if diff := cmp.Diff([]string{
		"kafka_broker_pause_1: ", "kafka_broker_pause_2: failure data-loss", "kafka_broker_pause_3: error no-witness",
		"kafka_broker_pause_4: error dirty", "kafka_broker_pause_5: error no-steady-state", "web_pause: error environment", "web_kill: skipped ",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if suite.Tests != 7 || suite.Failures != 1 || suite.Errors != 4 || suite.Skipped != 1 {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped", suite.Tests, suite.Failures, suite.Errors, suite.Skipped)
	}
	bad := suite.Cases[1]
	if bad.Class != "discompose.kafka_broker_pause_2" || bad.Time != 51 || bad.File != "chaos, and more/100%.toml" {
		t.Errorf("case %+v", bad)
	}
	// GitLab shows this text alone.
	for _, want := range []string{"FAIL (data-loss)", "violation: data-loss at ", "again: discompose run 'chaos, and more/100%.toml' --seed 7", "run directory: runs/"} {
		if !strings.Contains(bad.Failure.Text, want) {
			t.Errorf("the failure does not say %q:\n%s", want, bad.Failure.Text)
		}
	}
	if !strings.HasPrefix(bad.Out, "FAIL (data-loss): ") || strings.Contains(bad.Out, "/home/anna") {
		t.Errorf("output:\n%s", bad.Out)
	}
}

func TestJUnitGivesEachRunANameOfItsOwn(t *testing.T) {
	entries := append(repeated(t), reports.Entry{Scenario: "twice"}, reports.Entry{Scenario: "twice"})
	names := map[string]bool{}
	for _, c := range readJUnit(t, entries).Suites[0].Cases {
		names[c.Name] = true
	}
	if len(names) != len(entries) || !names["kafka_broker_pause seed 103"] || !names["twice"] || !names["twice (2)"] {
		t.Errorf("names %v", names)
	}
}

func TestJUnitOfARunNamesItsFile(t *testing.T) {
	r := degraded(t)
	r.Run.Source = "chaos/pause.toml"
	if text := write(t, reports.JUnit, r); !strings.Contains(text, ` file="chaos/pause.toml"`) {
		t.Errorf("no file:\n%s", text)
	}
	if text := write(t, reports.JUnit, degraded(t)); strings.Contains(text, " file=") {
		t.Errorf("a shipped scenario has a file:\n%s", text)
	}
}

func TestAnyTextMakesWellFormedJUnit(t *testing.T) {
	bad := dataLoss(t)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a]>&<\"'\x00\x1b[31m\ufffe\u202e\n"))), rapid.Custom(func(rt *rapid.T) string {
			return string(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes"))
		})).Draw(rt, "text")
		r := bad.WithoutOps()
		r.Run.Scenario, r.Run.Description, r.Run.Fallbacks, r.Dir = text, text, []string{text}, "runs/"+text
		got := readJUnit(rt, []reports.Entry{{Scenario: text, File: text, Record: r, Dirty: text}, {Scenario: text, Class: text, Reason: text}, {Skipped: true, Reason: text}})
		for _, c := range got.Suites[0].Cases {
			for _, s := range []string{c.Name, c.File, c.Out} {
				if i := strings.IndexFunc(s, func(c rune) bool { return c != '\n' && unicode.IsControl(c) }); i >= 0 {
					rt.Fatalf("control character %q", s[i])
				}
			}
		}
	})
}
