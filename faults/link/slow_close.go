package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// SlowClose holds the end of a stream back. Delay is in whole milliseconds. Source: toxics/slow_close.go, Toxiproxy
// v2.12.0.
type SlowClose struct {
	Delay units.Duration `toml:"delay" doc:"required: how long the end of a stream is held back, in whole milliseconds"`
	Scope
}

// SlowCloseSpec describes the kind.
func SlowCloseSpec() faults.Spec {
	return faults.Spec{
		Kind: "slow_close", Family: faults.Link,
		Summary: "delay the end of each connection of a link",
		Doc: "Toxiproxy's slow_close toxic: bytes pass, and the FIN of the side that closes reaches the other one late. " +
			"Witness: the proxy counts an end of stream that it held for the delay and then passed on; connections that stay open have none. " +
			"Undo: the toxic is taken away and ends that it held go on at once.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &SlowClose{} },
		Effect:     effect{closedLate},
	}
}

// Validate wants a delay.
func (f *SlowClose) Validate() error {
	return errors.Join(append(f.validate(), millis("delay", f.Delay, true)...)...)
}

// Prepare refuses a link that is not routed.
func (f *SlowClose) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := SlowCloseSpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{"delay": f.Delay.Std().Milliseconds()}))
}

// closedLate counts ends of stream: the toxic passes one on only after its delay.
func closedLate(s seen) (faults.Witness, error) {
	if s.did.Ends == 0 {
		return faults.Witness{}, s.missing("no end of stream was passed on in %s, and each is held for %s", short(s.period), s.millis("delay"))
	}
	return faults.Witness{
		What: "ends of stream that were held back", Value: float64(s.did.Ends), Unit: "connections",
		Note: fmt.Sprintf("%s: the ends of %s were held for %s and then passed on", s.way(), many(s.did.Ends, "connection"), s.millis("delay")),
	}, nil
}
