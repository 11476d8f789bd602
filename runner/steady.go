package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

// pollEvery is how often the waits for a steady state and for recovery look at the tracker.
const pollEvery = 100 * time.Millisecond

// arrival is how long an operation's record may take from its client to the tracker.
const arrival = 300 * time.Millisecond

// waitSteady returns when, for the scenario's time, all probes held and every workload completed enough operations, none
// failing. At the deadline it returns errNotSteady with what was missing.
func (r *run) waitSteady(ctx context.Context) error {
	steady := r.o.Scenario.Steady
	deadline := r.clock.now() + steady.Within.Std().Nanoseconds()
	from := r.clock.now()
	for {
		now := r.clock.now()
		since := max(from, now-steady.For.Std().Nanoseconds()-int64(arrival))
		missing := r.unsteady(since)
		if missing == "" && now-from >= steady.For.Std().Nanoseconds() {
			return r.gate("steady state", true, "")
		}
		if now > deadline {
			if missing == "" {
				missing = fmt.Sprintf("it held for less than %s", steady.For)
			}
			return errors.Join(fmt.Errorf("%w within %s: %s", errNotSteady, steady.Within, missing), r.gate("steady state", false, missing))
		}
		r.say(Event{Kind: EventProgress, Text: "waiting for a steady state: " + orText(missing, "holds"), Wait: time.Duration(deadline - now)})
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// unsteady says what is missing since an instant, or nothing.
func (r *run) unsteady(since int64) string {
	s := r.o.Scenario
	var missing []string
	for _, name := range sortedKeys(s.Workload) {
		done, _, last := r.track.since(name, since)
		switch {
		case done.bad > 0:
			missing = append(missing, fmt.Sprintf("workload %s: %d operations failed (%s)", name, done.bad, last))
		case done.ok < s.Steady.Operations:
			missing = append(missing, fmt.Sprintf("workload %s: %d of %d operations", name, done.ok, s.Steady.Operations))
		}
	}
	for _, name := range sortedKeys(s.Probe) {
		done, _, last := r.track.since(name, since)
		switch {
		case done.bad > 0:
			missing = append(missing, fmt.Sprintf("probe %s: %s", name, last))
		case done.ok == 0:
			missing = append(missing, fmt.Sprintf("probe %s: no evaluation", name))
		}
	}
	return strings.Join(missing, "; ")
}

// calm is how long nothing may fail for the system to count as recovered.
const calm = time.Second

// waitRecovered returns when, since the last heal at an instant, the probes hold, every workload succeeds again and the
// guards of the last window have their operations. At the deadline it returns nil too: the judge finds what is missing.
func (r *run) waitRecovered(ctx context.Context, healed int64) error {
	within := r.o.Scenario.Recovery.Within.Std()
	deadline := healed + within.Nanoseconds()
	for {
		now := r.clock.now()
		missing := r.unrecovered(healed, now)
		if missing == "" {
			return r.gate("recovered", true, fmt.Sprintf("%.1f s after the last heal", time.Duration(now-healed).Seconds()))
		}
		if now > deadline {
			r.say(Event{Kind: EventWarn, Text: fmt.Sprintf("not recovered within %s: %s", within, missing)})
			return r.gate("recovered", false, missing)
		}
		r.say(Event{Kind: EventProgress, Text: "waiting for recovery: " + missing, Wait: time.Duration(deadline - now)})
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func (r *run) unrecovered(healed, now int64) string {
	s := r.o.Scenario
	var missing []string
	since := max(healed, now-int64(calm+arrival))
	if now-healed < int64(calm) {
		return "a second of calm"
	}
	probed := 0
	for _, name := range sortedKeys(s.Probe) {
		done, _, last := r.track.since(name, since)
		_, invoked, _ := r.track.since(name, healed)
		probed += invoked
		if done.bad > 0 || done.ok == 0 {
			missing = append(missing, fmt.Sprintf("probe %s: %s", name, orText(last, "no evaluation")))
		}
		if len(s.Workload) > 0 && invoked < s.Guard.Probes {
			missing = append(missing, fmt.Sprintf("probe %s: %d of %d evaluations", name, invoked, s.Guard.Probes))
		}
	}
	if len(s.Workload) == 0 && probed < s.Guard.Operations {
		missing = append(missing, fmt.Sprintf("probes: %d of %d evaluations", probed, s.Guard.Operations))
	}
	for _, name := range sortedKeys(s.Workload) {
		done, _, last := r.track.since(name, since)
		_, invoked, _ := r.track.since(name, healed)
		switch {
		case done.bad > 0:
			missing = append(missing, fmt.Sprintf("workload %s: %s", name, last))
		case done.ok == 0:
			missing = append(missing, fmt.Sprintf("workload %s: nothing succeeds yet", name))
		case invoked < s.Guard.Operations:
			missing = append(missing, fmt.Sprintf("workload %s: %d of %d operations", name, invoked, s.Guard.Operations))
		}
	}
	return strings.Join(missing, "; ")
}

// gate records one wait's end.
func (r *run) gate(name string, held bool, note string) error {
	if err := r.store.AddGate(ledger.Gate{At: r.clock.now(), Name: name, Held: held, Note: note}); err != nil {
		return fmt.Errorf("record gate: %w", err)
	}
	return nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
