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

// gateEvery is the time between two evaluations of gates.
const gateEvery = 250 * time.Millisecond

// gateQuiet is how long gates may keep something waiting before people are told: a probe's next evaluation takes its time.
const gateQuiet = 2 * time.Second

// queryBudget bounds one command that a gate or a fault's query runs in a service.
const queryBudget = 15 * time.Second

// activity is what of the timeline is under way. It is safe for concurrent use.
type activity struct {
	mu   sync.Mutex
	now  int   // injections that were started and did not end
	any  bool  // whether one ever was
	last int64 // when the last one ended, host clock, ns; 0: none did
}

// begin and end enclose what is under way: a fault on its targets, but not a rolling one while it waits for its gates, for
// its next step, or its end, comes only after those.
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

// gatekeeper evaluates gates before the next fault of a lane, or the next target of a rolling fault.
type gatekeeper struct {
	*nemesis
	gates  []scenarios.Gate
	within time.Duration
	from   int64            // end of what was before, or start of the timeline: what was invoked before it proves nothing
	until  int64            // after which nobody waits any more, host clock, ns; 0: within says it
	next   string           // what waits: "nemesis-2"
	ended  func() string    // what it means that they do not hold after a fault, with what follows in the sentence
	seen   map[string]int64 // gate → the evaluation that was recorded last
}

// opening is how a wait for gates ended.
type opening int

const (
	cutShort opening = iota // by the end of the run, or of the nemesis' time
	opened                  // all gates held at the same time
	stayed                  // they did not in time, which the judge is told
)

// wait waits until every gate holds at the same time. They may take their time, counted from the end of the last fault:
// while another fault is active, it does not run.
func (g *gatekeeper) wait(ctx context.Context) (opening, error) {
	if len(g.gates) == 0 {
		return opened, nil
	}
	g.seen = map[string]int64{}
	began := g.r.clock.now()
	for {
		missing, err := g.evaluate(ctx)
		now := g.r.clock.now()
		switch quiet, never := g.activity.since(now); {
		case err != nil || ctx.Err() != nil:
			return cutShort, err
		case len(missing) == 0:
			return opened, nil
		case g.until > 0 && now >= g.until:
			return cutShort, nil // recovery waits for the same
		case now > max(g.from, quiet)+int64(g.within):
			return stayed, g.shut(missing, never)
		}
		if now-began >= int64(gateQuiet) {
			g.r.say(Event{Kind: EventProgress, Text: fmt.Sprintf("%s waits: %s", g.next, strings.Join(missing, "; "))})
		}
		if sleep(ctx, gateEvery) != nil {
			return cutShort, nil //nolint:nilerr // the cause is told by who ended it
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

// shut tells that the gates did not hold: after a fault, the system did not come back; before the first, they prove nothing.
func (g *gatekeeper) shut(missing []string, never bool) error {
	for _, gate := range g.gates {
		if name := gateName(gate); g.seen[name] == 0 {
			if err := g.r.gate(name, false, g.note("no evaluation")); err != nil {
				return err
			}
		}
	}
	class, text := oracle.Hang, fmt.Sprintf("%s, ", g.ended())
	if never {
		class, text = oracle.NoSteadyState, fmt.Sprintf("the nemesis did not begin: within %s, ", g.within)
	}
	text += strings.Join(missing, "; ")
	g.r.say(Event{Kind: EventWarn, Text: text})
	g.r.note("runner", string(class), "", text)
	return nil
}
