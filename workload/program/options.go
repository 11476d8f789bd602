package program

import (
	"errors"

	"github.com/discompose/discompose/workload"
)

// Options is the options table of the exec driver. A zero field means its default.
type Options struct {
	Command  []string          `toml:"command" json:"command,omitempty" required:"true" doc:"the program and its arguments; docs/drivers/exec.md says what it reads and prints"`
	Service  string            `toml:"service" json:"service,omitempty" doc:"run it in this service, as docker exec does; default: on the host, in the scenario's folder, where it reaches a target only if environment.publish names it"`
	Keys     int               `toml:"keys" json:"keys,omitempty" default:"10" doc:"how many keys the program is told to use"`
	Settings map[string]string `toml:"settings" json:"settings,omitempty" doc:"what else the program is told, as it stands"`
	Env      map[string]string `toml:"env" json:"env,omitempty" doc:"environment variables of the program"`
}

// Validate joins every problem of o; each names its key.
func (o Options) Validate() error {
	var errs []error
	if len(o.Command) == 0 || o.Command[0] == "" {
		errs = append(errs, errors.New(`command: missing (as in ["python3", "driver.py"])`))
	}
	if o.Keys < 0 {
		errs = append(errs, errors.New("keys: must not be negative"))
	}
	return errors.Join(errs...)
}

// WithDefaults is o with every zero field set to its default.
func (o Options) WithDefaults() Options {
	if o.Keys == 0 {
		o.Keys = 10
	}
	return o
}

// NoPhases says why a workload of this driver has no phases.
func (Options) NoPhases() string {
	return "a program makes its own schedule: it is told one rate, when it starts"
}

// OnHost reports whether the program runs on the host.
func (o *Options) OnHost() bool { return o.Service == "" }

// Config is the first line that a program reads.
type Config struct {
	V        int               `json:"v"` // ledger.FormatVersion
	Workload string            `json:"workload"`
	Target   string            `json:"target"` // an address that the program reaches: service:port, or 127.0.0.1:port
	Clients  int               `json:"clients"`
	Rate     float64           `json:"rate"` // operations per second over all clients; 0: as fast as answers come
	Seed     int64             `json:"seed"`
	Keys     int               `json:"keys"`
	Timeout  int64             `json:"timeout"` // ns after which an operation that has not returned counts as unknown
	Settings map[string]string `json:"settings,omitempty"`
}

func (o Options) config(c workload.Config, target string, version int) Config {
	return Config{
		V: version, Workload: c.Name, Target: target, Clients: c.Clients, Rate: c.Rate, Seed: c.Seed, Keys: o.Keys,
		Timeout: c.Timeout, Settings: o.Settings,
	}
}
