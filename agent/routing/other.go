//go:build !linux

package routing

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
)

// Serve fails with agent.ErrNotHere.
func Serve(context.Context, io.Reader, io.Writer, *client.Client, func(string)) error {
	return fmt.Errorf("serve networks: %w", agent.ErrNotHere)
}

// Probe finds nothing.
func Probe() (has []string, missing map[string]string) { return nil, nil }
