package cli_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInterruptEndsACommandThatWaitsForTheEngine sends SIGINT while an engine keeps a command waiting.
func TestInterruptEndsACommandThatWaitsForTheEngine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"doctor"}, "interrupted"},
		{[]string{"prune"}, "interrupted"},
		{[]string{"plan", "--probe", "kafka_broker_pause"}, "interrupted"},
		{[]string{"inject", "pause", "kafka", "--for", "10s", "-p", "shop"}, "interrupted"},
		{[]string{"run", "kafka_broker_pause", "kafka_broker_stop"}, "discompose: kafka_broker_stop did not run: interrupted\n"},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), "discompose", c.args...)
			cmd.Dir = dir
			asked := deafEngine(t, dir)
			cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+filepath.Join(dir, "deaf.sock"), "DOCKER_CONFIG="+dir, "XDG_STATE_HOME="+dir)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-asked:
			case err := <-ended:
				t.Fatalf("it ended before it asked the engine: %v\n%s", err, &stderr)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			<-ended // its exit code is looked at
			if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("exit code %d, want 130; stdout:\n%s\nstderr:\n%s", code, &stdout, &stderr)
			}
			if open, err := filepath.Glob(filepath.Join(dir, "discompose", "runs", "*")); len(open) > 0 || err != nil {
				t.Errorf("runs that are still open: %v, %v", open, err)
			}
		})
	}
}

// deafEngine listens on deaf.sock, takes connections and never answers. The channel is closed at the first one.
func deafEngine(t *testing.T, dir string) <-chan struct{} {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "deaf.sock"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	left := make(chan struct{})
	go func() {
		defer close(left)
		var open []net.Conn // a connection that nobody holds is closed
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			if open = append(open, c); len(open) == 1 {
				close(asked)
			}
		}
		for _, c := range open {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-left
	})
	return asked
}
