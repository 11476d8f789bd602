package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/discompose/discompose/internal/units"
)

// KafkaOptions is the options table of the kafka driver. A zero field means its default.
type KafkaOptions struct {
	Topic           string         `toml:"topic" json:"topic,omitempty" default:"orders" doc:"the topic; the driver makes it, and it must hold no record"`
	Partitions      int            `toml:"partitions" json:"partitions,omitempty" default:"3" doc:"partitions of the topic"`
	Replication     int            `toml:"replication" json:"replication,omitempty" default:"1" doc:"replicas of each partition"`
	Acks            string         `toml:"acks" json:"acks,omitempty" default:"all" enum:"all|1|0" doc:"what acknowledges a record: all in-sync replicas, the leader, or nothing (then every outcome is unknown)"`
	Idempotent      *bool          `toml:"idempotent" json:"idempotent,omitempty" default:"true" doc:"whether the broker removes the duplicates of retries; needs acks = \"all\""`
	Size            int            `toml:"size" json:"size,omitempty" default:"256" doc:"bytes of a value, at least 32"`
	DeliveryTimeout units.Duration `toml:"delivery_timeout" json:"delivery_timeout,omitzero" default:"60s" doc:"how long a client retries a record"`
	Group           string         `toml:"group" json:"group,omitempty" doc:"a consumer group that polls during the run; without a name there is none"`
	Linger          units.Duration `toml:"linger" json:"linger,omitzero" default:"0s" doc:"how long a client waits for more records of a batch"`
}

// WithDefaults is o with every zero field set to its default.
func (o KafkaOptions) WithDefaults() KafkaOptions {
	if o.Topic == "" {
		o.Topic = "orders"
	}
	if o.Partitions == 0 {
		o.Partitions = 3
	}
	if o.Replication == 0 {
		o.Replication = 1
	}
	if o.Acks == "" {
		o.Acks = "all"
	}
	if o.Idempotent == nil {
		yes := true
		o.Idempotent = &yes
	}
	if o.Size == 0 {
		o.Size = 256
	}
	if o.DeliveryTimeout == 0 {
		o.DeliveryTimeout = units.Duration(time.Minute)
	}
	return o
}

// Validate joins every problem of o, defaults applied; each names its key.
func (o KafkaOptions) Validate() error {
	o = o.WithDefaults()
	var errs []error
	report := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if o.Partitions < 1 || o.Partitions > 1000 {
		report("partitions", "%d is not between 1 and 1000", o.Partitions)
	}
	if o.Replication < 1 || o.Replication > 32767 {
		report("replication", "%d is not between 1 and 32767", o.Replication)
	}
	switch o.Acks {
	case "all":
	case "1", "0":
		if *o.Idempotent {
			report("idempotent", "needs acks = \"all\", not %q (set idempotent = false: then retries may write duplicates)", o.Acks)
		}
	default:
		report("acks", "%q is not one of \"all\", \"1\", \"0\"", o.Acks)
	}
	if o.Size < MinBody || o.Size > 1<<20 {
		report("size", "%d is not between %d and %d bytes", o.Size, MinBody, 1<<20)
	}
	if o.DeliveryTimeout.Std() < time.Second {
		report("delivery_timeout", "%s is less than 1s", o.DeliveryTimeout)
	}
	if o.Linger.Std() > time.Minute || o.Linger.Std() < 0 {
		report("linger", "%s is not between 0s and 1m", o.Linger)
	}
	return errors.Join(errs...)
}

// parseKafkaOptions reads the JSON of a Config, strictly; none at all is all defaults.
func parseKafkaOptions(raw json.RawMessage) (KafkaOptions, error) {
	var o KafkaOptions
	if len(raw) > 0 && string(raw) != "null" {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			return o, fmt.Errorf("read options: %w", err)
		}
	}
	if err := o.Validate(); err != nil {
		return o, fmt.Errorf("options: %w", err)
	}
	return o.WithDefaults(), nil
}
