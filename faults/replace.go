package faults

import (
	"context"
	"encoding/json"
	"errors"
)

// The labels of containers that faults have made.
const (
	// LabelRecord tells which record's changes a container has. What was made as its blueprint says has none.
	LabelRecord = "io.discompose.record"
	// LabelVolumes lists, separated by commas, the anonymous volumes that a container has got by their names: the engine no
	// longer knows that they are anonymous, so whoever removes the container with its volumes removes them too.
	LabelVolumes = "io.discompose.volumes"
)

// ErrNoImage says that the engine does not have an image.
var ErrNoImage = errors.New("no such image")

// Replacer is an Engine that can also remove containers and make them again.
type Replacer interface {
	// Blueprint reads all that is needed to make a container again. Errors: ErrGone, and ErrUnsupported for a container that
	// others would miss, because they share its namespaces or volumes.
	Blueprint(ctx context.Context, container string) (Blueprint, error)
	// Create makes a container and does not start it: in all networks of the blueprint, with its anonymous volumes. It makes
	// none that lacks a part: after an error it takes away what it had made, where it can.
	Create(ctx context.Context, b Blueprint, c Changes) (id string, err error)
	// Remove removes a container, killing it first if it runs; one that is gone is fine. Its anonymous volumes stay, unless
	// volumes is set.
	Remove(ctx context.Context, container string, volumes bool) error
	// Named observes the container of a name; the error wraps ErrGone if there is none.
	Named(ctx context.Context, name string) (Container, error)
	// Replicas observes the containers of a Compose service, stopped ones too, sorted by number.
	Replicas(ctx context.Context, project, service string) ([]Container, error)
	// Missing names something that a container of the blueprint stands on and that is not there any more: a network, a named
	// volume, a container whose network it shares; "" for nothing. Where something is, the project was taken down.
	Missing(ctx context.Context, b Blueprint) (string, error)
	// Image is the id of an image that the engine has; the error wraps ErrNoImage if it does not.
	Image(ctx context.Context, ref string) (id string, err error)
}

// Blueprint is everything that is needed to make a container again, as far as somebody chose it: what the engine drew by
// itself (addresses, hardware addresses, a host name) it draws anew.
type Blueprint struct {
	Was      Container       `json:"was"` // the container that it was read from
	Project  string          `json:"project,omitempty"`
	Service  string          `json:"service,omitempty"`
	Networks []Endpoint      `json:"networks,omitempty"` // sorted by name; none without networks of its own
	Single   []string        `json:"single,omitempty"`   // what a second container beside it could not have: "the address 10.1.0.5"
	Raw      json.RawMessage `json:"raw"`                // only the engine reads it
}

// Changes are what a container has otherwise than its blueprint says. Zero fields change nothing.
type Changes struct {
	// Image takes the place of the blueprint's, and its defaults take the place of that one's.
	Image       string            `json:"image,omitempty"`
	Env         map[string]string `json:"env,omitempty"`        // set, beside the others
	Entrypoint  []string          `json:"entrypoint,omitempty"` // a command that is the image's own goes with the old one
	Command     []string          `json:"command,omitempty"`
	NanoCPUs    int64             `json:"nano_cpus,omitempty"` // 1e-9 cores
	MemoryBytes int64             `json:"memory_bytes,omitempty"`
	Record      string            `json:"record,omitempty"` // the value of LabelRecord
	Replica     *Replica          `json:"replica,omitempty"`
}

// Replica makes a further container of the blueprint's service: without host ports and chosen addresses, and with
// anonymous volumes of its own.
type Replica struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
}
