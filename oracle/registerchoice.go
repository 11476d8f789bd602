package oracle

import (
	"cmp"
	"math"
	"slices"
)

// collect lists what may take effect before the operation i returns, the most promising first: what is read first.
func (s *regSearch) collect(i int32) {
	o := &s.ops[i]
	if v, ok := o.reads(); ok && v != s.at.value && s.producible[v] == 0 {
		return
	}
	careful := s.misses > 0 && (s.exact || o.kind == regMiss)
	if !careful && s.forced(o) {
		s.choices = append(s.choices, regChoice{op: i, slip: true})
		return
	}
	from := len(s.choices)
	pendingMiss, slippery := s.pending(i, careful)
	for x := s.next[s.head(ringUseful)]; x != s.head(ringUseful); x = s.next[x] {
		if p := &s.ops[x]; s.applies(p) && (careful || !s.unread(p.value)) {
			s.choices = append(s.choices, regChoice{x, true, s.firstRead[p.value]})
		}
	}
	if x := s.next[s.head(ringIdle)]; x != s.head(ringIdle) && pendingMiss {
		s.choices = append(s.choices, regChoice{x, true, math.MaxInt64})
	}
	if x := s.next[s.head(ringDelete)]; x != s.head(ringDelete) && (pendingMiss || !s.unread(0)) && (s.at.value != 0 || slippery) {
		s.choices = append(s.choices, regChoice{x, true, math.MaxInt64})
	}
	s.rank(from, careful && slippery)
}

// rank puts the choices from an index on into order, and adds them once more as unread where a miss may have seen such a value.
func (s *regSearch) rank(from int, unread bool) {
	found := s.choices[from:]
	slices.SortStableFunc(found, func(a, b regChoice) int { return cmp.Compare(a.rank, b.rank) })
	if !unread {
		return
	}
	for _, c := range found {
		s.choices = append(s.choices, regChoice{op: c.op})
	}
}

// forced reports whether o itself may take effect now without loss: nobody reads what it writes, and nobody needs the
// value that it replaces, so whatever comes before it might as well come after it.
func (s *regSearch) forced(o *regOp) bool {
	return s.slips(o) && s.unread(s.at.value)
}

// pending adds the definite operations that may take effect. It reports whether an observation is pending that is not true
// now, and whether there are writes that nobody reads.
func (s *regSearch) pending(stuck int32, careful bool) (miss, slippery bool) {
	for x := s.next[s.head(ringPending)]; x != s.head(ringPending); x = s.next[x] {
		p := &s.ops[x]
		slips := s.slips(p)
		slippery = slippery || slips
		switch {
		case p.kind == regMiss:
			miss = true
		case !s.applies(p), slips && x != stuck && !careful:
		case x == stuck:
			s.choices = append(s.choices, regChoice{x, true, math.MinInt64})
		default:
			s.choices = append(s.choices, regChoice{x, true, s.firstRead[p.value]})
		}
	}
	return miss, slippery
}

// applies reports whether an operation can change the value as it is.
func (s *regSearch) applies(o *regOp) bool {
	return o.changes() && (o.kind != regSwap || o.from == s.at.value)
}
