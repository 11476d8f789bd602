package s3

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Options is the options table of the s3 driver. A zero field means its default.
type Options struct {
	Bucket    string              `toml:"bucket" json:"bucket,omitempty" default:"discompose" doc:"the bucket; the driver makes it where it is not there"`
	Prefix    string              `toml:"prefix" json:"prefix,omitempty" default:"objects/" doc:"before every key; nothing may be there when the run begins"`
	AccessKey string              `toml:"access_key" json:"access_key,omitempty" default:"minioadmin" doc:"the access key"`
	SecretKey string              `toml:"secret_key" json:"secret_key,omitempty" default:"minioadmin" doc:"its secret"`
	Region    string              `toml:"region" json:"region,omitempty" default:"us-east-1" doc:"the region that requests are signed for"`
	Secure    bool                `toml:"secure" json:"secure,omitempty" doc:"whether to speak TLS"`
	Keys      workload.KeyOptions `toml:"keys" json:"keys,omitzero" doc:"the keys"`
	MinSize   units.Size          `toml:"min_size" json:"min_size,omitzero" default:"1KiB" doc:"least bytes of an object, at least 32; sizes in between are drawn so that each order of magnitude is as likely"`
	MaxSize   units.Size          `toml:"max_size" json:"max_size,omitzero" default:"64KiB" doc:"most bytes of an object"`
	LiveKeys  int                 `toml:"live_keys" json:"live_keys,omitempty" doc:"most objects that are there at a time, puts in flight included; 0: keys.count"`
	LiveBytes units.Size          `toml:"live_bytes" json:"live_bytes,omitzero" default:"1GiB" doc:"most bytes of all objects together, puts in flight included"`
	LowWater  float64             `toml:"low_water" json:"low_water,omitempty" default:"0.8" doc:"where a put would exceed live_keys or live_bytes, it and the puts of new keys after it become deletes of the oldest objects, until at most this part of both is left"`
	Puts      *int                `toml:"puts" json:"puts,omitempty" default:"20" phase:"yes" doc:"weight of puts, most of which overwrite"`
	Gets      *int                `toml:"gets" json:"gets,omitempty" default:"20" phase:"yes" doc:"weight of gets of whole objects"`
	Ranges    *int                `toml:"ranges" json:"ranges,omitempty" default:"5" phase:"yes" doc:"weight of gets of a part"`
	Heads     *int                `toml:"heads" json:"heads,omitempty" default:"5" phase:"yes" doc:"weight of heads"`
	Deletes   *int                `toml:"deletes" json:"deletes,omitempty" default:"5" phase:"yes" doc:"weight of deletes"`
	Lists     *int                `toml:"lists" json:"lists,omitempty" default:"1" phase:"yes" doc:"weight of lists of all keys"`
}

// WithDefaults is o with every zero field set to its default; weights stay as they are.
func (o Options) WithDefaults() Options {
	for _, f := range []struct {
		field     *string
		otherwise string
	}{
		{&o.Bucket, "discompose"}, {&o.Prefix, "objects/"}, {&o.AccessKey, "minioadmin"}, {&o.SecretKey, "minioadmin"}, {&o.Region, "us-east-1"},
	} {
		if *f.field == "" {
			*f.field = f.otherwise
		}
	}
	for _, f := range []struct {
		field     *units.Size
		otherwise units.Size
	}{{&o.MinSize, 1 << 10}, {&o.MaxSize, 64 << 10}, {&o.LiveBytes, 1 << 30}} {
		if *f.field == 0 {
			*f.field = f.otherwise
		}
	}
	if o.LowWater == 0 {
		o.LowWater = workload.DefaultLowWater
	}
	return o
}

// bounds are what may be there at a time; one that the keys and sizes cannot exceed is none. o has its defaults.
func (o Options) bounds() workload.Bounds {
	b := workload.Bounds{Low: o.LowWater}
	count := o.Keys.WithDefaults().Count
	if o.LiveKeys < count {
		b.Keys = int64(o.LiveKeys)
	}
	if units.Size(count)*o.MaxSize > o.LiveBytes {
		b.Bytes = int64(o.LiveBytes)
	}
	return b
}

// ForClients says why so many clients cannot work with o.
func (o Options) ForClients(n int) error { return workload.ValidateLiveClients(o.LiveKeys, n) }

// part is how the mix names a get of a part, which the ledger knows as a get.
const part = "range"

// mix is the operations with their weights.
func (o Options) mix() []workload.Weight {
	return []workload.Weight{
		{Name: ledger.FuncPut, Weight: workload.Or(o.Puts, 20)},
		{Name: ledger.FuncGet, Weight: workload.Or(o.Gets, 20)},
		{Name: part, Weight: workload.Or(o.Ranges, 5)},
		{Name: ledger.FuncHead, Weight: workload.Or(o.Heads, 5)},
		{Name: ledger.FuncDelete, Weight: workload.Or(o.Deletes, 5)},
		{Name: ledger.FuncList, Weight: workload.Or(o.Lists, 1)},
	}
}

// mostSize is what one request may store.
const mostSize = 64 << 20

// DefaultClients is how many clients there are where the scenario does not say: so many that puts, deletes and lists of the
// same keys meet.
func (Options) DefaultClients() int { return workload.ObjectClients }

// Judged says which checks judge the operations.
func (Options) Judged(kind string, _ json.RawMessage) error {
	return workload.JudgedBy(kind, "objects")
}

// Validate joins every problem of o, defaults applied; each names its key.
func (o Options) Validate() error {
	o = o.WithDefaults()
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.MinSize < workload.MinBody || o.MinSize > o.MaxSize {
		report("min_size: %d is not between %d and max_size = %d", o.MinSize, workload.MinBody, o.MaxSize)
	}
	if o.MaxSize > mostSize {
		report("max_size: %d is more than %d", o.MaxSize, mostSize)
	}
	if o.MaxSize > o.LiveBytes {
		report("max_size: %d is more than live_bytes = %d", o.MaxSize, o.LiveBytes)
	}
	if err := o.Keys.Validate(); err != nil {
		report("keys: %w", err)
	}
	return errors.Join(append(errs, workload.ValidateLive(o.LiveKeys, o.Keys.WithDefaults().Count, o.LowWater), workload.ValidateWeights(o.mix()))...)
}
