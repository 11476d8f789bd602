package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
)

// A query is asked again, of every candidate, until one answers or its time is over: there may be no leader yet.
const (
	askBudget = 30 * time.Second
	askEvery  = 250 * time.Millisecond
)

// errNoAnswer says that no candidate's answer named a target.
var errNoAnswer = errors.New("no answer that names one")

// asked finds the targets of an injection by the user's query, and keeps in the ledger which they are and who said so.
func (n *nemesis) asked(ctx context.Context, in Injection) ([]scenarios.Ref, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askBudget, fmt.Errorf("%w within %s", errNoAnswer, askBudget))
	defer cancel()
	began := n.r.clock.now()
	for {
		refs, said, err := n.round(ctx, in)
		if err == nil {
			took := time.Duration(n.r.clock.now() - began).Round(time.Millisecond)
			n.r.note("runner", "note", refs[0].Service, fmt.Sprintf("%s: %s after %s", in.ID, said, took))
			return refs, nil
		}
		if serr := sleep(ctx, askEvery); serr != nil {
			return nil, fmt.Errorf("find the %s for %s: %w", sought(in.Fault), in.ID, errors.Join(serr, err))
		}
	}
}

// sought names what a query is asked for.
func sought(f scenarios.Fault) string {
	if f.Pick == scenarios.PickQuery {
		return "targets"
	}
	return f.Pick
}

// round asks once, and tells which targets the answers mean and who gave them.
func (n *nemesis) round(ctx context.Context, in Injection) (refs []scenarios.Ref, said string, err error) {
	if in.Fault.Pick == scenarios.PickQuery && in.Fault.Query.Service == "" {
		return n.holders(ctx, in)
	}
	for _, one := range in.Targets {
		if ctx.Err() != nil {
			break
		}
		out, aerr := n.ask(ctx, in.Fault.Query, one)
		if aerr == nil {
			refs, said, aerr = named(in, one, out)
		}
		if aerr == nil {
			return refs, fmt.Sprintf("%s, as %s says", said, refText(one)), nil
		}
		err = fmt.Errorf("%s: %w", refText(one), aerr)
	}
	return nil, "", cmp.Or(err, context.Cause(ctx), errNoAnswer)
}

// named says which targets the answer of one candidate means.
func named(in Injection, one scenarios.Ref, out string) (refs []scenarios.Ref, said string, err error) {
	q := in.Fault.Query
	if in.Fault.Pick == scenarios.PickQuery {
		if refs = q.NamesAll(out, in.Targets); len(refs) == 0 {
			return nil, "", errors.New("no match in its answer names one of the targets")
		}
		return refs, "the query names " + refTexts(refs), nil
	}
	leader := one
	if q.Service != "" {
		var ok bool
		if leader, ok = q.Names(out, in.Targets); !ok {
			return nil, "", fmt.Errorf("%q is none of the targets", refText(leader))
		}
	}
	if in.Fault.Pick == scenarios.PickLeader {
		return []scenarios.Ref{leader}, "the leader is " + refText(leader), nil
	}
	for _, ref := range in.Targets { // in the seed's order
		if ref != leader {
			return []scenarios.Ref{ref}, fmt.Sprintf("the follower is %s, for %s leads", refText(ref), refText(leader)), nil
		}
	}
	return nil, "", fmt.Errorf("%s is the only target, so it has no follower", refText(leader))
}

// holders asks all candidates at the same time, and finds those in which the query holds.
func (n *nemesis) holders(ctx context.Context, in Injection) (refs []scenarios.Ref, said string, err error) {
	why := make([]error, len(in.Targets))
	var wg sync.WaitGroup
	for i, one := range in.Targets {
		wg.Go(func() { _, why[i] = n.ask(ctx, in.Fault.Query, one) })
	}
	wg.Wait()
	for i, one := range in.Targets {
		if why[i] == nil {
			refs = append(refs, one)
			continue
		}
		err = fmt.Errorf("%s: %w", refText(one), why[i])
	}
	if len(refs) == 0 {
		return nil, "", cmp.Or(err, errNoAnswer)
	}
	return refs, "the query holds in " + refTexts(refs), nil
}

// ask runs the query's command in one candidate, and returns its output where it holds.
func (n *nemesis) ask(ctx context.Context, q *scenarios.Query, one scenarios.Ref) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryBudget, fmt.Errorf("no answer within %s", queryBudget))
	defer cancel()
	out, code, err := n.exec(ctx, one, q.Exec)
	if err != nil {
		return "", err
	}
	match, err := regexp.Compile(q.Matches)
	if err != nil {
		return "", err
	}
	return out, holds(code, out, match)
}

func refTexts(refs []scenarios.Ref) string {
	var out []string
	for _, r := range refs {
		out = append(out, refText(r))
	}
	return strings.Join(out, ", ")
}

// unnamed records an injection whose target nobody named.
func (n *nemesis) unnamed(ctx context.Context, in Injection, at int64, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // what ended the run is told elsewhere
	}
	pick := in.Fault.Pick
	f := ledger.Fault{
		ID: in.Fault.ID, Record: in.ID + "/" + pick, Kind: string(in.Fault.Kind), Target: pick, Mechanism: in.Mechanism, Planned: at, Error: err.Error(),
	}
	n.r.say(Event{Kind: EventWarn, Name: in.ID, Text: f.Error})
	if err := n.r.store.UpdateFault(f); err != nil {
		return fmt.Errorf("record fault %s: %w", in.ID, err)
	}
	return nil
}
