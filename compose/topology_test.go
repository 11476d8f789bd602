package compose_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

// linkLines are the links of a Compose file as lines, and its warnings after "!".
func linkLines(t *testing.T, files map[string]string) []string {
	t.Helper()
	topology := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, files)}).Topology()
	var out []string
	for _, l := range topology.Links {
		out = append(out, fmt.Sprintf("%s->%s:%d %s", l.From, l.To, l.Port, strings.Join(l.Why, ", ")))
	}
	for _, w := range topology.Warnings {
		out = append(out, "! "+w)
	}
	return out
}

func TestTopologyReadsComposeFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{
			"a shop: a URL, a pair of variables, a name without a port, a one-shot",
			map[string]string{"compose.yaml": `
name: shop
services:
  db: {image: "postgres:15"}
  cache: {image: "redis:7", expose: ["6379"]}
  search: {image: "x"}
  migrate: {image: "x", environment: {PGHOST: db, PGPORT: 5433}}
  web:
    image: x
    environment:
      DATABASE_URL: postgres://app:secret@db/shop?sslmode=disable
      REDIS_HOST: cache
      REDIS_IMAGE: cache:7
      APP_NAME: search
      TITLE: buy it on the web
    depends_on:
      db: {condition: service_healthy}
      search: {condition: service_started}
      migrate: {condition: service_completed_successfully}
`},
			[]string{
				"migrate->db:5433 environment PGHOST",
				"web->cache:6379 environment REDIS_HOST",
				"web->db:5432 environment DATABASE_URL, depends_on",
				"web->search:0 depends_on",
			},
		},
		{
			"several networks: names lead only where a network leads",
			map[string]string{"compose.yaml": `
name: nets
services:
  proxy: {image: x, networks: [front], environment: {UPSTREAM: "http://app:8080", DB: "tcp://db:5432"}}
  app:
    image: x
    networks: {front: {}, back: {aliases: [api]}}
    environment: {DB_URL: "mysql://primary.nets_back/x", VPN: "tun:1194"}
    depends_on: [tun]
  db: {image: x, networks: {back: {aliases: [Primary, store]}}}
  replica: {image: x, networks: {back: {aliases: [store]}}, command: "--source=STORE:3306 --me api:80"}
  tun: {image: x, networks: [lonely]}
  side: {image: x, network_mode: "service:app", environment: {DB: "db:1", SELF: "app:2"}}
  peek: {image: x, networks: [front], environment: {TARGET: "side:9"}}
  off: {image: x, network_mode: none, environment: {TARGET: "db:1"}}
networks: {front: {}, back: {}, lonely: {}}
`},
			[]string{
				"app->db:3306 environment DB_URL",
				"proxy->app:8080 environment UPSTREAM",
				"replica->app:80 command",
				"replica->db:3306 command",
				"side->db:1 environment DB",
				"! app: environment VPN names tun, but app cannot reach tun by that name: they share no network that has it",
				"! off: environment TARGET names db, but off cannot reach db by that name: they share no network that has it",
				"! peek: environment TARGET names side, but peek cannot reach side by that name: they share no network that has it",
				"! proxy: environment DB names db, but proxy cannot reach db by that name: they share no network that has it",
			},
		},
		{
			"container names, host names, links and their aliases, replicas, extra hosts",
			map[string]string{"compose.yaml": `
name: names
services:
  db: {image: x, container_name: names-db, hostname: vault, expose: ["5432", "53/udp"]}
  worker: {image: x, deploy: {replicas: 2}}
  a: {image: x, links: ["db:database"], environment: {HOST: database}}
  b: {image: x, environment: {HOST: database, ALL: "names-db:1,VAULT:2,names-worker-2:3"}}
  c: {image: x, extra_hosts: {"db": 10.0.0.1}, environment: {URL: "http://db"}}
  d: {image: x, external_links: ["names-db:old"], command: [wait, "old:5"]}
`},
			[]string{
				"a->db:5432 environment HOST, links",
				"b->db:1 environment ALL",
				"b->db:2 environment ALL",
				"b->worker:3 environment ALL",
				"d->db:5 command, links",
			},
		},
		{
			"anchors, extends, an env list, env files and their precedence",
			map[string]string{
				"base.yaml": "services: {base: {image: x, environment: [\"BROKERS=kafka1:9092,kafka2:9092\"], env_file: [app.env]}}",
				"app.env":   "QUEUE=amqp://guest:guest@rabbit\nSMTP=mail:1025\n",
				"compose.yaml": `
name: merged
x-env: &env {CACHE_URL: "redis://:pw@redis/0"}
services:
  kafka1: &kafka
    image: x
    environment: {KAFKA_ADVERTISED_LISTENERS: "PLAINTEXT://kafka1:9092", VOTERS: "1@kafka1:9093,2@kafka2:9093"}
  kafka2: {<<: *kafka}
  redis: {image: x}
  rabbit: {image: x}
  mail: {image: x}
  app:
    extends: {file: base.yaml, service: base}
    environment: ["SMTP=mail:2525"]
  job: {image: x, environment: {<<: *env}}
`,
			},
			[]string{
				"app->kafka1:9092 environment BROKERS",
				"app->kafka2:9092 environment BROKERS",
				"app->mail:2525 environment SMTP",
				"app->rabbit:5672 environment QUEUE",
				"job->redis:6379 environment CACHE_URL",
				"kafka1->kafka2:9093 environment VOTERS",
				"kafka2->kafka1:9092 environment KAFKA_ADVERTISED_LISTENERS",
				"kafka2->kafka1:9093 environment VOTERS",
			},
		},
		{
			"a profile that is off, volumes_from and a shared namespace are no links",
			map[string]string{"compose.yaml": `
name: off
services:
  web: {image: x, expose: ["80"]}
  data: {image: x, volumes_from: [web], environment: {SPY: "tool:1"}}
  side: {image: x, network_mode: "service:web", environment: {SELF: "http://web"}, depends_on: {web: {condition: service_healthy}}}
  pid: {image: x, pid: "service:web"}
  tool: {image: x, profiles: [tools], environment: {WEB: "http://web"}}
`},
			nil,
		},
		{
			"configs in the file, entrypoints, an ensemble that names itself",
			map[string]string{"compose.yaml": `
name: conf
services:
  app: {image: x}
  gate: {image: x, configs: [nginx], entrypoint: ["wait-for-it", "zoo1:2181"], depends_on: [app]}
  zoo1: {image: x, environment: {ZOO_SERVERS: "server.1=zoo1:2888:3888;2181 server.2=zoo2:2888:3888;2181"}}
  zoo2: {image: x}
  etcd1: {image: x, environment: {ETCD_INITIAL_CLUSTER: "etcd1=http://etcd1:2380,etcd2=http://etcd2:2380"}}
  etcd2: {image: x}
configs: {nginx: {content: "upstream a { server app:8080; } # app"}}
`},
			[]string{
				"etcd1->etcd2:2380 environment ETCD_INITIAL_CLUSTER",
				"gate->app:8080 config nginx, depends_on",
				"gate->zoo1:2181 entrypoint",
				"zoo1->zoo2:2888 environment ZOO_SERVERS",
				"zoo1->zoo2:3888 environment ZOO_SERVERS",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, linkLines(t, tc.files)); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTopologyReadsAddressesInEveryForm(t *testing.T) {
	for _, tc := range []struct {
		setting string // of the service app, in JSON; db and two exist beside it
		want    string // host:port of each link
	}{
		{`environment: {X: "db:5432"}`, "db:5432"},
		{`environment: {X: "DB.:5432"}`, "db:5432"},
		{`environment: {X: "http://db"}`, "db:80"},
		{`environment: {X: "https://u:p%40@db/x:1"}`, "db:443"},
		{`environment: {X: "postgres://db:two@db:5433/two"}`, "db:5433"},
		{`environment: {X: "postgresql+asyncpg://db/two"}`, "db:5432"},
		{`environment: {X: "postgres:///app?host=db&port=5434"}`, "db:5434"},
		{`environment: {X: "mongodb://u:p@db,two:27018/admin?replicaSet=rs"}`, "db:27017 two:27018"},
		{`environment: {X: "http://db:9200,http://two:9201"}`, "db:9200 two:9201"},
		{`environment: {X: "two://db:1,two://db:2"}`, "db:1 db:2"},
		{`environment: {X: "SASL_EXT://db:9093;PLAINTEXT://two:9092"}`, "db:9093 two:9092"},
		{`environment: {X: "host=db port=5432 user=two dbname=two"}`, "db:5432"},
		{`environment: {X: "Server=db,1433;Database=two;User Id=two"}`, "db:1433"},
		{`environment: {X: "Data Source=tcp:db,1433"}`, "db:1433"},
		{`environment: {X: "Host=db;Port=5432;Username=two"}`, "db:5432"},
		{`environment: {X: "mysql:host=db;port=3307;dbname=two"}`, "db:3307"},
		{`environment: {X: "two:secret@tcp(db:3306)/two"}`, "db:3306"},
		{`environment: {X: "two:1234@tcp(db)/two"}`, "db:0"},
		{`environment: {X: "jdbc:postgresql://db:5432,two:5433/x?user=two"}`, "db:5432 two:5433"},
		{`environment: {X: "jdbc:mysql://db/two"}`, "db:3306"},
		{`environment: {X: "jdbc:sqlserver://db:1433;databaseName=two"}`, "db:1433"},
		{`environment: {X: "jdbc:oracle:thin:@db:1521:XE"}`, "db:1521"},
		{`environment: {X: "jdbc:oracle:thin:@//db:1522/two"}`, "db:1522"},
		{`environment: {X: '{"host": "db", "port": 5432, "name": "two"}'}`, "db:5432"},
		{`environment: {X: 'host="" name=db host = "two"'}`, "two:0"},
		{`environment: {X: '["db:1", "two:2"]'}`, "db:1 two:2"},
		{`environment: {REDIS_HOSTS: "local:db:6379:0"}`, "db:6379"},
		{`environment: {HOSTS: "db, two"}`, "db:0 two:0"},
		{`environment: {spring.data.host: db, spring.data.port: "7"}`, "db:7"},
		{`environment: {ConnectionStrings__Main: "Server=db;Port=3306"}`, "db:3306"},
		{`environment: {DB: db, DB_PORT: "5439"}`, "db:5439"},
		{`environment: {DB_HOST_NAME: db}`, "db:0"},
		{`environment: {ADDRESSES: "db"}`, "db:0"},
		// None of these is an address.
		{`environment: {X: db}`, ""},
		{`environment: {POSTGRES_DB: db, CLUSTER_NAME: two, NODE_ENV: db}`, ""},
		{`environment: {DB_IMAGE: "db:15", X: "registry.example/db:5000"}`, ""},
		{`environment: {X: "http://example.com/db http://db.example.com:80 http://my-db:80"}`, ""},
		{`environment: {X: "db:rw db:70000 /db:80 db@example.com db:pw@example.com"}`, ""},
		{`environment: {X: "mongodb+srv://x/db unix:///db"}`, ""},
		{`environment: {X: "the db 5432"}`, ""},
		// Programs.
		{`command: [psql, -h, db, -p, "5433", -U, two]`, "db:5433"},
		{`command: "redis-server --port 7 --replicaof db 6379"`, "db:6379"},
		{`command: ["sh", "-c", "until nc -z db 5432; do sleep 1; done; exec two"]`, "db:5432"},
		{`command: ["bash", "-c", "exec 3<>/dev/tcp/db/5432"]`, "db:5432"},
		{`command: "app --db-host=db --db-name=two"`, "db:0"},
		{`command: "app --broker db:9092 --broker two:9092"`, "db:9092 two:9092"},
		{`command: "db two 80"`, ""},
	} {
		t.Run(tc.setting, func(t *testing.T) {
			file := "name: form\nservices:\n  db: {image: x}\n  two: {image: x}\n  app:\n    image: x\n    " + tc.setting + "\n"
			var got []string
			for _, l := range linkLines(t, map[string]string{"compose.yaml": file}) {
				link, _, _ := strings.Cut(strings.TrimPrefix(l, "app->"), " ")
				got = append(got, link)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("links to %q, want %q", strings.Join(got, " "), tc.want)
			}
		})
	}
}

func TestTopologyNamesServicesAndNoValues(t *testing.T) {
	dir := composetest.Write(t, map[string]string{"compose.yaml": `
name: quiet
services:
  db: {image: x, expose: ["5432", "53/udp"], networks: [back]}
  web: {image: x, deploy: {replicas: 3}, networks: [front], environment: {URL: "postgres://app:hunter2@db/x"}}
networks: {front: {}, back: {}}
`})
	topology := mustLoad(t, compose.LoadOptions{Dir: dir}).Topology()
	if len(topology.Services) != 2 || topology.Services[1].Replicas != 3 || topology.Services[0].Networks[0] != "back" {
		t.Errorf("services are %+v", topology.Services)
	}
	if len(topology.Warnings) != 1 || strings.Contains(topology.Warnings[0], "hunter2") {
		t.Errorf("warnings are %q, want one without the password", topology.Warnings)
	}
}

func TestTopologyGainsWhatIsObserved(t *testing.T) {
	declared := compose.Topology{Links: []compose.TopologyLink{
		{From: "web", To: "cache", Why: []string{"depends_on"}},
		{From: "web", To: "db", Port: 5432, Why: []string{"environment URL"}},
	}}
	got := declared.With(
		compose.TopologyLink{From: "web", To: "db", Port: 5432, Why: []string{"2 connections"}},
		compose.TopologyLink{From: "web", To: "cache", Port: 6379, Why: []string{"1 connection"}},
		compose.TopologyLink{From: "api", To: "db", Port: 5432, Why: []string{"1 connection"}},
	)
	want := []compose.TopologyLink{
		{From: "api", To: "db", Port: 5432, Why: []string{"1 connection"}},
		{From: "web", To: "cache", Port: 6379, Why: []string{"depends_on", "1 connection"}},
		{From: "web", To: "db", Port: 5432, Why: []string{"environment URL", "2 connections"}},
	}
	if diff := cmp.Diff(want, got.Links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if len(declared.Links[0].Why) != 1 {
		t.Error("the topology itself has changed")
	}
}
