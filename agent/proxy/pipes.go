package proxy

import (
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// slice is how long bandwidth collects the bytes of one write, at low rates.
const slice = 100 * time.Millisecond

// resetPeer is Toxiproxy's reset_peer, except that it can be removed while it waits for its time-out, and then gives
// back the bytes that woke it. (toxics.ResetToxic neither stops waiting nor gives them back.)
type resetPeer struct{ toxics.ResetToxic }

// Pipe waits for a chunk or the end of the stream, then for the time-out, then closes the stub. The stage makes it a RST.
func (t *resetPeer) Pipe(stub *toxics.ToxicStub) {
	var c *stream.StreamChunk
	select {
	case <-stub.Interrupt:
		return
	case c = <-stub.Input:
	}
	if pause(stub, time.Duration(t.Timeout)*time.Millisecond) {
		stub.Close()
	} else if c != nil {
		stub.Output <- c
	}
}

// bandwidth is Toxiproxy's bandwidth with the same arithmetic, but without its log: toxics.BandwidthToxic writes to
// standard error through zerolog's global logger, one line per interruption.
type bandwidth struct{ toxics.BandwidthToxic }

// Pipe delays each chunk by its size over the rate, and splits chunks that take longer than a slice.
func (t *bandwidth) Pipe(stub *toxics.ToxicStub) {
	var sleep time.Duration // owed
	for {
		var c *stream.StreamChunk
		select {
		case <-stub.Interrupt:
			return
		case c = <-stub.Input:
		}
		if c == nil {
			stub.Close()
			return
		}
		if t.Rate > 0 {
			sleep += time.Duration(len(c.Data)) * time.Millisecond / time.Duration(t.Rate)
		}
		for most := t.Rate * slice.Milliseconds(); int64(len(c.Data)) > most; {
			if !pause(stub, slice) {
				stub.Output <- c
				return
			}
			stub.Output <- &stream.StreamChunk{Data: c.Data[:most], Timestamp: c.Timestamp}
			c.Data = c.Data[most:]
			sleep -= slice
		}
		start := time.Now()
		on := pause(stub, sleep)
		sleep -= time.Since(start) // timers are late: the next chunk makes up for it
		stub.Output <- c
		if !on {
			return
		}
	}
}

// pause waits for d and reports true, or reports false as soon as the stub is interrupted.
func pause(stub *toxics.ToxicStub, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stub.Interrupt:
		return false
	}
}
