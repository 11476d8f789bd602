package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// The ways from the load to its server.
const (
	wayDirect    = "direct"
	wayOurs      = "idle link"
	wayToxiproxy = "Toxiproxy"
)

const (
	linkSpeedBar = 2.0       // times Toxiproxy's throughput, at least
	linkAddedBar = 1.0 / 3.0 // of the round trip that Toxiproxy adds, at most
	linkToxicBar = 5.0       // ms
)

// quantity is one thing that is measured of every way. Its values are bytes per second, or microseconds.
type quantity struct {
	name    string
	ask     order
	samples int // in each round
}

func (q quantity) isBulk() bool { return q.ask.Do == doBulk }

// quantities are in the order in which they are measured. Many short samples of round trips: where the kernel puts the
// threads is luck, and stays with a connection.
func quantities() []quantity {
	const d, n = 400 * time.Millisecond, 700
	return []quantity{
		{"up, 1 connection", order{Do: doBulk, Mode: modeSink, Conns: 1, For: d}, 1},
		{"down, 1 connection", order{Do: doBulk, Mode: modeSource, Conns: 1, For: d}, 1},
		{"up, 50 connections", order{Do: doBulk, Mode: modeSink, Conns: 50, For: d}, 1},
		{"1 byte", order{Do: doEcho, Size: 1, Count: n}, 3},
		{"1 KiB", order{Do: doEcho, Size: 1 << 10, Count: n}, 3},
	}
}

// linkNumbers is what the lab has measured.
type linkNumbers struct {
	Congestion string                       `json:"congestion"` // the congestion control of its connections
	Ways       map[string]map[string]series `json:"ways"`       // by quantity, by way
	// From the call of AddToxic, or RemoveToxic, to its effect on bytes, and to its return, in ms.
	Added, AddCall, Removed, RemoveCall series
}

// speed is how many times faster than Toxiproxy's an idle link is.
func (n *linkNumbers) speed(q quantity) float64 {
	w := n.Ways[q.name]
	return w[wayOurs].median() / w[wayToxiproxy].median()
}

// added is the share of Toxiproxy's added round trip that an idle link adds.
func (n *linkNumbers) added(q quantity) float64 {
	w := n.Ways[q.name]
	return n.more(q, wayOurs) / (w[wayToxiproxy].median() - w[wayDirect].median())
}

func (n *linkNumbers) more(q quantity, way string) float64 {
	return n.Ways[q.name][way].median() - n.Ways[q.name][wayDirect].median()
}

// links measures an idle link beside a stock Toxiproxy, and what a toxic needs to act.
func (b *bench) links(ctx context.Context, s *section) error {
	s.title = "Idle links against Toxiproxy"
	s.text = "A load generator, its server, an idle link (`agent/proxy`) and a stock Toxiproxy 2.12.0 (its own package, without a toxic and without a log), each a process of its own. " +
		"The load and both proxies are in one new network namespace, as a client's container and its link are, the server is in another one, at the other end of a veth pair. " +
		"Load and server are threads that block in system calls, with 128 KiB writes; what goes up counts when the server has read it. All ways in turn, round by round, new connections each time. " +
		"*Added* is the round trip less the direct one."
	free, err := b.inLab(ctx, order{Do: doLab, Congestion: unpaced, Count: 9})
	if err != nil {
		return err
	}
	own, err := b.inLab(ctx, order{Do: doLab, Count: 5, BulkOnly: true})
	if err != nil {
		return err
	}
	if !free.Space {
		s.note("No network namespace could be made here: all of it is over this host's loopback.")
	}
	b.linkSpeed(s, free.Lab, own.Lab)
	b.linkRoundTrips(s, free.Lab)
	b.linkToxics(s, free.Lab)
	return nil
}

// inLab runs the measurements in a new network namespace, or without one where that is forbidden.
func (b *bench) inLab(ctx context.Context, o order) (a answer, err error) {
	o.Space = true
	r, err := startRole(ctx, roleLab, true)
	if errors.Is(err, fs.ErrPermission) {
		o.Space = false
		r, err = startRole(ctx, roleLab, false)
	}
	if err != nil {
		return a, err
	}
	a, err = r.ask(o)
	if err = errors.Join(err, r.stop()); err == nil && a.Lab == nil {
		err = errors.New("the lab has measured nothing")
	}
	a.Space = o.Space
	return a, err
}

// linkSpeed reports throughput without pacing, and with the host's own congestion control where that is another one.
func (b *bench) linkSpeed(s *section, free, own *linkNumbers) {
	said, met := b.linkRatios(s, free)
	if own.Congestion != free.Congestion {
		ownSaid, _ := b.linkRatios(s, own)
		said += fmt.Sprintf(" (with %s, this host's default: %s)", own.Congestion, ownSaid)
		s.note("%s, which all other tables use, sends as fast as it may, as Linux's usual cubic does. This host's default, %s, may pace connections by timers, also those of the "+
			"load: its table shows what that leaves of the difference.", free.Congestion, own.Congestion)
	}
	b.report.bar("an idle link's throughput", "≥ 2 × Toxiproxy's in the same run", said, yes(met))
}

// linkRatios adds a table, and returns its ratios and whether they all meet the bar.
func (b *bench) linkRatios(s *section, n *linkNumbers) (string, bool) {
	t := table{head: []string{"GB/s, " + n.Congestion, "n", wayDirect, wayOurs, wayToxiproxy, "idle link : Toxiproxy"}}
	said, met := []string{}, true
	for _, q := range quantities() {
		if !q.isBulk() {
			continue
		}
		w, ratio := n.Ways[q.name], n.speed(q)
		t.add(q.name, fmt.Sprint(len(w[wayOurs])), giga(w[wayDirect]), giga(w[wayOurs]), giga(w[wayToxiproxy]), fmt.Sprintf("%.2f", ratio))
		b.say("links, %s: %s: %.2f x Toxiproxy", n.Congestion, q.name, ratio)
		said = append(said, fmt.Sprintf("%s: %.2f ×", q.name, ratio))
		met = met && ratio >= linkSpeedBar
	}
	s.tables = append(s.tables, t)
	return strings.Join(said, "; "), met
}

func (b *bench) linkRoundTrips(s *section, n *linkNumbers) {
	t := table{head: []string{"round trip", "n", wayDirect, wayOurs, wayToxiproxy, "idle link adds", "Toxiproxy adds", "share"}}
	said, met := []string{}, true
	for _, q := range quantities() {
		if q.isBulk() {
			continue
		}
		w := n.Ways[q.name]
		t.add(q.name, fmt.Sprint(len(w[wayOurs])), micros(w[wayDirect]), micros(w[wayOurs]), micros(w[wayToxiproxy]),
			fmt.Sprintf("%.1f µs", n.more(q, wayOurs)), fmt.Sprintf("%.1f µs", n.more(q, wayToxiproxy)), fmt.Sprintf("%.2f", n.added(q)))
		said = append(said, fmt.Sprintf("%s: %.2f", q.name, n.added(q)))
		met = met && n.added(q) <= linkAddedBar
		b.say("links: round trip of %s: %.2f of what Toxiproxy adds", q.name, n.added(q))
	}
	s.tables = append(s.tables, t)
	s.note("A cell is the median over samples of 700 round trips on one connection, and the lowest and the highest sample. Waking a processor that sleeps " +
		"costs more than all else here; the link spares it by looking for the next message for up to 100 µs while messages follow each other closely and nobody else needs the processor.")
	b.report.bar("the round trip that an idle link adds", "≤ 1/3 of what Toxiproxy adds", strings.Join(said, "; "), yes(met))
}

func (b *bench) linkToxics(s *section, n *linkNumbers) {
	t := table{head: append([]string{"a toxic (latency), under a stream of one-byte echoes"}, "n", "median", "p99", "max")}
	for _, x := range []struct {
		name string
		s    series
	}{
		{"AddToxic, the call", n.AddCall},
		{"call to the first delayed byte", n.Added},
		{"RemoveToxic, the call", n.RemoveCall},
		{"call to the first byte that is not delayed", n.Removed},
	} {
		t.add(append([]string{x.name}, x.s.cells()...)...)
	}
	s.tables = append(s.tables, t)
	s.note("That a byte was delayed is known when it comes; its delay is subtracted, not the lateness of the toxic's timer.")
	b.report.bar("a toxic, from the proxy's call to its effect, and back", "≤ 5 ms median",
		millis(n.Added.median())+" and "+millis(n.Removed.median()), yes(max(n.Added.median(), n.Removed.median()) <= linkToxicBar))
}

// giga and micros are a median with its range.
func giga(s series) string {
	return fmt.Sprintf("%.2f [%.2f–%.2f]", s.median()/1e9, slices.Min(s)/1e9, s.max()/1e9)
}

func micros(s series) string {
	return fmt.Sprintf("%.1f µs [%.1f–%.1f]", s.median(), slices.Min(s), s.max())
}
