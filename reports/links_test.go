package reports_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

// linksSection is the section of the links in report.md; empty without one.
func linksSection(t *testing.T, r *reports.Record) string {
	t.Helper()
	_, text, _ := strings.Cut(write(t, reports.Markdown, r), "\n## Links\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

func TestLinksSayWhatIsProven(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(l *ledger.Link)
		want   string // in the section
		never  string
	}{
		{"nothing passed", func(*ledger.Link) {}, "| nothing passed by |", "not proven"},
		{"a connection passed", func(l *ledger.Link) { l.Arrived++ }, "| **1 connection passed by** |", "nothing passed by |\n\n"},
		{"packets passed", func(l *ledger.Link) { l.Passed = 2 }, "2 packets passed by. **Some of its traffic did not pass the proxy", "nothing passed by"},
		{"a counter is lost", func(l *ledger.Link) { l.Arrived = 40 }, "2 connections of the proxy went uncounted", "nothing passed by"},
		{"one was let past", func(l *ledger.Link) { l.Direct, l.Arrived = 1, 43 }, "and let 1 past on purpose, while db could not be reached", "not proven"},
		{"nobody connected", func(l *ledger.Link) { *l = ledger.Link{Name: l.Name, From: l.From, To: l.To, Port: l.Port} }, "nobody connected", "nothing passed by"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := links(t)
			r.Run.Links = r.Run.Links[2:3]
			tt.change(&r.Run.Links[0])
			text := linksSection(t, r)
			if !strings.Contains(text, tt.want) || strings.Contains(text, tt.never) {
				t.Errorf("want %q, and never %q:\n%s", tt.want, tt.never, text)
			}
		})
	}
}

func TestToxicsAreShownAtTheLinksThatTheyHit(t *testing.T) {
	text := linksSection(t, links(t))
	for link, want := range map[string][]string{
		"api->db:5432":              {`- Toxic **storm**: reset_peer on \*->db:5432, +20.2 s to +22.0 s (1.8 s)`, "2 connections at +20.0 s to +20.3 s (opened past the proxy while db could not be reached)"},
		"web->db:5432":              {"- Toxic **slow**: latency, +5.2 s to +13.0 s (7.8 s)", "- Toxic **storm**", "- Reset by discompose: none"},
		"probes->web:8080":          {"No toxic; discompose closed and reset nothing."},
		"workload.orders->web:8080": {"- No toxic", "- **Not routed**: published port 8080"},
	} {
		_, block, found := strings.Cut(text, "**"+link+"**: ")
		block, _, _ = strings.Cut(block, "\n\n**")
		if !found {
			t.Errorf("there is nothing of %s", link)
		}
		for _, w := range want {
			if !strings.Contains(block, w) {
				t.Errorf("%s does not say %q:\n%s", link, w, block)
			}
		}
		if strings.Contains(block, "slow") != (link == "web->db:5432") {
			t.Errorf("%s has the toxic of another link, or not its own:\n%s", link, block)
		}
	}
}

// A group of links goes to no service by name: what was tested is where its links go, or else everything.
func TestTargetsOfAGroupOfLinksAreItsServers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		links bool
		want  string
	}{
		{"links tell", true, "\nTarget: db (`postgres:15`). Seed 7"},
		{"nothing tells", false, "\nTarget: api (`shop/api:1`), db (`postgres:15`), web (`shop/web:1`). Seed 7"},
	} {
		r := links(t)
		r.Rules.Faults = map[string]oracle.FaultRule{"storm": {Kind: "reset_peer", Services: []string{""}}}
		if !tt.links {
			r.Run.Links = nil
		}
		if text := write(t, reports.Markdown, r); !strings.Contains(text, tt.want) {
			t.Errorf("%s: the report does not say %q:\n%s", tt.name, tt.want, text[:600])
		}
	}
}

func TestRunsWithoutLinksSayNothingOfThem(t *testing.T) {
	r := degraded(t)
	if text := linksSection(t, r); text != "" {
		t.Errorf("nothing was routed, and the report says:\n%s", text)
	}
	r.Run.APIOnly = "the engine is rootless"
	if text := linksSection(t, r); strings.TrimSpace(text) != "No connection was routed through a proxy, for there was no agent: the engine is rootless." {
		t.Errorf("without an agent the section is:\n%s", text)
	}
	if strings.Contains(write(t, reports.Text, links(t)), "probes->web") {
		t.Error("the short form names a link without a fault")
	}
}

func TestJSONHasLinksWithoutNull(t *testing.T) {
	var d struct {
		Links []struct {
			Name           string
			Leaked         *int64
			Faults         []string
			Closed, Resets json.RawMessage
		}
	}
	text := write(t, reports.JSON, leak(t))
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Links) != 4 {
		t.Fatalf("%d links", len(d.Links))
	}
	for _, l := range d.Links {
		if l.Leaked == nil || l.Faults == nil || len(l.Closed) == 0 || len(l.Resets) == 0 || string(l.Closed) == "null" || string(l.Resets) == "null" {
			t.Errorf("link %+v has null", l)
		}
	}
	if web := d.Links[2]; web.Name != "web->db:5432" || *web.Leaked != 2 || strings.Join(web.Faults, " ") != "slow off never" {
		t.Errorf("link %+v", web)
	}
}

func TestWitnessesDoNotSayAValueTwice(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    ledger.Witness
		want string
	}{
		{"in milliseconds", ledger.Witness{Value: 203.4e6, Unit: "ns", Note: "median residence of 132 chunks is 203ms"}, "chunks is 203ms\n"},
		{"with a space", ledger.Witness{Value: 203, Unit: "ms", Note: "median residence of 132 chunks is 203 ms"}, "chunks is 203 ms\n"},
		{"in finer steps", ledger.Witness{Value: 4.207e6, Unit: "ns", Note: "it is 4.21ms"}, "it is 4.21ms\n"},
		{"one of them", ledger.Witness{Value: 1, Unit: "connections", Note: "the toxic reset 1 connection"}, "reset 1 connection\n"},
		{"with many digits", ledger.Witness{Value: 1234567.4, Unit: "bytes per second", Note: "1234567 bytes per second where 2000000 are allowed"}, "are allowed\n"},
		{"another number ends so", ledger.Witness{What: "CPU time", Value: 0, Unit: "ns", Note: "it stood still for 100 ms"}, "for 100 ms (CPU time: 0 ms)\n"},
		{"it comes after such a number", ledger.Witness{What: "CPU time", Value: 5e6, Unit: "ns", Note: "25 ms, then 5.0 ms"}, "then 5.0 ms\n"},
		{"it is not there", ledger.Witness{What: "hits", Value: 7, Unit: "hits", Note: "the limit is hit"}, "the limit is hit (hits: 7 hits)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.w.What == "" {
				tt.w.What = "what was measured"
			}
			r := links(t)
			tt.w.At = at(6)
			r.Judgement.Windows[0].Active = &tt.w
			if text := write(t, reports.Markdown, r); !strings.Contains(text, "**slow** active at +6.0 s: ") || !strings.Contains(text, tt.want) {
				_, text, _ = strings.Cut(text, "**slow** active")
				t.Errorf("want %q: %s", tt.want, text[:150])
			}
		})
	}
}
