package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/discompose/discompose/internal/starter"
)

// TestANewScenarioValidatesAndHasAPlan tries Compose files of many kinds: those of this tree, and what each of these adds.
func TestANewScenarioValidatesAndHasAPlan(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"one service without anything": "services:\n  app: {image: acme/app}\n",
		"a name with dots and dashes":  "services:\n  my-app.v2_x: {image: \"nginx:1\", ports: [\"80\"]}\n  db.main: {image: \"postgres:15\"}\n",
		"an upper-case name":           "services:\n  Web: {image: \"nginx:1\"}\n",
		"replicas":                     "services:\n  app: {image: acme/app, deploy: {replicas: 3}, ports: [\"80\"], depends_on: [db]}\n  db: {image: \"redis:7\"}\n",
		"no network":                   "services:\n  app: {image: acme/app, network_mode: none}\n",
		"volumes and secrets":          "services:\n  app: {image: acme/app, volumes: [\"data:/data\", \"/anonymous\"], secrets: [key]}\nvolumes: {data: {}}\nsecrets: {key: {environment: HOME}}\n",
		"profiles":                     "services:\n  app: {image: acme/app, ports: [\"80\"]}\n  debug: {image: acme/debug, profiles: [debug], depends_on: [app]}\n",
		"UDP alone":                    "services:\n  dns: {image: acme/dns, ports: [\"53:53/udp\"]}\n",
		"a build":                      "services:\n  app: {build: ., ports: [\"8000\"], depends_on: [db]}\n  db: {image: mariadb}\n",
		"an interpolated image":        "services:\n  web: {image: \"${IMAGE:-nginx}\"}\n",
	}
	for name, path := range composeFiles(t, files) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tryNewScenario(t, path)
		})
	}
}

// composeFiles writes files, and adds those of this tree: name to path.
func composeFiles(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	for name, text := range files {
		paths[name] = filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yaml")
		if err := os.WriteFile(paths[name], []byte("name: own\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{
		"../../compose/environments/*/compose.yaml", "../../e2e/testdata/*/compose.yaml", "../../e2e/testdata/foreign/g*/docker-compose.yml",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) < 2 {
			t.Fatalf("%d files match %s: %v", len(found), pattern, err)
		}
		for _, path := range found {
			if filepath.Base(filepath.Dir(path)) != "userstack" { // a template: its test fills it in
				paths[path] = path
			}
		}
	}
	return paths
}

// tryNewScenario writes a scenario for a Compose file, validates it and plans it.
func tryNewScenario(t *testing.T, compose string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{Streams: Streams{Out: &out, Err: &errs}}
	file := filepath.Join(t.TempDir(), "made", "first_try.toml")
	if err := a.newScenario(t.Context(), strings.TrimSuffix(file, ".toml"), newScenarioOptions{files: []string{compose}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > starter.MostLines {
		t.Errorf("%d lines, want at most %d:\n%s", n, starter.MostLines, text)
	}
	if err := a.validate(t.Context(), []string{file}, nil); err != nil || a.exit != ExitPass {
		t.Errorf("validate: exit %d, %v\n%s\n%s", a.exit, err, &errs, text)
	}
	if err := a.plan(t.Context(), file, nil, nil, nil, false); err != nil || !strings.Contains(out.String(), "\ntimeline\n  5s ") {
		t.Errorf("plan: %v\n%s\n%s", err, &out, text)
	}
	if strings.Contains(errs.String(), "refused") {
		t.Errorf("a run would be refused: %s", &errs)
	}
}

func TestANewScenarioTellsWhatARunWillBeRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"corp": "name: own\nservices:\n  web: {image: \"nginx:1\", networks: [corp]}\nnetworks: {corp: {external: true}}\n",
		"host": "name: own\nservices:\n  app: {image: acme/app, network_mode: host, depends_on: [db]}\n  db: {image: \"redis:7\"}\n",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "compose.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		a := &app{Streams: Streams{Out: &out, Err: &errs}}
		if err := a.newScenario(t.Context(), filepath.Join(dir, "x"), newScenarioOptions{files: []string{path}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(errs.String(), "a run will be refused until this is settled: ") || !strings.Contains(errs.String(), name) {
			t.Errorf("%s: it says %q", name, &errs)
		}
		if err := a.validate(t.Context(), []string{filepath.Join(dir, "x.toml")}, nil); err != nil || a.exit != ExitPass {
			t.Errorf("%s: validate: exit %d, %v", name, a.exit, err)
		}
	}
}
