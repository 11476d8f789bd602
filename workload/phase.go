package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/discompose/discompose/ledger"
)

// Phase is a part of a workload's schedule, from At on until the next one begins. What comes before the first one is as
// Config says.
type Phase struct {
	At   int64   `json:"at"`             // ns since the driver began to send (not of the scenario's timeline); more than the one before
	Rate float64 `json:"rate,omitempty"` // operations per second over the Clients of the Config; 0: as before
	// Options is the driver's whole table in the phase; none: Config.Options. It may differ from that only in what System.Next
	// alone uses: in the fields of the driver's options that have the tag phase:"yes".
	Options json.RawMessage `json:"options,omitempty"`
}

// Heir is what a System may have whose Next knows what happened before: a transfer waits until the sum is known.
type Heir interface {
	// Inherit returns the System with what first knows, whose sessions carry out what the System's Next says in a phase.
	Inherit(first System) System
}

// PhaseSystems builds the System of each phase of c, of which a loop asks Next alone; nil where it is that of c itself.
// They are for LoopOptions.Phases; LoopSpec does so.
func PhaseSystems[O interface{ Validate() error }](c Config, first System, build func(c *Config, o O) (System, error)) ([]System, error) {
	out := make([]System, len(c.Phases))
	for i, p := range c.Phases {
		if len(p.Options) == 0 {
			continue
		}
		o, err := ReadOptions[O](p.Options)
		if err != nil {
			return nil, fmt.Errorf("phases[%d]: %w", i, err)
		}
		own := c // what build fills in is of the first alone
		s, err := build(&own, o)
		if err != nil {
			return nil, fmt.Errorf("phases[%d]: %w", i, err)
		}
		if h, ok := s.(Heir); ok {
			s = h.Inherit(first)
		}
		out[i] = s
	}
	return out, nil
}

// Schedule is that of the open loop which c describes; nil at rate 0.
func (c Config) Schedule() Schedule {
	if c.Rate <= 0 {
		return nil
	}
	s := Schedule{{Rate: c.Rate}}
	for _, p := range c.Phases {
		if p.Rate > 0 {
			s = append(s, Stretch{p.At, p.Rate})
		}
	}
	return s
}

func (c Config) validatePhases() error {
	var errs []error
	last := int64(0)
	for i, p := range c.Phases {
		report := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("phases[%d]: %s", i, fmt.Sprintf(format, args...)))
		}
		if p.At <= last {
			report("at = %s is not after %s", time.Duration(p.At), time.Duration(last))
		}
		if p.Rate < 0 {
			report("rate = %g is negative", p.Rate)
		}
		if p.Rate > 0 && c.Rate == 0 {
			report("rate = %g in a closed loop (rate = 0)", p.Rate)
		}
		last = p.At
	}
	return errors.Join(errs...)
}

// stage is what a loop sends from an instant on.
type stage struct {
	at   int64 // ns since the loop's start
	next func(*rand.Rand, Turn) ledger.Op
}

// stages are those of a loop of first, whose phases have systems of their own, or nil.
func stages(c Config, first System, phases []System) []stage {
	out := []stage{{0, first.Next}}
	for i, p := range c.Phases {
		s := first
		if i < len(phases) && phases[i] != nil {
			s = phases[i]
		}
		out = append(out, stage{p.At, s.Next})
	}
	return out
}
