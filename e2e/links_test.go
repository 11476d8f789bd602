//go:build e2e

package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/ledger"
)

func TestForeignComposeFileWithALink(t *testing.T) {
	needImage(t, "nginx:1.22")
	raw, err := os.ReadFile("testdata/blog_latency.toml")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(strings.TrimSpace(string(raw)), "\n") + 1; lines > 15 {
		t.Errorf("the scenario has %d lines, want at most 15", lines)
	}
	r := discompose(t, "run", "blog_latency.toml")
	j := r.passes(t)
	if w := j.Windows[0].Active; w != nil && w.Value < 130 && w.Unit == "ms" {
		t.Errorf("the witness saw %v %s, want at least delay - jitter", w.Value, w.Unit)
	}
	report, err := os.ReadFile(filepath.Join(r.dir, "report.md"))
	if err != nil || !strings.Contains(string(report), "median residence of") || !strings.Contains(string(report), "## Links") {
		t.Errorf("the report does not show the witnessed delay and the link: %v", err)
	}
	l := r.link(t, "front->app:80")
	if l.Accepted == 0 || l.Arrived != l.Dialled || l.Passed != 0 || len(l.Resets) != 0 {
		t.Errorf("%d connections accepted, %d dialled, %d arrived, %d packets passed, resets %v", l.Accepted, l.Dialled, l.Arrived, l.Passed, l.Resets)
	}
}

// link is what run.json says of one link.
func (r result) link(t *testing.T, name string) ledger.Link {
	t.Helper()
	info, err := ledger.ReadRun(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range info.Links {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("run.json has no link %s: %v", name, info.Links)
	return ledger.Link{}
}

func TestALinkIsCutWithoutItsNeighbours(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "blog_cut.toml")
	j := r.passes(t)
	for _, w := range j.Windows {
		page, direct := w.Inside["page"], w.Inside["direct"]
		if page.Failed+page.Unknown == 0 {
			t.Errorf("%s: no request through the link failed inside the window: %+v", w.Fault.ID, page)
		}
		if direct.Failed+direct.Unknown > 0 || direct.OK == 0 {
			t.Errorf("%s: requests beside the link: %+v", w.Fault.ID, direct)
		}
	}
	if l := r.link(t, "front->app:80"); l.Direct == 0 {
		t.Error("while the application was cut off, no connection went past the proxy: connect() did not behave as without discompose")
	}
}

func TestAToxicWithoutTrafficIsInconclusive(t *testing.T) {
	needImage(t, "nginx:1.22")
	r := discompose(t, "run", "blog_unused.toml")
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE no-witness" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

// api waits until the run's Toxiproxy API answers, and returns its address.
func api(t *testing.T, c *call, address string) *toxiproxy.Client {
	t.Helper()
	client := toxiproxy.NewClient(address)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		proxies, err := client.Proxies()
		if err == nil && len(proxies) > 0 {
			return client
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("Toxiproxy's API never answered: %v %v\n%s", proxies, err, c.err.String())
		}
	}
}

// freePort is a port of the loopback that nobody has now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAForeignToxicMakesTheRunInconclusive(t *testing.T) {
	needImage(t, "nginx:1.22")
	address := freePort(t)
	c := start(t, "run", "blog_latency.toml", "--toxiproxy-api", address)
	client := api(t, c, address)
	if _, err := client.AddToxic(&toxiproxy.ToxicOptions{
		ProxyName: "front->app:80", ToxicName: "mine", ToxicType: "latency", Stream: "upstream", Toxicity: 1, Attributes: toxiproxy.Attributes{"latency": 10},
	}); err != nil {
		t.Fatal(err)
	}
	r := c.wait()
	c.nothingLeft()
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE foreign-change" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
	if !strings.Contains(r.stdout, "mine") {
		t.Error("the report does not name the foreign toxic")
	}
}

// TestToxiproxyCLI uses the stock command-line tool of Toxiproxy 2.12.0, built here.
func TestToxiproxyCLI(t *testing.T) {
	needImage(t, "nginx:1.22")
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "install", "github.com/Shopify/toxiproxy/v2/cmd/cli@v2.12.0")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: toxiproxy-cli 2.12.0 cannot be built here: %v: %s", err, lastLine(string(out)))
	}
	address := freePort(t)
	c := start(t, "run", "blog_latency.toml", "--toxiproxy-api", address)
	api(t, c, address)
	cli := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "cli"), append([]string{"--host", "http://" + address}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("toxiproxy-cli %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	if out := cli("list"); !strings.Contains(out, "front->app:80") {
		t.Errorf("list does not show the link:\n%s", out)
	}
	cli("toxic", "add", "-t", "latency", "-a", "latency=20", "-n", "slow", "front->app:80")
	if out := cli("inspect", "front->app:80"); !strings.Contains(out, "slow") || !strings.Contains(out, "latency=20") {
		t.Errorf("inspect does not show the toxic:\n%s", out)
	}
	cli("toxic", "update", "-n", "slow", "-a", "latency=5", "front->app:80")
	cli("toxic", "remove", "-n", "slow", "front->app:80")
	r := c.wait()
	c.nothingLeft()
	if r.code != 2 || r.verdict(t) != "INCONCLUSIVE foreign-change" {
		t.Errorf("exit %d, verdict %q", r.code, r.verdict(t))
	}
}

// TestAttachedLinks routes a link of a running project for one toxic, once to its end and once with the runner killed in
// the middle, and finds the project as it was.
func TestAttachedLinks(t *testing.T) {
	needImage(t, "nginx:1.22")
	d := docker(t)
	kept := start(t, "run", "blog_latency.toml", "--keep", "--set", "fault.latency.for=2s")
	kept.wait().passes(t)
	ids := kept.ids()
	if len(ids) != 1 {
		t.Fatalf("runs %v", ids)
	}
	t.Cleanup(func() { // the test's own context is over by then
		if err := compose.RemoveRun(context.Background(), d, ids[0]); err != nil {
			t.Error(err)
		}
	})
	project := "dc" + ids[0]
	before := inspectProject(t, project)
	attach := []string{"run", "blog_attach.toml", "--set", "environment.attach=" + project}

	killed := start(t, append(attach, "--set", "fault.latency.for=60s")...)
	killed.until("witness: front->app:80")
	if err := killed.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	for began := time.Now(); len(killed.leftBut(ids[0])) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("left 30 s after the runner was killed: %v", killed.leftBut(ids[0]))
		}
	}
	if r := start(t, "heal", killed.dir(t)).wait(); r.code != 0 {
		t.Errorf("heal after it: exit %d: %s", r.code, r.stderr)
	}

	again := start(t, attach...)
	r := again.wait()
	r.passes(t)
	if l := r.link(t, "front->app:80"); l.Leaked() > 0 {
		t.Errorf("%d connections arrived, %d dialled, %d direct", l.Arrived, l.Dialled, l.Direct)
	}
	if l := again.leftBut(ids[0]); len(l) > 0 {
		t.Errorf("left behind: %v", l)
	}
	if diff := cmp.Diff(before, inspectProject(t, project)); diff != "" {
		t.Errorf("the attached project is not as it was (-before +after):\n%s", diff)
	}
}

// until waits until the call has written a text to standard error.
func (c *call) until(text string) {
	c.t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c.err.contains(text) {
			return
		}
		if time.Since(began) > time.Minute {
			c.t.Fatalf("%q was never said:\n%s", text, c.err.String())
		}
	}
}

// dir is the directory of the call's last run.
func (c *call) dir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(c.runs, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// leftBut is left without one run's things.
func (c *call) leftBut(id string) []string {
	c.t.Helper()
	d := docker(c.t)
	var out []string
	for _, other := range c.ids() {
		if other != id {
			out = append(out, left(c.t.Context(), c.t, d, other)...)
		}
	}
	return out
}

func TestTopologyOfAForeignFile(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), binary(t), "topology", "testdata/blog/compose.yaml").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "front") || !strings.Contains(string(out), "app") {
		t.Errorf("%v: %s", err, out)
	}
}
