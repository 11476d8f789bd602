package main

import (
	"strings"
	"testing"
)

func TestLinkRatiosAreAgainstToxiproxy(t *testing.T) {
	t.Parallel()
	n := &linkNumbers{Congestion: "reno", Ways: map[string]map[string]series{}}
	for _, q := range quantities() {
		if q.isBulk() {
			n.Ways[q.name] = map[string]series{wayDirect: {9e9}, wayOurs: {3e9, 5e9, 4e9}, wayToxiproxy: {2e9}}
		} else {
			n.Ways[q.name] = map[string]series{wayDirect: {10}, wayOurs: {20}, wayToxiproxy: {50}}
		}
	}
	for _, q := range quantities() {
		if q.isBulk() && n.speed(q) != 2 {
			t.Errorf("%s: %g times Toxiproxy's, want 2", q.name, n.speed(q))
		}
		if !q.isBulk() && n.added(q) != 0.25 {
			t.Errorf("%s: adds %g of what Toxiproxy adds, want 0.25", q.name, n.added(q))
		}
	}
	own := &linkNumbers{Congestion: "bbr", Ways: n.Ways}
	n.Added, n.Removed = series{1, 6, 7}, series{1}
	b, s := &bench{report: &report{}, log: &strings.Builder{}}, &section{}
	b.linkSpeed(s, n, own)
	b.linkRoundTrips(s, n)
	b.linkToxics(s, n)
	got := []string{}
	for _, x := range b.report.bars {
		got = append(got, x.met)
	}
	if want := "yes yes **no**"; strings.Join(got, " ") != want {
		t.Errorf("the bars are met: %v, want %s", got, want)
	}
	if x := b.report.bars[0].measured; !strings.Contains(x, "with bbr") {
		t.Errorf("the host's own default is not in %q", x)
	}
	if len(s.tables) != 4 {
		t.Errorf("%d tables, want 4", len(s.tables))
	}
}
