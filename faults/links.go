package faults

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// ErrNoLink says that no link of that name is routed.
var ErrNoLink = errors.New("no such link")

// Links drives the proxied links of a run through Toxiproxy's API. A link is named as a fault's target names it:
// "web->db:5432", or "*->db:5432" for all that go there. It is safe for concurrent use. Errors: ErrNoLink.
type Links interface {
	// AddToxic adds a toxic to every connection of a link, open ones included; one of that name is replaced.
	AddToxic(ctx context.Context, link string, t Toxic) error
	// RemoveToxic takes a toxic away; one that is not there is fine.
	RemoveToxic(ctx context.Context, link, name string) error
	// Disable closes the link's connections and refuses new ones until Enable is called with the same name; others may
	// have disabled it too.
	Disable(ctx context.Context, link, by string) error
	// Enable takes one name back; one that is not there is fine.
	Enable(ctx context.Context, link, by string) error
	// State tells what a link has done. Of a link that stands for several it is the sum; residences and rates are those of
	// the one with the most traffic.
	State(ctx context.Context, link string) (LinkState, error)
}

// Toxic is one toxic in Toxiproxy's form: attributes are in its units (milliseconds, KB/s, bytes, µs for slicer's delay).
type Toxic struct {
	Name       string // the record's id, and the stream where one record has two toxics
	Type       string // "latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data"
	Stream     string // "upstream" (client to server) or "downstream"
	Toxicity   float64
	Attributes map[string]any
}

// ToxicName is the name of a record's toxic in Toxiproxy's API: it is part of URLs.
func ToxicName(record string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			return c
		case c == '/':
			return '.'
		}
		return '~'
	}, record)
}

// LinkState is what a link has done since it was made, over all its clients. Durations are ns in JSON.
type LinkState struct {
	Name       string       `json:"name"`
	Enabled    bool         `json:"enabled"`
	Disabled   []string     `json:"disabled,omitempty"` // the names that Disable was called with and Enable was not, where known
	Accepted   int64        `json:"accepted"`           // connections that clients opened
	Dialling   int64        `json:"dialling"`           // connections whose server has not answered yet
	Dialled    int64        `json:"dialled"`            // connections to servers that came up
	DialFailed int64        `json:"dial_failed"`        // connections to servers that did not
	Refused    int64        `json:"refused"`            // connections that clients tried while it was disabled; 0 where nothing counts them
	Open       int64        `json:"open"`               // connections now
	PassedRST  int64        `json:"passed_rst"`         // connections that a peer reset, and whose RST was passed on
	Upstream   LinkFlow     `json:"upstream"`
	Downstream LinkFlow     `json:"downstream"`
	Toxics     []ToxicState `json:"toxics"`
	Closed     []LinkClosed `json:"closed"`
	At         time.Time    `json:"at"`
}

// LinkFlow is one direction of a link.
type LinkFlow struct {
	Bytes     int64         `json:"bytes"`      // written to the receiver
	Held      int64         `json:"held"`       // read but not written, in the toxic chain, over all connections
	Chained   int64         `json:"chained"`    // connections whose bytes go through the chain now
	Since     time.Time     `json:"since"`      // when the toxics of this direction last changed; what follows is from then on
	Samples   int           `json:"samples"`    // residences in the window
	Residence time.Duration `json:"residence"`  // median time from read to written in the chain; 0 without samples
	Longest   time.Duration `json:"longest"`    // the longest one
	BusyBytes int64         `json:"busy_bytes"` // bytes that left a connection's chain while it had any
	BusyTime  time.Duration `json:"busy_time"`  // the time that this took, summed over connections
	Rate      float64       `json:"rate"`       // BusyBytes/BusyTime, bytes per second and connection
}

// ToxicState is what one toxic did. Bytes and chunks count connections that it acts on.
type ToxicState struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Stream    string  `json:"stream"`
	Toxicity  float64 `json:"toxicity"`
	Active    bool    `json:"active"`
	Acted     int64   `json:"acted"` // connections that it was drawn for
	ChunksIn  int64   `json:"chunks_in"`
	ChunksOut int64   `json:"chunks_out"`
	BytesIn   int64   `json:"bytes_in"`
	BytesOut  int64   `json:"bytes_out"`
	Ends      int64   `json:"ends"` // ends of stream that passed it, delayed by slow_close
	FIN       int64   `json:"fin"`  // connections that it closed
	RST       int64   `json:"rst"`  // connections that it reset
}

// LinkClosed counts connections that the proxy itself closed. By is a toxic's name, "down", "dial" or "close".
type LinkClosed struct {
	By    string `json:"by"`
	Type  string `json:"type"`
	How   string `json:"how"` // "fin" or "rst"
	Count int64  `json:"count"`
}

// Plus is the sum of two links' states. Residences and rates are those of the one with more samples and more busy bytes;
// it is enabled if both are.
func (s LinkState) Plus(o LinkState) LinkState {
	if s.Name == "" {
		return o
	}
	s.Enabled = s.Enabled && o.Enabled
	s.Accepted += o.Accepted
	s.Dialled += o.Dialled
	s.Dialling += o.Dialling
	s.DialFailed += o.DialFailed
	s.Open += o.Open
	s.PassedRST += o.PassedRST
	s.Refused += o.Refused
	for _, by := range o.Disabled {
		if !slices.Contains(s.Disabled, by) {
			s.Disabled = append(slices.Clone(s.Disabled), by)
		}
	}
	s.Upstream, s.Downstream = s.Upstream.plus(o.Upstream), s.Downstream.plus(o.Downstream)
	s.Toxics, s.Closed = plusToxics(s.Toxics, o.Toxics), plusClosed(s.Closed, o.Closed)
	return s
}

func (f LinkFlow) plus(o LinkFlow) LinkFlow {
	f.Bytes += o.Bytes
	f.Held += o.Held
	f.Chained += o.Chained
	if o.Samples > f.Samples {
		f.Samples, f.Residence, f.Longest, f.Since = o.Samples, o.Residence, o.Longest, o.Since
	}
	if o.BusyBytes > f.BusyBytes {
		f.BusyBytes, f.BusyTime, f.Rate = o.BusyBytes, o.BusyTime, o.Rate
	}
	return f
}

func plusToxics(a, b []ToxicState) []ToxicState {
	out := slices.Clone(a)
	for _, t := range b {
		i := slices.IndexFunc(out, func(x ToxicState) bool { return x.Name == t.Name && x.Stream == t.Stream })
		if i < 0 {
			out = append(out, t)
			continue
		}
		x := &out[i]
		x.Active = x.Active || t.Active
		x.Acted += t.Acted
		x.ChunksIn += t.ChunksIn
		x.ChunksOut += t.ChunksOut
		x.BytesIn += t.BytesIn
		x.BytesOut += t.BytesOut
		x.Ends += t.Ends
		x.FIN += t.FIN
		x.RST += t.RST
	}
	return out
}

func plusClosed(a, b []LinkClosed) []LinkClosed {
	out := slices.Clone(a)
	for _, c := range b {
		i := slices.IndexFunc(out, func(x LinkClosed) bool { return x.By == c.By && x.How == c.How })
		if i < 0 {
			out = append(out, c)
			continue
		}
		out[i].Count += c.Count
	}
	return out
}
