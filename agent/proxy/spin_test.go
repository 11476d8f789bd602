package proxy

import (
	"testing"
	"time"
)

// feed tells a spinner of n waits, and returns the instant after them.
func feed(s *spinner, now time.Time, n int, wait time.Duration) time.Time {
	for range n {
		s.waited(now, now.Add(wait))
		now = now.Add(wait)
	}
	return now
}

func TestSpinsOnlyWhileMessagesFollowEachOther(t *testing.T) {
	t.Parallel()
	s, now := &spinner{allowed: true}, time.Now()
	if s.worth(now) {
		t.Error("it spins before anything has come")
	}
	if now = feed(s, now, spinCredit-1, 20*time.Microsecond); s.worth(now) {
		t.Error("it spins after too few short waits")
	}
	if now = feed(s, now, 1000, 20*time.Microsecond); !s.worth(now) {
		t.Error("it does not spin while messages follow each other")
	}
	if now = feed(s, now, 8, time.Millisecond); s.worth(now) {
		t.Error("it spins on after eight pauses of a millisecond")
	}
	if now = feed(s, now, 100, time.Millisecond); s.worth(feed(s, now, spinCredit-1, 20*time.Microsecond)) {
		t.Error("long waits are forgotten too fast")
	}
	now = feed(s, now, 1000, 20*time.Microsecond)
	if s.bulk = true; s.worth(now) {
		t.Error("it spins on bulk data")
	}
	if now = feed(s, now, 8, 20*time.Microsecond); s.credit != 0 {
		t.Error("bulk data counts as messages")
	}
	never := &spinner{}
	if now = feed(never, now, 1000, 20*time.Microsecond); never.worth(now) {
		t.Error("it spins where that is not allowed")
	}
}

func TestSpinnerLeavesABusyProcessor(t *testing.T) {
	t.Parallel()
	s := &spinner{allowed: true}
	now := feed(s, time.Now(), 100, 20*time.Microsecond)
	if !s.goOn(now, now, now.Add(time.Microsecond)) {
		t.Error("it stops at once")
	}
	if s.goOn(now, now.Add(spinMost-time.Microsecond), now.Add(spinMost)) {
		t.Error("it goes on for ever")
	}
	pause := spinPause
	for range 10 {
		if s.goOn(now, now, now.Add(time.Millisecond)) {
			t.Fatal("it goes on though it lost the processor for a millisecond")
		}
		now = now.Add(time.Millisecond)
		if s.worth(now.Add(pause)) || !s.worth(now.Add(pause+1)) {
			t.Fatalf("it does not keep away for %v", pause)
		}
		now, pause = now.Add(pause+1), min(2*pause, spinPauseTo)
	}
	now = feed(s, now.Add(2*spinPauseTo), 1, 20*time.Microsecond)
	_ = s.goOn(now, now, now.Add(time.Millisecond))
	if s.pause != spinPause {
		t.Errorf("after a quiet time the next pause is %v, want %v", s.pause, spinPause)
	}
}
