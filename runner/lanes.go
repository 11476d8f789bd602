package runner

import (
	"context"
	"fmt"
	"time"
)

// drawn carries the random part of the timeline out: all lanes side by side. Whatever ends one of them early, a gate that
// does not hold or an undo that failed, ends the nemesis: no lane starts anything any more, and what holds is held for its
// time. Its error joins what could not be undone.
func (n *nemesis) drawn(ctx context.Context, plan *Plan, base int64) error {
	starting, stop := context.WithCancel(ctx) // ends when nothing is to be started any more
	defer stop()
	return together(plan.lanes(), func(all []Injection) error {
		l := lane{nemesis: n, schedule: plan.schedule, base: base, stop: stop}
		err := l.run(ctx, starting, all)
		if err != nil {
			stop()
		}
		return err
	})
}

// lane is one row of random faults, each of which starts after the end of the one before.
type lane struct {
	*nemesis
	schedule
	base int64  // start of the timeline
	stop func() // ends the nemesis: no lane starts anything any more
}

// run starts the injections of a lane until starting ends or its time is over.
func (l lane) run(ctx, starting context.Context, all []Injection) error {
	from := l.base
	for _, in := range all {
		if ok, err := l.open(starting, from, in.ID); !ok {
			return err
		}
		at := from + int64(in.At)
		if len(l.gates) > 0 { // what they held up still gets the time that it takes to prepare it
			at = max(at, l.r.clock.now()+int64(prepareLead))
		}
		if l.limit > 0 && time.Duration(at-l.base) >= l.limit {
			return nil
		}
		if l.r.clock.wait(starting, at-int64(prepareLead)) != nil {
			return nil //nolint:nilerr // the cause is told by who ended it
		}
		if err := l.act(ctx, in, at); err != nil {
			return err
		}
		from = l.r.clock.now()
	}
	return nil
}

// open waits for the gates, and reports whether the next fault may start. Where they do not hold in time the nemesis ends.
func (l lane) open(ctx context.Context, from int64, next string) (bool, error) {
	g := gatekeeper{nemesis: l.nemesis, gates: l.gates, within: l.schedule.within, from: from, next: next, ended: func() string {
		return fmt.Sprintf("the nemesis ended before %s: within %s of the last fault", next, l.schedule.within)
	}}
	if l.limit > 0 {
		g.until = l.base + int64(l.limit)
	}
	how, err := g.wait(ctx)
	if how == stayed {
		l.stop()
	}
	return how == opened, err
}
