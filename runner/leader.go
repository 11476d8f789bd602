package runner

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
)

// A query is asked again, of every candidate, until one answers or its time is over: there may be no leader yet.
const (
	leaderBudget = 30 * time.Second
	leaderEvery  = 250 * time.Millisecond
)

// errNoLeader says that no candidate's answer named a leader.
var errNoLeader = errors.New("no leader")

// leader finds the target of an injection by the user's query, and keeps in the ledger which it is and who said so.
func (n *nemesis) leader(ctx context.Context, in Injection) (scenarios.Ref, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaderBudget, fmt.Errorf("%w within %s", errNoLeader, leaderBudget))
	defer cancel()
	began := n.r.clock.now()
	var why error // of the last who did not answer
	for {
		for _, one := range in.Targets {
			if ctx.Err() != nil {
				break
			}
			ref, err := n.ask(ctx, in, one)
			if err == nil {
				took := time.Duration(n.r.clock.now() - began).Round(time.Millisecond)
				n.r.note("runner", "note", ref.Service, fmt.Sprintf("%s: the leader is %s, as %s says after %s", in.ID, refText(ref), refText(one), took))
				return ref, nil
			}
			why = fmt.Errorf("%s: %w", refText(one), err)
		}
		if err := sleep(ctx, leaderEvery); err != nil {
			return scenarios.Ref{}, fmt.Errorf("find the leader for %s: %w", in.ID, errors.Join(err, why))
		}
	}
}

// ask runs the query's command in one candidate.
func (n *nemesis) ask(ctx context.Context, in Injection, one scenarios.Ref) (scenarios.Ref, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryBudget, fmt.Errorf("no answer within %s", queryBudget))
	defer cancel()
	q := in.Fault.Query
	out, code, err := n.exec(ctx, one, q.Exec)
	if err != nil {
		return scenarios.Ref{}, err
	}
	match, err := regexp.Compile(q.Matches)
	if err != nil {
		return scenarios.Ref{}, err
	}
	if err := holds(code, out, match); err != nil || q.Service == "" {
		return one, err
	}
	ref, ok := q.Names(out, in.Targets)
	if !ok {
		return ref, fmt.Errorf("%q is none of the targets", refText(ref))
	}
	return ref, nil
}

// unled records an injection whose leader nobody named.
func (n *nemesis) unled(ctx context.Context, in Injection, at int64, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // what ended the run is told elsewhere
	}
	f := ledger.Fault{
		ID: in.Fault.ID, Record: in.ID + "/leader", Kind: string(in.Fault.Kind), Target: "leader", Mechanism: in.Mechanism, Planned: at, Error: err.Error(),
	}
	n.r.say(Event{Kind: EventWarn, Name: in.ID, Text: f.Error})
	if err := n.r.store.UpdateFault(f); err != nil {
		return fmt.Errorf("record fault %s: %w", in.ID, err)
	}
	return nil
}
