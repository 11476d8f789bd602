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
	Keys      workload.KeyOptions `toml:"keys" json:"keys,omitzero" doc:"the keys: at most keys.count objects are there at a time"`
	MinSize   units.Size          `toml:"min_size" json:"min_size,omitzero" default:"1KiB" phase:"yes" doc:"least bytes of an object, at least 32; sizes in between are drawn so that each order of magnitude is as likely"`
	MaxSize   units.Size          `toml:"max_size" json:"max_size,omitzero" default:"64KiB" phase:"yes" doc:"most bytes of an object"`
	LiveBytes units.Size          `toml:"live_bytes" json:"live_bytes,omitzero" default:"1GiB" doc:"most bytes of all objects together: keys.count x max_size may not be more"`
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
	return o
}

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
	if err := o.Keys.Validate(); err != nil {
		report("keys: %w", err)
	} else if most := units.Size(o.Keys.WithDefaults().Count) * o.MaxSize; most > o.LiveBytes {
		report("live_bytes: %d keys of up to %d bytes may be %d bytes, which is more than %d", o.Keys.WithDefaults().Count, o.MaxSize, most, o.LiveBytes)
	}
	return errors.Join(append(errs, workload.ValidateWeights(o.mix()))...)
}
