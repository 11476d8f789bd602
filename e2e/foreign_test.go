//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// foreign are Compose projects as teams write them, each with a scenario of its own.
var foreign = []struct {
	project, scenario string
	images            []string
	code              int
	verdict           string
	faults            []string                         // kinds, in their order
	also              func(t *testing.T, r result)     // what is true of this one alone
	prepare           func(*testing.T, *client.Client) // before the run
}{
	{
		project: "bookshop", scenario: "db_outage", images: []string{"nginx:1.22", "postgres:15"}, verdict: "PASS clean",
		faults: []string{"stop"}, also: publisherCameBack,
	},
	{
		project: "gatehouse", scenario: "slow_identity", images: []string{"nginx:1.22", "busybox:1"}, verdict: "PASS degraded",
		faults: []string{"latency", "partition", "cpu_limit"}, prepare: takeSubnet,
	},
	{project: "fulfilment", scenario: "broker_pause", images: []string{kafkaImage}, verdict: "PASS clean", faults: []string{"pause"}},
	{
		project: "guestbook", scenario: "redis_unplugged", images: []string{"busybox:1", "redis:7-alpine"}, verdict: "PASS degraded",
		faults: []string{"disconnect", "memory_limit", "kill"}, prepare: removeBuilt, also: visitsStayedInTheCopy,
	},
	{
		project: "outbox", scenario: "db_restart", images: []string{"postgres:15"}, code: 1, verdict: "FAIL hang",
		faults: []string{"restart"}, also: mailerLivesAndDoesNothing,
	},
}

func TestForeignProjects(t *testing.T) {
	d := docker(t)
	for _, f := range foreign {
		t.Run(f.project, func(t *testing.T) {
			for _, ref := range f.images {
				needImage(t, ref)
			}
			dir := filepath.Join("testdata", "foreign", f.project)
			raw, err := os.ReadFile(filepath.Join(dir, "scenarios", f.scenario+".toml"))
			if err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(strings.TrimSpace(string(raw)), "\n") + 1; lines > 15 {
				t.Errorf("the scenario has %d lines, want at most 15", lines)
			}
			if f.prepare != nil {
				f.prepare(t, d)
			}
			c := startIn(t, dir, "run", f.scenario)
			r := c.wait()
			c.nothingLeft()
			nothingOf(t, d, c.ids())
			if r.code != f.code || r.verdict(t) != f.verdict {
				t.Fatalf("exit %d, verdict %q; want %d, %q", r.code, r.verdict(t), f.code, f.verdict)
			}
			provenFaults(t, r, f.faults)
			isolatedAs(t, r, dir)
			if f.also != nil {
				f.also(t, r)
			}
		})
	}
}

// provenFaults wants a window with both witnesses for each kind.
func provenFaults(t *testing.T, r result, want []string) {
	t.Helper()
	var got []string
	for _, w := range r.judgement(t).Windows {
		if w.Active == nil || w.Gone == nil {
			t.Errorf("fault %s: witness active %v, gone %v", w.Fault.ID, w.Active, w.Gone)
		}
		got = append(got, w.Fault.Kind)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

var movedTo = regexp.MustCompile(`moves to [0-9./]+`)

// isolatedAs compares what isolation has changed with the list that is kept beside the project.
func isolatedAs(t *testing.T, r result, dir string) {
	t.Helper()
	info, err := ledger.ReadRun(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(strings.Join(info.Isolation, "\n"), abs, ".")
	got = movedTo.ReplaceAllString(got, "moves to <free>")
	want, err := os.ReadFile(filepath.Join(dir, "isolation.txt"))
	if err != nil {
		t.Errorf("%v; isolation is\n%s", err, got)
		return
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), got); diff != "" {
		t.Errorf("isolation (-want +got):\n%s", diff)
	}
}

// nothingOf wants no container of the runs' projects, whatever its labels.
func nothingOf(t *testing.T, d *client.Client, ids []string) {
	t.Helper()
	list, err := d.ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		for _, id := range ids {
			if slices.ContainsFunc(c.Names, func(n string) bool { return strings.Contains(n, id) }) {
				t.Errorf("container %v is left", c.Names)
			}
		}
	}
}

// log is what a service has written, without timestamps.
func (r result) log(t *testing.T, service string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "logs", service+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// events counts what the engine told of a service.
func (r result) events(t *testing.T, service, kind string) (n int) {
	t.Helper()
	store, err := ledger.Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	info, err := ledger.ReadRun(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := store.Load(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range h.Events {
		if e.Source == "docker" && e.Service == service && e.Type == kind {
			n++
		}
	}
	return n
}

// publisherCameBack: that the readers held means something only because the publisher had died.
func publisherCameBack(t *testing.T, r result) {
	t.Helper()
	if died, started := r.events(t, "publisher", "die"), r.events(t, "publisher", "start"); died == 0 || started < died {
		t.Errorf("the publisher died %d times and started %d times", died, started)
	}
}

// mailerLivesAndDoesNothing shows that the hang is the mailer's own: its session was ended by the restart, it was neither
// restarted nor ended, the database answered again, and no mail was sent after.
func mailerLivesAndDoesNothing(t *testing.T, r result) {
	t.Helper()
	before, after, lost := strings.Cut(r.log(t, "mailer"), "connection to server was lost")
	if !lost || !strings.Contains(before, "sent mail") || strings.Contains(after, "sent mail") {
		t.Errorf("the mailer's log does not show a lost session with nothing after it:\n%s", r.log(t, "mailer"))
	}
	if n := r.events(t, "mailer", "die"); n > 0 {
		t.Errorf("the mailer died %d times: that is a crash", n)
	}
	j := r.judgement(t)
	if db := j.Windows[0].After["database"]; db.OK < 20 || db.Failed > 0 {
		t.Errorf("after the restart the database answered %d of %d times: then the mailer is not to blame", db.OK, db.Invoked)
	}
	if !slices.ContainsFunc(j.Findings, func(f oracle.Finding) bool { return f.Class == oracle.Hang && strings.Contains(f.Reason, "mails") }) {
		t.Errorf("findings are %v", j.Findings)
	}
}

// visitsStayedInTheCopy: the folder is bound writable, and the run has written to its copy alone.
func visitsStayedInTheCopy(t *testing.T, _ result) {
	t.Helper()
	entries, err := os.ReadDir("testdata/foreign/guestbook/var")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the user's folder holds %v", entries)
	}
}

// removeBuilt has the run build its images, and takes them away after it.
func removeBuilt(t *testing.T, d *client.Client) {
	t.Helper()
	remove := func() {
		for _, ref := range []string{"guestbook-app:latest", "guestbook/archiver:dev"} {
			list, err := d.ImageList(context.Background(), image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", ref))})
			if err != nil {
				t.Error(err)
			}
			for range list {
				if _, err := d.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	remove()
	t.Cleanup(remove)
}

// takeSubnet has the subnet of the file be somebody else's, so that it must move.
func takeSubnet(t *testing.T, d *client.Client) {
	t.Helper()
	n, err := d.NetworkCreate(t.Context(), fmt.Sprintf("foreign-%d", os.Getpid()), network.CreateOptions{
		Labels: map[string]string{"io.discompose.test": "foreign"}, IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "172.31.200.0/24"}}},
	})
	if err != nil {
		t.Logf("somebody has the subnet already: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := d.NetworkRemove(context.Background(), n.ID); err != nil {
			t.Error(err)
		}
	})
}
