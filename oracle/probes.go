package oracle

import (
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// What a scenario expects of a probe inside the windows of the faults that it observes.
const (
	mustHold = "must-hold"
	mustFail = "must-fail"
)

// probes holds each probe against its hypothesis. Outside of faults and their recovery every probe must hold. Inside the
// windows of the faults that it observes,
//
//   - must-hold: every evaluation that starts there must hold, and so it must in the recovery;
//   - must-fail: every evaluation that starts and returns there must fail, and at least one that starts there;
//   - may-fail: anything goes.
func (c *court) probes() {
	if c.short {
		return
	}
	for _, name := range observers(c.x.rules.Probes) {
		during := c.x.rules.Probes[name].During
		excused := c.excused(name, func(f ledger.Fault) bool {
			return during != mustHold || !slices.Contains(c.x.observersOf(f), name)
		})
		if n, first := c.unexcused(name, excused); n > 0 {
			where := "outside every fault and its recovery"
			if during == mustHold {
				where = "where it must hold"
			}
			c.find(Unavailable, "probe %s failed %s %s, first evaluation %d: %s", name, times(n), where, first.ID, errorText(first))
		}
		if during == mustFail {
			c.mustFail(name)
		}
		if during == mustFail || during == mustHold {
			c.asked(name, during)
		}
	}
}

// asked finds the windows in which a probe that must hold, or must fail, was never evaluated: the guards may be met by other
// probes, but nothing is known of this one.
func (c *court) asked(name, during string) {
	for _, w := range c.windows {
		if !slices.Contains(c.x.observersOf(w.Fault), name) {
			continue
		}
		inside := interval{w.From + c.span.err, w.To - c.span.err}
		if len(c.x.invoked(name, inside)) == 0 {
			c.find(TooFewOps, "probe %s %s inside %s and was not evaluated there", name, strings.ReplaceAll(during, "-", " "), title(w.Fault))
		}
	}
}

func (c *court) mustFail(name string) {
	for _, w := range c.windows {
		if !slices.Contains(c.x.observersOf(w.Fault), name) {
			continue
		}
		inside := interval{w.From + c.span.err, w.To - c.span.err}
		started, held, failed := 0, 0, 0
		for _, i := range c.x.invoked(name, inside) {
			o := &c.x.ops[i]
			started++
			switch {
			case o.Outcome != ledger.OK:
				failed++
			case inside.has(o.Complete):
				held++
			}
		}
		if held > 0 || (started > 0 && failed == 0) {
			c.find(Unavailable, "probe %s must fail while %s holds, and of %d evaluations %d failed", name, title(w.Fault), started, failed)
		}
	}
}

// demanded counts the evaluations of a probe that failed, or never returned, where they had to: each once, in whichever
// windows it lies.
func (c *court) demanded(name string) (failed, unknown int) {
	if c.x.rules.Probes[name].During != mustFail {
		return 0, 0
	}
	counted := map[int32]bool{}
	for _, w := range c.windows {
		if !slices.Contains(c.x.observersOf(w.Fault), name) {
			continue
		}
		for _, i := range c.x.invoked(name, interval{w.From, w.To}) {
			if counted[i] {
				continue
			}
			counted[i] = true
			switch c.x.ops[i].Outcome {
			case ledger.Failed:
				failed++
			case ledger.Unknown:
				unknown++
			case ledger.OK:
			}
		}
	}
	return failed, unknown
}
