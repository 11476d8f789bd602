// Package network provides the faults of a container's network: partition and disconnect.
//
// A partition is a cut that the agent keeps by rules in the receivers' network namespaces; cuts are independent of each
// other. A disconnected network is desired state: a container is out of a network as long as any active record wants it
// out. Both are witnessed by datagrams between the containers' own namespaces. Effects hold no state and are safe for
// concurrent use; changes to one container are serialised by Journal.Lock, which the caller holds. The package imports only
// faults of this module.
package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/faults"
)

// The kinds of this package.
const (
	kindPartition  faults.Kind = "partition"
	kindDisconnect faults.Kind = "disconnect"
)

const (
	// look is the time between two observations while something is awaited.
	look = 25 * time.Millisecond
	// patience is how long gone waits for the effect of an undo; after it the caller reverts once more.
	patience = 500 * time.Millisecond
)

// Names is a list of names; in TOML one string stands for a list of one.
type Names []string

// UnmarshalTOML takes a string or a list of strings.
func (n *Names) UnmarshalTOML(value any) error {
	if s, ok := value.(string); ok {
		*n = Names{s}
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("must be a string or a list of strings, not %v", value)
	}
	*n = make(Names, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("must be a list of strings, not of %v", v)
		}
		*n = append(*n, s)
	}
	return nil
}

// decode reads what a record carries.
func decode[W any](r faults.Record) (w W, err error) {
	if err := json.Unmarshal(r.Want, &w); err != nil {
		return w, fmt.Errorf("decode %s record %q: %w", r.Kind, r.ID, err)
	}
	return w, nil
}

// wanted fails if r is not active: a fault that was reverted has no witness.
func wanted(env faults.Env, r faults.Record) error {
	if slices.ContainsFunc(env.Journal.Active(r.On.Container), func(a faults.Record) bool { return a.ID == r.ID }) {
		return nil
	}
	return noWitness("%s %q is not active on %s", r.Kind, r.ID, r.On)
}

// explained reports whether a fault on a container may be why it is down or out of its networks. Which ones can do that is
// for other packages to know; the witness waits for the container in any case.
func explained(env faults.Env, container string) bool {
	return slices.ContainsFunc(env.Journal.Active(container), func(a faults.Record) bool { return a.Kind != kindPartition })
}

// probes reports whether the agent can send datagrams between containers.
func probes(env faults.Env) bool {
	facts := env.Facts()
	return facts.Can(faults.CapAgent) && facts.Can(faults.CapPackets)
}

// inspect observes the target and refuses one that is down by itself. up is false for one that a fault keeps down.
func inspect(ctx context.Context, env faults.Env, on faults.Target) (up bool, refusal, err error) {
	c, err := env.Engine.Inspect(ctx, on.Container)
	if err != nil {
		return false, nil, fmt.Errorf("inspect %s: %w", on, err)
	}
	if refusal := c.Transient(); refusal != nil {
		return false, refusal, nil
	}
	if up = c.Running && !c.Restarting; !up && !explained(env, on.Container) {
		return false, fmt.Errorf("it is not running (exit code %d); start it first", c.ExitCode), nil
	}
	return up, nil, nil
}

// down fails with faults.ErrNoWitness if the target is not running; a measurement of one that is fails for another reason.
func down(ctx context.Context, env faults.Env, on faults.Target) error {
	if c, err := env.Engine.Inspect(ctx, on.Container); err == nil && (!c.Running || c.Restarting) {
		return noWitness("%s is not running", on)
	}
	return nil
}

// removed is the witness that a fault is gone with its container; ok is false if that is still there.
func removed(ctx context.Context, env faults.Env, on faults.Target) (w faults.Witness, ok bool, err error) {
	_, err = env.Engine.Inspect(ctx, on.Container)
	switch {
	case errors.Is(err, faults.ErrGone):
		return faults.Witness{What: "container", Note: fmt.Sprintf("the container of %s is gone", on)}, true, nil
	case err != nil:
		return w, false, fmt.Errorf("inspect %s: %w", on, err)
	}
	return w, false, nil
}

// running lists the running containers of the project that names stand for.
func running(ctx context.Context, env faults.Env, on faults.Target, names []string) ([]faults.Peer, error) {
	var list faults.PeerList
	if err := env.Host.Call(ctx, faults.OpPeers, faults.Peers{Container: on.Container, Against: names}, &list); err != nil {
		return nil, fmt.Errorf("list peers of %s: %w", on, err)
	}
	return list.Peers, nil
}

// reach sends datagrams for several questions at the same time: those that are lost take the agent a while to miss.
func reach(ctx context.Context, env faults.Env, questions []faults.Reach) ([]faults.ReachResult, error) {
	answers, errs := make([]faults.ReachResult, len(questions)), make([]error, len(questions))
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() { errs[i] = env.Host.Call(ctx, faults.OpReach, q, &answers[i]) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("send datagrams: %w", err)
	}
	return answers, nil
}

// list is names for people: "a, b and c".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func noWitness(format string, args ...any) error {
	return fmt.Errorf("%w: %s", faults.ErrNoWitness, fmt.Sprintf(format, args...))
}
