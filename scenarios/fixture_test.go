package scenarios_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/scenarios"
)

// The kinds of these tests have the parameters of the real ones and no effect.

type unprepared struct{}

func (unprepared) Prepare(context.Context, faults.Env, faults.Target) (faults.Record, error) {
	return faults.Record{}, faults.ErrUnsupported
}

type pause struct{ unprepared }

func (*pause) Validate() error { return nil }

type stop struct {
	unprepared
	DownFor units.Duration  `toml:"down" doc:"how long it stays down"`
	Grace   *units.Duration `toml:"grace" doc:"before SIGKILL"`
}

func (s *stop) Down() time.Duration { return s.DownFor.Std() }

func (s *stop) Validate() error {
	if s.DownFor == 0 {
		return &faults.ParamError{Key: "down", Err: errors.New("missing"), Hint: `as in "5s"`}
	}
	return nil
}

type kill struct {
	unprepared
	Signal  string         `toml:"signal" default:"SIGKILL" enum:"SIGKILL|SIGTERM" doc:"the signal"`
	DownFor units.Duration `toml:"down" doc:"how long it stays down"`
}

func (k *kill) Down() time.Duration { return k.DownFor.Std() }
func (k *kill) ByPolicy() bool      { return k.DownFor == 0 }
func (*kill) Validate() error       { return nil }

type restart struct {
	unprepared
	Grace *units.Duration `toml:"grace" doc:"before SIGKILL"`
}

func (*restart) Validate() error { return nil }

type cpu struct {
	unprepared
	CPUs float64 `toml:"cpus" doc:"cores"`
}

func (c *cpu) Validate() error {
	if c.CPUs > 0 {
		return nil
	}
	return errors.Join(&faults.ParamError{Key: "cpus", Err: errors.New("must be above 0")}, errors.New("the limit limits nothing"))
}

type memory struct {
	unprepared
	Limit    units.Size  `toml:"limit" doc:"in bytes"`
	Headroom *units.Size `toml:"headroom" doc:"above what is used"`
}

func (*memory) Validate() error { return nil }

type pids struct {
	unprepared
	Max      *int `toml:"max" doc:"processes"`
	Headroom *int `toml:"headroom" doc:"above what is used"`
}

func (*pids) Validate() error { return nil }

func kinds() []faults.Spec {
	on := []faults.TargetKind{faults.OnService}
	return []faults.Spec{
		{Kind: "pause", Family: faults.Process, Targets: on, Summary: "freeze it", New: func() faults.Fault { return &pause{} }},
		{Kind: "stop", Family: faults.Process, Targets: on, Instant: true, New: func() faults.Fault { return &stop{} }},
		{Kind: "kill", Family: faults.Process, Targets: on, Instant: true, New: func() faults.Fault { return &kill{} }},
		{Kind: "restart", Family: faults.Process, Targets: on, Instant: true, New: func() faults.Fault { return &restart{} }},
		{Kind: "cpu_limit", Family: faults.Resource, Targets: on, New: func() faults.Fault { return &cpu{} }},
		{Kind: "memory_limit", Family: faults.Resource, Targets: on, New: func() faults.Fault { return &memory{} }},
		{Kind: "pids_limit", Family: faults.Resource, Targets: on, New: func() faults.Fault { return &pids{} }},
	}
}

type driverOptions struct {
	Topic           string         `toml:"topic" default:"orders" doc:"the topic"`
	Partitions      int            `toml:"partitions" default:"3" doc:"partitions"`
	Acks            string         `toml:"acks" default:"all" enum:"all|1|0" doc:"acknowledgement"`
	Idempotent      *bool          `toml:"idempotent" default:"true" doc:"no duplicates"`
	DeliveryTimeout units.Duration `toml:"delivery_timeout" default:"60s" doc:"retries"`
	Replication     int            `toml:"replication" default:"1" doc:"replicas"`
	Size            int            `toml:"size" default:"256" doc:"bytes"`
}

func optionsOf(t *testing.T, w scenarios.Workload) *driverOptions {
	t.Helper()
	o, ok := w.Options.(*driverOptions)
	if !ok {
		t.Fatalf("the options are %T", w.Options)
	}
	return o
}

func (o *driverOptions) Validate() error {
	if o.Partitions < 1 {
		return errors.New("partitions: must be at least 1")
	}
	return nil
}

func options() scenarios.Options {
	return scenarios.Options{
		Kinds: kinds(),
		Env: func(name string) (string, bool) {
			v, ok := map[string]string{"TOPIC": "billing", "EMPTY": ""}[name]
			return v, ok
		},
		Drivers:      map[string]func() any{"kafka": func() any { return &driverOptions{} }},
		Environments: []string{"kafka"},
	}
}

// base is a scenario that parses; tests add to it.
const base = `[environment]
use = "kafka"
[workload.orders]
driver = "kafka"
target = "kafka:9092"
[probe.broker]
kind = "tcp"
target = "kafka:9092"
`

// parse parses t.toml with the given text.
func parse(t *testing.T, text string, change ...func(*scenarios.Options)) (*scenarios.Scenario, error) {
	t.Helper()
	o := options()
	for _, c := range change {
		c(&o)
	}
	return scenarios.Parse(fstest.MapFS{"t.toml": {Data: []byte(text)}}, "t.toml", o)
}

func mustParse(t *testing.T, text string, change ...func(*scenarios.Options)) *scenarios.Scenario {
	t.Helper()
	s, err := parse(t, text, change...)
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	return s
}

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
