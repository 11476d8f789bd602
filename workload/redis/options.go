package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Options is the options table of the redis driver. A zero field means its default.
type Options struct {
	Model     string              `toml:"model" json:"model,omitempty" default:"register" enum:"register|set|counter|queue" doc:"what the operations are, and so which check judges them: register: SET, GET, DEL and a compare-and-swap in Lua; set: SADD and SMEMBERS; counter: INCRBY and GET; queue: LPUSH and RPOP"`
	Password  string              `toml:"password" json:"password,omitempty" doc:"the server's password"`
	Sentinels []string            `toml:"sentinels" json:"sentinels,omitempty" doc:"the sentinels, as in [\"sentinel1:26379\", \"sentinel2:26379\"]: clients ask them for the master, when they begin and after a failover; default: the target alone is used"`
	Master    string              `toml:"master" json:"master,omitempty" default:"mymaster" doc:"the name under which the sentinels know the master"`
	Wait      int                 `toml:"wait" json:"wait,omitempty" default:"0" doc:"how many replicas must have a write (WAIT) for it to count as acknowledged; fewer within a second: unknown"`
	Prefix    string              `toml:"prefix" json:"prefix,omitempty" default:"discompose:" doc:"before every key; nothing may be there when the run begins"`
	Keys      workload.KeyOptions `toml:"keys" json:"keys,omitzero" doc:"register: the keys"`
	Writes    *int                `toml:"writes" json:"writes,omitempty" phase:"yes" doc:"weight of what writes: SET, SADD, INCRBY, LPUSH. Default: register and counter 4, queue and set 1"`
	Reads     *int                `toml:"reads" json:"reads,omitempty" phase:"yes" doc:"weight of what reads: GET, SMEMBERS, and RPOP. Default: register 4, counter and queue 1, set 0"`
	Swaps     *int                `toml:"swaps" json:"swaps,omitempty" default:"2" phase:"yes" doc:"register: weight of compare-and-swaps, each from the value that its client saw last"`
	Deletes   *int                `toml:"deletes" json:"deletes,omitempty" default:"1" phase:"yes" doc:"register: weight of deletes"`
}

// The models.
const (
	modelRegister = "register"
	modelSet      = "set"
	modelCounter  = "counter"
	modelQueue    = "queue"
)

// Judged says which checks judge the operations.
func (o Options) Judged(kind string, _ json.RawMessage) error {
	return workload.JudgedBy(kind, o.WithDefaults().Model)
}

// WithDefaults is o with every zero field set to its default; weights stay as they are.
func (o Options) WithDefaults() Options {
	if o.Model == "" {
		o.Model = modelRegister
	}
	if o.Master == "" {
		o.Master = "mymaster"
	}
	if o.Prefix == "" {
		o.Prefix = "discompose:"
	}
	return o
}

// mix is the operations of the model with their weights.
func (o Options) mix() []workload.Weight {
	switch o.Model {
	case modelSet:
		return workload.PairMix(ledger.FuncAdd, o.Writes, 1, ledger.FuncList, o.Reads, 0)
	case modelCounter:
		return workload.PairMix(ledger.FuncInc, o.Writes, 4, ledger.FuncGet, o.Reads, 1)
	case modelQueue:
		return workload.PairMix(ledger.FuncEnqueue, o.Writes, 1, ledger.FuncDequeue, o.Reads, 1)
	}
	return workload.RegisterMix(o.Writes, o.Reads, o.Swaps, o.Deletes)
}

// mostReplicas bounds Options.Wait.
const mostReplicas = 100

// Validate joins every problem of o, defaults applied; each names its key.
func (o Options) Validate() error {
	o = o.WithDefaults()
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if models := []string{modelRegister, modelSet, modelCounter, modelQueue}; !slices.Contains(models, o.Model) {
		report("model: %q is not one of %s", o.Model, strings.Join(models, ", "))
	}
	for i, s := range o.Sentinels {
		if host, port, ok := strings.Cut(s, ":"); !ok || host == "" || port == "" {
			report("sentinels[%d]: %q is not service:port", i, s)
		}
	}
	if o.Wait < 0 || o.Wait > mostReplicas {
		report("wait: %d is not between 0 and %d", o.Wait, mostReplicas)
	}
	if strings.ContainsAny(o.Prefix, "*?[]\\") {
		report("prefix: %q has a character that stands for others", o.Prefix)
	}
	if err := o.Keys.Validate(); err != nil {
		report("keys: %w", err)
	}
	return errors.Join(append(errs, workload.ValidateWeights(o.mix()))...)
}
