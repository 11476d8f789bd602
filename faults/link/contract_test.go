package link_test

import (
	"testing"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/link"
)

func specs() []faults.Spec {
	return []faults.Spec{
		link.BandwidthSpec(), link.DownSpec(), link.LatencySpec(), link.LimitDataSpec(), link.ResetPeerSpec(), link.SlicerSpec(),
		link.SlowCloseSpec(), link.TimeoutSpec(),
	}
}

func TestEveryKindConforms(t *testing.T) {
	for _, s := range specs() {
		t.Run(string(s.Kind), func(t *testing.T) { faulttest.Run(t, s, nil) })
	}
}
