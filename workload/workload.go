// Package workload provides what runs in client containers: drivers that send operations to a system and record what it
// promised, probes, and the consumer of the shipped environments.
//
// A driver turns a schedule into operations (ledger.Op) and hands them to an emit function in batches. Emit functions must
// be safe for concurrent use and must not keep the slice that they are given. All instants are int64 nanoseconds on the
// host's boot-time clock (see Now). Every exported type is safe for concurrent use unless it says otherwise. The package
// imports only the ledger and units of this module; the stream to the runner belongs to the caller.
package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

// Config is one workload as a client container runs it: a part of the scenario's workload where several containers share it.
type Config struct {
	Name         string          `json:"name"`   // the workload's name, in every operation
	Driver       string          `json:"driver"` // the name of a Spec
	Target       string          `json:"target"` // service:port
	Clients      int             `json:"clients"`
	FirstProcess int             `json:"first_process"` // number of the first client; client i is process FirstProcess + i
	Processes    int             `json:"processes"`     // clients of the workload over all its Configs; 0: no others come after these. Fresh processes count on from there
	Rate         float64         `json:"rate"`          // operations per second over the Clients of this Config; 0: as fast as answers come
	Timeout      int64           `json:"timeout"`       // ns after which an operation that has not returned counts as unknown; 0: 30 s
	Seed         int64           `json:"seed"`
	MaxInFlight  int             `json:"max_in_flight,omitempty"` // operations in flight per client of an open loop; 0: the driver's default
	Options      json.RawMessage `json:"options,omitempty"`       // the driver's own table: what Spec.Options returns
	Phases       []Phase         `json:"phases,omitempty"`        // what changes while it runs, in the order of At
}

// Defaults of Config.
const (
	DefaultTimeout     = 30 * time.Second
	ObjectClients      = 24     // of workloads of objects
	DefaultMaxInFlight = 10_000 // of the kafka driver
)

// ErrTopicNotEmpty says that a log already holds records, so that a final read could not tell them from the run's own.
var ErrTopicNotEmpty = errors.New("topic is not empty")

// Emit takes operations that are complete (or were given up). The slice is the caller's again when it returns.
type Emit func(ops []ledger.Op)

// Driver sends the operations of one workload. Its calls come in this order, each once: Setup, Start, Stop, Final. Stats
// may be called at any time.
type Driver interface {
	// Setup makes what the workload needs (a topic with leaders) and retries until ctx ends.
	Setup(ctx context.Context) error
	// Start begins to send operations and returns; they end with ctx or Stop.
	Start(ctx context.Context, emit func([]ledger.Op)) error
	// Stop invokes no more operations and waits for those in flight until ctx ends or their time-out passes; those left are
	// emitted as unknown. After it nothing is emitted but by Final.
	Stop(ctx context.Context) error
	// Final reads all that the system holds and emits it: FuncRead per record, FuncEnd per partition. It retries until ctx ends.
	Final(ctx context.Context, emit func([]ledger.Op)) error
	// Stats sums up what happened so far.
	Stats() Stats
}

// Cleaner is a Driver that can take away what its run has put into the system, so that a later run finds it as the first one
// did. A driver whose runs leave nothing that a later one would see has a Clean that does nothing; one that is no Cleaner
// keeps its environment from being used again.
type Cleaner interface {
	// Clean is called after Final, where the environment is to be used again; services whose output is the workload's are
	// stopped by then. It retries until ctx ends.
	Clean(ctx context.Context) error
}

// ImageNeeder is options of a driver that may not be judged on an embedded default, but on the image alone.
type ImageNeeder interface {
	// NeedsImage says why not, and what to do, for people; "": it may.
	NeedsImage() string
}

// ErrNotClean says that a driver cannot take away what its run has put into the system.
var ErrNotClean = errors.New("its driver cannot take away what it wrote")

// Stats sums up a driver's operations. Invoked = OK + Failed + Unknown + InFlight, up to operations that are just changing.
type Stats struct {
	Invoked   int64  `json:"invoked"`
	OK        int64  `json:"ok"`
	Failed    int64  `json:"failed"`
	Unknown   int64  `json:"unknown"`
	InFlight  int64  `json:"in_flight"`
	Skipped   int64  `json:"skipped"`   // planned, but not invoked: the bound of operations in flight was hit
	Late      int64  `json:"late"`      // returned after they had been counted as unknown
	Polled    int64  `json:"polled"`    // records that the group consumer was handed
	Read      int64  `json:"read"`      // records of the final read
	DataLoss  int64  `json:"data_loss"` // times that the client library concluded that the system lost acknowledged data
	LastError string `json:"last_error,omitempty"`
}

// New makes the driver that c names, of those that there are. Errors name what is wrong with c.
func New(c Config, specs []Spec) (Driver, error) {
	if c.Clients == 0 {
		c.Clients = 1
	}
	if c.Timeout == 0 {
		c.Timeout = int64(DefaultTimeout)
	}
	c.Processes = max(c.Processes, c.FirstProcess+c.Clients)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("workload %s: %w", c.Name, err)
	}
	var names []string
	for _, s := range specs {
		if s.Name != c.Driver {
			names = append(names, strconv.Quote(s.Name))
			continue
		}
		d, err := s.New(c)
		if err != nil {
			return nil, fmt.Errorf("workload %s: %w", c.Name, err)
		}
		return d, nil
	}
	return nil, fmt.Errorf("workload %s: no driver %q (there is %s)", c.Name, c.Driver, strings.Join(names, ", "))
}

func (c Config) validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name is empty"))
	}
	if c.Target == "" {
		errs = append(errs, errors.New("target is empty (write service:port)"))
	}
	if c.Clients < 0 {
		errs = append(errs, fmt.Errorf("clients = %d is negative", c.Clients))
	}
	if c.FirstProcess < 0 {
		errs = append(errs, fmt.Errorf("first_process = %d is negative", c.FirstProcess))
	}
	if c.Rate < 0 {
		errs = append(errs, fmt.Errorf("rate = %g is negative", c.Rate))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout = %s is negative", time.Duration(c.Timeout)))
	}
	if c.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("max_in_flight = %d is negative", c.MaxInFlight))
	}
	return errors.Join(append(errs, c.validatePhases())...)
}
