package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// manySamples bounds the residences that are kept per direction of a link: the newest ones.
const manySamples = 4096

// toxicStats counts what one toxic did, over its updates.
type toxicStats struct {
	acted, chunksIn, chunksOut, bytesIn, bytesOut, ends, fins, resets atomic.Int64
}

// flowStats measures one direction of a link. What it says about the chain concerns only bytes that were read from a
// socket after the toxics of this direction last changed.
type flowStats struct {
	bytes, held, chained atomic.Int64

	mu      sync.Mutex
	since   time.Time // of the last change
	samples []sample  // a ring
	next    int
	buckets map[int64]*bucket // per second since the change began
}

type sample struct {
	at        time.Time
	residence time.Duration
}

type bucket struct {
	bytes int64
	busy  time.Duration
}

// changed forgets what was measured under other toxics.
func (f *flowStats) changed(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since, f.samples, f.next, f.buckets = now, nil, 0, nil
}

// resided notes that bytes read at from were written just now.
func (f *flowStats) resided(from, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from.Before(f.since) {
		return
	}
	s := sample{now, now.Sub(from)}
	if len(f.samples) < manySamples {
		f.samples = append(f.samples, s)
		return
	}
	f.samples[f.next] = s
	f.next = (f.next + 1) % manySamples
}

// worked notes that n bytes, read at from, left while more was waiting, busy after the ones before them.
func (f *flowStats) worked(n int, from, prev, now time.Time, window time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from.Before(f.since) {
		return
	}
	if prev.Before(f.since) {
		prev = f.since
	}
	sec := now.Unix()
	b := f.buckets[sec]
	if b == nil {
		if f.buckets == nil {
			f.buckets = map[int64]*bucket{}
		}
		for old := range f.buckets {
			if old < now.Add(-window).Unix() {
				delete(f.buckets, old)
			}
		}
		b = &bucket{}
		f.buckets[sec] = b
	}
	b.bytes += int64(n)
	b.busy += now.Sub(prev)
}

// Snapshot is what a link has done since it was made. Durations are nanoseconds in JSON.
type Snapshot struct {
	Name       string       `json:"name"`
	Enabled    bool         `json:"enabled"`
	At         time.Time    `json:"at"`
	Clients    int          `json:"clients"`     // attachments now
	Accepted   int64        `json:"accepted"`    // connections that clients opened
	Dialling   int64        `json:"dialling"`    // connections whose server has not answered yet
	Dialled    int64        `json:"dialled"`     // connections to servers that came up
	DialFailed int64        `json:"dial_failed"` // connections to servers that did not
	GaveUp     int64        `json:"gave_up"`     // those of dial_failed whose client left meanwhile
	Adopted    int64        `json:"adopted"`     // pairs given to Adopt
	Open       int64        `json:"open"`        // connections now, those still being dialled included
	PassedRST  int64        `json:"passed_rst"`  // connections that a peer reset, and whose RST was passed on
	Upstream   Flow         `json:"upstream"`
	Downstream Flow         `json:"downstream"`
	Toxics     []ToxicCount `json:"toxics"` // active ones, then removed ones that ever acted; by name within each
	Closed     []Closed     `json:"closed"` // what the proxy did to connections, by toxic and how
}

// Flow is one direction of a link.
type Flow struct {
	Bytes     int64         `json:"bytes"`      // written to the receiver
	Held      int64         `json:"held"`       // read but not written, in the toxic chain, over all connections
	Chained   int64         `json:"chained"`    // connections whose bytes go through the chain now; the others are in the kernel
	Since     time.Time     `json:"since"`      // when the toxics of this direction last changed; what follows is from then on
	Samples   int           `json:"samples"`    // residences in the window
	Residence time.Duration `json:"residence"`  // median time from read to written in the chain; 0 without samples
	Longest   time.Duration `json:"longest"`    // the longest one
	BusyBytes int64         `json:"busy_bytes"` // bytes that left a connection's chain while it had any, in the window
	BusyTime  time.Duration `json:"busy_time"`  // the time that this took, summed over connections
	Rate      float64       `json:"rate"`       // BusyBytes/BusyTime in bytes per second: per connection, while there was more to send
}

// ToxicCount is what one toxic did. Bytes and chunks count connections that it acts on.
type ToxicCount struct {
	Toxic
	Active    bool  `json:"active"`
	Acted     int64 `json:"acted"` // connections that it was drawn for, again at each update
	ChunksIn  int64 `json:"chunks_in"`
	ChunksOut int64 `json:"chunks_out"`
	BytesIn   int64 `json:"bytes_in"`
	BytesOut  int64 `json:"bytes_out"` // less than BytesIn: dropped by the toxic, or held in it
	Ends      int64 `json:"ends"`      // ends of stream that passed it, delayed by slow_close
	FIN       int64 `json:"fin"`       // connections that it closed
	RST       int64 `json:"rst"`       // connections that it reset
}

// Closed counts connections that were closed by the proxy itself. By is a toxic's name, "down", "dial" or "close"; How is
// "fin" or "rst".
type Closed struct {
	By    string `json:"by"`
	Type  string `json:"type"` // the toxic's type, or as By
	How   string `json:"how"`
	Count int64  `json:"count"`
}

func (f *flowStats) snapshot(now time.Time, window time.Duration) Flow {
	s := Flow{Bytes: f.bytes.Load(), Held: f.held.Load(), Chained: f.chained.Load()}
	f.mu.Lock()
	s.Since = f.since
	var all []time.Duration
	for _, x := range f.samples {
		if now.Sub(x.at) <= window {
			all = append(all, x.residence)
		}
	}
	for sec, b := range f.buckets {
		if sec >= now.Add(-window).Unix() {
			s.BusyBytes += b.bytes
			s.BusyTime += b.busy
		}
	}
	f.mu.Unlock()
	if len(all) > 0 {
		slices.Sort(all)
		s.Samples, s.Residence, s.Longest = len(all), all[len(all)/2], all[len(all)-1]
	}
	if s.BusyTime > 0 {
		s.Rate = float64(s.BusyBytes) / s.BusyTime.Seconds()
	}
	return s
}

func (t *toxic) count(active bool) ToxicCount {
	s := t.stats
	return ToxicCount{
		Toxic: t.Toxic, Active: active, Acted: s.acted.Load(),
		ChunksIn: s.chunksIn.Load(), ChunksOut: s.chunksOut.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		Ends: s.ends.Load(), FIN: s.fins.Load(), RST: s.resets.Load(),
	}
}
