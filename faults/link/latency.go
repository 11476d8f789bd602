package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Latency delays every chunk of bytes that crosses a link.
//
// Delay and Jitter are whole milliseconds. The delay is uniform on [Delay-Jitter, Delay+Jitter), drawn per chunk that the
// proxy reads, not per request; bytes stay in order, and the rate is not limited. Source: toxics/latency.go, Toxiproxy
// v2.12.0.
type Latency struct {
	Delay  units.Duration `toml:"delay" doc:"required: how long each chunk of bytes is held, in whole milliseconds"`
	Jitter units.Duration `toml:"jitter" default:"0s" doc:"how much shorter or longer than delay it may be, drawn per chunk; at most delay"`
	Scope
}

// LatencySpec describes the kind.
func LatencySpec() faults.Spec {
	return faults.Spec{
		Kind: "latency", Family: faults.Link,
		Summary: "delay the bytes that cross a link",
		Doc: "Toxiproxy's latency toxic on every connection of the link, open ones included; connecting itself is not delayed. Several add up. " +
			"Witness: the median time that real bytes stayed in the proxy is at least delay - jitter, and the longest at least delay (with a toxicity below 1 the longest alone). " +
			"Undo: the toxic is taken away and what it held goes on at once.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &Latency{} },
		Effect:     effect{delayed},
	}
}

// Validate wants a delay, and a jitter that is not longer.
func (f *Latency) Validate() error {
	errs := f.validate()
	errs = append(errs, millis("delay", f.Delay, true)...)
	errs = append(errs, millis("jitter", f.Jitter, false)...)
	if f.Jitter > f.Delay && f.Delay > 0 {
		errs = append(errs, &faults.ParamError{Key: "jitter", Err: fmt.Errorf("%s is longer than the delay of %s", f.Jitter, f.Delay), Hint: fmt.Sprintf("jitter = %q at most", f.Delay)})
	}
	return errors.Join(errs...)
}

// Prepare refuses a link that is not routed.
func (f *Latency) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := LatencySpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{"latency": f.Delay.Std().Milliseconds(), "jitter": f.Jitter.Std().Milliseconds()}))
}

// leastSamples is how many residences make a median.
const leastSamples = 3

// delayed measures how long bytes stay in the proxy. With jitter, the longest time must reach the mean too: delay - jitter
// may be as short as what a proxy without any toxic takes.
func delayed(s seen) (faults.Witness, error) {
	delay := s.millis("latency")
	least := delay - s.millis("jitter")
	f := s.flow
	if s.did.ChunksOut == 0 || f.Samples == 0 {
		return faults.Witness{}, s.missing("nothing has passed the delay of %s so far", delay)
	}
	if s.want.Toxicity < 1 {
		if f.Longest < delay {
			return faults.Witness{}, s.missing("the longest residence of %s is %s, where %s have a delay of %s", many(int64(f.Samples), "chunk"), short(f.Longest), many(s.did.Acted, "connection"), delay)
		}
		return faults.Witness{
			What: "longest residence of bytes in the proxy", Value: float64(f.Longest), Unit: "ns",
			Note: fmt.Sprintf("%s: %s drawn, and the longest residence of %s is %s", s.way(), many(s.did.Acted, "connection"), many(int64(f.Samples), "chunk"), short(f.Longest)),
		}, nil
	}
	if f.Samples < leastSamples || f.Residence < least || f.Longest < delay {
		return faults.Witness{}, s.missing("median residence of %s is %s and the longest %s, where the delay is %s ± %s", many(int64(f.Samples), "chunk"), short(f.Residence), short(f.Longest), delay, delay-least)
	}
	return faults.Witness{
		What: "median residence of bytes in the proxy", Value: float64(f.Residence), Unit: "ns",
		Note: fmt.Sprintf("%s: median residence of %s is %s", s.way(), many(int64(f.Samples), "chunk"), short(f.Residence)),
	}, nil
}

// short is a measured time in three digits or so.
func short(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// longest is the longest time that a toxic takes: beyond it Toxiproxy's arithmetic overflows.
const longest = 30 * 24 * time.Hour

// millis checks a time that Toxiproxy counts in milliseconds.
func millis(key string, d units.Duration, required bool) []error {
	return whole(key, d, time.Millisecond, "milliseconds", required)
}

func whole(key string, d units.Duration, unit time.Duration, name string, required bool) []error {
	var err error
	switch {
	case required && d <= 0:
		err = errors.New("is required and must be longer than 0s")
	case d < 0:
		err = fmt.Errorf("%s is negative", d)
	case d.Std() > longest:
		err = fmt.Errorf("%s is longer than %s", d, units.Duration(longest))
	case d.Std()%unit != 0:
		err = fmt.Errorf("%s is not a whole number of %s", d, name)
	default:
		return nil
	}
	near := d.Std().Round(unit)
	if near < unit || near > longest {
		near = 250 * unit
	}
	hint := fmt.Sprintf("%s = %q", key, units.Duration(near))
	return []error{&faults.ParamError{Key: key, Err: err, Hint: hint}}
}
