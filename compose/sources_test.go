package compose_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

const sources = `
name: s
services:
  web:
    image: x
    read_only: true
    secrets: [there, gone, unset]
    configs: [inline, {source: there, target: /x}]
    volumes: ["./gone.conf:/etc/app.conf", "./data:/data", "./seed:/seed:ro", "./there.txt:/there.txt:ro"]
  job:
    image: x
    profiles: [never]
    secrets: [unset]
  worker: {image: x, secrets: [unset, ours], configs: [inline]}
secrets:
  there: {file: ./there.txt}
  gone: {file: ./gone.txt}
  unset: {environment: DISCOMPOSE_TEST_UNSET}
  ours: {external: true}
configs:
  inline: {content: hello}
  there: {file: ./there.txt}
`

func TestCheckSourcesNamesWhatASecretOrConfigLacks(t *testing.T) {
	dir := composetest.Write(t, map[string]string{"compose.yaml": sources, "there.txt": "x"})
	problems := func(env map[string]string) []string {
		var out []string
		for _, err := range mustLoad(t, compose.LoadOptions{Dir: dir, Env: env}).CheckSources() {
			out = append(out, err.Error())
		}
		return out
	}
	const unset = ": it takes the environment variable DISCOMPOSE_TEST_UNSET, which is not set; set it, or write it in environment.env"
	const sealed = ": the service is read-only, and Compose can put only what has a file there; give it a file"
	const ours = "secret ours of service worker: it is external, which only Swarm has; give it a file for the run, in a second Compose file"
	want := []string{"secret unset of service web" + unset, "config inline of service web" + sealed, "secret unset of service worker" + unset, ours}
	if diff := cmp.Diff(want, problems(nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = []string{"secret unset of service web" + sealed, "config inline of service web" + sealed, ours}
	if diff := cmp.Diff(want, problems(map[string]string{"DISCOMPOSE_TEST_UNSET": "x"})); diff != "" {
		t.Errorf("once it is set (-want +got):\n%s", diff)
	}
}

// docker compose, too, finds the file above the folder where it is called; what is beside it are the file's own neighbours.
func TestLoadFromAFolderBelowTheFile(t *testing.T) {
	dir := composetest.Write(t, map[string]string{
		"compose.yaml": "services:\n  web: {image: \"${IMAGE}\", volumes: [\"./site.conf:/site.conf:ro\"], env_file: web.env}\n",
		".env":         "IMAGE=nginx:1\n", "web.env": "A=1\n", "site.conf": "x", "below/of/it": "x",
	})
	p := mustLoad(t, compose.LoadOptions{Dir: filepath.Join(dir, "below", "of")})
	web, _ := p.Service("web")
	if len(p.Warnings()) > 0 || web.Image != "nginx:1" || web.Environment["A"] != "1" || p.Name() != filepath.Base(dir) {
		t.Errorf("project %s, image %q, environment %v, warnings %q", p.Name(), web.Image, web.Environment, p.Warnings())
	}
}

func TestLoadWarnsOfFilesThatAreNotThere(t *testing.T) {
	dir := composetest.Write(t, map[string]string{"compose.yaml": "version: '3'\n" + sources, "there.txt": "x"})
	want := []string{
		"secret gone of service web: its file ./gone.txt does not exist",
		"service web binds ./gone.conf, which does not exist: /etc/app.conf is an empty folder",
		"service web binds ./seed, which does not exist: /seed is an empty folder",
	}
	if diff := cmp.Diff(want, mustLoad(t, compose.LoadOptions{Dir: dir}).Warnings()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
