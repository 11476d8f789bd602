package runner

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
)

const second = int64(time.Second)

func TestTrackerCountsFromAnInstantInWholeBuckets(t *testing.T) {
	t.Parallel()
	tr := newTracker()
	op := func(w, f string, invoke, complete int64, outcome ledger.Outcome, text string) ledger.Op {
		return ledger.Op{Workload: w, Func: f, Invoke: invoke, Complete: complete, Outcome: outcome, Error: text}
	}
	tr.add([]ledger.Op{
		op("orders", ledger.FuncProduce, 1*second, 2*second, ledger.OK, ""),
		op("orders", ledger.FuncProduce, 2*second, 3*second, ledger.Failed, "refused"),
		op("orders", ledger.FuncProduce, 3*second, 5*second, ledger.Unknown, "timed out"),
		op("orders", ledger.FuncRead, 9*second, 9*second, ledger.OK, ""),
		op("orders", ledger.FuncPoll, 9*second, 9*second, ledger.OK, ""),
		op("orders", ledger.FuncEnd, 9*second, 9*second, ledger.OK, ""),
		op("page", ledger.FuncProbe, 4*second, 4*second, ledger.OK, ""),
	})
	for _, c := range []struct {
		name    string
		from    int64
		done    counts
		invoked int
		last    string
	}{
		{"orders", 0, counts{1, 2}, 3, "timed out"},
		{"orders", 2 * second, counts{1, 2}, 2, "timed out"},
		{"orders", 2*second + 1, counts{0, 2}, 1, "timed out"}, // the bucket that it cuts does not count
		{"orders", 5*second + bucketNs, counts{}, 0, "timed out"},
		{"page", 4 * second, counts{1, 0}, 1, ""},
		{"nobody", 0, counts{}, 0, ""},
	} {
		done, invoked, last := tr.since(c.name, c.from)
		if done != c.done || invoked != c.invoked || last != c.last {
			t.Errorf("%s since %d: %+v, %d, %q; want %+v, %d, %q", c.name, c.from, done, invoked, last, c.done, c.invoked, c.last)
		}
	}
	if ok, bad := tr.totals(); ok != 2 || bad != 2 {
		t.Errorf("totals: %d ok, %d bad, want 2 and 2", ok, bad)
	}
}

func TestConsumersAreBehindUntilTheyPolledToTheEnd(t *testing.T) {
	t.Parallel()
	p := &positions{}
	op := func(w, f string, partition int32, offset int64) ledger.Op {
		return ledger.Op{Workload: w, Func: f, Partition: partition, Offset: offset, Outcome: ledger.OK}
	}
	if got := p.behind(); len(got) > 0 {
		t.Errorf("before anything: %v", got)
	}
	p.add([]ledger.Op{
		op("orders", ledger.FuncRead, 0, 4), op("orders", ledger.FuncEnd, 0, 6), // a mark of a transaction is behind the last record
		op("orders", ledger.FuncRead, 1, 2), op("orders", ledger.FuncEnd, 1, 3), op("orders", ledger.FuncEnd, 2, 0), op("alone", ledger.FuncRead, 0, 8),
	}, false)
	p.add([]ledger.Op{op("orders", ledger.FuncPoll, 0, 3)}, false) // the driver's own group, which has ended with the workload
	if got := p.behind(); len(got) > 0 {
		t.Errorf("nobody polls, so nobody is behind: %v", got)
	}
	p.add([]ledger.Op{op("orders", ledger.FuncPoll, 0, 3), op("orders", ledger.FuncPoll, 0, 1), op("orders", ledger.FuncProduce, 1, 8)}, true)
	if diff := cmp.Diff([]string{"orders/0 at 4 of 5", "orders/1 at 0 of 3"}, p.behind()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p.add([]ledger.Op{op("orders", ledger.FuncPoll, 0, 4), op("orders", ledger.FuncPoll, 1, 2)}, true)
	if got := p.behind(); len(got) > 0 {
		t.Errorf("all is polled: %v", got)
	}
}

func TestWhatIsIngestedReachesTheLedgerTheTrackerAndThePositions(t *testing.T) {
	t.Parallel()
	r := testRun(t, "")
	r.ingest([]ledger.Op{
		{Workload: "orders", Func: ledger.FuncProduce, Invoke: second, Complete: second, Outcome: ledger.OK},
		{Workload: "orders", Func: ledger.FuncPoll, Offset: 0, Outcome: ledger.OK},
		{Workload: "orders", Func: ledger.FuncRead, Offset: 1, Outcome: ledger.OK},
	}, true)
	if diff := cmp.Diff([]string{"orders/0 at 1 of 2"}, r.polled.behind()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if ok, _ := r.track.totals(); ok != 1 {
		t.Errorf("the tracker has %d operations", ok)
	}
	if h := history(t, r); len(h.Ops) != 3 {
		t.Errorf("the ledger has %d operations", len(h.Ops))
	}
}

// TestTheClockTakesTheShortestRoundTrip answers pings in a bubble, where time passes only while one waits.
func TestTheClockTakesTheShortestRoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		booted := time.Now().Add(-5 * time.Hour)
		host := func() int64 { return int64(time.Since(booted)) }
		c := newHostClock()
		n := 0
		err := c.sync(t.Context(), func(context.Context) (int64, error) {
			n++
			there, back := time.Duration(n)*10*time.Millisecond, time.Duration(2*n)*10*time.Millisecond
			if n == 9 {
				there, back = time.Millisecond, 3*time.Millisecond
			}
			time.Sleep(there)
			at := host()
			time.Sleep(back)
			return at, nil
		})
		if err != nil || n != clockPings {
			t.Fatalf("%d pings: %v", n, err)
		}
		if got, want := c.errNs.Load(), int64(2*time.Millisecond); got != want {
			t.Errorf("the error is %d ns, want %d: half the shortest round trip", got, want)
		}
		if off := c.now() - host(); off != -int64(time.Millisecond) {
			t.Errorf("it is %s off, want -1ms: the shortest trip took 1 ms there and 3 ms back", time.Duration(off))
		}
		at := host() + 7*second
		if err := c.wait(t.Context(), at); err != nil {
			t.Error(err)
		}
		if late := host() - at; late < -c.errNs.Load() || late > c.errNs.Load() {
			t.Errorf("wait ended %s late", time.Duration(late))
		}
	})
}

func TestTheClockKeepsItsMappingWhenAPingFails(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	c := newHostClock()
	before := c.offset.Load()
	err := c.sync(t.Context(), func(context.Context) (int64, error) { return 0, lost })
	if !errors.Is(err, lost) || c.offset.Load() != before {
		t.Errorf("sync: %v, mapping changed: %t", err, c.offset.Load() != before)
	}
}

func TestSleepEndsWithTheCause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := sleep(ctx, -time.Second); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
	cancel(fmt.Errorf("stop: %w", ErrInterrupted))
	for _, d := range []time.Duration{-1, time.Hour} {
		if err := sleep(ctx, d); !errors.Is(err, ErrInterrupted) {
			t.Errorf("sleep %s: %v, want the cause", d, err)
		}
	}
}
