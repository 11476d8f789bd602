package oracle

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// regSearch looks for an order of the operations on one register in which each takes effect, once, between its call and
// its return, and finds what it found. It walks through calls and returns in the order of time and decides as late as it
// can: only the return of an operation that has not taken effect forces a choice, and what is tried then are operations
// that are under way. What cannot matter is not tried:
//
//   - A read takes effect as soon as the register has its value: it changes nothing.
//   - A value that is still to be read, and that nobody can write again, is not left.
//   - A write that nobody reads takes effect just before another one.
//
// A configuration from which there is no way on is remembered, so that it is not tried again.
type regSearch struct {
	ctx   context.Context // a search is one call
	limit int             // configurations that may be remembered
	exact bool            // do not guess

	ops        []regOp
	events     []int32 // operation << 1, | 1 for its return
	observed   []int32 // by value: definite reads and swaps from it that have not taken effect
	producible []int32 // by value: operations that set it and have not taken effect
	firstRead  []int64 // by value: the first return of a definite read
	referenced []bool  // by value: an open swap may start from it
	misses     int     // observations that the value was another one, not yet made
	done       []bool
	next, prev []int32 // rings of operations that are under way; the heads are behind the operations
	trail      []int32 // what was done: an operation that took effect, or the complement of one that was called
	frames     []regFrame
	choices    []regChoice
	dead       map[regConfig]struct{}
	at         regConfig
	steps      int
}

// The rings: definite operations; open ones that a read may need; open writes that nobody reads; open deletes.
const (
	ringPending = iota
	ringUseful
	ringIdle
	ringDelete
	rings
)

// regConfig is where a search stands: everything else follows from it. hash stands for the set of operations that took effect
// and have not returned; a collision could hide an order, which is why whoever convicts has it confirmed.
type regConfig struct {
	event int32
	value int32
	hash  uint64
}

// regFrame is a choice, to come back to.
type regFrame struct {
	at             regConfig
	trail          int
	from, next, to int // of choices
}

// regChoice lets an operation take effect; slip lets writes that nobody reads do so just before.
type regChoice struct {
	op   int32
	slip bool
	rank int64
}

// regOutcome is what a search found.
type regOutcome uint8

const (
	regUndecided regOutcome = iota
	regLegal
	regIllegal
)

// searchRegister searches an order of ops, which are sorted by call and whose values are below values.
func searchRegister(ctx context.Context, ops []regOp, values, limit int) regOutcome {
	out := guessRegister(ctx, ops, values, limit)
	if out != regIllegal || !slices.ContainsFunc(ops, func(o regOp) bool { return o.kind == regMiss }) {
		return out
	}
	return (&regSearch{ctx: ctx, limit: limit, ops: ops, exact: true}).search(values)
}

// guessRegister is searchRegister, but where there are mismatches it may miss an order. They make the search hard, for any
// write that nobody reads may be what one saw: the guess is that only those are that are under way when a mismatch
// returns.
func guessRegister(ctx context.Context, ops []regOp, values, limit int) regOutcome {
	return (&regSearch{ctx: ctx, limit: limit, ops: ops}).search(values)
}

func (s *regSearch) search(values int) regOutcome {
	s.dead = map[regConfig]struct{}{}
	s.count(values)
	s.plan()
	n := len(s.ops)
	s.done = make([]bool, n)
	s.next, s.prev = make([]int32, n+rings), make([]int32, n+rings)
	for ring := range rings {
		h := s.head(ring)
		s.next[h], s.prev[h] = h, h
	}
	return s.run()
}

func (s *regSearch) head(ring int) int32 { return int32(len(s.ops) + ring) } //nolint:gosec // fewer than 2^31 operations fit into memory

func (s *regSearch) count(values int) {
	s.observed, s.producible = make([]int32, values), make([]int32, values)
	s.firstRead, s.referenced = make([]int64, values), make([]bool, values)
	for i := range s.firstRead {
		s.firstRead[i] = math.MaxInt64
	}
	for i := range s.ops {
		o := &s.ops[i]
		if v, ok := o.reads(); ok {
			s.observed[v]++
			s.firstRead[v] = min(s.firstRead[v], o.ret)
		}
		if o.changes() {
			s.producible[o.value]++
		}
		switch {
		case o.kind == regMiss:
			s.misses++
		case o.kind == regSwap && o.open:
			s.referenced[o.from] = true
		}
	}
}

// plan lists the calls and returns in the order of time. Intervals are closed: a call comes before a return of the same
// instant. An open operation that can explain nothing never happened.
func (s *regSearch) plan() {
	returns := make([]int32, 0, len(s.ops))
	calls := make([]int32, 0, len(s.ops))
	for i := range s.ops {
		o := &s.ops[i]
		if !o.open {
			returns = append(returns, int32(i)) //nolint:gosec // as head
		} else if s.misses == 0 && s.unread(o.value) {
			continue
		}
		calls = append(calls, int32(i)) //nolint:gosec // as head
	}
	byReturn := func(a, b int32) int { return cmp.Compare(s.ops[a].ret, s.ops[b].ret) }
	if !slices.IsSortedFunc(returns, byReturn) {
		slices.SortFunc(returns, byReturn)
	}
	s.events = make([]int32, 0, len(calls)+len(returns))
	r := 0
	for _, i := range calls {
		for ; r < len(returns) && s.ops[returns[r]].ret < s.ops[i].call; r++ {
			s.events = append(s.events, returns[r]<<1|1)
		}
		s.events = append(s.events, i<<1)
	}
	for ; r < len(returns); r++ {
		s.events = append(s.events, returns[r]<<1|1)
	}
}

// unread reports whether nobody can tell any more that the register had a value.
func (s *regSearch) unread(v int32) bool { return s.observed[v] == 0 && !s.referenced[v] }

func (s *regSearch) run() regOutcome {
	for int(s.at.event) < len(s.events) {
		const often = 1 << 12
		if s.steps++; s.steps%often == 0 && (s.ctx.Err() != nil || len(s.dead) > s.limit) {
			return regUndecided
		}
		i := s.events[s.at.event] >> 1
		switch {
		case s.events[s.at.event]&1 == 0:
			s.call(i)
			s.at.event++
		case s.done[i]:
			s.at.hash ^= mix(i)
			s.at.event++
		case s.stuck(i):
		case !s.back():
			return regIllegal
		}
	}
	return regLegal
}

func (s *regSearch) call(i int32) {
	o := &s.ops[i]
	ring := ringPending
	if o.open {
		switch {
		case o.kind == regDelete:
			ring = ringDelete
		case o.kind == regWrite && s.unread(o.value):
			ring = ringIdle
		default:
			ring = ringUseful
		}
	}
	h := s.head(ring)
	last := s.prev[h]
	s.next[last], s.prev[i], s.next[i], s.prev[h] = i, last, h, i
	s.trail = append(s.trail, ^i)
	if s.holds(o) {
		s.effect(i)
	}
}

// holds reports whether an observation is true now.
func (s *regSearch) holds(o *regOp) bool {
	return (o.kind == regGet && o.value == s.at.value) || (o.kind == regMiss && o.from != s.at.value)
}

// effect lets an operation take effect, but for the value.
func (s *regSearch) effect(i int32) {
	s.done[i] = true
	s.next[s.prev[i]], s.prev[s.next[i]] = s.next[i], s.prev[i]
	s.trail = append(s.trail, i)
	s.at.hash ^= mix(i)
	s.weigh(&s.ops[i], -1)
}

// weigh takes an operation out of the counts of what is still to come, or puts it back.
func (s *regSearch) weigh(o *regOp, by int32) {
	if v, ok := o.reads(); ok {
		s.observed[v] += by
	}
	if o.changes() {
		s.producible[o.value] += by
	}
	if o.kind == regMiss {
		s.misses += int(by)
	}
}

// stuck takes the first way on from a return of an operation that has not taken effect; false: there is none.
func (s *regSearch) stuck(i int32) bool {
	if _, known := s.dead[s.at]; known {
		return false
	}
	from := len(s.choices)
	s.collect(i)
	s.frames = append(s.frames, regFrame{at: s.at, trail: len(s.trail), from: from, next: from, to: len(s.choices)})
	return s.try()
}

// try takes the next choice of the last frame that leads on; without one it removes the frame.
func (s *regSearch) try() bool {
	f := &s.frames[len(s.frames)-1]
	for f.next < f.to {
		c := s.choices[f.next]
		f.next++
		if s.apply(c) {
			return true
		}
		s.restore(f)
	}
	s.dead[f.at] = struct{}{}
	s.choices = s.choices[:f.from]
	s.frames = s.frames[:len(s.frames)-1]
	return false
}

func (s *regSearch) back() bool {
	for len(s.frames) > 0 {
		s.restore(&s.frames[len(s.frames)-1])
		if s.try() {
			return true
		}
	}
	return false
}

func (s *regSearch) restore(f *regFrame) {
	for len(s.trail) > f.trail {
		i := s.trail[len(s.trail)-1]
		s.trail = s.trail[:len(s.trail)-1]
		if i < 0 { // it was called
			i = ^i
			s.next[s.prev[i]], s.prev[s.next[i]] = s.next[i], s.prev[i]
			continue
		}
		s.done[i] = false
		s.next[s.prev[i]], s.prev[s.next[i]] = i, i
		s.weigh(&s.ops[i], 1)
	}
	s.at = f.at
}

// apply lets the chosen operation take effect, and then the reads that it makes true. It is false where that leads nowhere.
func (s *regSearch) apply(c regChoice) bool {
	o := &s.ops[c.op]
	if c.slip && o.kind != regSwap {
		for i := s.next[s.head(ringPending)]; i != s.head(ringPending); i = s.next[i] {
			if i != c.op && s.slips(&s.ops[i]) {
				s.effect(i)
			}
		}
	}
	s.effect(c.op)
	old := s.at.value
	s.at.value = o.value
	if old != o.value && s.observed[old] > 0 && s.producible[old] == 0 {
		return false
	}
	for i := s.next[s.head(ringPending)]; i != s.head(ringPending); i = s.next[i] {
		if s.holds(&s.ops[i]) {
			s.effect(i)
		}
	}
	return true
}

// slips reports whether a pending operation may take effect just before another write without a trace.
func (s *regSearch) slips(o *regOp) bool {
	return (o.kind == regWrite || o.kind == regDelete) && s.unread(o.value)
}

// mix spreads the number of an operation over 64 bits (splitmix64).
func mix(i int32) uint64 {
	x := (uint64(i) + 1) * 0x9e3779b97f4a7c15 //nolint:gosec // any bits do
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
