package compose_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

func isolated(t *testing.T, file string, change ...func(*compose.IsolateOptions)) (*compose.Project, []string) {
	t.Helper()
	p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": file})})
	o := options()
	for _, c := range change {
		c(&o)
	}
	changes, err := p.Isolate(o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return p, out
}

func rendered(t *testing.T, p *compose.Project) string {
	t.Helper()
	yaml, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(yaml)
}

func TestIsolateKeepsLogsWithTheRun(t *testing.T) {
	const file = `
name: logs
services:
  away: {image: x, logging: {driver: fluentd, options: {fluentd-address: "localhost:24224"}}}
  here: {image: x, logging: {driver: local, options: {max-size: 1m}}}
  none: {image: x, logging: {driver: none}}
  plain: {image: x, logging: {options: {max-size: 2m}}}
`
	const why = " (a run does not write to logs that are not its own, and its report shows them)"
	p, changes := isolated(t, file)
	want := []string{
		"service away: its logs stay with the engine instead of going to fluentd" + why,
		"service none: its logs stay with the engine instead of going to none" + why,
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	yaml := rendered(t, p)
	if strings.Contains(yaml, "fluentd") || strings.Contains(yaml, "24224") || strings.Count(yaml, "driver: json-file") != 2 ||
		!strings.Contains(yaml, "driver: local") || !strings.Contains(yaml, "max-size: 2m") {
		t.Errorf("logging is\n%s", yaml)
	}
	p, changes = isolated(t, file, func(o *compose.IsolateOptions) { o.Share = []string{"logging:away"} })
	if !slices.Contains(changes, "service away: its logs go to fluentd (the scenario shares it)") || !strings.Contains(rendered(t, p), "24224") {
		t.Errorf("shared: %v", changes)
	}
}

func TestIsolateMovesWhatNamesAnAddress(t *testing.T) {
	p, _ := isolated(t, `
name: net
services:
  a: {image: x, networks: {n: {ipv4_address: 172.30.5.10}}}
  b:
    image: x
    networks: [n]
    dns: [172.30.5.10, 9.9.9.9]
    extra_hosts: ["a.example:172.30.5.10", "far.example:192.0.2.1"]
networks: {n: {ipam: {config: [{subnet: 172.30.5.0/24}]}}}
`)
	yaml := rendered(t, p)
	for _, want := range []string{"ipv4_address: 10.224.0.10", "- 10.224.0.10\n", "- 9.9.9.9", "a.example=10.224.0.10", "far.example=192.0.2.1"} {
		if !strings.Contains(yaml, want) {
			t.Errorf("%q is not in\n%s", want, yaml)
		}
	}
	if strings.Contains(yaml, "172.30.5") {
		t.Errorf("an old address is left:\n%s", yaml)
	}
}

func TestIsolateTellsOfTheWayToTheHost(t *testing.T) {
	_, changes := isolated(t, `
name: net
services:
  a: {image: x, extra_hosts: ["host.docker.internal:host-gateway", "b.example:192.0.2.1"]}
`)
	want := []string{"service a: extra_hosts host.docker.internal leads to the engine's host, as in the file (isolation does not cover it: what listens there is not the run's)"}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestIsolateMakesNoFolderThatTheFileDoesNotWant(t *testing.T) {
	p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": `
name: binds
services:
  a:
    image: x
    volumes: [{type: bind, source: /x/missing, target: /v, bind: {create_host_path: false}}]
`})})
	o := options()
	o.Stat = func(string) (compose.PathInfo, error) { return compose.PathInfo{}, fs.ErrNotExist }
	_, err := p.Isolate(o)
	var refused *compose.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.What, "/x/missing, which does not exist") {
		t.Errorf("error is %v", err)
	}
}
