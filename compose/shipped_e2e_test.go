//go:build e2e

package compose_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
	"github.com/discompose/discompose/internal/imagetest"
)

func TestShippedEnvironmentsGetReady(t *testing.T) {
	e := composetest.Engine(t)
	// What runs this program's own image is held back, with what waits for it.
	for _, c := range []struct {
		name, image string
		hold        []string
	}{
		{"kafka", "apache/kafka:3.9.1", []string{"consumer"}},
		{"kafka-cluster", "apache/kafka:3.9.1", []string{"consumer"}},
		{"minio", "minio/minio:latest", nil},
		{"nginx", "nginx:1.22", nil},
		{"nginx-pair", "nginx:1.22", nil},
		{"postgres", "postgres:15", nil},
		{"postgres-pair", "postgres:15", nil},
		{"rabbitmq", "rabbitmq:3", nil},
		{"redis", "redis:7", nil},
		{"redis-sentinel", "redis:7", nil},
		{"web", "postgres:15", []string{"app", "web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name, hold := c.name, c.hold
			imagetest.Need(t, c.image)
			p, err := compose.LoadShipped(t.Context(), name, compose.LoadOptions{Env: map[string]string{"DISCOMPOSE_IMAGE": "busybox:1"}})
			if err != nil {
				t.Fatal(err)
			}
			env := isolate(t, e, p)
			defer down(t, env)
			start := time.Now()
			if err := env.Up(t.Context(), compose.UpOptions{Ready: 2 * time.Minute, Hold: hold}); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s is ready after %s", name, time.Since(start))
		})
	}
}

func TestAnEmbeddedServiceStandsInOnlyForAShippedOne(t *testing.T) {
	e := composetest.Engine(t)
	file := `
name: dcfall
services:
  broker:
    image: localhost:1/no/such:1
    user: nobody
    healthcheck: {test: [CMD, "false"], interval: 30s}
    x-discompose: {fallback: embedded, notice: "embedded, not real", command: [sleep, "99"], user: "0:0", healthcheck: [CMD, "true"]}
`
	preflight := func(shipped string, o compose.PreflightOptions) (*compose.Environment, compose.Preflight, error) {
		p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": file})})
		p.AsShipped(shipped)
		run := composetest.RunID()
		composetest.NoLeftovers(t, e, run)
		if _, err := p.Isolate(compose.IsolateOptions{Project: "dc-" + run, Run: run}); err != nil {
			t.Fatal(err)
		}
		env := e.Environment(p, compose.RunInfo{Run: run})
		found, err := env.Preflight(t.Context(), o)
		return env, found, err
	}
	allowed := compose.PreflightOptions{Fallback: true, SelfImage: "busybox:1"}
	if _, _, err := preflight("", allowed); err == nil {
		t.Error("it stands in for a service of a user's file")
	}
	if _, _, err := preflight("x", compose.PreflightOptions{SelfImage: "busybox:1"}); err == nil {
		t.Error("it stands in where the scenario forbids it")
	}
	env, found, err := preflight("x", allowed)
	if err != nil {
		t.Fatal(err)
	}
	defer down(t, env)
	if len(found.Fallbacks) != 1 || found.Fallbacks[0].Notice != "embedded, not real" || !strings.Contains(found.Fallbacks[0].Reason, "localhost:1/no/such:1") {
		t.Errorf("fallbacks are %+v", found.Fallbacks)
	}
	if err := env.Up(t.Context(), compose.UpOptions{Ready: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	images, err := env.Images(t.Context())
	if err != nil || len(images) != 1 || images[0].Ref != "busybox:1" {
		t.Errorf("images are %+v, %v", images, err)
	}
}

func TestPublishedPortsAreReachable(t *testing.T) {
	e := composetest.Engine(t)
	dir := composetest.Write(t, map[string]string{"compose.yaml": "name: dcpub\nservices: {web: {image: 'nginx:1.22', ports: ['80:80']}}\n"})
	p := mustLoad(t, compose.LoadOptions{Dir: dir})
	run := composetest.RunID()
	composetest.NoLeftovers(t, e, run)
	if _, err := p.Isolate(compose.IsolateOptions{Project: "dc-" + run, Run: run, Publish: []string{"web:80"}}); err != nil {
		t.Fatal(err)
	}
	env := e.Environment(p, compose.RunInfo{Run: run})
	defer down(t, env)
	if err := env.Up(t.Context(), compose.UpOptions{Ready: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	open := p.Published()
	if len(open) != 1 || open[0].Port != 80 {
		t.Fatalf("published is %+v", open)
	}
	services, err := env.Services(t.Context())
	if err != nil || !slices.ContainsFunc(services[0].Published, func(s string) bool { return strings.HasSuffix(s, ":80/tcp") }) {
		t.Errorf("services are %+v, %v", services, err)
	}
	status, err := get(t, open[0])
	if err != nil || status != 200 {
		t.Errorf("GET: %d, %v", status, err)
	}
}
