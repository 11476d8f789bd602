package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// The bounds of attributes: beyond them Toxiproxy's arithmetic overflows.
const (
	mostMillis = 30 * 24 * 3600 * 1000 // 30 days
	mostRate   = 1 << 40               // KB/s
)

// Toxic is one toxic of a link, in Toxiproxy's form. It is a plain value.
//
// Type is one of Types. Stream is "upstream" (client to server) or "downstream"; empty is downstream. An empty Name
// becomes <type>_<stream>. Toxicity is the share of connections, in [0,1], that the toxic acts on: it is drawn once per
// connection, and again at each update. Attributes are those of the type in Toxiproxy 2.12.0 (milliseconds, KB/s, bytes,
// slicer's delay in microseconds); an unknown one is an error.
type Toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float32        `json:"toxicity"`
	Attributes map[string]any `json:"attributes"`
}

// Types returns the types of toxic that a Link knows, sorted.
func Types() []string {
	return []string{"bandwidth", "latency", "limit_data", "reset_peer", "slicer", "slow_close", "timeout"}
}

// toxic is a checked Toxic. It is never changed: an update makes another one with the same stats.
type toxic struct {
	Toxic
	dir     stream.Direction
	pipe    toxics.Toxic
	version uint64 // counts the updates, for the draw
	stats   *toxicStats
}

// newToxic checks t. base is the toxic that t updates, or nil: its attributes stay where t has none.
func newToxic(t Toxic, base *toxic) (*toxic, error) {
	if t.Stream == "" {
		t.Stream = stream.Downstream.String()
	}
	dir, err := stream.ParseDirection(t.Stream)
	if err != nil {
		return nil, ErrInvalidStream
	}
	t.Stream = dir.String()
	if t.Name == "" {
		t.Name = t.Type + "_" + t.Stream
	}
	if !(t.Toxicity >= 0 && t.Toxicity <= 1) {
		return nil, badRequest("toxicity %v is not in [0,1]", t.Toxicity)
	}
	x := &toxic{Toxic: t, dir: dir}
	if x.pipe = newPipe(t.Type); x.pipe == nil {
		return nil, ErrInvalidToxicType
	}
	if base != nil {
		x.version, x.stats = base.version+1, base.stats
		if err := convert(base.pipe, x.pipe); err != nil {
			return nil, err
		}
	} else {
		x.stats = &toxicStats{}
	}
	if err := convert(t.Attributes, x.pipe); err != nil {
		return nil, badRequest("attributes of %s: %v", t.Type, err)
	}
	if err := check(x.pipe); err != nil {
		return nil, badRequest("attributes of %s: %v", t.Type, err)
	}
	x.Attributes = nil
	return x, convert(x.pipe, &x.Attributes)
}

func newPipe(kind string) toxics.Toxic {
	switch kind {
	case "bandwidth":
		return &bandwidth{}
	case "latency":
		return &toxics.LatencyToxic{}
	case "limit_data":
		return &toxics.LimitDataToxic{}
	case "reset_peer":
		return &resetPeer{}
	case "slicer":
		return &toxics.SlicerToxic{}
	case "slow_close":
		return &toxics.SlowCloseToxic{}
	case "timeout":
		return &toxics.TimeoutToxic{}
	default:
		return nil
	}
}

// convert copies from to into by way of JSON. Fields that into does not have are errors.
func convert(from, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// check refuses what would make Toxiproxy's code panic, recurse for ever or overflow.
func check(t toxics.Toxic) error {
	within := func(name string, v, most int64) error {
		if v < 0 || v > most {
			return fmt.Errorf("%s %d is not in [0,%d]", name, v, most)
		}
		return nil
	}
	switch t := t.(type) {
	case *bandwidth:
		return within("rate", t.Rate, mostRate)
	case *toxics.LatencyToxic:
		if err := within("latency", t.Latency, mostMillis); err != nil {
			return err
		}
		return within("jitter", t.Jitter, mostMillis)
	case *toxics.LimitDataToxic:
		return within("bytes", t.Bytes, 1<<62)
	case *resetPeer:
		return within("timeout", t.Timeout, mostMillis)
	case *toxics.SlicerToxic:
		if t.AverageSize < 1 {
			return fmt.Errorf("average_size %d is less than 1", t.AverageSize)
		}
		if t.SizeVariation < 0 || t.SizeVariation >= t.AverageSize {
			return fmt.Errorf("size_variation %d is not in [0,average_size)", t.SizeVariation)
		}
		return within("delay", int64(t.Delay), mostMillis*1000)
	case *toxics.SlowCloseToxic:
		return within("delay", t.Delay, mostMillis)
	case *toxics.TimeoutToxic:
		return within("timeout", t.Timeout, mostMillis)
	default:
		return fmt.Errorf("no such type: %T", t)
	}
}

// actsOn draws whether the toxic acts on connection n of a link. The same seed gives the same answer, whatever else happens.
func (t *toxic) actsOn(seed, n uint64) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Stream + "/" + t.Name))
	r := rand.New(rand.NewPCG(seed^h.Sum64(), n<<20^t.version))
	return r.Float32() < t.Toxicity
}

// swallows reports whether the toxic drops bytes while it lets the connection live.
func (t *toxic) swallows() bool { return t.Type == "timeout" }
