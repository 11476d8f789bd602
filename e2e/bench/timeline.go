package main

import (
	"context"
	"fmt"
	"time"
)

const timelineBar = 20.0 // ms

// timeline measures how far from the plan calls are made, from a real run's ledger.
func (b *bench) timeline(ctx context.Context, s *section) error {
	s.title = "Timeline precision"
	s.text = "One run of the binary with fifty pauses of 150 ms, 700 ms apart, on a web server that is probed 20 times a second. From the ledger: the instant just before each fault's call, less the instant " +
		"that the plan names; and the call itself, as it took in that run."
	c, err := b.start(ctx, "timeline")
	if err != nil {
		return err
	}
	_, h, err := b.finish(ctx, c, s)
	if err != nil {
		return err
	}
	var late, calls, witness series
	for _, f := range h.Faults {
		if f.Called == 0 || f.Applied == 0 || f.Confirmed == 0 {
			return fmt.Errorf("fault %s was not carried out: %s", f.Record, f.Error)
		}
		late.add(time.Duration(f.Called - f.Planned))
		calls.add(time.Duration(f.Applied - f.Called))
		witness.add(time.Duration(f.Confirmed - f.Applied))
	}
	if len(late) == 0 {
		return fmt.Errorf("run %s has no fault", h.Run.ID)
	}
	b.say("calls are %s after the plan, %s at most", millis(late.median()), millis(late.max()))
	t := table{head: []string{"what", "n", "median", "p99", "max"}}
	t.add(append([]string{"called after the planned instant"}, late.cells()...)...)
	t.add(append([]string{"call to answer"}, calls.cells()...)...)
	t.add(append([]string{"answer to witness (60 ms of it is the time that the CPU counter is watched)"}, witness.cells()...)...)
	s.tables = append(s.tables, t)
	if early := late.quantile(0); early < 0 {
		s.note("The earliest call was %s before its instant.", millis(-early))
	}
	b.report.bar("the instant of a fault's call, against the plan", "≤ 20 ms at the 99th percentile",
		fmt.Sprintf("%s at most of %d, median %s", millis(late.max()), len(late), millis(late.median())), yes(late.quantile(0.99) <= timelineBar))
	return nil
}
