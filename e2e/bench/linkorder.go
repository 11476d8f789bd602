package main

import (
	"net/netip"
	"time"
)

// A role is a process of its own: this program again, with the role's name as its only argument. It answers each line of
// standard input, an order, with a line of standard output, and ends with its input.
const (
	roleLab       = "link-lab"       // the network, the other roles, and the measurements
	roleServer    = "link-server"    // the load's server
	roleLoad      = "link-load"      // the load's client
	roleOurs      = "link-ours"      // an idle link
	roleToxiproxy = "link-toxiproxy" // a stock Toxiproxy
)

// The orders.
const (
	doLab    = "lab"
	doServe  = "serve"
	doBulk   = "bulk"
	doEcho   = "echo"
	doWatch  = "watch" // echo one byte after the other from now on
	doSeen   = "seen"  // when was the first of them delayed, or not delayed
	doOpen   = "open"
	doAdd    = "add"
	doRemove = "remove"
)

// What a load connection's first byte asks of the server.
const (
	modeSink   = 's' // read to the end, then close
	modeSource = 'o' // write until the client closes
	modeEcho   = 'e'
)

// unpaced is a congestion control that sends as fast as it may, which every kernel allows in every network namespace.
const unpaced = "reno"

// order is what a role is asked to do.
type order struct {
	Do         string         `json:"do"`
	At         netip.AddrPort `json:"at"`
	Mode       byte           `json:"mode"`
	Conns      int            `json:"conns"`
	Size       int            `json:"size"`
	Count      int            `json:"count"` // of echoes, of rounds; of doSeen: not 0 is delayed
	For        time.Duration  `json:"for"`
	After      int64          `json:"after"`      // CLOCK_MONOTONIC, ns
	Space      bool           `json:"space"`      // over a network of its own
	Congestion string         `json:"congestion"` // control; empty: the host's default
	BulkOnly   bool           `json:"bulk_only"`
}

// answer is what came of it.
type answer struct {
	Err   string         `json:"err,omitempty"`
	At    netip.AddrPort `json:"at,omitzero"`
	Value float64        `json:"value"`         // bytes per second, or microseconds
	Lab   *linkNumbers   `json:"lab,omitempty"` // of roleLab
	Space bool           `json:"space"`         // of roleLab: it had a network of its own
	// CLOCK_MONOTONIC, ns: of the call of a toxic and its return; of the first delayed, or undelayed, echo that came after.
	Began int64 `json:"began"`
	Ended int64 `json:"ended"`
	Seen  int64 `json:"seen"`
}
