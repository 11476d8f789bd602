//go:build e2e

package compose_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

// shop has one of everything that a run must carry: a one-shot, a profile, several networks, an internal one, a static
// address, replicas, a shared network namespace, a read-only root with a non-root user, and data of three kinds.
const shop = `
name: SHOP
services:
  migrate:
    image: busybox:1
    command: [sh, -c, "echo migrated"]
    networks: [back]
  web:
    image: nginx:1.22
    container_name: SHOP-web
    ports: ["18999:80"]
    depends_on:
      migrate: {condition: service_completed_successfully}
    healthcheck:
      test: [CMD, bash, -c, "exec 3<>/dev/tcp/127.0.0.1/80"]
      interval: 1s
    networks: {front: {}, back: {ipv4_address: 10.199.77.10}}
  worker:
    image: busybox:1
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
    deploy: {replicas: 2}
    networks: [back]
    read_only: true
    user: "1000:1000"
  sidecar:
    image: busybox:1
    init: true
    command: [sleep, "3600"]
    network_mode: service:web
  data:
    image: busybox:1
    init: true
    command: [sh, -c, "echo run >> /named/f; echo run >> /ext/f; echo run >> /bind/f; sleep 3600"]
    volumes: ["named:/named", "ext:/ext", "./bound:/bind", "./ro.txt:/ro.txt:ro", "./file.txt:/file.txt"]
    networks: [back]
  tool:
    image: busybox:1
    profiles: [tools]
    command: [sh, -c, "echo tool ran; exit 3"]
    networks: [back]
networks:
  front: {}
  back:
    internal: true
    ipam: {config: [{subnet: 10.199.77.0/24}]}
volumes:
  named: {}
  ext: {external: true, name: SHOP-ext}
`

// fixture is the shop with a name of its own, in a folder.
func fixture(t *testing.T) (dir, name string) {
	t.Helper()
	name = "dctest-" + composetest.RunID()
	return composetest.Write(t, map[string]string{
		"compose.yaml": strings.ReplaceAll(shop, "SHOP", name),
		"bound/f":      "user\n", "ro.txt": "ro\n", "file.txt": "user\n",
	}), name
}

// load loads and isolates, and prepares an environment whose leftovers fail the test.
func load(t *testing.T, e *compose.Engine, o compose.LoadOptions) *compose.Environment {
	t.Helper()
	p, err := compose.Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return isolate(t, e, p)
}

func isolate(t *testing.T, e *compose.Engine, p *compose.Project, share ...string) *compose.Environment {
	t.Helper()
	run := composetest.RunID()
	composetest.NoLeftovers(t, e, run)
	changes, err := p.Isolate(compose.IsolateOptions{
		Project: "dc-" + run, Run: run, Share: share,
		Used: func() ([]netip.Prefix, error) { return e.UsedSubnets(t.Context()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		t.Log(c)
	}
	env := e.Environment(p, compose.RunInfo{Run: run, Dir: t.TempDir()})
	if _, err := env.Preflight(t.Context(), compose.PreflightOptions{Pull: "never"}); err != nil {
		t.Fatal(err)
	}
	return env
}

func down(t *testing.T, env *compose.Environment) {
	t.Helper()
	if err := env.Down(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRunBesideTheUsersOwnStackLeavesItUntouched(t *testing.T) {
	e := composetest.Engine(t)
	dir, name := fixture(t)
	user := userStack(t, e, name, dir)
	env := load(t, e, compose.LoadOptions{Dir: dir, Files: []string{"compose.yaml"}, Profiles: nil})

	start := time.Now()
	if err := env.Up(t.Context(), compose.UpOptions{Ready: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Logf("up took %s", time.Since(start))
	list, err := env.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.String()+" "+c.State)
	}
	want := []string{"data running", "migrate exited", "sidecar running", "web running", "worker running", "worker[2] running"}
	if !slices.Equal(names, want) {
		t.Errorf("containers are %v, want %v", names, want)
	}

	for _, q := range []struct {
		service, want string
		argv          []string
	}{
		{"data", "run", []string{"cat", "/named/f"}},
		{"data", "run", []string{"cat", "/ext/f"}},
		{"data", "user\nrun", []string{"cat", "/bind/f"}},
		{"data", "ro", []string{"cat", "/ro.txt"}},
		{"data", "0", []string{"sh", "-c", "echo run >> /file.txt; echo $?"}},
		{"worker", "uid=1000 gid=1000", []string{"id"}},
		{"worker", "Read-only", []string{"sh", "-c", "touch /x 2>&1"}},
		{"sidecar", "0", []string{"sh", "-c", "nc -z 127.0.0.1 80; echo $?"}},
		{"worker", "0", []string{"sh", "-c", "nc -z " + name + "-web 80; echo $?"}},
	} {
		r, err := env.Exec(t.Context(), q.service, 1, q.argv)
		if err != nil || !strings.Contains(string(r.Out), q.want) {
			t.Errorf("%v in %s: %q, %v; want %q", q.argv, q.service, r.Out, err, q.want)
		}
	}
	nets, err := env.Networks(t.Context())
	if err != nil || len(nets) != 2 || !nets[0].Internal {
		t.Errorf("networks are %+v, %v; want an internal back and a front", nets, err)
	}
	stats, err := env.Stats(t.Context())
	if err != nil || len(stats) != 6 || stats[3].CPUNanos == 0 || stats[3].MemoryBytes == 0 {
		t.Errorf("stats are %+v, %v", stats, err)
	}
	r, err := env.RunOneShot(t.Context(), "tool")
	if err != nil || r.Code != 3 || !strings.Contains(string(r.Out), "tool ran") {
		t.Errorf("the one-shot gave %+v, %v; want code 3", r, err)
	}
	logs := t.TempDir()
	if err := env.SaveLogs(t.Context(), logs); err != nil {
		t.Error(err)
	}
	files, _ := filepath.Glob(filepath.Join(logs, "logs", "*"))
	text, err := os.ReadFile(filepath.Join(logs, "logs", "migrate.log"))
	if err != nil || !strings.Contains(string(text), "migrated") || len(files) != 7 {
		t.Errorf("logs are %v with %q, %v", files, text, err)
	}
	if err := env.Down(t.Context()); err != nil {
		t.Error(err)
	}
	user.check(t)
}

func TestAServiceThatNeverGetsReadyIsNamed(t *testing.T) {
	e := composetest.Engine(t)
	for _, tc := range []struct{ name, file, service, state, log string }{
		{
			"it dies", "services: {good: {image: 'busybox:1', init: true, command: [sleep, '99']}, bad: {image: 'busybox:1', command: [sh, -c, 'echo no config; exit 7']}}",
			"bad", "exited with code 7", "no config",
		},
		{
			"it crashes in a loop", "services: {bad: {image: 'busybox:1', restart: always, command: [sh, -c, 'echo boom; exit 1']}}",
			"bad", "restarts", "boom",
		},
		{
			"it stays unhealthy", "services: {bad: {image: 'busybox:1', init: true, command: [sh, -c, 'echo waiting; sleep 99'], healthcheck: {test: 'echo nope; exit 1', interval: 1s, retries: 1}}}",
			"bad", "unhealthy", "waiting",
		},
		{
			"another waits for it", "services: {bad: {image: 'busybox:1', init: true, command: [sh, -c, 'echo db down; sleep 99'], healthcheck: {test: 'echo nope; exit 1', interval: 1s, retries: 1}}, app: {image: 'busybox:1', depends_on: {bad: {condition: service_healthy}}}}",
			"bad", "unhealthy", "db down",
		},
		{
			"a one-shot fails", "services: {bad: {image: 'busybox:1', command: [sh, -c, 'echo no table; exit 2']}, app: {image: 'busybox:1', depends_on: {bad: {condition: service_completed_successfully}}}}",
			"bad", "exited with code 2", "no table",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := composetest.Write(t, map[string]string{"compose.yaml": "name: dcbad\n" + tc.file})
			env := load(t, e, compose.LoadOptions{Dir: dir})
			defer down(t, env)
			err := env.Up(t.Context(), compose.UpOptions{Ready: 6 * time.Second})
			var nr *compose.NotReadyError
			if !errors.As(err, &nr) || !errors.Is(err, compose.ErrNotReady) {
				t.Fatalf("error is %v, want a NotReadyError", err)
			}
			if nr.Service != tc.service || !strings.Contains(nr.State, tc.state) || !strings.Contains(strings.Join(nr.LogTail, "\n"), tc.log) {
				t.Errorf("error is %v; want service %s, state %q, log %q", err, tc.service, tc.state, tc.log)
			}
			t.Log(err)
		})
	}
}

func TestHeldServicesStartLater(t *testing.T) {
	e := composetest.Engine(t)
	dir := composetest.Write(t, map[string]string{"compose.yaml": `
name: dchold
services:
  db: {image: 'busybox:1', init: true, command: [sleep, '99']}
  app: {image: 'busybox:1', init: true, command: [sleep, '99'], depends_on: [db]}
  edge: {image: 'busybox:1', init: true, command: [sleep, '99'], depends_on: [app]}
`})
	env := load(t, e, compose.LoadOptions{Dir: dir})
	defer down(t, env)
	if err := env.Up(t.Context(), compose.UpOptions{Ready: 30 * time.Second, Hold: []string{"app"}}); err != nil {
		t.Fatal(err)
	}
	states := func() (out []string) {
		list, err := env.Containers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			out = append(out, c.Service+" "+c.State)
		}
		return out
	}
	if got, want := states(), []string{"app created", "db running", "edge created"}; !slices.Equal(got, want) {
		t.Errorf("while app is held: %v, want %v", got, want)
	}
	if err := env.Start(t.Context(), []string{"app"}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(), []string{"app running", "db running", "edge running"}; !slices.Equal(got, want) {
		t.Errorf("after start: %v, want %v", got, want)
	}
}

func TestFollowedLogsAndEventsSurviveRestarts(t *testing.T) {
	e := composetest.Engine(t)
	dir := composetest.Write(t, map[string]string{"compose.yaml": `
name: dclogs
services:
  talk:
    image: busybox:1
    restart: always
    volumes: ["count:/n"]
    command: [sh, -c, "n=$$(cat /n/n 2>/dev/null || echo 0); for i in 1 2 3 4 5 6 7 8 9 10; do n=$$((n+1)); echo $$n > /n/n; echo line $$n; done; if [ $$n -ge 40 ]; then sleep 99; fi; usleep 300000; exit 1"]
volumes: {count: {}}
`})
	env := load(t, e, compose.LoadOptions{Dir: dir})
	defer down(t, env)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var lines []string
	var actions []string
	done := make(chan error, 2)
	go func() {
		done <- env.FollowLogs(ctx, "talk", func(line string, _ time.Time) {
			lines = append(lines, line)
			if len(lines) == 40 {
				cancel()
			}
		})
	}()
	go func() {
		done <- env.Events(ctx, func(ev compose.Event) {
			if ev.Time < 1e18 || ev.Service != "talk" {
				t.Errorf("event %+v", ev)
			}
			actions = append(actions, ev.Action)
		})
	}()
	if err := env.Up(ctx, compose.UpOptions{}); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range lines {
		if want := "line " + strconv.Itoa(i+1); l != want {
			t.Fatalf("line %d is %q, want %q; all: %v", i, l, want, lines)
		}
	}
	if len(lines) != 40 {
		t.Errorf("got %d lines, want 40", len(lines))
	}
	if n := count(actions, "die"); n < 2 {
		t.Errorf("events are %v, want at least two dies", actions)
	}
}

func TestAttachUsesARunningProjectAndRemovesNothing(t *testing.T) {
	e := composetest.Engine(t)
	dir := composetest.Write(t, map[string]string{"compose.yaml": `
name: dcattach
services:
  one: {image: 'busybox:1', command: [sh, -c, 'exit 0']}
  web: {image: 'nginx:1.22', restart: unless-stopped, expose: ["80"], depends_on: {one: {condition: service_completed_successfully}}}
`})
	owner := load(t, e, compose.LoadOptions{Dir: dir})
	defer down(t, owner)
	if err := owner.Up(t.Context(), compose.UpOptions{Ready: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	env, err := e.Attach(t.Context(), owner.Name())
	if err != nil {
		t.Fatal(err)
	}
	services, err := env.Services(t.Context())
	if err != nil || len(services) != 2 || !services[0].OneShot || services[1].Restart != "unless-stopped" || !slices.Contains(services[1].Ports, 80) {
		t.Errorf("services are %+v, %v", services, err)
	}
	if err := env.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
	if err := env.Down(t.Context()); err != nil {
		t.Error(err)
	}
	if list, err := owner.Containers(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("after Down of the attached environment: %v, %v; want both containers", list, err)
	}
	if _, err := e.Attach(t.Context(), "dc-no-such-project"); err == nil {
		t.Error("attaching to nothing succeeds")
	}
}

func TestAMissingImageIsNamedAndAShippedOneFallsBack(t *testing.T) {
	e := composetest.Engine(t)
	dir := composetest.Write(t, map[string]string{"compose.yaml": "name: dcimg\nservices: {a: {image: 'localhost:1/no/such:1'}}\n"})
	p, err := compose.Load(t.Context(), compose.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	env := e.Environment(p, compose.RunInfo{Run: "x"})
	for _, pull := range []string{"missing", "never"} {
		_, err = env.Preflight(t.Context(), compose.PreflightOptions{Pull: pull})
		if !errors.Is(err, compose.ErrImage) || !strings.Contains(err.Error(), "localhost:1/no/such:1") {
			t.Errorf("pull %s: error is %v", pull, err)
		}
		t.Log(err)
	}
}

// userStack is what the user's own `docker compose up` of the same file would have made, as far as a run could hurt it:
// the named volume, the external volume, the bound folder, a container of the fixed name, and the fixed subnet.
type userOwn struct {
	e         *compose.Engine
	dir, name string
	id        string
}

func userStack(t *testing.T, e *compose.Engine, name, dir string) userOwn {
	t.Helper()
	d, ctx := e.Docker(), t.Context()
	labels := map[string]string{"io.discompose.test": name}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{name + "_named", name + "-ext"} {
		_, err := d.VolumeCreate(ctx, volume.CreateOptions{Name: v, Labels: labels})
		must(err)
		t.Cleanup(func() { must(d.VolumeRemove(context.Background(), v, true)) })
	}
	n, err := d.NetworkCreate(ctx, name+"_back", network.CreateOptions{Labels: labels, IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "10.199.77.0/24"}}}})
	must(err)
	t.Cleanup(func() { must(d.NetworkRemove(context.Background(), n.ID)) })
	c, err := d.ContainerCreate(ctx,
		&container.Config{Image: "busybox:1", Labels: labels, Cmd: []string{"sh", "-c", "echo user > /named/f; echo user > /ext/f; echo up; sleep 3600"}},
		&container.HostConfig{NetworkMode: container.NetworkMode(name + "_back"), Binds: []string{name + "_named:/named", name + "-ext:/ext", dir + "/bound:/bind"}},
		nil, nil, name+"-web")
	must(err)
	t.Cleanup(func() { must(d.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true})) })
	must(d.ContainerStart(ctx, c.ID, container.StartOptions{}))
	logs, err := d.ContainerLogs(ctx, c.ID, container.LogsOptions{ShowStdout: true, Follow: true})
	must(err)
	_, err = logs.Read(make([]byte, 16)) // it has said "up": its data is there
	must(err)
	must(logs.Close())
	return userOwn{e: e, dir: dir, name: name, id: c.ID}
}

func (u userOwn) check(t *testing.T) {
	t.Helper()
	d := u.e.Docker()
	i, err := d.ContainerInspect(t.Context(), u.id)
	if err != nil || !i.State.Running || i.RestartCount != 0 {
		t.Errorf("the user's container: %+v, %v", i.State, err)
	}
	for _, path := range []string{"/named/f", "/ext/f", "/bind/f"} {
		r, _, err := d.CopyFromContainer(t.Context(), u.id, path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		if strings.Contains(string(text), "run\n") || !strings.Contains(string(text), "user\n") {
			t.Errorf("%s of the user holds %q", path, text)
		}
	}
	for file, want := range map[string]string{"bound/f": "user\n", "file.txt": "user\n", "ro.txt": "ro\n"} {
		if text, err := os.ReadFile(filepath.Join(u.dir, file)); err != nil || string(text) != want {
			t.Errorf("%s of the user holds %q, %v", file, text, err)
		}
	}
}

func count(list []string, want string) (n int) {
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}
