package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Timeout swallows every byte of a connection and closes it after a time without one. After is in whole milliseconds; 0
// leaves the connection open until the fault ends. Source: toxics/timeout.go, Toxiproxy v2.12.0.
type Timeout struct {
	After units.Duration `toml:"timeout" default:"0s" doc:"how long a connection goes on without a byte before it is closed, in whole milliseconds; 0s: it stays open until the fault ends"`
	Scope
}

// TimeoutSpec describes the kind.
func TimeoutSpec() faults.Spec {
	return faults.Spec{
		Kind: "timeout", Family: faults.Link,
		Summary: "let no byte through a link and close its connections after a time, or never",
		Doc: "Toxiproxy's timeout toxic: it swallows what is sent. A connection that it acted on has a hole, so it is closed when the fault ends. " +
			"Witness: the proxy counts connections that the toxic closed, or bytes that went into it while none came out. " +
			"Undo: the toxic is taken away, and with it the connections that it acted on; new ones work.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &Timeout{} },
		Effect:     effect{swallowed},
	}
}

// Validate wants a time that Toxiproxy can count.
func (f *Timeout) Validate() error {
	return errors.Join(append(f.validate(), millis("timeout", f.After, false)...)...)
}

// Prepare refuses a link that is not routed.
func (f *Timeout) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := TimeoutSpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{"timeout": f.After.Std().Milliseconds()}))
}

// swallowed counts what the toxic closed and what it swallowed: a peer that closes first, or a long time, leaves nothing to
// close.
func swallowed(s seen) (faults.Witness, error) {
	switch {
	case s.did.BytesOut > 0:
		return faults.Witness{}, s.missing("%d of %d bytes came out", s.did.BytesOut, s.did.BytesIn)
	case s.did.FIN > 0:
		return faults.Witness{
			What: "connections closed by the toxic", Value: float64(s.did.FIN), Unit: "connections",
			Note: fmt.Sprintf("%s: the toxic closed %s after %s without a byte and swallowed %s", s.way(), many(s.did.FIN, "connection"), s.millis("timeout"), many(s.did.BytesIn, "byte")),
		}, nil
	case s.did.BytesIn > 0:
		return faults.Witness{
			What: "bytes swallowed by the toxic", Value: float64(s.did.BytesIn), Unit: "bytes",
			Note: fmt.Sprintf("%s: %s of %s went in and none came out", s.way(), many(s.did.BytesIn, "byte"), many(s.did.Acted, "connection")),
		}, nil
	}
	return faults.Witness{}, s.missing("no connection was closed by the toxic")
}
