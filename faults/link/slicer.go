package link

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Slicer cuts what crosses a link into small pieces, each written by itself.
//
// A piece has AverageSize ± SizeVariation bytes. Delay, the time after each piece, is in whole microseconds. Source:
// toxics/slicer.go, Toxiproxy v2.12.0.
type Slicer struct {
	AverageSize   units.Size     `toml:"average_size" doc:"required: how many bytes a piece has on average"`
	SizeVariation units.Size     `toml:"size_variation" default:"0B" doc:"how many bytes less or more than that it may have; less than average_size"`
	Delay         units.Duration `toml:"delay" default:"0s" doc:"how long to wait after each piece, in whole microseconds"`
	Scope
}

// SlicerSpec describes the kind.
func SlicerSpec() faults.Spec {
	return faults.Spec{
		Kind: "slicer", Family: faults.Link,
		Summary: "cut the bytes that cross a link into small pieces",
		Doc: "Toxiproxy's slicer toxic: every byte arrives, in order, but in many small writes, so that a reader which expects a whole message from one read shows it. " +
			"Witness: more pieces left the toxic than entered it. " +
			"Undo: the toxic is taken away and what it held goes on at once.",
		Targets:    []faults.TargetKind{faults.OnLink},
		Mechanisms: mechanisms(),
		New:        func() faults.Fault { return &Slicer{} },
		Effect:     effect{sliced},
	}
}

// Validate wants a size, and a variation below it.
func (f *Slicer) Validate() error {
	errs := f.validate()
	switch {
	case f.AverageSize < 1:
		errs = append(errs, &faults.ParamError{Key: "average_size", Err: errors.New("is required and must be at least 1B"), Hint: `average_size = "64B"`})
	case f.AverageSize > math.MaxInt32:
		errs = append(errs, &faults.ParamError{Key: "average_size", Err: fmt.Errorf("%s is more than the proxy ever reads at once", f.AverageSize), Hint: `average_size = "64B"`})
	case f.SizeVariation < 0 || f.SizeVariation >= f.AverageSize:
		errs = append(errs, &faults.ParamError{Key: "size_variation", Err: fmt.Errorf("%s is not less than the average size of %s", f.SizeVariation, f.AverageSize), Hint: fmt.Sprintf("size_variation = %q", f.AverageSize/2)})
	}
	return errors.Join(append(errs, whole("delay", f.Delay, time.Microsecond, "microseconds", false)...)...)
}

// Prepare refuses a link that is not routed.
func (f *Slicer) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	s := SlicerSpec()
	return prepare(ctx, env, s, on, f.toxics(s.Kind, map[string]int64{
		"average_size": f.AverageSize.Bytes(), "size_variation": f.SizeVariation.Bytes(), "delay": f.Delay.Std().Microseconds(),
	}))
}

// sliced counts pieces.
func sliced(s seen) (faults.Witness, error) {
	if s.did.ChunksOut <= s.did.ChunksIn {
		return faults.Witness{}, s.missing("%s went in and %d came out: none was larger than the average of %d bytes", many(s.did.ChunksIn, "piece"), s.did.ChunksOut, s.want.Attributes["average_size"])
	}
	return faults.Witness{
		What: "pieces that left the toxic", Value: float64(s.did.ChunksOut), Unit: "pieces",
		Note: fmt.Sprintf("%s: %s went in and %d came out, of %d bytes on average", s.way(), many(s.did.ChunksIn, "piece"), s.did.ChunksOut, s.did.BytesOut/s.did.ChunksOut),
	}, nil
}
