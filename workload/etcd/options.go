package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/discompose/discompose/workload"
)

// Options is the options table of the etcd driver. A zero field means its default.
type Options struct {
	Endpoints    []string            `toml:"endpoints" json:"endpoints,omitempty" doc:"the members that clients talk to, as in [\"etcd1:2379\", \"etcd2:2379\"]: client n keeps to member n, around and around, so that each sees one member's view; default: the target alone"`
	Prefix       string              `toml:"prefix" json:"prefix,omitempty" default:"discompose/" doc:"before every key; nothing may be there when the run begins"`
	Keys         workload.KeyOptions `toml:"keys" json:"keys,omitzero" doc:"the keys"`
	Writes       *int                `toml:"writes" json:"writes,omitempty" default:"4" phase:"yes" doc:"weight of writes among the operations"`
	Reads        *int                `toml:"reads" json:"reads,omitempty" default:"4" phase:"yes" doc:"weight of reads"`
	Swaps        *int                `toml:"swaps" json:"swaps,omitempty" default:"2" phase:"yes" doc:"weight of compare-and-swaps, each from the value that its client saw last"`
	Deletes      *int                `toml:"deletes" json:"deletes,omitempty" default:"1" phase:"yes" doc:"weight of deletes"`
	Serializable bool                `toml:"serializable" json:"serializable,omitempty" doc:"whether reads are answered by the member alone, which may be behind: not linearizable, and etcd says so"`
}

// mix is the operations with their weights.
func (o Options) mix() []workload.Weight {
	return workload.RegisterMix(o.Writes, o.Reads, o.Swaps, o.Deletes)
}

func (o Options) prefix() string {
	if o.Prefix == "" {
		return "discompose/"
	}
	return o.Prefix
}

// Judged says which checks judge the operations.
func (Options) Judged(kind string, _ json.RawMessage) error {
	return workload.JudgedBy(kind, "register")
}

// Validate joins every problem of o, defaults applied; each names its key.
func (o Options) Validate() error {
	var errs []error
	if err := o.Keys.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("keys: %w", err))
	}
	for i, e := range o.Endpoints {
		if host, port, ok := strings.Cut(e, ":"); !ok || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("endpoints[%d]: %q is not service:port", i, e))
		}
	}
	return errors.Join(append(errs, workload.ValidateWeights(o.mix()))...)
}
