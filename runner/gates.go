package runner

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/scenarios"
)

// gateEvery is how long a nemesis waits between two evaluations of its gates.
const gateEvery = 250 * time.Millisecond

// queryBudget bounds one command that a gate or a fault's query runs in a service.
const queryBudget = 15 * time.Second

// activity is what of the timeline is under way. It is safe for concurrent use.
type activity struct {
	mu   sync.Mutex
	now  int   // injections that were started and did not end
	any  bool  // whether one ever was
	last int64 // when the last one ended, host clock, ns; 0: none did
}

func (a *activity) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now++
	a.any = true
}

func (a *activity) end(at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now--
	a.last = max(a.last, at)
}

// since is from when on nothing was active, at an instant at which somebody asks; never is whether nothing ever was.
func (a *activity) since(at int64) (quiet int64, never bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now > 0 {
		return at, false
	}
	return a.last, !a.any
}

// gatekeeper evaluates the gates of one lane between two of its faults.
type gatekeeper struct {
	lane
	from int64            // end of the fault before, or start of the timeline: what was invoked before it proves nothing
	next string           // id of the fault that waits
	seen map[string]int64 // gate → the evaluation that was recorded last
}

// open waits until every gate holds at the same time, and reports whether the next fault may start. It may not where the
// gates do not hold within their time of the end of the last fault; that ends the nemesis and is the judge's to weigh.
// While a fault of another lane or of the fixed timeline is active, that time does not run.
func (l lane) open(ctx context.Context, from int64, next string) (bool, error) {
	if len(l.gates) == 0 {
		return true, nil
	}
	g := &gatekeeper{lane: l, from: from, next: next, seen: map[string]int64{}}
	for {
		missing, err := g.evaluate(ctx)
		now := l.r.clock.now()
		switch quiet, never := l.activity.since(now); {
		case err != nil || ctx.Err() != nil:
			return false, err
		case len(missing) == 0:
			return true, nil
		case l.limit > 0 && time.Duration(now-l.base) >= l.limit:
			return false, nil // recovery waits for the same
		case now > max(from, quiet)+int64(l.within):
			l.stop()
			return false, g.shut(missing, never)
		}
		l.r.say(Event{Kind: EventProgress, Text: fmt.Sprintf("%s waits: %s", next, strings.Join(missing, "; "))})
		if sleep(ctx, gateEvery) != nil {
			return false, nil //nolint:nilerr // the cause is told by who ended it
		}
	}
}

// evaluate says which gates do not hold, each with the reason. A query costs its service something: it is asked only where
// the gates before it hold.
func (g *gatekeeper) evaluate(ctx context.Context) (missing []string, err error) {
	for _, gate := range g.gates {
		name := gateName(gate)
		at, why := int64(0), ""
		switch {
		case gate.Probe != "":
			at, why = g.probe(strings.TrimPrefix(gate.Probe, "probe."))
		case len(missing) > 0:
			continue
		default:
			at, why = g.query(ctx, gate.Query)
		}
		if why != "" {
			missing = append(missing, fmt.Sprintf("gate %s: %s", name, why))
		}
		if at == 0 || at == g.seen[name] || ctx.Err() != nil {
			continue // nothing new was evaluated
		}
		g.seen[name] = at
		if err := g.r.gate(name, why == "", g.note(why)); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

func (g *gatekeeper) note(why string) string {
	if why == "" {
		return "before " + g.next
	}
	return "before " + g.next + ": " + why
}

// probe is when a probe was evaluated last, and why that did not hold; 0 without an evaluation.
func (g *gatekeeper) probe(name string) (at int64, why string) {
	op, ok := g.r.track.latest(name)
	switch {
	case !ok || op.Invoke < g.from:
		return 0, "no evaluation yet"
	case op.Outcome == ledger.OK:
		return op.Invoke, ""
	}
	return op.Invoke, orText(op.Error, "it did not hold")
}

// query runs a gate's command, and says when it ended and why it did not hold.
func (g *gatekeeper) query(ctx context.Context, q scenarios.GateQuery) (at int64, why string) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryBudget, fmt.Errorf("no answer within %s", queryBudget))
	defer cancel()
	out, code, err := g.exec(ctx, scenarios.ParseRef(q.Service), q.Exec)
	if err == nil {
		var match *regexp.Regexp
		if match, err = regexp.Compile(q.Matches); err == nil {
			err = holds(code, out, match)
		}
	}
	if err != nil {
		why = err.Error()
	}
	return g.r.clock.now(), why
}

// shut ends the nemesis: after a fault, the system did not come back; before the first, the gate proves nothing.
func (g *gatekeeper) shut(missing []string, never bool) error {
	for _, gate := range g.gates {
		if name := gateName(gate); g.seen[name] == 0 {
			if err := g.r.gate(name, false, g.note("no evaluation")); err != nil {
				return err
			}
		}
	}
	class, text := oracle.Hang, fmt.Sprintf("the nemesis ended before %s: within %s of the last fault, ", g.next, g.within)
	if never {
		class, text = oracle.NoSteadyState, fmt.Sprintf("the nemesis did not begin: within %s, ", g.within)
	}
	text += strings.Join(missing, "; ")
	g.r.say(Event{Kind: EventWarn, Text: text})
	g.r.note("runner", string(class), "", text)
	return nil
}
