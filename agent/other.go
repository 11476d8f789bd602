//go:build !linux

package agent

import (
	"context"
	"encoding/json"
	"fmt"
)

// Host does what containers' cgroups and processes need. This build can do nothing.
type Host struct{}

// NewHost makes a Host whose every operation fails with ErrNotHere.
func NewHost(Inspector, func(string)) *Host { return &Host{} }

// Ops is empty.
func (h *Host) Ops() Handler { return nil }

// OnRewrite does nothing.
func (h *Host) OnRewrite(func(Rewritten)) {}

// OnNet does nothing.
func (h *Host) OnNet(func(string, json.RawMessage)) {}

// Close does nothing.
func (h *Host) Close() {}

// Probe finds nothing.
func Probe(context.Context) Facts { return Facts{} }

// BootTime fails with ErrNotHere.
func BootTime() (int64, error) { return 0, fmt.Errorf("read boot-time clock: %w", ErrNotHere) }

// ForkProbeMain fails.
func ForkProbeMain([]string) int { return 1 }
