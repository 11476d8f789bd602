package proxy

import "time"

// The spinner's measures.
const (
	spinMost    = 100 * time.Microsecond // the longest time without sleep
	spinAfter   = 150 * time.Microsecond // a wait is short when it is shorter than this, its wake-up included
	spinCredit  = 32                     // short waits in a row before it spins
	spinMiss    = 8                      // what a long wait costs of it
	spinStolen  = 50 * time.Microsecond  // a look takes this long when somebody else needed the processor
	spinPause   = 20 * time.Millisecond  // then it leaves the processor alone
	spinPauseTo = time.Second            // longer each time, up to this
)

// spinner decides whether to look for the next message for a while before sleeping. Waking a sleeping processor takes
// longer than all else that a proxy does for a message; but a loop that waits must not take the processor from the
// services. So it spins only while messages follow each other within microseconds, not while bulk data flows, and it stops
// when it notices that it did not have the processor to itself. The zero value never spins.
type spinner struct {
	allowed bool
	bulk    bool // what moved last was not a message
	credit  int
	until   time.Time // no spinning before
	pause   time.Duration
}

// worth reports whether to spin before sleeping.
func (s *spinner) worth(now time.Time) bool {
	return s.allowed && !s.bulk && s.credit >= spinCredit && now.After(s.until)
}

// goOn reports, after a look that began at last, whether to look again.
func (s *spinner) goOn(began, last, now time.Time) bool {
	if now.Sub(last) > spinStolen {
		s.pause = min(max(2*s.pause, spinPause), spinPauseTo)
		s.until = now.Add(s.pause)
		return false
	}
	return now.Sub(began) < spinMost
}

// waited tells how long it was until something came, asleep or not.
func (s *spinner) waited(began, now time.Time) {
	switch {
	case s.bulk || now.Sub(began) > spinAfter:
		s.credit = max(s.credit-spinMiss, 0)
	case s.credit < 2*spinCredit:
		s.credit++
	}
	if now.After(s.until.Add(spinPauseTo)) {
		s.pause = 0
	}
}
