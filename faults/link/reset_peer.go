package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// ResetPeer resets a connection, at both ends, a time after its next byte or end. After is in whole milliseconds. Source:
// toxics/reset_peer.go, Toxiproxy v2.12.0, except that its wait can be interrupted.
type ResetPeer struct {
	After units.Duration `toml:"timeout" default:"0s" doc:"how long after its next byte a connection is reset, in whole milliseconds; 0s: at once"`
	Scope
}

// ResetPeerSpec describes the kind.
func ResetPeerSpec() faults.Spec {
	return faults.Spec{
		Kind: "reset_peer", Family: faults.Link,
		Summary: "reset the connections of a link",
		Doc: "Toxiproxy's reset_peer toxic: the next byte, or end of stream, of a connection is not passed on, and both ends get a RST. " +
			"A client that connects again without a pause makes thousands of connections in a second. " +
			"Witness: the proxy counts connections that the toxic reset; connections without a byte have none. " +
			"Undo: the toxic is taken away; new connections work.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &ResetPeer{} },
		Effect:     effect{reset},
	}
}

// Validate wants a time that Toxiproxy can count.
func (f *ResetPeer) Validate() error {
	return errors.Join(append(f.validate(), millis("timeout", f.After, false)...)...)
}

// Prepare refuses a link that is not routed.
func (f *ResetPeer) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := ResetPeerSpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{"timeout": f.After.Std().Milliseconds()}))
}

// reset counts the connections that the toxic reset.
func reset(s seen) (faults.Witness, error) {
	if s.did.RST == 0 {
		return faults.Witness{}, s.missing("the toxic had %s and reset none", many(s.did.Acted, "connection"))
	}
	return faults.Witness{
		What: "connections reset by the toxic", Value: float64(s.did.RST), Unit: "connections",
		Note: fmt.Sprintf("%s: the toxic reset %s", s.way(), many(s.did.RST, "connection")),
	}, nil
}
