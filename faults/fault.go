// Package faults provides the contract that every fault kind keeps: prepare, journal, apply, confirm, hold, revert,
// confirm gone.
//
// A kind is a typed parameter struct (Fault), an Effect that carries its records out, and one Spec in
// faults/catalogue. The package declares the Env that effects work on; the runner and the agent each pass one in.
// Values of Fault and Effect hold no connection and are safe for concurrent use. The package imports nothing of this
// module but internal/units.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kind names a fault kind as it is written in a scenario: "pause".
type Kind string

// Family groups kinds that share a mechanism.
type Family string

// The families, in the order in which they are listed.
const (
	Process  Family = "process"
	Link     Family = "link"
	Network  Family = "network"
	Resource Family = "resource"
	Disk     Family = "disk"
	Clock    Family = "clock"
	App      Family = "app"
)

// TargetKind says what a kind can be aimed at.
type TargetKind string

// What a fault can be aimed at.
const (
	OnService TargetKind = "service" // every container of a service that pick leaves
	OnLink    TargetKind = "link"    // "a->b:port"
	OnVolume  TargetKind = "volume"  // "service:/path"
)

// ErrUnsupported says that this host or target cannot have the fault. The planner refuses it before anything starts;
// seen later it makes the run inconclusive (class not-supported).
var ErrUnsupported = errors.New("not supported here")

// ErrNoWitness says that a fault was applied and its effect was not seen.
var ErrNoWitness = errors.New("no witness")

// Target is one container, or one link, that a fault acts on. The zero value is no target.
type Target struct {
	Service   string `json:"service"`           // of a link: the service that it goes to
	Number    int    `json:"number"`            // replica, from 1
	Container string `json:"container"`         // full id; empty for a link and for a whole service
	Project   string `json:"project,omitempty"` // of a whole service: the Compose project on the engine
	Name      string `json:"name"`              // for people
	Link      string `json:"link,omitempty"`    // "web->db:5432": one client service, one server service and port
}

// Key is what the journal keeps records and locks by: the container's id, the link's name, or, where a whole service is
// the target, the service's name.
func (t Target) Key() string {
	switch {
	case t.Link != "":
		return t.Link
	case t.Container != "":
		return t.Container
	}
	return t.Service
}

// String is the name that people know the target by: "kafka", "web[2]" or "web->db:5432".
func (t Target) String() string {
	if t.Link != "" {
		return t.Link
	}
	if t.Number > 1 {
		return fmt.Sprintf("%s[%d]", t.Service, t.Number)
	}
	return t.Service
}

// RecordVersion is the version that this build writes into records and journal entries.
const RecordVersion = 1

// Record is what the journal keeps: enough to undo the fault in another process.
type Record struct {
	V    int             `json:"v"`
	ID   string          `json:"id"` // unique in the run: "<fault id>", or "<fault id>/<target>" where one fault has several
	Kind Kind            `json:"kind"`
	On   Target          `json:"on"`
	Want json.RawMessage `json:"want"` // what the kind asks of the host while it is active
}

// NewRecord makes the record of a fault on a target; want is the kind's own value and must marshal to JSON.
func NewRecord(kind Kind, on Target, want any) (Record, error) {
	raw, err := json.Marshal(want)
	if err != nil {
		return Record{}, fmt.Errorf("encode %s record: %w", kind, err)
	}
	return Record{V: RecordVersion, Kind: kind, On: on, Want: raw}, nil
}

// Witness is a measured proof that a fault bites, or that it is gone.
type Witness struct {
	What  string  `json:"what"`            // the quantity: "cpu time of the container"
	Value float64 `json:"value"`           // what was measured
	Unit  string  `json:"unit,omitempty"`  // "ns", "throttled periods"
	Note  string  `json:"note"`            // a sentence for the report
	At    int64   `json:"at,omitempty"`    // host boot-time clock, ns; set by Hold from Env.Now
	Start int64   `json:"start,omitempty"` // where known: the instant at which the effect began, same clock
}

// Fault is one validated fault of a scenario: the parameters of its kind. It is a value and may be prepared many times.
type Fault interface {
	// Validate reports every problem of the parameters, joined, each as a *ParamError where it concerns one key.
	Validate() error
	// Prepare reads all that undo will need, journals base values through env.Journal, and changes nothing.
	// It returns ErrUnsupported if the target cannot have the fault.
	Prepare(ctx context.Context, env Env, on Target) (Record, error)
}

// Downtimer is a Fault of an instantaneous kind whose target stays down for a time before it is started again.
type Downtimer interface {
	// Down is that time; zero leaves the return to the target's restart policy.
	Down() time.Duration
}

// Effect carries records out. Its methods work from the record and the journal's state, in any process, any number
// of times; they hold no state of their own.
type Effect interface {
	Apply(ctx context.Context, env Env, r Record) error
	// Confirm measures that r is active, or that it is gone. It waits for as long as the measurement needs, at most
	// until ctx ends, and returns an error that wraps ErrNoWitness if the effect is not seen.
	Confirm(ctx context.Context, env Env, r Record, active bool) (Witness, error)
	Revert(ctx context.Context, env Env, r Record) error
}

// Settler is an Effect whose target takes a time to be ready: one of an instantaneous kind that comes back by itself, by its
// restart policy or because the call itself started it again, or one of a kind that lasts and starts it anew.
type Settler interface {
	// Settled reports that there is nothing left to wait for: the target of r is running and ready, or it is down and
	// nothing but Revert will start it again. After Revert it means ready. The runner waits for it after the undo, and, where
	// a kind goes over its targets one after the other, before the next.
	Settled(ctx context.Context, env Env, r Record) (bool, error)
}

// PolicyBound is a Fault whose target may come back by its restart policy alone.
type PolicyBound interface {
	// ByPolicy reports that nothing else starts the target again: one without a restart policy cannot have the fault.
	ByPolicy() bool
}

// Finite is a Fault of a kind that holds for a time, which may have an end of its own instead: so many times, say. Its
// Effect is a Finisher.
type Finite interface {
	// Finite reports that the fault ends by itself, so that `for` may be left out. With `for`, what comes first ends it.
	Finite() bool
}

// Finisher is an Effect that knows whether a Finite fault has come to its own end.
type Finisher interface {
	Finished(ctx context.Context, env Env, r Record) (bool, error)
}

// ImageNamer is a Fault with parameters that name images, which are to be on the engine before the run starts anything.
type ImageNamer interface {
	// Images lists them; none where the parameters name none.
	Images() []string
}

// ServiceNamer is a Fault with parameters that name services beside its target. "workload", "workload.<name>" and "probes"
// name client containers of the run.
type ServiceNamer interface {
	// Services maps each such key to what it names.
	Services() map[string][]string
}

// NetworkNamer is a Fault with a parameter that names one network of its target.
type NetworkNamer interface {
	// NetworkName is the key and the network's name in the Compose file, or the engine's; "" for all of them.
	NetworkName() (key, name string)
}

// ParamError is a problem with one key of a fault's table. Key is as written in TOML.
type ParamError struct {
	Key  string
	Err  error
	Hint string // what to write instead; may be empty
}

// Error is the key and the problem; the hint is added by whoever prints it with a place in a file.
func (e *ParamError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap is the problem alone.
func (e *ParamError) Unwrap() error { return e.Err }

// Mechanism is one way to carry a kind out, best first in Spec.Mechanisms.
type Mechanism struct {
	Name  string       `json:"name"`            // "cgroup file", "Docker API"
	Needs []Capability `json:"needs,omitempty"` // all of them; none is always possible
	Note  string       `json:"note,omitempty"`  // what is lost against a better mechanism
}

// Spec describes one kind to the parser, the planner, the runner, doctor and the generated reference.
type Spec struct {
	Kind       Kind
	Family     Family
	Summary    string       // one line, no full stop
	Doc        string       // a few sentences for the reference: effect, witness, undo, limits
	Instant    bool         // the kind rejects `for`
	Targets    []TargetKind // what it accepts
	Mechanisms []Mechanism  // best first
	New        func() Fault // a pointer to the kind's zero parameters, to decode into
	Effect     Effect
	// Cuts says that its target's program ends, or closes its ports: from the call on, new connections to it are not routed
	// through the proxy, which would accept them, so that connect() behaves as it does without discompose. Cuts of packets
	// and addresses that go need it not: the agent knows of those by itself.
	Cuts bool
	// Rolling says that the kind goes over its targets one after the other: each when the one before is ready again and the
	// fault's gates hold. An instantaneous kind ends on each before it goes on; any other stays on those that it has reached,
	// holds for its time when it has reached them all, and is undone in the opposite order, with the same waits between.
	Rolling bool
	// Whole says that a service is one target, however many containers it has: Target has no Container, and its Key is the
	// service's name.
	Whole bool
	// Replaces says that containers are removed or made, so that it is refused on a project that the run does not own.
	Replaces bool
}

// Mechanism is the best way to carry the kind out on a host with facts, or an error that wraps ErrUnsupported and
// names every capability that is missing.
func (s Spec) Mechanism(facts Facts) (Mechanism, error) {
	var missing []error
	for _, m := range s.Mechanisms {
		lacks := facts.lacks(m.Needs)
		if len(lacks) == 0 {
			return m, nil
		}
		missing = append(missing, fmt.Errorf("%s needs %v", m.Name, lacks))
	}
	return Mechanism{}, fmt.Errorf("%s: %w: %w", s.Kind, ErrUnsupported, errors.Join(missing...))
}
