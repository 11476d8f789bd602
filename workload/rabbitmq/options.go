package rabbitmq

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Options is the options table of the rabbitmq driver. A zero field means its default.
type Options struct {
	Servers  []string `toml:"servers" json:"servers,omitempty" doc:"the servers that clients connect to, as in [\"rabbit1:5672\", \"rabbit2:5672\"]: client n to server n first, around and around; default: the target alone"`
	User     string   `toml:"user" json:"user,omitempty" default:"guest" doc:"the user"`
	Password string   `toml:"password" json:"password,omitempty" default:"guest" doc:"its password"`
	Vhost    string   `toml:"vhost" json:"vhost,omitempty" default:"/" doc:"the virtual host"`
	Queue    string   `toml:"queue" json:"queue,omitempty" default:"orders" doc:"the queue, which the driver declares; it must be empty when the run begins"`
	Type     string   `toml:"type" json:"type,omitempty" default:"quorum" enum:"quorum|classic" doc:"the queue's type; both are durable, and messages persistent"`
	Enqueues *int     `toml:"enqueues" json:"enqueues,omitempty" default:"1" phase:"yes" doc:"weight of publishing a message and waiting for the confirm"`
	Dequeues *int     `toml:"dequeues" json:"dequeues,omitempty" default:"1" phase:"yes" doc:"weight of getting a message and acknowledging it"`
}

// WithDefaults is o with every zero field set to its default; weights stay as they are.
func (o Options) WithDefaults() Options {
	for _, f := range []struct {
		field     *string
		otherwise string
	}{{&o.User, "guest"}, {&o.Password, "guest"}, {&o.Vhost, "/"}, {&o.Queue, "orders"}, {&o.Type, "quorum"}} {
		if *f.field == "" {
			*f.field = f.otherwise
		}
	}
	return o
}

// mix is the operations with their weights.
func (o Options) mix() []workload.Weight {
	return workload.PairMix(ledger.FuncEnqueue, o.Enqueues, 1, ledger.FuncDequeue, o.Dequeues, 1)
}

// Judged says which checks judge the operations: a queue that may forget in a crash that a message was acknowledged.
func (Options) Judged(kind string, options json.RawMessage) error {
	var o struct{ Delivery string }
	if err := json.Unmarshal(options, &o); err != nil {
		return err
	}
	if kind == "queue" && o.Delivery != "at-least-once" {
		return errors.New(`RabbitMQ may hand a message out again after a crash: write options = { delivery = "at-least-once" } in the check`)
	}
	return workload.JudgedBy(kind, "queue")
}

// Validate joins every problem of o, defaults applied; each names its key.
func (o Options) Validate() error {
	o = o.WithDefaults()
	var errs []error
	if types := []string{"quorum", "classic"}; !slices.Contains(types, o.Type) {
		errs = append(errs, fmt.Errorf("type: %q is not one of %s", o.Type, strings.Join(types, ", ")))
	}
	for i, s := range o.Servers {
		if host, port, ok := strings.Cut(s, ":"); !ok || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("servers[%d]: %q is not service:port", i, s))
		}
	}
	return errors.Join(append(errs, workload.ValidateWeights(o.mix()))...)
}
