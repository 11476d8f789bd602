//go:build e2e

package program_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/drivertest"
	"github.com/discompose/discompose/internal/imagetest"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/program"
)

// TestExamples runs the drivers of the documentation against a Redis that is paused, crashes and comes back.
func TestExamples(t *testing.T) {
	for _, c := range [][]string{{"python3", "example.py"}, {"bash", "example.sh"}} {
		t.Run(c[0], func(t *testing.T) {
			if _, err := exec.LookPath(c[0]); err != nil {
				t.Skipf("this machine has no %s", c[0])
			}
			id, addr := imagetest.Start(t, "redis:7", "6379", nil, "redis-server", "--appendonly", "yes", "--appendfsync", "always")
			drivertest.Eventually(t, "redis answers", func() bool {
				out, _ := exec.CommandContext(t.Context(), "docker", "exec", id, "redis-cli", "ping").Output()
				return strings.TrimSpace(string(out)) == "PONG"
			})
			r := drivertest.Start(t, program.Local(host(t)), workload.Config{Target: addr, Clients: 1, Rate: 200}, program.Options{Command: c})
			r.Wait(30, ledger.OK)
			imagetest.Docker(t, "pause", id)
			r.Some(ledger.Unknown)
			imagetest.Docker(t, "unpause", id)
			r.Wait(5, ledger.OK)
			imagetest.Docker(t, "kill", id)
			r.Some(ledger.Failed)
			imagetest.Docker(t, "start", id)
			r.Wait(30, ledger.OK)
			r.Finish()
			r.Judge("set", nil)
		})
	}
}

// host starts programs in the folder of the examples.
func host(t *testing.T) program.Env {
	return program.Env{
		Launch: func(ctx context.Context, o program.Options) (*program.Process, error) {
			cmd := exec.CommandContext(ctx, o.Command[0], o.Command[1:]...)
			cmd.Dir, cmd.Stderr = filepath.Join("..", "..", "docs", "drivers"), os.Stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				return nil, err
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				return nil, err
			}
			return &program.Process{In: in, Out: out, Wait: func() string { return errText(cmd.Wait()) }}, cmd.Start()
		},
		Target: func(_ context.Context, _ program.Options, target string) (string, error) { return target, nil },
		Now:    workload.Now,
		Broken: func(err error) { t.Error(err) },
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
