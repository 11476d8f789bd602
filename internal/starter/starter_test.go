package starter_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/internal/starter"
)

// load reads a Compose file from a folder of its own.
func load(t *testing.T, text string) *compose.Project {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := compose.Load(t.Context(), compose.LoadOptions{Dir: dir, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAProposalDisturbsWhatMostDependOnAndAsksTheOutermost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		want       starter.Proposal
	}{
		{
			"the database behind an application behind a web server", `
services:
  web: {image: "nginx:1.25", ports: ["8080:80"], depends_on: [app]}
  app: {image: "acme/app", expose: ["3000"], environment: {DATABASE_URL: "postgres://u:p@db:5432/app"}}
  db: {image: "postgres:15"}
`,
			starter.Proposal{Target: "db", Dependents: 2, Kind: "pause", Probe: starter.Probe{Service: "web", Kind: "http", Target: "http://web/"}},
		},
		{
			"a healthcheck says how to ask", `
services:
  api:
    image: acme/api
    ports: ["8000"]
    depends_on: [redis]
    healthcheck: {test: ["CMD", "curl", "-f", "http://localhost:8000/health"]}
  redis: {image: "redis:7", healthcheck: {test: redis-cli ping}}
`,
			starter.Proposal{Target: "redis", Dependents: 1, Kind: "pause", Probe: starter.Probe{Service: "api", Kind: "http", Target: "http://api:8000/health"}},
		},
		{
			"a healthcheck of a shell, on the port that HTTP has", `
services:
  api: {image: acme/api, healthcheck: {test: "wget -qO- http://127.0.0.1/up || exit 1"}}
`,
			starter.Proposal{Target: "api", Kind: "pause", Probe: starter.Probe{Service: "api", Kind: "http", Target: "http://api/up"}},
		},
		{
			"a healthcheck with a query, and one of somebody else, say nothing", `
services:
  api: {image: acme/api, ports: ["9"], depends_on: [db], healthcheck: {test: "curl http://localhost:9/up?deep=1"}}
  db: {image: acme/db, ports: ["7"], healthcheck: {test: "curl http://example.com/"}}
`,
			starter.Proposal{Target: "db", Dependents: 1, Kind: "pause", Probe: starter.Probe{Service: "api", Kind: "tcp", Target: "api:9"}},
		},
		{
			"a job with the client programs of the database's image does not listen", `
services:
  db: {image: "postgres:15"}
  mailer: {image: "postgres:15", environment: {PGHOST: db}, command: [bash, /mailer.sh], depends_on: [db]}
`,
			starter.Proposal{Target: "db", Dependents: 1, Kind: "stop", Probe: starter.Probe{Service: "db", Kind: "tcp", Target: "db:5432"}},
		},
		{
			"one server that only accepts connections is stopped, for freezing it would not show", `
services:
  kafka: {image: "apache/kafka:3.9.1", ports: ["9092:9092"]}
`,
			starter.Proposal{Target: "kafka", Kind: "stop", Probe: starter.Probe{Service: "kafka", Kind: "tcp", Target: "kafka:9092"}},
		},
		{
			"the image's own port comes before others of the file", `
services:
  mq: {image: "docker.io/library/rabbitmq:3-management@sha256:0000000000000000000000000000000000000000000000000000000000000000", ports: ["4369", "15672:15672", "5672"]}
`,
			starter.Proposal{Target: "mq", Kind: "stop", Probe: starter.Probe{Service: "mq", Kind: "tcp", Target: "mq:5672"}},
		},
		{
			"nobody says on which port", `
services:
  worker: {image: acme/worker, depends_on: [queue]}
  queue: {image: acme/queue}
`,
			starter.Proposal{Target: "queue", Dependents: 1, Kind: "pause", Probe: starter.Probe{Service: "queue", Kind: "exec", Target: "queue", Command: []string{"true"}}},
		},
		{
			"jobs, services without a container, UDP and shared namespaces are passed by", `
services:
  migrate: {image: "postgres:15", depends_on: [db]}
  off: {image: "redis:7", scale: 0, ports: ["6379"]}
  app: {image: acme/app, depends_on: {migrate: {condition: service_completed_successfully}, db: {condition: service_started}}, ports: ["53/udp", "80"]}
  sidecar: {image: "nginx:1", network_mode: "service:app", depends_on: [db]}
  db: {image: "postgres:15"}
`,
			starter.Proposal{Target: "db", Dependents: 2, Kind: "pause", Probe: starter.Probe{Service: "app", Kind: "tcp", Target: "app:80"}},
		},
		{
			"what has a healthcheck comes before what is named first", `
services:
  alpha: {image: acme/a, ports: ["1"]}
  beta: {image: acme/b, ports: ["2"], healthcheck: {test: "true"}}
`,
			starter.Proposal{Target: "beta", Kind: "stop", Probe: starter.Probe{Service: "beta", Kind: "tcp", Target: "beta:2"}},
		},
		{
			"a cycle of links ends", `
services:
  a: {image: acme/a, ports: ["1"], environment: {PEER_HOST: b}}
  b: {image: acme/b, ports: ["2"], environment: {PEER_HOST: a}}
`,
			starter.Proposal{Target: "a", Dependents: 1, Kind: "pause", Probe: starter.Probe{Service: "b", Kind: "tcp", Target: "b:2"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := starter.Propose(load(t, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAProjectOfJobsHasNoProposal(t *testing.T) {
	t.Parallel()
	p := load(t, "services:\n  job: {image: busybox, labels: {io.discompose.oneshot: \"true\"}}\n")
	if got, err := starter.Propose(p); !errors.Is(err, starter.ErrNoService) {
		t.Errorf("proposal %+v, error %v", got, err)
	}
}

func TestAProposedScenarioIsShortAndEachLineOfItIsOneThing(t *testing.T) {
	t.Parallel()
	for _, p := range []starter.Proposal{
		{Target: "db", Dependents: 3, Kind: "pause", Probe: starter.Probe{Service: "web.1", Kind: "http", Target: "http://web.1/"}},
		{Target: "db", Kind: "stop", Probe: starter.Probe{Service: "db", Kind: "tcp", Target: "db:1"}},
		{Target: "db", Dependents: 1, Kind: "pause", Probe: starter.Probe{Service: "db", Kind: "exec", Target: "db", Command: []string{"a", `b"c`}}},
	} {
		text := p.Scenario("x", []string{"compose.yaml", "../o.yaml"})
		if n := bytes.Count(text, []byte("\n")); n > starter.MostLines || n < 10 {
			t.Errorf("%d lines:\n%s", n, text)
		}
		for line := range strings.Lines(string(text)) {
			if len(line) > 121 {
				t.Errorf("a line of %d characters: %s", len(line), line)
			}
		}
		if lines := strings.Split(string(text), "\n"); !slices.Contains(lines, `name = "x"`) {
			t.Errorf("no name:\n%s", text)
		}
	}
}
