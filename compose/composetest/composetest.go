// Package composetest provides what tests of environments share: projects written into temporary folders, runs of their
// own, and the check that a run has left nothing behind.
//
// Its functions belong to one test each. It imports compose and nothing else of this module.
package composetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/internal/imagetest"
)

// Write writes files (relative path → text) into a new folder and returns it.
func Write(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// Engine connects to the engine and ends the connection with the test.
func Engine(tb testing.TB) *compose.Engine {
	tb.Helper()
	imagetest.Need(tb, "busybox:1", "nginx:1.22")
	e, err := compose.Connect(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

// RunID is a new run's id: eight hex digits.
func RunID() string { return fmt.Sprintf("%08x", rand.Uint32()) }

// NoLeftovers fails the test at its end if anything on the engine still carries the run's label, and removes it.
func NoLeftovers(tb testing.TB, e *compose.Engine, run string) {
	tb.Helper()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
		defer cancel()
		left, err := compose.Left(ctx, e.Docker(), run)
		if err != nil {
			tb.Error(err)
		}
		if len(left) > 0 {
			tb.Errorf("run %s has left behind: %s", run, strings.Join(left, ", "))
		}
		if err := compose.RemoveRun(ctx, e.Docker(), run); err != nil {
			tb.Error(err)
		}
	})
}
