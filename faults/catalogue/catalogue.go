// Package catalogue lists every fault kind. The set is fixed at compile time.
package catalogue

import (
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/app"
	"github.com/discompose/discompose/faults/link"
	"github.com/discompose/discompose/faults/network"
	"github.com/discompose/discompose/faults/process"
	"github.com/discompose/discompose/faults/replace"
	"github.com/discompose/discompose/faults/resource"
)

// All lists every kind, by family in the contract's order, then by name.
func All() []faults.Spec {
	return []faults.Spec{
		process.CrashLoopSpec(),
		process.KillSpec(),
		process.PauseSpec(),
		replace.RecreateSpec(),
		replace.RemoveSpec(),
		process.RestartSpec(),
		process.RollingRestartSpec(),
		replace.RollingUpdateSpec(),
		replace.ScaleSpec(),
		process.StopSpec(),
		link.BandwidthSpec(),
		link.DownSpec(),
		link.LatencySpec(),
		link.LimitDataSpec(),
		link.ResetPeerSpec(),
		link.SlicerSpec(),
		link.SlowCloseSpec(),
		link.TimeoutSpec(),
		network.DisconnectSpec(),
		network.PartitionSpec(),
		resource.CPULimitSpec(),
		resource.MemoryLimitSpec(),
		resource.PIDsLimitSpec(),
		app.ExecSpec(),
	}
}

// Lookup finds a kind.
func Lookup(kind faults.Kind) (faults.Spec, bool) {
	for _, s := range All() {
		if s.Kind == kind {
			return s, true
		}
	}
	return faults.Spec{}, false
}
