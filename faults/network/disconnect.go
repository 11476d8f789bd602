package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/discompose/discompose/faults"
)

// Disconnect takes a container out of one of its networks, or of all: the interface is gone.
type Disconnect struct {
	Network string `toml:"network" doc:"a network's name in the Compose file, or the engine's; without it every network of the container"`
}

// DisconnectSpec describes the kind.
func DisconnectSpec() faults.Spec {
	return faults.Spec{
		Kind: kindDisconnect, Family: faults.Network,
		Summary: "take a container out of its networks",
		Doc: "The engine takes the container's interface away: its names no longer resolve, its own connections fail or hang, and its published ports are closed. " +
			"A container that is started again meanwhile stays out. Containers that share its network namespace are out with it. " +
			"Witness: the engine says that the container is out and, through the agent, datagrams that peers send to its old addresses do not arrive; without the agent, or where there is no peer, the engine's word alone. " +
			"Undo: it is connected again with its aliases, links and options, unless another disconnect is active, and datagrams from its peers arrive. " +
			"It gets the address that it had; where somebody else has that, or where the network has no configured subnet and the engine chooses another one, the witness says so. " +
			"Interfaces may be numbered anew, and a port that was published without a fixed host port gets another one.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "Docker API"}},
		New:        func() faults.Fault { return &Disconnect{} },
		Effect:     disconnect{},
	}
}

// NetworkName is the network that the target is taken out of.
func (f *Disconnect) NetworkName() (key, name string) { return "network", f.Network }

// Validate has nothing to check: which networks there are, Prepare sees.
func (*Disconnect) Validate() error { return nil }

// detached is what a disconnect's record carries.
type detached struct {
	Networks []string `json:"networks"`        // ids
	Peers    []sender `json:"peers,omitempty"` // whose datagrams are the witness
}

// sender is a container whose datagrams reached the target before the fault.
type sender struct {
	Container string   `json:"container"`
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"` // of the target, in the networks that it is taken out of
}

// Prepare journals the container's networks, chooses those that it is taken out of, and finds the peers that reach it there.
func (f *Disconnect) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	n, err := networker(env)
	if err != nil {
		return faults.Record{}, fmt.Errorf("disconnect on %s: %w", on, err)
	}
	var w detached
	err = faults.Settle(ctx, kindDisconnect, on, look, func() (refusal, err error) {
		up, refusal, err := inspect(ctx, env, on)
		if err != nil || refusal != nil {
			return refusal, err
		}
		chosen, refusal, err := f.choose(ctx, env, n, on)
		if err != nil || refusal != nil {
			return refusal, err
		}
		w = detached{}
		var addresses []string
		for _, ep := range chosen {
			w.Networks = append(w.Networks, ep.Network)
			addresses = append(addresses, ep.Addresses...)
		}
		if up && probes(env) {
			w.Peers, err = senders(ctx, env, on, addresses)
		}
		return nil, err
	})
	if err != nil {
		return faults.Record{}, err
	}
	return faults.NewRecord(kindDisconnect, on, w)
}

func networker(env faults.Env) (faults.Networker, error) {
	n, ok := env.Engine.(faults.Networker)
	if !ok {
		return nil, fmt.Errorf("%w: the engine cannot take containers out of networks", faults.ErrUnsupported)
	}
	return n, nil
}

// resource is the journal's name for the networks that a container had before the first disconnect.
const resource = "networks"

// base is the journalled list of endpoints. read is called where the journal has none.
func base(env faults.Env, on faults.Target, read func() ([]faults.Endpoint, error)) ([]faults.Endpoint, error) {
	raw, err := env.Journal.Base(on.Container, resource, func() (json.RawMessage, error) {
		eps, err := read()
		if err != nil {
			return nil, err
		}
		return json.Marshal(eps)
	})
	if err != nil {
		return nil, err
	}
	var eps []faults.Endpoint
	if err := json.Unmarshal(raw, &eps); err != nil {
		return nil, fmt.Errorf("decode networks of %s: %w", on, err)
	}
	return eps, nil
}

// known is the base that is in the journal already.
func known(env faults.Env, on faults.Target) ([]faults.Endpoint, error) {
	return base(env, on, func() ([]faults.Endpoint, error) {
		return nil, errors.New("the journal has none of its networks")
	})
}

// choose returns the endpoints that the fault is about. It refuses those that the container is not in, unless an active
// record explains it.
func (f *Disconnect) choose(ctx context.Context, env faults.Env, n faults.Networker, on faults.Target) (chosen []faults.Endpoint, refusal, err error) {
	now, err := n.Endpoints(ctx, on.Container)
	if err != nil {
		return nil, nil, fmt.Errorf("disconnect on %s: %w", on, err)
	}
	before, err := base(env, on, func() ([]faults.Endpoint, error) { return now, nil })
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, ep := range before {
		names = append(names, ep.Name)
		if f.Network == "" || f.Network == ep.Key || f.Network == ep.Name {
			chosen = append(chosen, ep)
		}
	}
	if len(chosen) == 0 && len(before) == 0 {
		return nil, errors.New("it is in no network"), nil
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("it is not in network %q, but in %s", f.Network, list(names)), nil
	}
	for _, ep := range chosen {
		out, err := others(env, on, ep.Network, "")
		if err != nil {
			return nil, nil, err
		}
		if _, in := find(now, ep.Network); !in && out == "" {
			return nil, fmt.Errorf("it is out of %s already, and not by discompose", ep.Name), nil
		}
	}
	return chosen, nil, nil
}

func find(eps []faults.Endpoint, network string) (faults.Endpoint, bool) {
	i := slices.IndexFunc(eps, func(ep faults.Endpoint) bool { return ep.Network == network })
	if i < 0 {
		return faults.Endpoint{}, false
	}
	return eps[i], true
}

// others is the id of an active record, leaving one out, that wants the container out of a network; "" if there is none.
func others(env faults.Env, on faults.Target, network, without string) (string, error) {
	for _, r := range env.Journal.Active(on.Container) {
		if r.Kind != kindDisconnect || r.ID == without {
			continue
		}
		w, err := decode[detached](r)
		if err != nil {
			return "", err
		}
		if slices.Contains(w.Networks, network) {
			return r.ID, nil
		}
	}
	return "", nil
}

// senders lists the running containers of the project whose datagrams to addresses of the target arrive, or would but for
// a cut.
func senders(ctx context.Context, env faults.Env, on faults.Target, addresses []string) ([]sender, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	all, err := running(ctx, env, on, []string{everything})
	if err != nil {
		return nil, err
	}
	var list []sender
	for _, p := range all {
		list = append(list, sender{p.Container, p.Name, addresses})
	}
	answers, err := ask(ctx, env, on, list, true)
	if err != nil {
		return nil, err
	}
	var out []sender
	for i, a := range answers {
		if a.open() {
			out = append(out, list[i])
		}
	}
	return out, nil
}

// ask lets senders send datagrams to the target, to its old addresses or to those that it shares with them now.
func ask(ctx context.Context, env faults.Env, on faults.Target, from []sender, old bool) ([]way, error) {
	questions := make([]faults.Reach, len(from))
	for i, s := range from {
		questions[i] = faults.Reach{From: s.Container, To: on.Container}
		if old {
			questions[i].Addresses = s.Addresses
		}
	}
	answers, err := reach(ctx, env, questions)
	if err != nil {
		return nil, err
	}
	out := make([]way, len(answers))
	for i, a := range answers {
		out[i] = way{a}
	}
	return out, nil
}

type disconnect struct{}

// Apply takes the container out of the record's networks.
func (disconnect) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	w, err := decode[detached](r)
	if err != nil {
		return err
	}
	n, err := networker(env)
	if err != nil {
		return err
	}
	for _, id := range w.Networks {
		if err := n.Disconnect(ctx, r.On.Container, id); err != nil {
			return fmt.Errorf("disconnect %s from network %.12s: %w", r.On, id, err)
		}
	}
	return nil
}

// Revert puts the container back into the record's networks that no other active record wants it out of. A container that
// is gone needs none.
func (disconnect) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	err := connect(ctx, env, r)
	if errors.Is(err, faults.ErrGone) {
		return nil
	}
	return err
}

func connect(ctx context.Context, env faults.Env, r faults.Record) error {
	n, err := networker(env)
	if err != nil {
		return err
	}
	owed, _, err := due(env, r)
	if err != nil {
		return err
	}
	now, err := n.Endpoints(ctx, r.On.Container)
	if err != nil {
		return fmt.Errorf("read networks of %s: %w", r.On, err)
	}
	for _, ep := range owed {
		is, in := find(now, ep.Network)
		if in && slices.Equal(is.Aliases, ep.Aliases) {
			continue
		}
		if in { // a start can put a container into its first network without what it had there
			if err := n.Disconnect(ctx, r.On.Container, ep.Network); err != nil {
				return fmt.Errorf("disconnect %s from network %s: %w", r.On, ep.Name, err)
			}
		}
		if err := n.Connect(ctx, r.On.Container, ep); err != nil {
			return fmt.Errorf("connect %s to network %s: %w", r.On, ep.Name, err)
		}
	}
	return nil
}

// due lists the endpoints of the base that the end of r gives back, and the sentences about those that stay away.
func due(env faults.Env, r faults.Record) (owed []faults.Endpoint, stays []string, err error) {
	w, err := decode[detached](r)
	if err != nil {
		return nil, nil, err
	}
	before, err := known(env, r.On)
	if err != nil {
		return nil, nil, err
	}
	for _, ep := range before {
		if !slices.Contains(w.Networks, ep.Network) {
			continue
		}
		by, err := others(env, r.On, ep.Network, r.ID)
		if err != nil {
			return nil, nil, err
		}
		if by == "" {
			owed = append(owed, ep)
			continue
		}
		stays = append(stays, fmt.Sprintf("it stays out of %s, by disconnect %q", ep.Name, by))
	}
	return owed, stays, nil
}
