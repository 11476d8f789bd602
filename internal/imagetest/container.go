package imagetest

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// Docker runs the Docker command and returns what it prints; an error ends the test.
func Docker(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Start starts a container of an image, which Need looks for, with one port published on a free port of the loopback, and
// removes it with its volumes when the test ends. args stand before the image, command after it.
func Start(tb testing.TB, image, port string, args []string, command ...string) (id, addr string) {
	tb.Helper()
	Need(tb, image)
	if _, err := exec.LookPath("docker"); err != nil {
		tb.Skipf("the test drives its container with the docker command: %v", err)
	}
	addr = FreeAddr(tb)
	run := append([]string{"run", "-d", "--label", "io.discompose.test=workload", "-p", addr + ":" + port}, args...)
	id = Docker(tb, append(append(run, image), command...)...)
	tb.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(tb.Context()), "docker", "rm", "-f", "-v", id).CombinedOutput(); err != nil {
			tb.Errorf("remove container: %v\n%s", err, out)
		}
	})
	return id, addr
}

// FreeAddr is an address of the loopback on which nobody listens.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody connected
	return l.Addr().String()
}
