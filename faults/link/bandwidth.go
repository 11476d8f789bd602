package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Bandwidth lets each connection of a link carry no more than a rate.
//
// Rate is a whole number of Toxiproxy's KB/s, 1000 bytes per second each: a multiple of 8 kbit. Source:
// toxics/bandwidth.go, Toxiproxy v2.12.0.
type Bandwidth struct {
	Rate units.Rate `toml:"rate" doc:"required: what each connection may carry, in multiples of 8kbit (1 KB/s)"`
	Scope
}

const (
	kilobyte = 8_000   // bits
	mostRate = 1 << 40 // KB/s; beyond it Toxiproxy's arithmetic overflows
)

// BandwidthSpec describes the kind.
func BandwidthSpec() faults.Spec {
	return faults.Spec{
		Kind: "bandwidth", Family: faults.Link,
		Summary: "limit the rate of each connection of a link",
		Doc: "Toxiproxy's bandwidth toxic on every connection of the link, open ones included. The rate is that of one connection, not of the link. " +
			"Witness: while a connection had more to send, for 300 ms or longer, it carried no more than rate × 1.1 and, unless other toxics slow it down too, no less than half of rate: traffic that a slow receiver holds back, or that needs less, has no witness. " +
			"Undo: the toxic is taken away and what it held goes on at once.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &Bandwidth{} },
		Effect:     effect{slowed},
	}
}

// Validate wants a rate that Toxiproxy can count.
func (f *Bandwidth) Validate() error {
	errs := f.validate()
	var err error
	switch kb := f.Rate / kilobyte; {
	case f.Rate <= 0:
		err = errors.New("is required and must be at least 8kbit")
	case f.Rate%kilobyte != 0:
		err = fmt.Errorf("%s is not a multiple of 8kbit, which is 1 KB/s", text(f.Rate))
	case kb > mostRate:
		err = fmt.Errorf("%s is too much to be a limit", text(f.Rate))
	default:
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, &faults.ParamError{Key: "rate", Err: err, Hint: `rate = "1mbit"`})...)
}

// Prepare refuses a link that is not routed.
func (f *Bandwidth) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := BandwidthSpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{"rate": int64(f.Rate / kilobyte)}))
}

const (
	busyEnough = 300 * time.Millisecond // of a connection with more to send
	tolerance  = 1.1                    // timers are late, and a chunk that was late is made up for
	binds      = 0.5                    // share of the rate below which something else holds the bytes back
)

// slowed measures the rate of connections that had more to send. Where only some connections have the toxic, it sets the
// bytes of those against the time of all: what the others add to it is next to nothing, for they are never held.
func slowed(s seen) (faults.Witness, error) {
	limit := float64(s.want.Attributes["rate"]) * 1000
	f, bytes := s.flow, s.flow.BusyBytes
	if s.want.Toxicity < 1 {
		bytes = s.did.BytesOut
	}
	if f.BusyTime < busyEnough || bytes == 0 {
		return faults.Witness{}, s.missing("connections had more to send for %s only, which is too short to tell a rate", short(f.BusyTime))
	}
	rate := float64(bytes) / f.BusyTime.Seconds()
	switch {
	case rate > limit*tolerance:
		return faults.Witness{}, s.missing("connections that had more to send carried %.0f bytes per second, and %.0f are allowed", rate, limit)
	case rate < limit*binds && s.others == 0:
		return faults.Witness{}, s.missing("connections carried %.0f bytes per second with %.0f allowed: something else holds them back", rate, limit)
	}
	return faults.Witness{
		What: "rate of a connection that has more to send", Value: rate, Unit: "bytes per second",
		Note: fmt.Sprintf("%s: %s took %s of sending without a pause, %.0f bytes per second where %.0f are allowed", s.way(), many(bytes, "byte"), short(f.BusyTime), rate, limit),
	}, nil
}

// text writes a rate as scenario files do.
func text(r units.Rate) string {
	b, err := r.MarshalText()
	if err != nil {
		return fmt.Sprint(int64(r), "bit")
	}
	return string(b)
}
