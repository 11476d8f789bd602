//go:build e2e

package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// TestTenFaultsLeaveAUsersStackAsItWas attaches to a user's own stack. Beside times, nothing of what docker inspect tells may
// differ, but for what the engine makes anew with every start and every connect.
func TestTenFaultsLeaveAUsersStackAsItWas(t *testing.T) {
	s := userStack(t)
	before := s.look()
	c := start(t, "run", "ten_faults.toml", "--set", "environment.attach="+s.name)
	r := c.wait()
	s.nothingLeft(c)
	if j := r.passes(t); len(j.Windows) != 10 {
		t.Errorf("%d windows, want those of ten faults", len(j.Windows))
	}
	may := mayDiffer([]string{"worker-1", "app-1", "app-2", "web-1"}, []string{"app-1", "app-2"}, []string{"cache-1"})
	s.asItWas(before, may)

	// The comparison itself must see what a fault could leave behind.
	for _, m := range s.mutations() {
		m.do()
		lines := s.differences(before, s.look(), may)
		if !slices.ContainsFunc(lines, regexp.MustCompile(m.seen).MatchString) {
			t.Errorf("%s goes unnoticed: %q", m.what, lines)
		}
		if m.undo != nil {
			m.undo()
			s.asItWas(before, may)
		}
	}
}

// mutation is something that a fault could leave behind, on a container that no fault restarted.
type mutation struct {
	what, seen string // seen is a regular expression of the line that tells of it
	do, undo   func() // no undo: the last one
}

func (s *stack) mutations() []mutation {
	burner, cache := s.id("burner", 1), s.id("cache", 1)
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	memory := func(bytes int64) func() {
		return func() {
			_, err := s.docker.ContainerUpdate(s.t.Context(), burner, container.UpdateConfig{Resources: container.Resources{Memory: bytes, MemorySwap: 2 * bytes}})
			must(err)
		}
	}
	in, err := s.docker.ContainerInspect(s.t.Context(), cache)
	must(err)
	front := in.NetworkSettings.Networks[s.name+"_front"]
	aliases := func(names ...string) func() {
		return func() {
			must(s.docker.NetworkDisconnect(s.t.Context(), s.name+"_front", cache, false))
			must(s.docker.NetworkConnect(s.t.Context(), s.name+"_front", cache, &network.EndpointSettings{Aliases: names, IPAMConfig: front.IPAMConfig}))
		}
	}
	own := slices.DeleteFunc(slices.Clone(front.Aliases), func(a string) bool { return strings.HasPrefix(cache, a) })
	return []mutation{
		{"a limit that stays changed", `^container/burner-1\.HostConfig\.Memory: `, memory(400 << 20), memory(512 << 20)},
		{"a limit of the kernel's", `^limits/burner-1: `, memory(300 << 20), memory(512 << 20)},
		{"a name that is lost", `^container/cache-1\.NetworkSettings\.Networks\.\w+_front\.Aliases`, aliases(own[1:]...), aliases(own...)},
		{
			"a row that is changed", `^rows: `,
			func() { s.psql("UPDATE orders SET body = 'x' WHERE id = 7") }, func() { s.psql("UPDATE orders SET body = md5('7') WHERE id = 7") },
		},
		{"a restart that no fault explains", `^container/burner-1\.State\.Pid: `, func() {
			must(s.docker.ContainerRestart(s.t.Context(), burner, container.StopOptions{Timeout: new(int)}))
		}, nil},
	}
}

// injections are faults by hand, each with what its output says of the witness.
func injections() map[string][]string {
	return map[string][]string{
		"bandwidth":  {"client->web:80", "rate=800kbit", "--for", "2s"},
		"reset_peer": {"client->web:80", "--for", "1s"},
		"slicer":     {"client->web:80", "average_size=1KiB", "--for", "1s"},
		"down":       {"client->web:80", "--for", "1s"},
		"kill":       {"db", "down=1s"},
		"stop":       {"app", "down=1s", "grace=1s", "--pick", "one", "--seed", "3"},
		"disconnect": {"web", "--for", "1s"},
		"partition":  {"cache", "against=app,worker", "action=reject", "--for", "1s"},
		"pids_limit": {"web", "headroom=0", "--for", "1s"},
		"cpu_limit":  {"burner", "cpus=0.1", "--for", "1s"},
	}
}

// TestInjectLeavesAUsersStackAsItWas applies faults by hand, and ends some of them in the middle.
func TestInjectLeavesAUsersStackAsItWas(t *testing.T) {
	s := userStack(t)
	before := s.look()
	may := mayDiffer([]string{"db-1", "app-1", "app-2"}, []string{"db-1"}, []string{"web-1", "cache-1"})
	for kind, args := range injections() {
		t.Run(kind, func(t *testing.T) {
			c := start(t, append([]string{"inject", kind, "-p", s.name}, args...)...)
			r := c.wait()
			s.on(t).nothingLeft(c)
			if r.code != 0 || !strings.Contains(r.stdout, " witnessed after ") || !strings.Contains(r.stdout, " gone after ") {
				t.Errorf("exit %d", r.code)
			}
		})
	}
	t.Run("a link without traffic has no witness", func(t *testing.T) {
		c := start(t, "inject", "latency", "worker->web:80", "delay=100ms", "--for", "1s", "-p", s.name)
		r := c.wait()
		s.on(t).nothingLeft(c)
		if r.code != 2 || !strings.Contains(r.stderr, "no witness") || !strings.Contains(r.stderr, "make requests while it lasts") {
			t.Errorf("exit %d", r.code)
		}
	})
	t.Run("an interrupted one is undone at once", func(t *testing.T) {
		c := start(t, "inject", "pause", "db", "--for", "10m", "-p", s.name)
		c.says("witnessed after")
		if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		r := c.wait()
		s.on(t).nothingLeft(c)
		if r.code != 130 || !strings.Contains(r.stdout, " gone after ") {
			t.Errorf("exit %d", r.code)
		}
	})
	for _, args := range [][]string{
		{"pause", "db"}, {"latency", "client->web:80", "delay=300ms"}, {"disconnect", "cache"}, {"memory_limit", "burner", "limit=32MiB"}, {"stop", "worker", "down=10m"},
	} {
		t.Run("a killed "+args[0]+" is undone by its agent", func(t *testing.T) { s.on(t).killed(args) })
	}
	s.asItWas(before, append(may, mayDiffer([]string{"worker-1"}, nil, nil)...))
}

// on is the stack for a part of its test.
func (s *stack) on(t *testing.T) *stack {
	t.Helper()
	part := *s
	part.t = t
	return &part
}

// killed kills a fault by hand in the middle, and waits for its agent to undo it and to go.
func (s *stack) killed(args []string) {
	s.t.Helper()
	args = append([]string{"inject", "-p", s.name}, args...)
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "down=") }) {
		args = append(args, "--for", "10m")
	}
	c := start(s.t, args...)
	c.says("witnessed after")
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	killed := time.Now()
	_ = c.cmd.Wait()
	for len(agentsFor(s.t, s.name)) > 0 {
		if time.Since(killed) > 30*time.Second {
			s.t.Fatal("the agent is still there 30 s after the kill")
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Logf("nothing left %d ms after SIGKILL", time.Since(killed).Milliseconds())
	s.nothingLeft(c)
	for range 2 {
		if r := start(s.t, "heal", c.dir(s.t)).wait(); r.code != 0 {
			s.t.Errorf("heal after it: exit %d", r.code)
		}
	}
}

// says waits until the call has written a text to standard output.
func (c *call) says(text string) {
	c.t.Helper()
	for began := time.Now(); !c.out.contains(text); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			c.t.Fatalf("%q was never said:\n%s%s", text, c.out.String(), c.err.String())
		}
	}
}
