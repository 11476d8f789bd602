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
		Cuts:       true,
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
	err := settled(ctx, kindPartition, on, func() (refusal, err error) {
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

// way is what datagrams in one direction have met.
type way struct{ faults.ReachResult }

// open reports whether nothing but cuts keeps datagrams from arriving.
func (w way) open() bool { return w.Sent > 0 && (w.Arrived > 0 || len(w.Cuts) > 0) }

func (w way) whole() bool { return w.Sent > 0 && w.Arrived == w.Sent }

// meeting is an exchange of datagrams with one peer.
type meeting struct{ in, out way }

// both reports whether datagrams could be sent at all: the two run and share a network.
func (m meeting) both() bool { return m.in.Sent > 0 && m.out.Sent > 0 }

// meet exchanges datagrams with peers, in both directions.
func meet(ctx context.Context, env faults.Env, on faults.Target, with []faults.Peer) ([]meeting, error) {
	var questions []faults.Reach
	for _, p := range with {
		questions = append(questions, faults.Reach{From: p.Container, To: on.Container}, faults.Reach{From: on.Container, To: p.Container})
	}
	answers, err := reach(ctx, env, questions)
	if err != nil {
		return nil, err
	}
	out := make([]meeting, len(with))
	for i := range out {
		out[i] = meeting{way{answers[2*i]}, way{answers[2*i+1]}}
	}
	return out, nil
}

func (w parted) people() []faults.Peer {
	out := make([]faults.Peer, 0, len(w.Peers))
	for _, p := range w.Peers {
		out = append(out, faults.Peer{Container: p.Container, Name: p.Name})
	}
	return out
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

// Confirm measures that no datagram crosses the cut, or that they arrive again.
func (p partition) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	w, err := decode[parted](r)
	if err != nil {
		return faults.Witness{}, err
	}
	if !active {
		soon, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return faults.Await(soon, look, func() (faults.Witness, error) { return p.gone(ctx, env, r, w) })
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) { return p.bites(ctx, env, r, w) })
}

func (partition) bites(ctx context.Context, env faults.Env, r faults.Record, w parted) (faults.Witness, error) {
	before, err := counted(ctx, env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	met, err := meet(ctx, env, r.On, w.people())
	if err != nil {
		return faults.Witness{}, errors.Join(down(ctx, env, r.On), err)
	}
	after, err := counted(ctx, env, r)
	if err != nil {
		return faults.Witness{}, err
	}
	var names []string
	lost := 0
	for i, m := range met {
		if !m.both() {
			continue
		}
		names = append(names, w.Peers[i].Name)
		n, err := w.crossed(m, r.On, w.Peers[i].Name)
		if err != nil {
			return faults.Witness{}, err
		}
		lost += n
	}
	if len(names) == 0 {
		return faults.Witness{}, noWitness("neither of %s runs and shares a network with %s", list(w.names()), r.On)
	}
	in, out := since(before.In, after.In), since(before.Out, after.Out)
	if (w.In && in == 0) || (w.Out && out == 0) {
		return faults.Witness{}, noWitness("the cut of %s stopped %d packets to it and %d from it", r.On, in, out)
	}
	return faults.Witness{
		What: "datagrams across the cut that arrived", Value: 0, Unit: "datagrams",
		Note: fmt.Sprintf("%s is cut off from %s%s: none of %d datagrams arrived, and the cut counted %d packets", r.On, list(names), w.oneWay(r.On), lost, in+out),
	}, nil
}

// crossed counts the datagrams of a meeting that the cut stopped. It fails where one crossed it, or where none arrived in a
// direction that is not cut.
func (w parted) crossed(m meeting, on faults.Target, name string) (lost int, err error) {
	for _, d := range []struct {
		way
		cut      bool
		from, to string
	}{{m.in, w.In, name, on.String()}, {m.out, w.Out, on.String(), name}} {
		switch {
		case d.cut && d.Arrived > 0:
			return 0, noWitness("%d of %d datagrams from %s to %s arrived", d.Arrived, d.Sent, d.from, d.to)
		case !d.cut && !d.open():
			return 0, noWitness("no datagram from %s to %s arrived, and that direction is not cut", d.from, d.to)
		case d.cut:
			lost += d.Sent
		}
	}
	return lost, nil
}

func (w parted) names() []string {
	var out []string
	for _, p := range w.Peers {
		out = append(out, p.Name)
	}
	return out
}

// oneWay is the part of a sentence that names the direction; "" if both are cut.
func (w parted) oneWay(on faults.Target) string {
	switch {
	case !w.In:
		return fmt.Sprintf(" in the direction from %s, and in no other", on)
	case !w.Out:
		return fmt.Sprintf(" in the direction to %s, and in no other", on)
	}
	return ""
}

// counted reads the counters of the active cut.
func counted(ctx context.Context, env faults.Env, r faults.Record) (faults.CutCount, error) {
	c, err := state(ctx, env, r)
	if err == nil && !c.Active {
		err = noWitness("the agent knows no cut of %s", r.On)
	}
	return c, err
}

func state(ctx context.Context, env faults.Env, r faults.Record) (c faults.CutCount, err error) {
	if env.Host == nil {
		return c, nil
	}
	if err := env.Host.Call(ctx, faults.OpCutState, faults.CutID{ID: r.ID}, &c); err != nil {
		return c, fmt.Errorf("read the cut of %s: %w", r.On, err)
	}
	return c, nil
}

// since is how far a counter has moved; one that fell was begun anew.
func since(before, after int64) int64 {
	if after < before {
		return after
	}
	return after - before
}

func (partition) gone(ctx context.Context, env faults.Env, r faults.Record, w parted) (faults.Witness, error) {
	if env.Host == nil {
		return faults.Witness{What: "cut", Note: fmt.Sprintf("there is no agent, and the rules that cut %s off ended with it", r.On)}, nil
	}
	if c, err := state(ctx, env, r); err != nil {
		return faults.Witness{}, err
	} else if c.Active {
		return faults.Witness{}, noWitness("the agent still keeps the cut of %s", r.On)
	}
	if w, ok, err := removed(ctx, env, r.On); ok || err != nil {
		return w, err
	}
	met, err := meet(ctx, env, r.On, w.people())
	if err != nil {
		return faults.Witness{}, errors.Join(down(ctx, env, r.On), err)
	}
	arrived, others := 0, []string{}
	for i, m := range met {
		for _, d := range []way{m.in, m.out} {
			switch {
			case d.Sent == 0: // one of them is down or out of the network, which is another fault's
			case len(d.Cuts) > 0:
				others = append(others, d.Cuts...)
			case d.Arrived == 0 || (w.Peers[i].Whole && d.Arrived < d.Sent):
				return faults.Witness{}, noWitness("%d of %d datagrams between %s and %s arrived", d.Arrived, d.Sent, r.On, w.Peers[i].Name)
			}
			arrived += d.Arrived
		}
	}
	slices.Sort(others)
	note := fmt.Sprintf("the cut of %s is gone and %d datagrams between it and its peers arrived", r.On, arrived)
	if arrived == 0 && len(others) == 0 {
		note = fmt.Sprintf("the cut of %s is gone; no datagram could be sent to prove it", r.On)
	}
	if others = slices.Compact(others); len(others) > 0 {
		note += fmt.Sprintf("; %s still cuts it off", list(others))
	}
	return faults.Witness{What: "datagrams between the target and its peers that arrived", Value: float64(arrived), Unit: "datagrams", Note: note}, nil
}
