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

	Transactions *KafkaTransactions `toml:"transactions" json:"transactions,omitempty" doc:"every client sends its records in transactions; needs acks = \"all\" and idempotent = true"`
	Isolation    string             `toml:"isolation" json:"isolation,omitempty" default:"read-committed" enum:"read-committed|read-uncommitted" doc:"how the final read and the group of the driver read; the log check has an option of the same name, which has to be the same"`
}

// KafkaTransactions is how the clients of the kafka driver send in transactions. A zero field means its default.
type KafkaTransactions struct {
	Size    int            `toml:"size" json:"size,omitempty" default:"5" doc:"records of a transaction"`
	Abort   float64        `toml:"abort" json:"abort,omitempty" default:"0" doc:"the part of the transactions that is aborted on purpose, 0 to 1"`
	Timeout units.Duration `toml:"timeout" json:"timeout,omitzero" default:"20s" doc:"how long a transaction may be open until the broker aborts it"`
}

// The values of KafkaOptions.Isolation.
const (
	readCommitted   = "read-committed"
	readUncommitted = "read-uncommitted"
)

// Judged says which checks judge the operations: a log whose readers see what the driver's readers see.
func (o KafkaOptions) Judged(kind string, options json.RawMessage) error {
	check := struct{ Isolation string }{readCommitted}
	if err := json.Unmarshal(options, &check); err != nil {
		return err
	}
	if o.Acks == "0" {
		return errors.New(`with acks = "0" nothing is acknowledged, so nothing can be lost and no steady state is seen: write acks = "1" or "all"`)
	}
	if reads := o.WithDefaults().Isolation; kind == "log" && o.Transactions != nil && check.Isolation != reads {
		return fmt.Errorf("it reads with isolation = %q, and the check judges by %q: write the same in the options of both", reads, check.Isolation)
	}
	return JudgedBy(kind, "log")
}

// NeedsImage implements ImageNeeder. kfake, as of 2026-09-18, aborts open transactions when it starts after a kill, and then
// answers the commit of one with success if its producer's last transaction was committed (txns.go, doEnd: retry detection).
func (o KafkaOptions) NeedsImage() string {
	if o.Transactions == nil {
		return ""
	}
	return "the embedded broker loses committed transactions when it is killed: pull or build the image, or leave out options.transactions"
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
	if o.Isolation == "" {
		o.Isolation = readCommitted
	}
	if o.Transactions != nil {
		t := *o.Transactions
		if t.Size == 0 {
			t.Size = 5
		}
		if t.Timeout == 0 {
			t.Timeout = units.Duration(20 * time.Second)
		}
		o.Transactions = &t
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
	if o.Isolation != readCommitted && o.Isolation != readUncommitted {
		report("isolation", "%q is not one of %q, %q", o.Isolation, readCommitted, readUncommitted)
	}
	o.validateTransactions(report)
	return errors.Join(errs...)
}

func (o KafkaOptions) validateTransactions(report func(key, format string, args ...any)) {
	t := o.Transactions
	if t == nil {
		return
	}
	if o.Acks != "all" || !*o.Idempotent {
		report("transactions", "needs acks = \"all\" and idempotent = true")
	}
	if t.Size < 1 || t.Size > 10_000 {
		report("transactions.size", "%d is not between 1 and 10000", t.Size)
	}
	if !(t.Abort >= 0 && t.Abort <= 1) {
		report("transactions.abort", "%g is not between 0 and 1", t.Abort)
	}
	if t.Timeout.Std() < time.Second || t.Timeout.Std() > 15*time.Minute {
		report("transactions.timeout", "%s is not between 1s and 15m, the most that a broker allows by default", t.Timeout)
	}
}

// parseKafkaOptions reads the JSON of a Config, strictly; none at all is all defaults.
func parseKafkaOptions(raw json.RawMessage) (KafkaOptions, error) {
	o, err := ReadOptions[KafkaOptions](raw)
	return o.WithDefaults(), err
}

// ReadOptions reads the JSON of Config.Options as a driver's options, strictly, and validates them; none at all is all
// defaults.
func ReadOptions[O interface{ Validate() error }](raw json.RawMessage) (o O, err error) {
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
	return o, nil
}
