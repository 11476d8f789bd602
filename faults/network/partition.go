package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/discompose/discompose/faults"
)

// Partition cuts a container off from its peers: packets between them are lost, or rejected, at the receiver.
type Partition struct {
	Against   Names  `toml:"against" doc:"who it is cut off from: services, globs (* and ?), \"workload\", \"workload.<name>\" or \"probes\"; without it everything else in the project, client containers included"`
	Direction string `toml:"direction" default:"both" enum:"both|from|to" doc:"which packets: \"from\" the target to the others, those \"to\" the target, or both"`
	Action    string `toml:"action" default:"drop" enum:"drop|reject" doc:"\"drop\" answers nothing; \"reject\" answers with a TCP reset, or with ICMP \"administratively prohibited\""`
}

// The values of the keys.
const (
	both   = "both"
	from   = "from"
	to     = "to"
	drop   = "drop"
	reject = "reject"
)

// everything stands for all other containers of the project.
const everything = "*"

// PartitionSpec describes the kind.
func PartitionSpec() faults.Spec {
	return faults.Spec{
		Kind: kindPartition, Family: faults.Network,
		Summary: "lose the packets between a container and its peers",
		Doc: "Rules in the receivers' network namespaces stop the packets, so that the sender sees what it would see in a broken network. " +
			"It acts on open connections and holds over restarts and new addresses of either side. One direction is enough to stall a TCP connection: its acknowledgements are packets too. " +
			"Several targets are each cut off on their own: leave a side's own services out of `against` to keep it together. Containers that share the target's network namespace are cut off with it, and not from it. " +
			"Witness: of datagrams sent from namespace to namespace none arrives in a direction that is cut, the cut counts them, and those in the other direction arrive. " +
			"Undo: the rules are taken away; datagrams arrive in both directions again, except where another cut still stops them.",
		Targets:    []faults.TargetKind{faults.OnService},
		Mechanisms: []faults.Mechanism{{Name: "nftables", Needs: []faults.Capability{faults.CapAgent, faults.CapPackets}}},
		New:        func() faults.Fault { return &Partition{} },
		Effect:     partition{},
	}
}

// Validate checks the values of the enums. The names are the parser's to check, which knows the services.
func (f *Partition) Validate() error {
	var errs []error
	if f.Against != nil && len(f.Against) == 0 {
		errs = append(errs, &faults.ParamError{Key: "against", Err: errors.New("is empty: the target would be cut off from nobody"), Hint: "leave it out for everything else"})
	}
	if !slices.Contains([]string{"", both, from, to}, f.Direction) {
		errs = append(errs, &faults.ParamError{Key: "direction", Err: fmt.Errorf("%q is not both, from or to", f.Direction), Hint: `direction = "from"`})
	}
	if !slices.Contains([]string{"", drop, reject}, f.Action) {
		errs = append(errs, &faults.ParamError{Key: "action", Err: fmt.Errorf("%q is not drop or reject", f.Action), Hint: `action = "reject"`})
	}
	return errors.Join(errs...)
}

// Services names the other side.
func (f *Partition) Services() map[string][]string {
	if len(f.Against) == 0 {
		return nil
	}
	return map[string][]string{"against": f.Against}
}

// parted is what a partition's record carries.
type parted struct {
	Against []string `json:"against"`
	In      bool     `json:"in"`
	Out     bool     `json:"out"`
	Reject  bool     `json:"reject"`
	Peers   []peer   `json:"peers"` // whose datagrams are the witness
}

// peer is a container on the other side.
type peer struct {
	Container string `json:"container"`
	Name      string `json:"name"`
	Whole     bool   `json:"whole"` // without the fault every datagram arrived, in both directions
}

// Prepare finds the peers that datagrams are exchanged with. It refuses a target that has none.
func (f *Partition) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	w := parted{Against: f.Against, In: f.Direction != from, Out: f.Direction != to, Reject: f.Action == reject}
	if len(w.Against) == 0 {
		w.Against = []string{everything}
	}
	if !probes(env) {
		return faults.Record{}, fmt.Errorf("partition on %s: %w: it needs the agent, and nftables in the containers' namespaces", on, faults.ErrUnsupported)
	}
	err := faults.Settle(ctx, kindPartition, on, look, func() (refusal, err error) {
		up, refusal, err := inspect(ctx, env, on)
		if err != nil || refusal != nil {
			return refusal, err
		}
		w.Peers, refusal, err = peers(ctx, env, on, w.Against, up)
		return refusal, err
	})
	if err != nil {
		return faults.Record{}, err
	}
	return faults.NewRecord(kindPartition, on, w)
}

// peers lists the running containers behind names that the target exchanges datagrams with now. Where it does so with none,
// it lists those that a fault may keep from it, or refuses.
func peers(ctx context.Context, env faults.Env, on faults.Target, names []string, up bool) (out []peer, refusal, err error) {
	all, err := running(ctx, env, on, names)
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no container of %s is running beside it", list(names)), nil
	}
	met, err := meet(ctx, env, on, all)
	if err != nil {
		return nil, nil, err
	}
	var apart, mute []string
	var kept []peer
	for i, m := range met {
		p := peer{Container: all[i].Container, Name: all[i].Name, Whole: m.in.whole() && m.out.whole()}
		switch {
		case m.in.open() && m.out.open():
			out = append(out, p)
		case !up || explained(env, on.Container) || explained(env, p.Container):
			kept = append(kept, p)
		case !m.both():
			apart = append(apart, p.Name)
		default:
			mute = append(mute, p.Name)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil, nil
	case len(kept) > 0:
		return kept, nil, nil
	case len(mute) > 0:
		return nil, fmt.Errorf("without the fault, too, datagrams between %s and %s do not arrive", on, list(mute)), nil
	}
	return nil, fmt.Errorf("%s shares no network with %s", on, list(apart)), nil
}

type partition struct{}

// Apply begins the cut.
func (partition) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	w, err := decode[parted](r)
	if err != nil {
		return err
	}
	if env.Host == nil {
		return fmt.Errorf("cut %s off: %w: it needs the agent", r.On, faults.ErrUnsupported)
	}
	c := faults.Cut{ID: r.ID, Container: r.On.Container, Against: w.Against, In: w.In, Out: w.Out, Reject: w.Reject}
	if err := env.Host.Call(ctx, faults.OpCut, c, nil); err != nil {
		return fmt.Errorf("cut %s off from %s: %w", r.On, list(w.Against), err)
	}
	return nil
}

// Revert ends the cut. Where there is no agent, its rules have ended with it.
func (partition) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	if env.Host == nil {
		return nil
	}
	if err := env.Host.Call(ctx, faults.OpUncut, faults.CutID{ID: r.ID}, nil); err != nil {
		return fmt.Errorf("end the cut of %s: %w", r.On, err)
	}
	return nil
}
