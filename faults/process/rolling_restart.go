package process

import (
	"context"

	"github.com/discompose/discompose/faults"
)

// RollingRestart restarts the containers of its target one after the other, as an update does.
type RollingRestart struct{ Restart }

// RollingRestartSpec describes the kind.
func RollingRestartSpec() faults.Spec {
	s := RestartSpec()
	s.Kind, s.Rolling = kindRollingRestart, true
	s.Summary = "restart containers one after the other, each when the one before is ready again"
	s.Doc = "The next container is restarted when the one before runs, is healthy where it has a healthcheck, and the fault's gates hold, as a rolling update does it: at most one is down at a time. " +
		"Each gets its stop signal and, after the grace time, SIGKILL; then it is started. " +
		"Witness: each container has a new start time and a new process, and the old one is gone. " +
		"Undo: start it if it does not run; the fault has ended when the last one is ready again."
	s.New = func() faults.Fault { return &RollingRestart{} }
	return s
}

// Prepare refuses a target that is not running or is paused by somebody else, and notes which process is to end.
func (s *RollingRestart) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	return s.prepare(ctx, env, kindRollingRestart, on)
}
