package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// LimitData closes a connection when a number of bytes has crossed it. Nil Bytes is invalid; 0 closes it at its first byte.
// Source: toxics/limit_data.go, Toxiproxy v2.12.0.
type LimitData struct {
	Bytes *units.Size `toml:"bytes" doc:"required: how many bytes of a connection pass before it is closed; counted from the beginning of the fault"`
	Scope
}

// LimitDataSpec describes the kind.
func LimitDataSpec() faults.Spec {
	return faults.Spec{
		Kind: "limit_data", Family: faults.Link,
		Summary: "close each connection of a link after a number of bytes",
		Doc: "Toxiproxy's limit_data toxic: what is beyond the limit is dropped and both ends get a FIN, often in the middle of a message. " +
			"Witness: the proxy counts connections that the toxic closed, or bytes beyond the limit that it dropped; connections with less to say have none. " +
			"Undo: the toxic is taken away; new connections, and open ones below the limit, go on.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &LimitData{} },
		Effect:     effect{cut},
	}
}

// Validate wants a limit.
func (f *LimitData) Validate() error {
	errs := f.validate()
	if f.Bytes == nil || *f.Bytes < 0 {
		errs = append(errs, &faults.ParamError{Key: "bytes", Err: errors.New("is required and must not be negative"), Hint: `bytes = "1KiB"`})
	}
	return errors.Join(errs...)
}

// Prepare refuses a link that is not routed.
func (f *LimitData) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	if f.Bytes == nil {
		return faults.Record{}, f.Validate()
	}
	s := LimitDataSpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{"bytes": f.Bytes.Bytes()}))
}

// cut counts the connections that the toxic closed. One whose sender ends it at the same moment may count as ended by that.
// So bytes are a witness too: if more went in than all connections together may pass, and no more than that came out, the
// toxic dropped some.
func cut(s seen) (faults.Witness, error) {
	limit := s.want.Attributes["bytes"]
	switch most := float64(s.did.Acted) * float64(limit); {
	case s.did.FIN > 0:
		return faults.Witness{
			What: "connections closed by the toxic", Value: float64(s.did.FIN), Unit: "connections",
			Note: fmt.Sprintf("%s: the toxic closed %s after %d bytes", s.way(), many(s.did.FIN, "connection"), limit),
		}, nil
	case float64(s.did.BytesIn) > most && float64(s.did.BytesOut) <= most:
		return faults.Witness{
			What: "bytes dropped by the toxic", Value: float64(s.did.BytesIn - s.did.BytesOut), Unit: "bytes",
			Note: fmt.Sprintf("%s: of %s of %s only %d passed, where each may pass %d", s.way(), many(s.did.BytesIn, "byte"), many(s.did.Acted, "connection"), s.did.BytesOut, limit),
		}, nil
	}
	return faults.Witness{}, s.missing("%s of %s passed, and none reached the limit of %d", many(s.did.BytesOut, "byte"), many(s.did.Acted, "connection"), limit)
}
