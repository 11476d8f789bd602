package oracle

import "github.com/discompose/discompose/ledger"

// boundSide bounds what a sum of signed values can be at any time. It knows the lower bounds, where sign is 1, or the upper
// ones, where it is -1: those are lower bounds of everything with its sign turned round. Up and down are meant so.
type boundSide struct {
	sign     int64
	up       ladder // acknowledged ups by completion
	upBegun  ladder // the same by invocation
	upMaybe  ladder // ups of unknown fate by invocation
	down     ladder // acknowledged and unknown downs by invocation
	downDone ladder // acknowledged downs by completion
	failed   ladder // failed downs by invocation
	base     int64
	shown    boundAnchor // the best bound from an earlier read, without what was acknowledged since
	grown    boundAnchor // and with it
}

// boundAnchor is what an earlier read contributes to bounds.
type boundAnchor struct {
	sum int64
	op  int32
}

// newBounds has the lower bounds of a sum, then the upper ones.
func newBounds(initial int64) [2]boundSide {
	var out [2]boundSide
	for i, sign := range []int64{1, -1} {
		start := boundAnchor{sign * initial, -1}
		out[i] = boundSide{sign: sign, base: start.sum, shown: start, grown: start}
	}
	return out
}

// add takes a value that an operation added, or may have.
func (s *boundSide) add(o *ledger.Op, value int64) {
	value *= s.sign
	switch {
	case o.Outcome == ledger.Failed && value < 0:
		s.failed.add(o.Invoke, value)
	case o.Outcome == ledger.Failed:
	case value < 0:
		s.down.add(o.Invoke, value)
		if o.Outcome == ledger.OK {
			s.downDone.add(o.Complete, value)
		}
	case o.Outcome == ledger.OK:
		s.up.add(o.Complete, value)
		s.upBegun.add(o.Invoke, value)
	default:
		s.upMaybe.add(o.Invoke, value)
	}
}

func (s *boundSide) arrange() {
	for _, l := range []*ladder{&s.up, &s.upBegun, &s.upMaybe, &s.down, &s.downDone, &s.failed} {
		l.arrange()
	}
}

// floor is the lower bound of a read, and the earlier one that it is from.
func (s *boundSide) floor(o *ledger.Op) boundAnchor {
	best := s.grown
	best.sum += s.up.before(o.Invoke)
	if s.shown.sum > best.sum {
		best = s.shown
	}
	best.sum += s.down.upTo(o.Complete)
	return best
}

// lagging is the lower bound of a read that may have missed anything.
func (s *boundSide) lagging(o *ledger.Op) boundAnchor {
	return boundAnchor{s.base + s.down.upTo(o.Complete), -1}
}

// anchor lets what a read found bound those that come after it.
func (s *boundSide) anchor(op int32, o *ledger.Op, found int64) {
	seen := s.sign*found - s.downDone.before(o.Invoke)
	if seen > s.shown.sum {
		s.shown = boundAnchor{seen, op}
	}
	if grown := seen - s.upBegun.upTo(o.Complete); grown > s.grown.sum {
		s.grown = boundAnchor{grown, op}
	}
}
