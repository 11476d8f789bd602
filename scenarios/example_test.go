package scenarios_test

import (
	"fmt"
	"testing/fstest"

	"github.com/discompose/discompose/scenarios"
)

func ExampleParse() {
	fsys := fstest.MapFS{"slow.toml": {Data: []byte(`
[environment]
files = ["compose.yaml"]

[probe.web]
kind   = "http"
target = "http://web:8080/health"
evry   = "200ms"

[[fault]]
kind   = "pause"
target = "wbe"
at     = "5s"
`)}}
	_, err := scenarios.Parse(fsys, "slow.toml", scenarios.Options{Kinds: kinds()})
	fmt.Println(err)
	// Output:
	// slow.toml:8:1: probe.web.evry: unknown key (did you mean "every"?)
	// slow.toml:10:3: fault[0].for: missing (how long the fault holds, as in for = "8s")
}

func ExampleScenario_CheckServices() {
	fsys := fstest.MapFS{"slow.toml": {Data: []byte(`
environment.files = ["compose.yaml"]
probe.web         = { kind = "tcp", target = "web:8080" }

[[fault]]
kind   = "pause"
target = "wbe"
at     = "5s"
for    = "2s"
`)}}
	s, err := scenarios.Parse(fsys, "slow.toml", scenarios.Options{Kinds: kinds()})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.CheckServices([]scenarios.Service{{Name: "web", Replicas: 2}}))
	// Output:
	// slow.toml:7:1: fault[0].target: the environment has no service "wbe" (did you mean "web"?)
}
